"""Converse's stream as canonical events.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html.
Only tools announce themselves: a text or a thought begins with its first delta, and a block
that ends without one was empty and is nothing. Usage comes behind the stop; a stream that
ends without it has ended all the same. Sealed thoughts and signatures may come in pieces and
are given out whole, when their block ends.

The provider's own tools but its search are told by their names; they, their results and pictures are
counted in `skipped`. A stop reason that we do not know is a ``stop``, counted in `unknown`.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

import msgspec

from extproc import canonical
from extproc.errors import ProtocolViolation
from extproc.formats.base import UNREADABLE, State, TableStream, Taken
from extproc.formats.converse import wire
from extproc.formats.converse.answer import FINISH, stop_sequence, usage_of
from extproc.formats.converse.citations import SEARCH, read_citation, read_search
from extproc.formats.converse.errors import error_of, read_body
from extproc.framing.sse import Frame

Kind = Literal["text", "reasoning", "sealed", "tool_call", "search", "other"]


_DELTA = msgspec.json.Decoder(wire.BlockDelta)

_HELD = frozenset({"sealed", "search"})
"""What is told when it is whole."""


@dataclasses.dataclass(slots=True)
class _Block:
    kind: Kind
    part: int
    held: list[str]
    """The pieces of a signature, of a sealed thought, or of a search's input."""
    id: str = ""
    """A search's."""


class ConverseStream(TableStream[wire.Event]):
    """Converse's events in, canonical events out."""

    NEXT: ClassVar[Mapping[tuple[State, type], State]] = {
        (State.IDLE, wire.MessageStart): State.OPEN,
        (State.OPEN, wire.BlockStart): State.OPEN,
        (State.OPEN, wire.BlockDelta): State.OPEN,
        (State.OPEN, wire.BlockStop): State.OPEN,
        (State.OPEN, wire.MessageStop): State.FINISHED,
        (State.FINISHED, wire.Metadata): State.DONE,
        **{(state, wire.Failure): State.DONE for state in State if state != State.DONE},
    }

    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0
        """Blocks and deltas that the canonical stream cannot say."""
        self._open: dict[int, _Block] = {}
        self._closed = -1
        """The last block that has ended: they come in order."""
        self._parts = 0
        self._searches: set[str] = set()
        """The ids of searches of the web."""

    def take(self, frame: Frame) -> Taken:
        """See `StreamReader.take`."""
        if frame.name != "contentBlockDelta" or self.state is not State.OPEN:
            return super().take(frame)
        try:
            event = _DELTA.decode(frame.data)
        except UNREADABLE:
            return super().take(frame)
        block = self._open.get(event.content_block_index)
        if block is not None and (more := _more(block.kind, event.delta)):
            return canonical.Delta(block.part, more)
        return super().take(frame)

    def parse(self, frame: Frame) -> wire.Event | None:
        """See `TableStream.parse`."""
        decoder = wire.EVENTS.get(frame.name)
        if decoder is not None:
            return wire.decode(decoder, frame.data)
        what, _, name = frame.name.partition(" ")
        if what == ":exception":
            said = read_body(frame.data)
            return wire.Failure(name, said.message or said.shouted or "")
        if what == ":error":
            return wire.Failure(name, frame.data.decode("utf-8", "replace"))
        return None

    def translate(self, event: wire.Event) -> Iterator[canonical.Event]:
        """See `TableStream.translate`."""
        match event:
            case wire.BlockDelta(index, delta):
                yield from self._delta(index, delta)
            case wire.BlockStart(index, start):
                yield from self._start(index, start)
            case wire.BlockStop(index):
                yield from self._stop(index)
            case wire.MessageStart():
                yield canonical.Started("", "")
            case wire.MessageStop(reason, fields):
                if self._open:
                    raise ProtocolViolation(
                        f"the message stops in block {min(self._open)}"
                    )
                if reason not in FINISH:
                    self.unknown += 1
                finish = FINISH.get(reason, "stop")
                yield canonical.Finished(finish, stop_sequence(fields))
            case wire.Metadata(usage, tier):
                yield canonical.Reported(usage_of(usage), tier.type if tier else None)
                yield canonical.Ended()
            case wire.Failure():
                yield canonical.Failed(error_of(event))

    def close(self) -> list[canonical.Event]:
        """See `StreamReader.close`."""
        if self.state is State.FINISHED:
            self.state = State.DONE
            return [canonical.Ended()]
        return super().close()

    def _start(self, index: int, start: wire.Start) -> Iterator[canonical.Event]:
        if index in self._open or index <= self._closed:
            raise ProtocolViolation(f"block {index} starts twice")
        tool, result = start.tool_use, start.tool_result
        if result is not None and result.tool_use_id in self._searches:
            self._open[index] = _Block("other", -1, [])
            return
        if tool is None:
            # Of a text, or of what we cannot say: the first delta tells.
            return
        if tool.type is not None and tool.name == SEARCH:
            self._searches.add(tool.tool_use_id)
            self._open[index] = _Block("search", -1, [], tool.tool_use_id)
            return
        if tool.type is not None:
            self.skipped += 1
            self._open[index] = _Block("other", -1, [])
            yield canonical.Unsaid("toolUse")
            return
        part = self._begin(index, "tool_call").part
        yield canonical.PartStarted(part, "tool_call", tool.tool_use_id, tool.name)

    def _delta(self, index: int, delta: wire.DeltaBody) -> Iterator[canonical.Event]:
        kind, said = _said(delta)
        block = self._open.get(index)
        if block is None:
            if index <= self._closed:
                raise ProtocolViolation(f"block {index} has ended")
            if kind == "tool_call":
                raise ProtocolViolation(
                    f"block {index} is a call that nobody announced"
                )
            block = self._begin(index, kind)
            match kind:
                case "text" | "reasoning":
                    yield canonical.PartStarted(block.part, kind)
                case "sealed" | "search" | "other":
                    pass
        if kind == "other" or block.kind == "other":
            self.skipped += 1
            return
        if block.kind != kind and (block.kind, kind) != ("search", "tool_call"):
            raise ProtocolViolation(f"{kind} in block {index}, a {block.kind}")
        if block.kind in _HELD:
            block.held.append(said)
        elif said:
            yield canonical.Delta(block.part, said)
        if delta.citation is not None:
            yield canonical.Cited(block.part, read_citation(delta.citation))
        thought = delta.reasoning_content
        if thought is not None and thought.signature:
            block.held.append(thought.signature)

    def _stop(self, index: int) -> Iterator[canonical.Event]:
        block = self._open.pop(index, None)
        if block is None:
            if index <= self._closed:
                raise ProtocolViolation(f"block {index} ends twice")
        elif block.kind == "sealed":
            # It has its place among the parts only now that it is whole.
            part = self._next_part()
            sealed = _joined(block.held)
            yield canonical.PartStarted(part, "reasoning", encrypted=sealed)
            yield canonical.PartEnded(part)
        elif block.kind == "search":
            given = "".join(block.held).encode()
            yield canonical.Searched(read_search(block.id, given))
        elif block.kind != "other":
            if block.held:
                yield canonical.SignatureDelta(block.part, "".join(block.held))
            yield canonical.PartEnded(block.part)
        self._closed = max(self._closed, index)

    def _begin(self, index: int, kind: Kind) -> _Block:
        unseen = kind in {"other", "sealed"}
        block = _Block(kind, -1 if unseen else self._next_part(), [])
        self._open[index] = block
        return block

    def _next_part(self) -> int:
        self._parts += 1
        return self._parts - 1


