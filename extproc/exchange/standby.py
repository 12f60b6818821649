"""The limits of the deployments that are asked after the first one.

The first one's are claimed with the request's own. Each later one that has limits has an
admission of its own, so that what it is not asked for goes back to it as soon as another one
answers, and so that a deployment that is full costs a request that deployment alone.
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

    __slots__ = ("_held", "_looked", "asking")

    def __init__(self) -> None:
        self.asking: tuple[str, Admission] | None = None
        self._held: dict[str, Admission] = {}
        self._looked: set[str] = set()

    def next(
        self,
        id: str,  # noqa: A002  gw.id
        legs: Sequence[Leg],
        claims: Callable[[Leg], tuple[Claim, ...]],
    ) -> Admission | None:
        """Return what is to be reserved next; None: nothing more.

        Args:
            id: of the exchange.
            legs: the chain, whose first one is taken care of.
            claims: what a leg's deployment has to be asked for.
        """
        self._looked.add(deployment(legs[0]))
        for leg in legs[1:]:
            name = deployment(leg)
            if name in self._looked:
                continue
            self._looked.add(name)
            if wanted := claims(leg):
                admission = Admission(f"{id}/{len(self._looked)}", wanted)
                self.asking = name, admission
                return admission
        return None

    def admitted(self) -> None:
        """Note that what was asked for is held."""
        if self.asking is not None:
            name, admission = self.asking
            self._held[name] = admission
            self.asking = None

    def refused(self) -> str:
        """Return the deployment that has no room."""
        name, self.asking = (self.asking or ("", None))[0], None
        return name

    def claims(self, leg: Leg) -> tuple[Claim, ...]:
        """Return what is held at the deployment of `leg`, unless it was the first."""
        held = self._held.get(deployment(leg))
        return () if held is None else held.claims

    def answered(self, legs: Sequence[Leg], leg: Leg) -> Iterator[Settlement]:
        """Settle what another one's answer has decided; of its own the end will."""
        if not self._held:
            return
        by = deployment(leg)
        before = {deployment(one) for one in legs[: _index(legs, leg)]}
        for name in [name for name in self._held if name != by]:
            spent = ATTEMPTED if name in before else NOTHING
            yield Settlement(self._held.pop(name), spent)

    def close(self, leg: Leg | None, spent: Spent) -> Iterator[Settlement]:
        """Settle the rest: `spent` is what the answer of `leg` has used, if it began."""
        if self.asking is not None:
            # Whose verdict is awaited still: releasing first wins.
            self._held[self.asking[0]] = self.asking[1]
            self.asking = None
        by = "" if leg is None else deployment(leg)
        for name, admission in self._held.items():
            yield Settlement(admission, spent if name == by else NOTHING)
        self._held.clear()


def _index(legs: Sequence[Leg], leg: Leg) -> int:
    return next(i for i, one in enumerate(legs) if one is leg)
