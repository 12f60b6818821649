r"""A stream whose client and provider both speak this format: its bytes pass.

They are the provider's own to the last byte; a copy is looked at. An incomplete event at
the end of a read waits for its rest, so that, should the stream break off, what we have
to say begins on a line of its own.

Frames are cut, not parsed: a search says whether one of them can be of interest. JSON
writes a quote inside a string as ``\"``, so a type with both of its quotes bare is a
member's value, whatever the model says.

A stream that breaks off ends as it would if it were ours: in an ``error`` and a
``response.failed`` of the response that the provider had begun, numbered as it had.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from extproc.errors import GatewayError, TruncatedStream
from extproc.formats.base import WriterContext
from extproc.formats.held_event import HeldEvent
from extproc.formats.openai_responses import answer_wire, output
from extproc.formats.openai_responses.errors import (
    failure_of,
    read_error_event,
    read_failure,
    write_error_event,
)
from extproc.formats.openai_responses.usage import read_usage
from extproc.formats.openai_responses.wire import present
from extproc.framing.sse import encode_frame, parse_frames
from extproc.usage import Usage

_OF_INTEREST = re.compile(
    rb'"(?:response\.(?:created|completed|incomplete|failed)|error)"'
)
_END = re.compile(rb'"response\.(?:completed|incomplete|failed)"')
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})

_NUMBERED = b'"sequence_number":'
_NUMBER = re.compile(rb" ?(\d+)")
_DIGITS = 24
"""Bytes behind the mark that are kept: a number has fewer."""

MOST_KEPT = 1024
"""Bytes of a member of the response that is begun. Ids, models and settings are shorter;
prompts and tools, which it repeats, are not, and a stream is to hold little."""

_GLANCE = msgspec.json.Decoder(answer_wire.Glance)
_encode = msgspec.json.Encoder().encode


class _Begun(msgspec.Struct, frozen=True):
    """What is kept of ``response.created``."""

    response: dict[str, msgspec.Raw]


_BEGUN = msgspec.json.Decoder(_Begun)


class ResponsePassage:
    """See the module's docstring; the interface is `formats.base.Passage`."""

    __slots__ = ("_begun", "_held", "_number", "_over", "error", "model", "usage")

    def __init__(self, show_usage: bool = True) -> None:  # noqa: ARG002  always shown
        self.usage: Usage | None = None
        self.model: str | None = None
        self.error: GatewayError | None = None
        self._over = False
        self._held = HeldEvent()
        self._begun: dict[str, msgspec.Raw] = {}
        """The short members of the response, as they were when it began."""
        self._number = b""
        """How the last event's number begins."""

    def feed(self, data: bytes) -> bytes:
        """Return what of `data`, and of what was held, may pass now."""
        held = self._held
        whole = held.cut(data)
        if whole:
            self._look(whole)
            if held.passed:
                whole = held.fresh(whole)
        if held.forgotten:
            self._over = self._over or _END.search(held.forgotten) is not None
            held.forgotten = b""
        return whole + held.early(data) if held.size else whole

    def close(self) -> bytes:
        """Return the rest: an event without its empty line, as some servers end.

        Raises:
            TruncatedStream: nothing said that the response is over. What is held then
                is a part of an event that no client could read, and is dropped.
        """
        tail = self._held.rest()
        if tail.strip():
            seen = self._number
            self._look(tail + b"\n\n")
            if not self._over:
                self._number = seen  # the client does not see the torn one
        if not self._over:
            raise TruncatedStream("the provider's stream ended in the middle")
        return self._held.fresh(tail)

    def fail(self, error: GatewayError, context: WriterContext) -> bytes:
        """Return the end of a stream that broke off; see `LastWords.fail`."""
        found = _NUMBER.match(self._number)
        number = int(found[1]) + 1 if found else 0
        failed = output.response(
            context, "failed", model=context.model, created=context.created
        )
        failed |= self._begun
        failed |= {"status": "failed", "error": failure_of(error), "output": []}
        event: dict[str, Any] = {
            "type": "response.failed",
            "sequence_number": number + 1,
            "response": failed,
        }
        last = encode_frame(_encode(event), "response.failed")
        return write_error_event(error, number) + last

    def _look(self, frames: bytes) -> None:
        """Read what `frames` say that is of interest to us."""
        place = frames.rfind(_NUMBERED)
        if place >= 0:
            place += len(_NUMBERED)
            self._number = frames[place : place + _DIGITS]
        if _OF_INTEREST.search(frames) is None:
            return
        for frame in parse_frames(frames):
            if _OF_INTEREST.search(frame.data) is not None:
                self._read(frame.data)

    def _read(self, data: bytes) -> None:
        try:
            said = _GLANCE.decode(data)
            if said.type == "response.created":
                self._begin(data)
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

    def _begin(self, data: bytes) -> None:
        told = _BEGUN.decode(data).response
        self._begun = {
            name: raw.copy() for name, raw in told.items() if len(raw) <= MOST_KEPT
        }