def _more(kind: Kind, delta: wire.DeltaBody) -> str | None:
    """Return the text of a delta that is nothing but more of a block of `kind`."""
    text, thought = delta.text, delta.reasoning_content
    if delta.citation is not None:
        return None
    if thought is None:
        if kind == "text":
            return text
        if kind == "tool_call" and text is None and delta.tool_use is not None:
            return delta.tool_use.input
    elif kind == "reasoning" and text is None and delta.tool_use is None:
        sealed = thought.redacted_content is not None
        return None if sealed or thought.signature else thought.text
    return None


def _said(delta: wire.DeltaBody) -> tuple[Kind, str]:
    """Return what kind of block a delta belongs to, and its text."""
    if delta.text is not None or delta.citation is not None:
        return "text", delta.text or ""
    if delta.tool_use is not None:
        return "tool_call", delta.tool_use.input
    thought = delta.reasoning_content
    if thought is None:
        return "other", ""
    if thought.redacted_content is not None:
        return "sealed", thought.redacted_content
    return "reasoning", thought.text or ""


def _joined(pieces: list[str]) -> str:
    """Join base64, each piece of it padded for itself."""
    if len(pieces) == 1:
        return pieces[0]
    try:
        raw = b"".join(base64.b64decode(piece, validate=True) for piece in pieces)
    except (binascii.Error, ValueError):
        raise ProtocolViolation("a sealed thought is not base64") from None
    return base64.b64encode(raw).decode()
