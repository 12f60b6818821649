"""Sliding windows: never more than so many in any minute, hour or day.

A window is cut into `SLOTS` slots. What is taken counts until its whole slot is older
than the window, so there is no moment at which more than the limit lies within one
window; a refusal lasts at most one slot (a second of a minute) longer than it would if
each request's own time were kept. What is given back leaves the slot it was taken in.

What was taken by a clock that was ahead counts from now on: it was taken a moment ago, and
a clock that is set right must not close a limit for longer than its window.
"""

from __future__ import annotations

SLOTS = 60
AHEAD = 1
"""Slots by which two workers' clocks may differ, and neither is ahead."""


def slot_at(seconds: int, now: float) -> int:
    """Return the number of the slot that `now` (Unix seconds) is in."""
    return int(now * SLOTS / seconds)


def seconds_until(seconds: int, slot: int, now: float) -> float:
    """Return how long it is until what was taken in `slot` no longer counts."""
    return max(0.0, (slot + SLOTS + 1) * seconds / SLOTS - now)


class Window:
    """What was taken lately, of one limit.

    Attributes:
        seconds: how long it is.
        total: the sum of all slots.
        last: the newest slot that anything was taken in.
    """

    __slots__ = ("_oldest", "_slots", "last", "seconds", "total")

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.total = 0
        self.last = 0
        self._oldest = 0
        self._slots: dict[int, int] = {}

    def advance(self, slot: int) -> None:
        """Forget what is too old to count in `slot`."""
        oldest = slot - SLOTS
        if oldest <= self._oldest:
            return
        self._oldest = oldest
        slots = self._slots
        if not slots or next(iter(slots)) >= oldest:
            return  # they are in order of time
        for old in [old for old in slots if old < oldest]:
            self.total -= slots.pop(old)

    def used(self, slot: int) -> int:
        """Return what counts in `slot`."""
        if slot - SLOTS > self._oldest:
            self.advance(slot)
        if slot + AHEAD < self.last:
            self._set_back(slot)
        return self.total

    def _set_back(self, slot: int) -> None:
        for later in [later for later in self._slots if later > slot + AHEAD]:
            self._slots[slot] = self._slots.get(slot, 0) + self._slots.pop(later)
        self._slots = dict(sorted(self._slots.items()))
        self.last = max(self._slots, default=slot)
        self._oldest = slot - SLOTS

    def take(self, slot: int, amount: int) -> None:
        """Count `amount` in `slot`."""
        slots = self._slots
        self.total += amount
        if slot in slots:
            slots[slot] += amount
            return
        slots[slot] = amount
        if slot < self.last:
            self._slots = dict(sorted(slots.items()))
        else:
            self.last = slot

    def correct(self, slot: int, difference: int, now_slot: int) -> None:
        """Change what was taken in `slot`.

        When that is over, what came on top counts now, and what is given back never did.
        """
        self.advance(now_slot)
        slot = min(slot, self.last)  # it may have been set back
        if slot >= self._oldest and slot in self._slots:
            self._slots[slot] += difference
            self.total += difference
        elif difference > 0:
            self.take(now_slot, difference)

    def free_from(self, amount: int, limit: int) -> int | None:
        """Return the slot that has to be over before `amount` fits; None: it never does."""
        if amount > limit:
            return None
        left = self.total
        for slot in sorted(self._slots):
            left -= self._slots[slot]
            if left + amount <= limit:
                return slot
        return self.last
