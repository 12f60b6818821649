"""The events of a response's stream in, canonical events out.

What is said in pieces is taken from the pieces; what an item or the response says at its
end fills in only what no piece has said, since some servers leave pieces out. Reasoning
becomes two parts, as in `answer_reader`.

Items of built-in tools other than the search of the web are told by their names; they,
their events and sound are counted in `skipped`. They are signs of life, and passed on as
such.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

import msgspec

from extproc import canonical
from extproc.errors import GatewayError, ProtocolViolation
from extproc.formats.base import UNREADABLE, State, TableStream, Taken
from extproc.formats.openai_annotations import read_annotation
from extproc.formats.openai_responses import answer_wire as wire
from extproc.formats.openai_responses.answer_reader import (
    BETWEEN_SUMMARIES,
    arguments_of,
    proof_of,
    read_call,
    read_finish,
    read_item,
    read_search,
    thought_of,
)
from extproc.formats.openai_responses.errors import read_error_event, read_failure
from extproc.formats.openai_responses.logprobs import Token, read_tokens
from extproc.formats.openai_responses.usage import read_usage
from extproc.formats.openai_responses.wire import ABSENT, present, raw as raw_of
from extproc.framing.sse import Frame

_EVENT: msgspec.json.Decoder[wire.AnyEvent] = msgspec.json.Decoder(wire.AnyEvent)
_GLANCE = msgspec.json.Decoder(wire.Glance)
_NO_TOKENS = (ABSENT, msgspec.Raw(b"[]"), msgspec.Raw(b"null"))

_PIECES = (
    wire.ItemAdded, wire.ItemDone, wire.PartAdded, wire.PartDone, wire.TextDelta,
    wire.AnnotationAdded,
    wire.RefusalDelta, wire.ArgumentsDelta, wire.InputDelta, wire.SummaryPartAdded,
    wire.SummaryDelta, wire.ReasoningDelta,
)  # fmt: skip
_OF_ONE_PART = (
    wire.ArgumentsDelta, wire.InputDelta, wire.SummaryDelta, wire.ReasoningDelta,
)  # fmt: skip
"""Pieces of items that have no second part."""
_ENDS = (wire.Completed, wire.Incomplete, wire.Failed, wire.Error)


@dataclasses.dataclass(slots=True)
class _Item:
    """An output item that has begun."""

    open: dict[int, int] = dataclasses.field(default_factory=dict)
    """Its content index to the part that is open; all but messages have one, 0."""
    seen: set[int] = dataclasses.field(default_factory=set)
    """The content indexes of which a part has begun."""
    spoken: bool = False
    """A piece of text has come."""
    done: bool = False


class EventReader(TableStream[wire.StreamEvent]):
    """See the module's docstring; the interface is `formats.base.StreamReader`."""

    NEXT: ClassVar[Mapping[tuple[State, type], State]] = {
        (State.IDLE, wire.Created): State.OPEN,
        **{(State.OPEN, piece): State.OPEN for piece in _PIECES},
        # Servers that answer at once begin with the end.
        **{(State.IDLE, end): State.DONE for end in _ENDS},
        **{(State.OPEN, end): State.DONE for end in _ENDS},
        # An error is told twice.
        (State.DONE, wire.Failed): State.DONE,
        (State.DONE, wire.Error): State.DONE,
        **{(state, wire.Waiting): state for state in State},
        **{(state, wire.Repeated): state for state in State},
        **{(state, wire.Done): state for state in State},
    }

    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0
        """Items and events that the canonical stream cannot say."""
        self._items: dict[int, _Item] = {}
        self._parts = 0
        self._called = False
        self._refused = False
        self._started = False
        self._over = False

    def take(self, frame: Frame) -> Taken:
        """See `StreamReader.take`."""
        if self.state is not State.OPEN:
            return super().take(frame)
        try:
            event = _EVENT.decode(frame.data)
        except UNREADABLE:
            return super().take(frame)
        if type(event) is wire.TextDelta and event.logprobs in _NO_TOKENS:
            place = event.content_index
        elif isinstance(event, _OF_ONE_PART):
            place = 0
        else:
            return super().take(frame)
        item = self._items.get(event.output_index)
        part = None if item is None else item.open.get(place)
        if item is None or part is None or not event.delta:
            return super().take(frame)
        item.spoken = True
        return canonical.Delta(part, event.delta)

    def parse(self, frame: Frame) -> wire.StreamEvent | None:
        """Read a frame; see `TableStream.parse`."""
        try:
            return _EVENT.decode(frame.data)
        except msgspec.DecodeError:
            return _parse_other(frame)

    def translate(self, event: wire.StreamEvent) -> Iterable[canonical.Event]:
        """Yield what a legal event amounts to; see `TableStream.translate`."""
        match event:
            case wire.TextDelta(index, delta, place, logprobs):
                tokens = None if logprobs in _NO_TOKENS else read_tokens(logprobs)
                yield from self._say(index, "text", delta, place, tokens)
            case wire.ArgumentsDelta(index, delta) | wire.InputDelta(index, delta):
                yield from self._say(index, "tool_call", delta)
            case wire.SummaryDelta(index, delta) | wire.ReasoningDelta(index, delta):
                yield from self._say(index, "reasoning", delta)
            case wire.RefusalDelta(index, delta, place):
                yield from self._say(index, "refusal", delta, place)
            case wire.Waiting():
                self.skipped += 1
                yield canonical.KeepAlive()
            case wire.Created(response):
                yield self._start(response)
            case wire.Repeated() | wire.Done():
                pass
            case wire.Error():
                yield from self._fail(read_error_event(event))
            case (
                wire.Completed(response)
                | wire.Incomplete(response)
                | wire.Failed(response)
            ):
                yield from self._end(response, failed=isinstance(event, wire.Failed))
            case _:
                yield from self._read_frame_of_item(event)

    def _read_frame_of_item(
        self,
        event: (
            wire.ItemAdded
            | wire.ItemDone
            | wire.PartAdded
            | wire.PartDone
            | wire.SummaryPartAdded
            | wire.AnnotationAdded
        ),
    ) -> Iterator[canonical.Event]:
        match event:
            case wire.ItemAdded(index, raw):
                yield from self._add_item(index, raw)
            case wire.ItemDone(index, raw):
                yield from self._end_item(index, raw)
            case wire.PartAdded(index, place, part):
                if part.type != "reasoning_text":
                    kind: canonical.PartKind = (
                        "refusal" if part.type == "refusal" else "text"
                    )
                    said = part.refusal if kind == "refusal" else part.text
                    yield from self._say(index, kind, said or "", place)
            case wire.PartDone(index, place, part):
                if part.type != "reasoning_text":
                    yield from self._end_part(self._item(index), place)
            case wire.AnnotationAdded(index, annotation, place):
                cited = read_annotation(annotation)
                part_index = self._item(index).open.get(place)
                if cited is not None and part_index is not None:
                    yield canonical.Cited(part_index, cited)
            case wire.SummaryPartAdded(index):
                item = self._item(index)
                if item.spoken:
                    yield from self._say(index, "reasoning", BETWEEN_SUMMARIES)

    # ------------------------------------------------------------ the response

    def _start(self, said: wire.Response) -> canonical.Started:
        self._started = True
        created = None if said.created_at is None else int(said.created_at)
        return canonical.Started(
            said.id or "",
            said.model or "",
            created=created,
            service_tier=said.service_tier,
        )

    def _end(self, said: wire.Response, *, failed: bool) -> Iterator[canonical.Event]:
        if self._over:
            return
        if not self._started:
            yield self._start(said)
        usage = read_usage(said.usage)
        if failed:
            if usage is not None:
                yield canonical.Reported(usage, said.service_tier)
            yield from self._fail(read_failure(said))
            return
        for index, raw in enumerate(said.output or ()):
            if index not in self._items:
                yield from self._end_item(index, raw)
        for item in self._items.values():
            yield from self._end_parts(item)
        finish = read_finish(said, called=self._called, refused=self._refused)
        yield canonical.Finished(finish)
        if usage is not None:
            yield canonical.Reported(usage, said.service_tier)
        self._over = True
        yield canonical.Ended()

    def _fail(self, error: GatewayError) -> Iterator[canonical.Event]:
        if not self._over:
            self._over = True
            yield canonical.Failed(error)

    # ------------------------------------------------------------ items

    def _item(self, index: int) -> _Item:
        item = self._items.get(index)
        if item is None:
            item = self._items[index] = _Item()
        return item

    def _add_item(self, index: int, raw: msgspec.Raw) -> Iterator[canonical.Event]:
        if index in self._items:
            raise ProtocolViolation(f"output item {index} begins twice")
        item = self._item(index)
        said = read_item(raw)
        if said is None:
            self.skipped += 1
            yield canonical.Unsaid(wire.name_of(raw))
            yield canonical.KeepAlive()
        elif said.type not in {"message", "reasoning", "web_search_call"}:
            yield self._begin_call(item, said)
            first = (
                said.input if said.type == "custom_tool_call" else arguments_of(said)
            )
            if first and first != "{}":
                yield from self._say(index, "tool_call", first)

    def _end_item(self, index: int, raw: msgspec.Raw) -> Iterator[canonical.Event]:
        """Say what no piece of the item has said, and end it."""
        item = self._item(index)
        said = read_item(raw)
        if said is not None and not item.done:
            match said.type:
                case "message":
                    yield from self._complete_message(index, item, said)
                case "reasoning":
                    yield from self._complete_reasoning(index, item, said)
                case "web_search_call":
                    yield canonical.Searched(read_search(said))
                case _:
                    yield from self._complete_call(index, item, said)
        item.done = True

    def _complete_message(
        self, index: int, item: _Item, said: wire.Item
    ) -> Iterator[canonical.Event]:
        for place, part in enumerate(said.content or ()):
            if place not in item.seen:
                if part.type == "refusal":
                    yield from self._say(index, "refusal", part.refusal or "", place)
                else:
                    yield from self._say(index, "text", part.text or "", place)
            yield from self._end_part(item, place)
        yield from self._end_parts(item)

    def _complete_reasoning(
        self, index: int, item: _Item, said: wire.Item
    ) -> Iterator[canonical.Event]:
        if not item.spoken and (thought := thought_of(said)):
            yield from self._say(index, "reasoning", thought)
        yield from self._end_parts(item)
        if proof := proof_of(said):
            part = self._begin_part()
            yield canonical.PartStarted(part, "reasoning", encrypted=proof)
            yield canonical.PartEnded(part)

    def _complete_call(
        self, index: int, item: _Item, said: wire.Item
    ) -> Iterator[canonical.Event]:
        if not item.seen:
            yield self._begin_call(item, said)
        if not item.spoken:
            arguments = read_call(said).arguments
            if said.type == "custom_tool_call" or arguments != "{}":
                yield from self._say(index, "tool_call", arguments)
        yield from self._end_parts(item)

    # ------------------------------------------------------------ parts

    def _begin_part(self) -> int:
        part, self._parts = self._parts, self._parts + 1
        return part

    def _begin_call(self, item: _Item, said: wire.Item) -> canonical.PartStarted:
        call = read_call(said)
        self._called = True
        part = item.open[0] = self._begin_part()
        item.seen.add(0)
        return canonical.PartStarted(
            part, "tool_call", call.id, call.name, custom=call.custom
        )

    def _say(
        self,
        index: int,
        kind: canonical.PartKind,
        text: str,
        place: int = 0,
        tokens: list[Token] | None = None,
    ) -> Iterator[canonical.Event]:
        """Yield `text` as a piece of an item's part, which may begin with it."""
        item = self._item(index)
        part = item.open.get(place)
        if part is None:
            if item.done or place in item.seen or kind == "tool_call":
                raise ProtocolViolation(f"a piece of {kind} that is not open")
            part = item.open[place] = self._begin_part()
            item.seen.add(place)
            self._refused = self._refused or kind == "refusal"
            yield canonical.PartStarted(part, kind)
        if text or tokens:
            item.spoken = True
            logprobs = raw_of(tokens) if tokens else None
            yield canonical.Delta(part, text, logprobs=logprobs)

    def _end_part(self, item: _Item, place: int) -> Iterator[canonical.Event]:
        part = item.open.pop(place, None)
        if part is not None:
            yield canonical.PartEnded(part)

    def _end_parts(self, item: _Item) -> Iterator[canonical.Event]:
        for place in sorted(item.open):
            yield from self._end_part(item, place)


def _parse_other(frame: Frame) -> wire.StreamEvent | None:
    """Read a frame that is none of the events that are translated."""
    if frame.data.startswith(b"[DONE]"):
        return wire.Done()
    said = _GLANCE.decode(frame.data or b"{}")
    if said.type in wire.TRANSLATED:
        # Its type is known, so the rest of it is wrong: say what.
        return _EVENT.decode(frame.data)
    if not said.type and present(said.error) is not None:
        return wire.Error(error=said.error)
    if said.type in wire.REPEATED:
        return wire.Repeated()
    return wire.Waiting() if said.type in wire.WAITING else None
