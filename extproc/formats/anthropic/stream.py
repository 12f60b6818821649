"""Anthropic's message stream as canonical events.

https://platform.claude.com/docs/en/build-with-claude/streaming. A look at the web is
told when its results have come, or at the end. Blocks of other server tools are told by
their names; they and their deltas, and deltas of unknown types, are counted in `skipped`. A
stop reason that we do not know is a ``stop``, counted in `unknown`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import ClassVar

import msgspec

from extproc import canonical
from extproc.errors import ProtocolViolation
from extproc.formats.anthropic import wire
from extproc.formats.anthropic.answer import (
    FINISH,
    SERVICE_TIERS,
    WEB,
    fold,
    usage_of,
)
from extproc.formats.anthropic.citations import RESULTS, read_citation, read_search
from extproc.formats.anthropic.errors import error_of
from extproc.formats.base import UNREADABLE, State, TableStream, Taken
from extproc.framing.sse import Frame

SAID: Mapping[type, type] = {
    wire.TextBlock: wire.TextDelta,
    wire.ThinkingBlock: wire.ThinkingDelta,
    wire.ToolUseBlock: wire.InputJsonDelta,
}
"""In which delta the words of a block come."""

_OPEN = State.OPEN
_decode = wire.EVENT.decode

BESIDE: Mapping[type, type] = {
    wire.TextBlock: wire.CitationsDelta,
    wire.ThinkingBlock: wire.SignatureDelta,
}
"""Which other delta may come in a block."""


@dataclasses.dataclass(slots=True)
class _Block:
    """A block that is open."""

    kind: type
    part: int
    """The canonical part that it is; -1: none."""
    said: type | None
    """The delta that its words come in."""


@dataclasses.dataclass(slots=True)
class _Asked:
    """A look at the web whose results are still to come."""

    id: str
    tool: str
    query: list[str]
    """The pieces of its input."""

    def search(self, found: bytes) -> canonical.Search:
        given = "".join(self.query).encode()
        return read_search(self.id, self.tool, given, found)


class MessageStream(TableStream[wire.Event]):
    """Message events in, canonical events out."""

    NEXT: ClassVar[Mapping[tuple[State, type], State]] = {
        (State.IDLE, wire.MessageStart): State.OPEN,
        (State.OPEN, wire.BlockStart): State.OPEN,
        (State.OPEN, wire.OtherBlockStart): State.OPEN,
        (State.OPEN, wire.BlockDelta): State.OPEN,
        (State.OPEN, wire.OtherDelta): State.OPEN,
        (State.OPEN, wire.BlockStop): State.OPEN,
        (State.OPEN, wire.UsageUpdate): State.OPEN,
        (State.OPEN, wire.MessageDelta): State.FINISHED,
        (State.FINISHED, wire.MessageDelta): State.FINISHED,
        (State.FINISHED, wire.UsageUpdate): State.FINISHED,
        (State.FINISHED, wire.MessageStop): State.DONE,
        **{(state, wire.Ping): state for state in State},
        **{(state, wire.Error): State.DONE for state in State if state != State.DONE},
    }

    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0
        """Blocks and deltas that the canonical stream cannot say."""
        self._usage = wire.WireUsage()
        self._open: dict[int, _Block] = {}
        self._parts = 0
        self._finished = False
        self._asked: dict[int, _Asked] = {}  # searches without results, by their block

    def take(self, frame: Frame) -> Taken:
        """See `StreamReader.take`."""
        try:
            event = _decode(frame.data)
        except UNREADABLE:
            return super().take(frame)
        if type(event) is wire.BlockDelta and self.state is _OPEN:
            block, delta = self._open.get(event.index), event.delta
            if (
                isinstance(delta, wire.Words)
                and block is not None
                and block.said is type(delta)
                and delta.text
            ):
                return canonical.Delta(block.part, delta.text)
        return super().take(frame)

    def parse(self, frame: Frame) -> wire.Event | None:
        """See `TableStream.parse`; the event's own ``type`` counts, as in the SDKs."""
        return wire.read_event(frame.data)

    def translate(self, event: wire.Event) -> Iterator[canonical.Event]:
        """See `TableStream.translate`."""
        match event:
            case wire.BlockDelta(index, delta):
                yield from self._delta(index, delta)
            case wire.BlockStart() | wire.OtherBlockStart():
                yield from self._start(event)
            case wire.BlockStop(index):
                block = self._block(index)
                del self._open[index]
                if block.part >= 0:
                    yield canonical.PartEnded(block.part)
            case wire.OtherDelta(index):
                self._block(index)
                self.skipped += 1
            case wire.MessageStart(message):
                self._usage = message.usage
                usage = usage_of(message.usage)
                tier = SERVICE_TIERS.get(message.usage.service_tier)
                yield canonical.Started(
                    message.id, message.model, usage, service_tier=tier
                )
            case wire.MessageDelta(stop, usage_or_none):
                yield from self._finish(stop)
                yield from self._report(usage_or_none)
            case wire.UsageUpdate(counts):
                yield from self._report(counts)
            case wire.MessageStop():
                yield canonical.Ended()
            case wire.Ping():
                yield canonical.KeepAlive()
            case wire.Error(detail):
                yield canonical.Failed(error_of(detail))

    def close(self) -> list[canonical.Event]:
        """See `StreamReader.close`; behind the stop reason there is nothing to miss."""
        if self.state is State.FINISHED:
            self.state = State.DONE
            return [canonical.Ended()]
        return super().close()

    def _start(
        self, event: wire.BlockStart | wire.OtherBlockStart
    ) -> Iterator[canonical.Event]:
        if event.index in self._open:
            raise ProtocolViolation(f"block {event.index} starts twice")
        if isinstance(event, wire.OtherBlockStart):
            self._open[event.index] = _Block(wire.OtherBlockStart, -1, None)
            yield from self._start_server_block(event.index, event.content_block)
            return
        part = self._parts
        self._parts += 1
        kind = type(event.content_block)
        self._open[event.index] = _Block(kind, part, SAID.get(kind))
        match event.content_block:
            case wire.TextBlock(text):
                yield canonical.PartStarted(part, "text")
                if text:
                    yield canonical.Delta(part, text)
            case wire.ThinkingBlock(thinking, signature):
                yield canonical.PartStarted(part, "reasoning")
                if thinking:
                    yield canonical.Delta(part, thinking)
                if signature:
                    yield canonical.SignatureDelta(part, signature)
            case wire.RedactedThinkingBlock(sealed):
                yield canonical.PartStarted(part, "reasoning", encrypted=sealed)
            case wire.ToolUseBlock(call, name, given):
                yield canonical.PartStarted(part, "tool_call", call, name)
                # The API streams the input behind an empty object; others send it whole.
                whole = bytes(given).decode()
                if whole.strip("{} \t\r\n"):
                    yield canonical.Delta(part, whole)

    def _start_server_block(
        self, index: int, block: wire.ServerBlock
    ) -> Iterator[canonical.Event]:
        if block.type == "server_tool_use" and block.name in WEB:
            said = bytes(block.input).decode()
            given = [said] if said != "{}" else []
            self._asked[index] = _Asked(block.id, block.name, given)
            return
        found = [i for i, one in self._asked.items() if one.id == block.tool_use_id]
        if block.type in RESULTS and found:
            asked = self._asked.pop(found[0])
            yield canonical.Searched(asked.search(bytes(block.content)))
            return
        self.skipped += 1
        yield canonical.Unsaid(block.type)

    def _delta(
        self, index: int, delta: wire.BlockDeltaBody
    ) -> Iterator[canonical.Event]:
        block = self._block(index)
        if block.kind is wire.OtherBlockStart:
            if index in self._asked and isinstance(delta, wire.InputJsonDelta):
                self._asked[index].query.append(delta.text)
            else:
                self.skipped += 1
        elif type(delta) not in {block.said, BESIDE.get(block.kind)}:
            raise ProtocolViolation(
                f"{type(delta).__name__} in a {block.kind.__name__}"
            )
        elif isinstance(delta, wire.SignatureDelta):
            yield canonical.SignatureDelta(block.part, delta.signature)
        elif isinstance(delta, wire.CitationsDelta):
            try:
                yield canonical.Cited(block.part, read_citation(delta.citation))
            except msgspec.MsgspecError as exc:
                raise ProtocolViolation(f"cannot read a citation: {exc}") from exc
        elif delta.text:
            yield canonical.Delta(block.part, delta.text)

    def _finish(self, stop: wire.Stop) -> Iterator[canonical.Event]:
        if self._open:
            raise ProtocolViolation(f"the message stops in block {min(self._open)}")
        if self._finished:
            return
        self._finished = True
        for asked in self._asked.values():
            yield canonical.Searched(asked.search(b""))
        if stop.stop_reason not in FINISH:
            self.unknown += 1
        finish = FINISH.get(stop.stop_reason, "stop")
        yield canonical.Finished(finish, stop.stop_sequence)

    def _report(self, counts: wire.WireUsage | None) -> Iterator[canonical.Event]:
        self._usage = fold(self._usage, counts or wire.WireUsage())
        if self._finished:
            yield canonical.Reported(usage_of(self._usage))

    def _block(self, index: int) -> _Block:
        try:
            return self._open[index]
        except KeyError:
            raise ProtocolViolation(f"block {index} is not open") from None
