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
from extproc.formats.held_event import HeldEvent
from extproc.formats.openai_responses import answer_wire
from extproc.formats.openai_responses.errors import read_error_event, read_failure
from extproc.formats.openai_responses.usage import read_usage
from extproc.formats.openai_responses.wire import present
from extproc.framing.sse import parse_frames
from extproc.usage import Usage

_OF_INTEREST = re.compile(
    rb'"(?:response\.(?:created|completed|incomplete|failed)|error)"'
)
_END = re.compile(rb'"response\.(?:completed|incomplete|failed)"')
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})

_GLANCE = msgspec.json.Decoder(answer_wire.Glance)


class ResponsePassage:
    """See the module's docstring; the interface is `formats.base.Passage`."""

    __slots__ = ("_held", "_over", "error", "model", "usage")

    def __init__(self, show_usage: bool = True) -> None:  # noqa: ARG002  always shown
        self.usage: Usage | None = None
        self.model: str | None = None
        self.error: GatewayError | None = None
        self._over = False
        self._held = HeldEvent()

    def feed(self, data: bytes) -> bytes:
        """Return what of `data`, and of what was held, may pass now."""
        held = self._held
        whole = held.cut(data)
        if whole:
            self._look(whole)
            whole = held.fresh(whole)
        if held.forgotten:
            self._over = self._over or _END.search(held.forgotten) is not None
            held.forgotten = b""
        return whole + held.early(data)

    def close(self) -> bytes:
        """Return the rest: an event without its empty line, as some servers end.

        Raises:
            TruncatedStream: nothing said that the response is over. What is held then
                is a part of an event that no client could read, and is dropped.
        """
        tail = self._held.rest()
        if tail.strip():
            self._look(tail + b"\n\n")
        if not self._over:
            raise TruncatedStream("the provider's stream ended in the middle")
        return self._held.fresh(tail)

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
