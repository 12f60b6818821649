"""The store's verbs. Each is atomic, is told the time, and names no keys.

A reservation (*hold*) is known by its exchange's id, and every verb counts once for one
id, however often and in whatever order it comes: a settled hold is never admitted again,
a settlement that finds no hold (the store has lost it, or was away) charges in full.

    admit ──▶ held ──▶ settle   charged with what was used
                  ├──▶ release  as if it had never been
                  ├──▶ top_up   more money reserved, and the hold kept alive
                  └──▶ expire   charged as reserved; a late settle corrects it
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from typing import Protocol

import msgspec

from extproc.policy.claims import Admission, Spent, Verdict


class Balance(msgspec.Struct, frozen=True, gc=False):
    """What has been spent of one budget."""

    nanos: int
    ends: int
    """Unix seconds at which its period is over."""


Charged = tuple[int, ...] | None
"""What is charged now to the budget of each claim, 0 for a claim on something else; None:
it was settled before."""


class Store(Protocol):
    """See the module's docstring. `now` and `expires` are Unix seconds.

    Memory answers at once, the network has to be awaited.
    """

    def admit(
        self, admission: Admission, *, now: float, expires: float
    ) -> Verdict | Awaitable[Verdict]:
        """Reserve all claims, or none.

        An id that is held or settled already is admitted and reserves nothing.
        """

    def settle(
        self, admission: Admission, spent: Spent, *, now: float
    ) -> Charged | Awaitable[Charged]:
        """Charge what was used instead of what was reserved."""

    def release(
        self, admission: Admission, *, now: float
    ) -> Charged | Awaitable[Charged]:
        """Give everything back."""

    def top_up(
        self, admission: Admission, nanos: int, *, now: float, expires: float
    ) -> bool | Awaitable[bool]:
        """Reserve more money in every budget of the hold, or in none, and extend it.

        False: a budget has not so much left, or there is no such hold.
        """

    def expire(self, *, now: float) -> int | Awaitable[int]:
        """Charge the holds whose time is over as they are; return how many there were."""

    def seed(
        self, balances: Mapping[str, Balance], *, now: float
    ) -> Awaitable[None] | None:
        """Raise what is spent of each budget (by meter) to what is known elsewhere."""

    def epoch(self, since: float, *, now: float) -> float | Awaitable[float]:
        """Return when the store began to remember (Unix seconds).

        Another time than before, if it has lost anything since `since`, when its caller
        last asked; of a caller that has not asked yet that is 0.
        """

    def recover(
        self,
        balances: Mapping[str, Balance],
        holds: Iterable[tuple[Admission, float]],
        *,
        now: float,
    ) -> Awaitable[None] | None:
        """Give back to a store what it has lost.

        Args:
            balances: what it last said is spent of each budget; of several that tell it,
                the most counts, and what is charged since then comes on top.
            holds: what is under way, and until when it is held; those that the store
                has not lost are left as they are.
            now: Unix seconds.
        """

    def spent(
        self, meters: tuple[str, ...]
    ) -> tuple[int, ...] | Awaitable[tuple[int, ...]]:
        """Return what is charged and held of each budget, in nano-dollars."""
