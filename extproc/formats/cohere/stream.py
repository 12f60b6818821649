"""Cohere's events as canonical events: https://docs.cohere.com/v2/docs/streaming.

Each block and call begins and ends by name; a plan for calls only has deltas, and ends
where a call begins. Citations of a text may come behind its end, so a text is over only
when something else comes. Those of thoughts are counted in `skipped`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import msgspec

from extproc import canonical
from extproc.errors import ProtocolViolation
from extproc.formats.base import UNREADABLE, State, TableStream, Taken
from extproc.formats.cohere import wire
from extproc.formats.cohere.answer import FAILED, FINISH, cite, usage_of
from extproc.formats.cohere.errors import failure
from extproc.framing.sse import Frame

_OPEN = (
    wire.ContentStart, wire.ContentDelta, wire.ContentEnd, wire.ToolPlanDelta,
    wire.ToolCallStart, wire.ToolCallDelta, wire.ToolCallEnd, wire.CitationStart,
    wire.CitationEnd,
)  # fmt: skip


class EventStream(TableStream[wire.AnyEvent]):
    """Cohere's events in, canonical events out."""

    NEXT: ClassVar[Mapping[tuple[State, type], State]] = {
        (State.IDLE, wire.MessageStart): State.OPEN,
        (State.IDLE, wire.MessageEnd): State.DONE,
        **{(State.OPEN, kind): State.OPEN for kind in _OPEN},
        (State.OPEN, wire.MessageEnd): State.DONE,
        **{(state, wire.Debug): state for state in State},
    }

    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0
        """Events that the canonical stream cannot say."""
        self._parts = 0
        self._plan: int | None = None
        """The part that the open plan is."""
        self._blocks: dict[int, int] = {}
        """Open blocks by Cohere's index: the part of each."""
        self._texts: set[int] = set()
        """The parts that are texts."""
        self._calls: dict[int, int] = {}
        self._ended: tuple[int, int] | None = None
        """The text that citations may still come of: its block, and its part."""
        self._bare: set[int] = set()
        """Calls without arguments so far."""

    def take(self, frame: Frame) -> Taken:
        """See `StreamReader.take`."""
        try:
            event = wire.EVENT.decode(frame.data)
        except UNREADABLE:
            return super().take(frame)
        part, more = None, None
        if type(event) is wire.ContentDelta:
            part = self._blocks.get(event.index)
            content = event.delta.message.content
            more = content.text or content.thinking
        elif type(event) is wire.ToolCallDelta:
            part = self._calls.get(event.index)
            more = event.delta.message.tool_calls.function.arguments
            if part in self._bare:
                more = None  # its first
        if part is not None and more and self._ended is None:
            return canonical.Delta(part, more)
        return super().take(frame)

    def parse(self, frame: Frame) -> wire.AnyEvent | None:
        """See `TableStream.parse`."""
        if frame.data == b"[DONE]" or not frame.data:
            return None
        try:
            return wire.EVENT.decode(frame.data)
        except msgspec.ValidationError:
            if wire.NAME.decode(frame.data).type not in wire.NAMES:
                return None
            raise

    def translate(self, event: wire.AnyEvent) -> Iterator[canonical.Event]:
        """See `TableStream.translate`."""
        if not isinstance(event, wire.CitationStart | wire.CitationEnd | wire.Debug):
            yield from self._end_text()
        match event:
            case wire.ContentDelta(index, delta):
                part = _known(self._blocks, index)
                content = delta.message.content
                yield from _delta(part, content.text or content.thinking or "")
            case wire.ContentStart() | wire.ContentEnd() | wire.ToolPlanDelta():
                yield from self._words(event)
            case wire.ToolCallStart() | wire.ToolCallDelta() | wire.ToolCallEnd():
                yield from self._call(event)
            case wire.MessageStart(id_):
                yield canonical.Started(id_, "")
            case wire.MessageEnd(_, end):
                yield from self._end(end)
            case wire.CitationStart(_, delta):
                yield from self._cite(delta.message.citations)
            case wire.CitationEnd() | wire.Debug():
                self.skipped += 1

    def _words(
        self, event: wire.ContentStart | wire.ContentEnd | wire.ToolPlanDelta
    ) -> Iterator[canonical.Event]:
        match event:
            case wire.ContentStart(index, delta):
                if index in self._blocks:
                    raise ProtocolViolation(f"block {index} starts twice")
                content = delta.message.content
                thinks = content.type == "thinking"
                self._blocks[index] = part = self._begin()
                kind: canonical.PartKind = "reasoning" if thinks else "text"
                if not thinks:
                    self._texts.add(part)
                yield canonical.PartStarted(part, kind)
                yield from _delta(part, content.text or content.thinking or "")
            case wire.ContentEnd(index):
                part = _known(self._blocks, index)
                del self._blocks[index]
                if part in self._texts:
                    self._ended = index, part
                else:
                    yield canonical.PartEnded(part)
            case wire.ToolPlanDelta(delta):
                if self._plan is None:
                    self._plan = self._begin()
                    yield canonical.PartStarted(self._plan, "text")
                yield from _delta(self._plan, delta.message.tool_plan)

    def _call(
        self, event: wire.ToolCallStart | wire.ToolCallDelta | wire.ToolCallEnd
    ) -> Iterator[canonical.Event]:
        match event:
            case wire.ToolCallStart(index, delta):
                yield from self._end_plan()
                call = delta.message.tool_calls
                if index in self._calls or not call.function.name:
                    raise ProtocolViolation(
                        f"call {index} has no name, or starts twice"
                    )
                self._calls[index] = part = self._begin()
                self._bare.add(part)
                yield canonical.PartStarted(
                    part, "tool_call", call.id, call.function.name
                )
                yield from self._arguments(part, call.function.arguments)
            case wire.ToolCallDelta(index, delta):
                part = _known(self._calls, index)
                yield from self._arguments(
                    part, delta.message.tool_calls.function.arguments
                )
            case wire.ToolCallEnd(index):
                part = _known(self._calls, index)
                del self._calls[index]
                if part in self._bare:
                    # Clients parse the arguments, and "" is not JSON.
                    yield canonical.Delta(part, "{}")
                yield canonical.PartEnded(part)

    def _cite(self, said: wire.Citation) -> Iterator[canonical.Event]:
        ended = dict([self._ended] if self._ended else [])
        texts = {i: p for i, p in {**self._blocks, **ended}.items() if p in self._texts}
        part: int | None = None
        if said.type == "PLAN":
            part = self._plan
        elif said.content_index is not None:
            part = texts.get(said.content_index)
        elif texts:
            part = texts[max(texts)]
        if part is None:
            self.skipped += 1
            yield canonical.Unsaid("citations")
            return
        for citation in cite(said):
            yield canonical.Cited(part, citation)

    def _end_text(self) -> Iterator[canonical.Event]:
        if self._ended is not None:
            yield canonical.PartEnded(self._ended[1])
            self._ended = None

    def _arguments(self, part: int, text: str | None) -> Iterator[canonical.Event]:
        if text:
            self._bare.discard(part)
            yield canonical.Delta(part, text)

    def _end(self, end: wire.End) -> Iterator[canonical.Event]:
        reason = end.finish_reason or ("ERROR" if end.error else "COMPLETE")
        if reason in FAILED:
            yield canonical.Failed(failure(end.error, reason))
            return
        yield from self._end_plan()
        if self._blocks or self._calls:
            raise ProtocolViolation("the message ends inside a block")
        if reason not in FINISH:
            self.unknown += 1
        yield canonical.Finished(FINISH.get(reason, "stop"))
        usage = usage_of(end.usage)
        if usage is not None:
            yield canonical.Reported(usage)
        yield canonical.Ended()

    def _end_plan(self) -> Iterator[canonical.Event]:
        if self._plan is not None:
            yield canonical.PartEnded(self._plan)
            self._plan = None

    def _begin(self) -> int:
        self._parts += 1
        return self._parts - 1


def _known(parts: Mapping[int, int], index: int) -> int:
    part = parts.get(index)
    if part is None:
        raise ProtocolViolation(f"block or call {index} is not open")
    return part


def _delta(part: int, text: str) -> Iterator[canonical.Event]:
    if text:
        yield canonical.Delta(part, text)
