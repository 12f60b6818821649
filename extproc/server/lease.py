"""What a worker may admit by itself while its store does not answer: a small part of every limit.

One outage, one lease: it begins anew when the store is lost and when it is back. A store
that is slow and not away uses it too; what such a store has taken in by its own answer, however
late, it counts itself, and that is no longer of the lease. What it has refused, or has never
answered, stays: workers x lease are the most that all of them overspend.
"""

from __future__ import annotations

from typing import Final

import msgspec

from extproc.identity import Accounting
from extproc.policy.claims import (
    NOTHING,
    Admission,
    Admitted,
    Claim,
    Spent,
    Verdict,
)
from extproc.state.memory import MemoryStore

RATE_SHARE: Final = 10.0
"""Percent of a rate limit that a worker admits by itself while the store is away, at
least: limits on speed are not money, and 1 % of 60 requests a minute is none."""
MOST_KNOWN: Final = 100_000
"""Budgets whose rest is remembered."""


class Lease:
    """Of one worker; times are Unix seconds."""

    def __init__(self) -> None:
        self._store = MemoryStore()
        self._asked: dict[str, tuple[Admission, float]] = {}
        """What it has admitted, and when that expires, while the store was asked."""
        self._spent: dict[str, Spent] = {}
        """What those of them have used that are over."""
        self._remaining: dict[str, int] = {}

    def admit(
        self,
        admission: Admission,
        accounting: Accounting,
        *,
        now: float,
        expires: float,
    ) -> Verdict:
        """Decide by what is left of the lease."""
        claims = tuple(
            [self._part(one, accounting.lease_percent) for one in admission.claims]
        )
        mine = msgspec.structs.replace(admission, claims=claims)
        verdict = self._store.admit(mine, now=now, expires=expires)
        if isinstance(verdict, Admitted):
            return msgspec.structs.replace(verdict, leased=True)
        return msgspec.structs.replace(verdict, storeless=True)

    def ask(self, admission: Admission, expires: float) -> None:
        """Note that the store has been asked, too, about what was just admitted."""
        self._asked[admission.id] = admission, expires

    def answer(self, admission: Admission, *, admitted: bool, now: float) -> None:
        """Note what it said in the end; an error is no admission."""
        asked = self._asked.pop(admission.id, None)
        spent = self._spent.pop(admission.id, None)
        if asked is not None and admitted:
            self._store.settle(admission, NOTHING, now=now)
        elif spent is not None:
            self._store.settle(admission, spent, now=now)

    def settle(self, admission: Admission, spent: Spent, *, now: float) -> None:
        """Note what was used, of what the lease may have admitted."""
        if admission.id in self._asked:
            self._spent[admission.id] = spent
        else:
            self._store.settle(admission, spent, now=now)

    def renew(self, *, now: float) -> None:
        """Begin another, of which is used what the store has not answered yet."""
        self._store = MemoryStore()
        self._store.recover({}, self._asked.values(), now=now)

    def know(self, meter: str, remaining: int) -> None:
        """Note what the store says is left of a budget: a lease is never more."""
        if len(self._remaining) > MOST_KNOWN:
            self._remaining.clear()
        self._remaining[meter] = remaining

    def _part(self, claim: Claim, percent: float) -> Claim:
        """Return `claim` on the part of its limit that is ours."""
        if claim.counts == "nanos":
            known = self._remaining.get(claim.meter, claim.limit)
            limit = min(int(claim.limit * percent / 100), known)
        else:
            limit = max(1, int(claim.limit * max(percent, RATE_SHARE) / 100))
        return msgspec.structs.replace(claim, limit=limit)
