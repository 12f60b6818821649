"""How many bytes of bodies a worker holds at once, and who has to wait with more.

A request's body is held until it is whole, read, and written for its providers; an answer
that is translated or counted as a whole, until its client's is sent. Up to `FREE` bytes are
counted as they come. Whoever has more goes on as long as everybody who has could still
come to an end, one after the other, by what each may come to and whatever the others do
(the banker's algorithm, Dijkstra, EWD 623). Else it waits until there is room. So what is
announced and never comes takes no room from anybody, and somebody always gets on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

FREE: Final = 256 * 1024
"""Bytes that nobody waits for room for: as many as a stream's window lets come unasked."""
STEP: Final = 2 * FREE
"""Bytes that are given at a time: who is told to wait may still send a window."""


class Room:
    """What one request, or one answer, holds."""

    __slots__ = ("given", "large", "need", "new", "size", "turn", "until")

    def __init__(self) -> None:
        self.size = 0
        """Bytes that are here."""
        self.given = 0
        """Bytes that are here or may come, if it is large."""
        self.need = 0
        """Bytes that it may come to."""
        self.large = False
        """Whether it has more than `FREE`."""
        self.new = True
        """Whether it has never had room."""
        self.turn: asyncio.Future[None] | None = None
        """While it waits for room: done once there is some."""
        self.until = 0.0
        """By when it must have had it, by the clock of who asked."""


class Bodies:
    """All rooms of a worker."""

    __slots__ = ("_going", "_line", "_loose", "limit")

    def __init__(self, limit: int = 512 * 1024 * 1024) -> None:
        self.limit = limit
        """Bytes; one body may have more, alone. Short bodies, which wait for nobody, are
        refused where they alone come to as much."""
        self._loose = 0
        """Bytes of those that are short,"""
        self._going: dict[Room, None] = {}
        """who has more and goes on,"""
        self._line: dict[Room, None] = {}
        """and who waits, the first first."""

    @property
    def held(self) -> int:
        """Bytes that are here, or may come."""
        return self._loose + sum(
            one.given for rooms in (self._going, self._line) for one in rooms
        )

    @property
    def waiting(self) -> int:
        """How many wait for room."""
        return len(self._line)

    def hold(self, room: Room, size: int, whole: Callable[[], int]) -> bool:
        """Count `size` bytes for `room`, now that they are here.

        It waits from here on where `room.turn` is set.

        Args:
            room: of the request, or of the answer.
            size: bytes of it that are held.
            whole: how many it may come to; asked when there is more than `FREE`.

        Returns:
            False: there are far too many already, and it is to be refused.
        """
        if not room.large:
            self._loose += size - room.size
            room.size = size
            if size <= FREE:
                return self._unasked() <= self.limit
            self._loose -= size
            room.large, room.need, room.given = True, whole(), size
            if self._line or not self._go_on(room):
                self._wait(room)
            return room.turn is None or self._unasked() <= self.limit
        room.size = max(room.size, size)
        if room.turn is not None:
            room.given = max(room.given, room.size)
        elif room.size + FREE > room.given and not self._go_on(room):
            self._wait(room)
        return True

    def leave(self, room: Room) -> None:
        """Let go of all that `room` holds; whoever waited for it may go on."""
        if not room.large:
            self._loose -= room.size
        self._going.pop(room, None)
        self._line.pop(room, None)
        room.size, room.given, room.large, room.turn = 0, 0, False, None
        room.new = True
        for one in tuple(self._line):
            if not self._let_on(one) and one.new:
                break  # of those who have just come, nobody overtakes another
        if self._line and not self._going:
            # What has come unasked is too much for all: the one that needs least goes on.
            self._let_on(min(self._line, key=_rest), alone=True)

    def _unasked(self) -> int:
        """Return how many bytes are here that have not been given any room."""
        return self._loose + sum(one.size for one in self._line if one.new)

    def _wait(self, room: Room) -> None:
        if not self._going.keys() - {room}:
            self._go_on(room, alone=True)
            return
        self._going.pop(room, None)
        room.given = max(room.given, room.size)
        room.turn = asyncio.get_running_loop().create_future()
        self._line[room] = None

    def _let_on(self, room: Room, *, alone: bool = False) -> bool:
        if not self._go_on(room, alone=alone):
            return False
        del self._line[room]
        turn, room.turn = room.turn, None
        if turn is not None and not turn.done():
            turn.set_result(None)
        return True

    def _go_on(self, room: Room, *, alone: bool = False) -> bool:
        """Give `room` what comes next of it, if all can still come to an end."""
        before, room.given = (
            room.given,
            max(room.size, min(room.size + STEP, room.need)),
        )
        if alone or self._safe(room):
            self._going[room], room.new = None, False
            return True
        room.given = before
        return False

    def _safe(self, asking: Room) -> bool:
        rooms = {**self._going, **self._line, asking: None}
        free = self.limit - self._loose
        if sum(max(one.need, one.given) for one in rooms) <= free:
            return True
        free -= sum(one.given for one in rooms)
        if free < 0:
            return False
        for one in sorted(rooms, key=_rest):
            if min(one.need, self.limit) - one.given > free:
                return False
            free += one.given
        return True


def _rest(room: Room) -> int:
    return room.need - room.given
