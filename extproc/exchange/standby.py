"""The limits of the deployments that are asked after the first one.

The first one's are claimed with the request's own. Each later one that has limits has an
admission of its own, so that what it is not asked for goes back to it as soon as another one
answers, and so that a deployment that is full costs a request that deployment alone. It is
held only where those before it fail as things are: what waits at a target that is well would
take the place of what its fallback is asked directly. What was not held is charged all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from extproc.exchange.commands import Settlement
from extproc.exchange.render import Leg
from extproc.policy.claims import NOTHING, Admission, Claim, Spent

ATTEMPTED = Spent()
"""What an attempt without an answer has used: a request."""


def deployment(leg: Leg) -> str:
    """Return what the limits of a leg's deployment stand on: all keys of a provider."""
    return f"{leg.target.spec.provider}/{leg.model}"


def without(legs: Sequence[Leg], full: str) -> tuple[Leg, ...]:
    """Return `legs` without those at `full`."""
    return tuple(leg for leg in legs if deployment(leg) != full)


def ordinary(legs: Sequence[Leg]) -> bool:
    """Say whether one of `legs` is for more than refused prompts."""
    return any(leg.pick is None or not leg.pick.conditional for leg in legs)


class Standby:
    """What one exchange holds at the later deployments of its chain.

    Attributes:
        asking: what is being asked for now.
    """

    __slots__ = ("_looked", "_owed", "asking")

    def __init__(self) -> None:
        self.asking: tuple[str, Admission] | None = None
        self._owed: dict[str, tuple[Admission, bool]] = {}
        """By deployment, with whether it is held."""
        self._looked: set[str] = set()

    def next(
        self,
        id: str,  # noqa: A002  gw.id
        legs: Sequence[Leg],
        claims: Callable[[Leg], tuple[Claim, ...]],
        likely: int,
    ) -> Admission | None:
        """Return what is to be reserved next; None: nothing more.

        Args:
            id: of the exchange.
            legs: the chain, whose first one is taken care of.
            claims: what a leg's deployment has to be asked for.
            likely: how many after the first will be reached, as things are.
        """
        self._looked.add(deployment(legs[0]))
        for number, leg in enumerate(legs[1:], 1):
            name = deployment(leg)
            if name in self._looked:
                continue
            self._looked.add(name)
            if wanted := claims(leg):
                admission = Admission(f"{id}/{len(self._looked)}", wanted)
                if number <= likely:
                    self.asking = name, admission
                    return admission
                self._owed[name] = admission, False
        return None

    def admitted(self) -> None:
        """Note that what was asked for is held."""
        if self.asking is not None:
            name, admission = self.asking
            self._owed[name] = admission, True
            self.asking = None

    def refused(self) -> str:
        """Return the deployment that has no room."""
        name, self.asking = (self.asking or ("", None))[0], None
        return name

    @property
    def owes(self) -> bool:
        """Whether anything is asked for, held or to be charged at a later deployment."""
        return bool(self._owed) or self.asking is not None

    def claims(self, leg: Leg) -> tuple[Claim, ...]:
        """Return what the deployment of `leg` is owed, unless it was the first."""
        owed = self._owed.get(deployment(leg))
        return () if owed is None else owed[0].claims

    def answered(self, legs: Sequence[Leg], leg: Leg) -> Iterator[Settlement]:
        """Settle what another one's answer has decided; of its own the end will."""
        if not self._owed:
            return
        by = deployment(leg)
        before = {deployment(one) for one in legs[: _index(legs, leg)]}
        for name in [name for name in self._owed if name != by]:
            admission, held = self._owed.pop(name)
            if name in before:
                yield Settlement(admission, ATTEMPTED)
            elif held:
                yield Settlement(admission, NOTHING)

    def close(self, leg: Leg | None, spent: Spent) -> Iterator[Settlement]:
        """Settle the rest: `spent` is what the answer of `leg` has used, if it began."""
        if self.asking is not None:
            # Whose verdict is awaited still: releasing first wins.
            self._owed[self.asking[0]] = self.asking[1], True
            self.asking = None
        by = "" if leg is None else deployment(leg)
        for name, (admission, held) in self._owed.items():
            if name == by:
                yield Settlement(admission, spent)
            elif held:
                yield Settlement(admission, NOTHING)
        self._owed.clear()


def _index(legs: Sequence[Leg], leg: Leg) -> int:
    return next(i for i, one in enumerate(legs) if one is leg)
