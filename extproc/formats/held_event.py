"""The event at the end of a read that is not whole yet, in a stream whose bytes pass.

It waits for its rest, so that what we may have to say begins on a line of its own; one that
is long passes as it comes, and only a copy is kept for looking at.
"""

from __future__ import annotations

from extproc.framing.sse import MAX_FRAME, split_frames

MOST_HELD = 64 * 1024
"""An incomplete event over this length passes as it comes. It carries a picture, sound, a
file, a whole tool call or response, and its client gains by having it early."""

HEAD = 256
"""An event says which it is within its first bytes, as OpenAI writes it."""


class HeldEvent:
    """Cuts the reads of a stream into whole events, and holds the rest."""

    __slots__ = ("_pieces", "forgotten", "passed", "size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size = 0
        """How many bytes are held."""
        self.passed = 0
        """How much of it the client has already."""
        self.forgotten = b""
        """The head of an event that was too long to be kept."""

    def cut(self, data: bytes) -> bytes:
        """Return the events that `data` completes, and hold the rest."""
        if not self._pieces:
            whole, tail = split_frames(data)
        else:
            # Only the last two bytes before `data` can be a part of an empty line that
            # ends in it, so a long event is not searched again with each of its reads.
            edge = b"".join(self._pieces[-2:])[-2:]
            whole, tail = split_frames(edge + data)
            if not whole:
                self._hold(data)
                return b""
            self._pieces.append(data[: len(whole) - len(edge)])
            whole = b"".join(self._pieces)
        self._pieces = [tail] if tail else []
        self.size = len(tail)
        return whole

    def _hold(self, data: bytes) -> None:
        if data:
            self._pieces.append(data)
            self.size += len(data)
        if self.size > MAX_FRAME:
            # All of it has passed; what the event says is not worth the memory.
            held = b"".join(self._pieces)
            self.forgotten = held[:HEAD]
            self._pieces = [held[-2:]]
            self.size = self.passed = len(self._pieces[0])

    def fresh(self, whole: bytes) -> bytes:
        """Return `whole` events without what of the first has passed before."""
        passed, self.passed = self.passed, 0
        return whole[passed:] if passed else whole

    def early(self, data: bytes) -> bytes:
        """Return what of the held event passes now; `data` is the read that ends in it."""
        if not self.passed and self.size <= MOST_HELD:
            return b""
        passing = data if self.passed else b"".join(self._pieces)
        self.passed = self.size
        return passing

    def rest(self) -> bytes:
        """Return all of the held event, and hold it no longer."""
        tail = b"".join(self._pieces)
        self._pieces = []
        return tail
