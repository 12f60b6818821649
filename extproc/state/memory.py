"""The store of one worker: its own memory. Nothing is awaited."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TypeVar

from extproc.policy.claims import (
    NOTHING,
    Admission,
    Admitted,
    Claim,
    Denied,
    Left,
    Spent,
    Verdict,
)
from extproc.policy.rate import Window, seconds_until, slot_at
from extproc.state.base import Balance, Charged

REMEMBERED = 10_000
"""Settled ids that are known as such: a repeated settlement comes at once or never."""
KEPT_SECONDS = 7 * 86_400
"""How long a budget is kept after its period, for settlements that come late."""
CORRECTABLE_SECONDS = 86_400
"""How long an expired hold is kept, for the settlement that may still come."""


SWEPT_AT_ONCE = 1_000
"""Entries of each table that one `expire` looks at: some 0.5 ms."""

V = TypeVar("V")


class _Hold:
    """What is reserved for one id."""

    __slots__ = ("admission", "amounts", "expires", "slots")

    def __init__(
        self, admission: Admission, amounts: list[int], slots: list[int], expires: float
    ) -> None:
        self.admission = admission
        self.amounts = amounts
        self.slots = slots
        self.expires = expires


class _Account:
    """One budget's money."""

    __slots__ = ("ends", "held", "recovered", "spent")

    def __init__(self, ends: int) -> None:
        self.spent = 0
        self.held = 0
        self.recovered = 0
        """What of `spent` had been lost."""
        self.ends = ends


_Place = Window | _Account | None
"""Where a claim is counted; None: among what is under way."""


