r"""A stream whose client and provider both speak this format: its bytes pass.

They are the provider's own to the last byte; a copy is looked at. An incomplete event at
the end of a read waits for its rest, so that, should the stream break off, what we have
to say begins on a line of its own.

Frames are cut, not parsed: a search says whether one of them can be of interest. JSON
writes a quote inside a string as ``\"``, so a type with both of its quotes bare is a
member's value, whatever the model says.
"""

from __future__ import annotations

import re

import msgspec

from extproc.errors import GatewayError, TruncatedStream
from extproc.formats.openai_responses import answer_wire
from extproc.formats.openai_responses.errors import read_error_event, read_failure
from extproc.formats.openai_responses.usage import read_usage
from extproc.formats.openai_responses.wire import present
from extproc.framing.sse import MAX_FRAME, parse_frames, split_frames
from extproc.usage import Usage

MOST_HELD = 64 * 1024
"""An incomplete event over this length passes as it comes; it carries a picture, a file
or the whole response, and its client gains by having it early."""

_OF_INTEREST = re.compile(
    rb'"(?:response\.(?:created|completed|incomplete|failed)|error)"'
)
_END = re.compile(rb'"response\.(?:completed|incomplete|failed)"')
_HEAD = 256
"""An event says which it is within its first bytes, as OpenAI writes it."""

_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})

_GLANCE = msgspec.json.Decoder(answer_wire.Glance)


class ResponsePassage:
    """See the module's docstring; the interface is `formats.base.Passage`."""

    __slots__ = ("_held", "_held_bytes", "_over", "_passed", "error", "model", "usage")

    def __init__(self, show_usage: bool = True) -> None:  # noqa: ARG002  always shown
        self.usage: Usage | None = None
        self.model: str | None = None
        self.error: GatewayError | None = None
        self._over = False
        self._held: list[bytes] = []
        """The incomplete event at the end of what has come."""
        self._held_bytes = 0
        self._passed = 0
        """How much of it the client has already."""

    def feed(self, data: bytes) -> bytes:
        """Return what of `data`, and of what was held, may pass now."""
        passing = self._cut(data)
        if passing:
            self._look(passing)
            passing, self._passed = passing[self._passed :], 0
        if self._passed or self._held_bytes > MOST_HELD:
            passing += data if self._passed else b"".join(self._held)
            self._passed = self._held_bytes
        return passing

    def close(self) -> bytes:
        """Return the rest: an event without its empty line, as some servers end.

        Raises:
            TruncatedStream: nothing said that the response is over. What is held then
                is a part of an event that no client could read, and is dropped.
        """
        tail = b"".join(self._held)
        self._held = []
        if tail.strip():
            self._look(tail + b"\n\n")
        if not self._over:
            raise TruncatedStream("the provider's stream ended in the middle")
        return tail[self._passed :]

    def _cut(self, data: bytes) -> bytes:
        """Return the frames that `data` completes, and hold the rest."""
        if not self._held:
            whole, tail = split_frames(data)
        else:
            # Only the last two bytes before `data` can be a part of an empty line that
            # ends in it, so a long event is not searched again with each of its reads.
            edge = b"".join(self._held[-2:])[-2:]
            whole, tail = split_frames(edge + data)
            if not whole:
                self._hold(data)
                return b""
            self._held.append(data[: len(whole) - len(edge)])
            whole = b"".join(self._held)
        self._held = [tail] if tail else []
        self._held_bytes = len(tail)
        return whole

    def _hold(self, data: bytes) -> None:
        if data:
            self._held.append(data)
            self._held_bytes += len(data)
        if self._held_bytes > MAX_FRAME:
            # All of it has passed; what the event says is not worth the memory.
            held = b"".join(self._held)
            self._over = self._over or _END.search(held[:_HEAD]) is not None
            self._held = [held[-2:]]
            self._held_bytes = self._passed = len(self._held[0])

    def _look(self, frames: bytes) -> None:
        """Read what `frames` say that is of interest to us."""
        if _OF_INTEREST.search(frames) is None:
            return
        for frame in parse_frames(frames):
            if _OF_INTEREST.search(frame.data) is not None:
                self._read(frame.data)

    def _read(self, data: bytes) -> None:
        try:
            said = _GLANCE.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return  # passes as it is: the client's to judge
        if said.type == "error" or (not said.type and present(said.error)):
            self.error = self.error or read_error_event(said)
            self._over = True
        if said.response is None:
            return
        self.model = said.response.model or self.model
        self.usage = read_usage(said.response.usage) or self.usage
        self._over = self._over or said.type in _ENDS
        if said.type == "response.failed":
            self.error = self.error or read_failure(said.response)
