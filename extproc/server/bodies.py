"""How many bytes of bodies a worker holds at once, and who has to wait with more.

A request's is held until it is whole, read, and written for its providers; an answer that
has to be whole, until its client's is sent. One up to `FREE` bytes is counted as it comes.
A longer one needs room for all of it first: with room it comes to its end whatever the
others do, and without, in order of arrival, it waits until there is some. Nobody who
waits is waited for, so that somebody always gets on. What comes to more than was said has
to find room at once. While others wait, a request's body with room has to come as fast as
it must to be here in time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

FREE: Final = 256 * 1024
"""Bytes that nobody waits for room for: as many as a stream's window lets come unasked."""

AHEAD_SECONDS: Final = 2.0
"""Of its time that a body may be behind, while others wait: a connection begins slowly."""


class Room:
    """What one request holds, or its answer."""

    __slots__ = ("large", "since", "size", "turn", "until")

    def __init__(self) -> None:
        self.size = 0
        """Bytes that are counted for it."""
        self.large = False
        """Whether it has room for all that comes."""
        self.turn: asyncio.Future[None] | None = None
        """While it waits for room: done once there is some."""
        self.until = 0.0
        """By when it must have had it, by the clock of who asked."""
        self.since = 0.0
        """When it got it."""

    def due(self, here: int, deadline: float) -> float:
        """Return by when more of a body must have come, of which so much is here."""
        whole = deadline - self.since
        return min(deadline, self.since + AHEAD_SECONDS + whole * here / self.size)


class Bodies:
    """All rooms of a worker."""

    __slots__ = ("_clock", "_large", "_line", "_loose", "_roomy", "limit")

    def __init__(
        self,
        limit: int = 512 * 1024 * 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` is that of who asks."""
        self._clock = clock
        self.limit = limit
        """Bytes; one body may have more, alone. Short bodies, which wait for nobody, are
        refused where they alone come to as much."""
        self._large = 0
        """How many have room,"""
        self._roomy = 0
        """and for how many bytes."""
        self._loose = 0
        """Bytes of all others."""
        self._line: dict[Room, int] = {}
        """Who waits, the first first, and how much each will need in all."""

    @property
    def held(self) -> int:
        """Bytes that are here, or that there is room for."""
        return self._roomy + self._loose

    @property
    def waiting(self) -> int:
        """How many wait for room."""
        return len(self._line)

    def hold(self, room: Room, size: int, whole: Callable[[], int]) -> bool:
        """Count `size` bytes for `room`, now that they are here.

        It waits from here on where `room.turn` is set.

        Args:
            room: of the request, or of its answer.
            size: bytes of it that are held.
            whole: how many it may come to; asked when there is more than `FREE`, and again
                where it has become more than that.

        Returns:
            False: there are far too many already, and it is to be refused.
        """
        if room.large:
            return size <= room.size or self._grow(room, max(size, whole()))
        self._loose += size - room.size
        room.size = size
        if size > FREE and room.turn is None:
            need = max(size, whole())
            if not self._line and self._fits(need - size):
                self._admit(room, need)
                return True
            room.turn = asyncio.get_running_loop().create_future()
            self._line[room] = need
        return self._loose <= self.limit

    def leave(self, room: Room) -> None:
        """Let go of all that `room` holds; whoever waited for it may go on."""
        if room.large:
            self._large -= 1
            self._roomy -= room.size
        else:
            self._loose -= room.size
            self._line.pop(room, None)
        room.size, room.large, room.turn = 0, False, None
        while self._line:
            first, need = next(iter(self._line.items()))
            need = max(need, first.size)
            if not self._fits(need - first.size):
                break
            del self._line[first]
            turn, first.turn = first.turn, None
            self._admit(first, need)
            if turn is not None and not turn.done():
                turn.set_result(None)

    def _grow(self, room: Room, size: int) -> bool:
        # It does not wait: of many that hold much and wait for more, none would get on.
        more = size - room.size
        if self._large > 1 and self.held + more > self.limit:
            return False
        room.size += more
        self._roomy += more
        return True

    def _fits(self, more: int) -> bool:
        return not self._large or self.held + more <= self.limit

    def _admit(self, room: Room, need: int) -> None:
        self._loose -= room.size
        self._roomy += need
        self._large += 1
        room.size, room.large, room.since = need, True, self._clock()