class MemoryStore:
    """See `Store`; of one process and one thread."""

    def __init__(self) -> None:
        self._windows: dict[str, Window] = {}
        self._accounts: dict[str, _Account] = {}
        self._running: dict[str, int] = {}
        # Both in the order in which they expire: all are held equally long.
        self._holds: dict[str, _Hold] = {}
        self._expired: dict[str, _Hold] = {}
        self._settled: dict[str, None] = {}
        self._epoch: float | None = None

    def admit(self, admission: Admission, *, now: float, expires: float) -> Verdict:
        """See `Store.admit`."""
        known = (
            admission.id in self._holds
            or admission.id in self._settled
            or admission.id in self._expired
        )
        left: list[Left] = []
        slots: list[int] = []
        places: list[_Place] = []
        seconds = slot = 0
        soonest = 0.0
        for index, claim in enumerate(admission.claims):
            amount = 0 if known else claim.amount
            spent = 0
            place: _Place = None
            if claim.seconds:
                if claim.seconds != seconds:
                    seconds = claim.seconds
                    slot = slot_at(seconds, now)
                    soonest = seconds_until(seconds, slot, now)
                place = window = self._windows.get(claim.meter) or self._window(claim)
                used = window.used(slot)
                late = window.last > slot
                reset = seconds_until(seconds, window.last, now) if late else soonest
            elif claim.counts == "nanos":
                place = account = self._account(claim)
                spent = account.spent
                used = spent + account.held
                reset = claim.ends - now
            else:
                used, reset = self._running.get(claim.meter, 0), 0.0
            remaining = claim.limit - used - amount
            if remaining < 0:
                if amount:
                    standing = Left(max(0, claim.limit - used), reset)
                    return self._denied(index, claim, standing, now)
                remaining = 0
            left.append(Left(remaining, reset, spent))
            slots.append(slot)
            places.append(place)
        if not known:
            self._reserve(admission, slots, places, expires)
        return Admitted(tuple(left))

    def _denied(self, index: int, claim: Claim, left: Left, now: float) -> Denied:
        waiting = claim.counts == "nanos" and (
            self._account(claim).spent + claim.amount <= claim.limit
        )
        wait = 1.0 if waiting else self._wait(claim, now)
        return Denied(index, left, wait, waiting=waiting)

    def settle(self, admission: Admission, spent: Spent, *, now: float) -> Charged:
        """See `Store.settle`."""
        if admission.id in self._settled:
            return None
        charged = [0] * len(admission.claims)
        hold = self._holds.pop(admission.id, None)
        active = hold is not None
        hold = hold or self._expired.pop(admission.id, None)
        for index, claim in enumerate(admission.claims):
            used = spent.on(claim)
            held = hold.amounts[index] if hold else 0
            if claim.seconds:
                if used != held:
                    now_slot = slot_at(claim.seconds, now)
                    slot = hold.slots[index] if hold else now_slot
                    self._window(claim).correct(slot, used - held, now_slot)
            elif claim.counts == "nanos":
                account = self._account(claim)
                if active:
                    account.held -= held
                    account.spent += used
                else:
                    account.spent += used - held
                charged[index] = account.spent
            elif active:
                self._running[claim.meter] -= held
        self._remember(admission.id)
        return tuple(charged)

    def release(self, admission: Admission, *, now: float) -> Charged:
        """See `Store.release`."""
        return self.settle(admission, NOTHING, now=now)

    def top_up(
        self,
        admission: Admission,
        nanos: int,
        *,
        now: float,  # noqa: ARG002  the protocol's
        expires: float,
    ) -> bool:
        """See `Store.top_up`."""
        hold = self._holds.get(admission.id)
        if hold is None:
            return False
        budgets = [
            (index, claim, self._account(claim))
            for index, claim in enumerate(admission.claims)
            if claim.counts == "nanos"
        ]
        if nanos and any(
            account.spent + account.held + nanos > claim.limit
            for _, claim, account in budgets
        ):
            return False
        for index, _, account in budgets:
            account.held += nanos
            hold.amounts[index] += nanos
        hold.expires = expires
        self._holds[admission.id] = self._holds.pop(admission.id)  # now the last
        return True

    def expire(self, *, now: float) -> int:
        """See `Store.expire`; forgets what no longer counts, too."""
        due = _due(self._holds, now)
        for hold in due:
            self._charge(hold)
            hold.expires = now + CORRECTABLE_SECONDS
            self._expired[hold.admission.id] = self._holds.pop(hold.admission.id)
        for hold in _due(self._expired, now):
            del self._expired[hold.admission.id]
        self._forget(now)
        return len(due)

    def seed(self, balances: Mapping[str, Balance], *, now: float) -> None:
        """See `Store.seed`."""
        for meter, balance in balances.items():
            if balance.ends + KEPT_SECONDS > now:
                account = self._accounts.setdefault(meter, _Account(balance.ends))
                account.spent = max(account.spent, balance.nanos)

    def epoch(self, since: float, *, now: float) -> float:  # noqa: ARG002
        """See `Store.epoch`: memory is lost with its store."""
        if self._epoch is None:
            self._epoch = now
        return self._epoch

    def recover(
        self,
        balances: Mapping[str, Balance],
        holds: Iterable[tuple[Admission, float]],
        *,
        now: float,
    ) -> None:
        """See `Store.recover`."""
        for meter, balance in balances.items():
            if balance.ends + KEPT_SECONDS > now:
                account = self._accounts.setdefault(meter, _Account(balance.ends))
                more = max(0, balance.nanos - account.recovered)
                account.spent += more
                account.recovered += more
        for admission, expires in holds:
            if admission.id not in self._holds and admission.id not in self._settled:
                self._hold_again(admission, expires, now)

    def spent(self, meters: tuple[str, ...]) -> tuple[int, ...]:
        """See `Store.spent`."""
        accounts = [self._accounts.get(meter) for meter in meters]
        return tuple(a.spent + a.held if a is not None else 0 for a in accounts)

    def _account(self, claim: Claim) -> _Account:
        account = self._accounts.get(claim.meter)
        if account is None:
            account = self._accounts[claim.meter] = _Account(claim.ends)
        return account

    def _window(self, claim: Claim) -> Window:
        window = self._windows.get(claim.meter)
        if window is None:
            window = self._windows[claim.meter] = Window(claim.seconds)
        return window

    def _reserve(
        self,
        admission: Admission,
        slots: list[int],
        places: list[_Place],
        expires: float,
    ) -> None:
        claims = admission.claims
        for claim, slot, place in zip(claims, slots, places, strict=True):
            if type(place) is Window:
                place.take(slot, claim.amount)
            elif type(place) is _Account:
                place.held += claim.amount
            else:
                running = self._running.get(claim.meter, 0)
                self._running[claim.meter] = running + claim.amount
        amounts = [claim.amount for claim in claims]
        self._holds[admission.id] = _Hold(admission, amounts, slots, expires)

    def _hold_again(self, admission: Admission, expires: float, now: float) -> None:
        slots: list[int] = []
        places: list[_Place] = []
        for claim in admission.claims:
            slot = 0
            place: _Place = None
            if claim.seconds:
                slot = slot_at(claim.seconds, now)
                place = self._window(claim)
                place.advance(slot)
            elif claim.counts == "nanos":
                place = self._account(claim)
            slots.append(slot)
            places.append(place)
        self._reserve(admission, slots, places, expires)

    def _wait(self, claim: Claim, now: float) -> float | None:
        """Return when a claim that is refused could be met."""
        if claim.amount > claim.limit:
            return None
        if claim.seconds:
            slot = self._windows[claim.meter].free_from(claim.amount, claim.limit)
            return None if slot is None else seconds_until(claim.seconds, slot, now)
        return max(0.0, claim.ends - now) if claim.counts == "nanos" else 1.0

    def _charge(self, hold: _Hold) -> None:
        for claim, amount in zip(hold.admission.claims, hold.amounts, strict=True):
            if claim.counts == "nanos":
                account = self._account(claim)
                account.held -= amount
                account.spent += amount
            elif claim.counts == "running":
                self._running[claim.meter] -= amount

    def _remember(self, id_: str) -> None:
        self._settled[id_] = None
        if len(self._settled) > REMEMBERED:
            del self._settled[next(iter(self._settled))]

    def _forget(self, now: float) -> None:
        for meter, account in _next(self._accounts):
            if account.ends + KEPT_SECONDS < now and not account.held:
                del self._accounts[meter]
        for meter, running in _next(self._running):
            if running == 0:
                del self._running[meter]
        for meter, window in _next(self._windows):
            window.advance(slot_at(window.seconds, now))
            if window.total == 0:
                del self._windows[meter]


def _due(holds: dict[str, _Hold], now: float) -> list[_Hold]:
    due = []
    for hold in holds.values():
        if hold.expires > now:
            break
        due.append(hold)
    return due


def _next(table: dict[str, V]) -> list[tuple[str, V]]:
    """Return the next entries to look at, and put them last.

    In pieces: whoever makes up names (of end users) must not make one sweep long.
    """
    entries = list(islice(table.items(), SWEPT_AT_ONCE))
    for key, value in entries:
        del table[key]
        table[key] = value
    return entries
