"""Canonical events as Anthropic's named stream events, in Anthropic's order.

https://platform.claude.com/docs/en/build-with-claude/streaming. Blocks never interleave
there: while a part is open, what comes of later parts waits. The stop reason is written
with the usage, when the stream ends. A piece of the open part, which is what nearly all
events are, is a constant head, the text and a constant tail.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from extproc import canonical
from extproc.formats.anthropic import client_wire, wire
from extproc.formats.anthropic.answer_writer import STOP_REASONS, usage_body
from extproc.formats.anthropic.citations import write_citation, write_search
from extproc.formats.anthropic.errors import write_error_event
from extproc.formats.base import WriterContext
from extproc.framing.sse import encode_frame
from extproc.usage import Usage

_ENCODE = msgspec.json.Encoder().encode

_TAIL = b"}}\n\n"
"""What stands behind the text of a piece."""

PartEvent = (
    canonical.PartStarted
    | canonical.Delta
    | canonical.SignatureDelta
    | canonical.Cited
    | canonical.PartEnded
)


class MessageWriter:
    """See `StreamWriter`."""

    def __init__(self, context: WriterContext) -> None:
        self._context = context
        self._usage = Usage()
        self._finished = canonical.Finished("stop")
        self._blocks = 0
        self._open: int | None = None  # the part that is being written
        self._head = b""
        """What stands before the text of its pieces."""
        self._kinds: dict[int, canonical.PartKind] = {}
        self._waiting: dict[int, list[PartEvent]] = {}
        self._searches: list[canonical.Search] = []
        """Those that wait for an open block to end."""
        self._searched: list[canonical.Search] = []

    def write(self, events: Iterable[canonical.Event]) -> bytes:
        """See `StreamWriter.write`."""
        out: list[bytes] = []
        for event in events:
            out += self._write(event)
        return b"".join(out)

    def say(self, piece: canonical.Delta) -> bytes:
        """See `StreamWriter.say`."""
        if piece.index == self._open and not piece.choice:
            return self._head + _ENCODE(piece.text) + _TAIL
        return b"".join(self._write(piece))

    def _write(self, event: canonical.Event) -> Iterator[bytes]:
        match event:
            case (
                canonical.Delta()
                | canonical.PartStarted()
                | canonical.SignatureDelta()
                | canonical.Cited()
                | canonical.PartEnded()
            ):
                if event.choice == 0:
                    yield from self._part(event)
            case canonical.Searched(search, 0):
                self._searches.append(search)
                self._searched.append(canonical.Search("", page=search.page))
                yield from self._search()
            case canonical.Started():
                self._usage = event.usage or self._usage
                yield self._start(event)
            case canonical.Finished(choice=0):
                self._finished = event
            case canonical.Reported(usage):
                self._usage = usage
            case canonical.Ended():
                yield from self._end()
            case canonical.KeepAlive():
                yield _frame(wire.Ping())
            case canonical.Failed(error):
                yield write_error_event(error)
            case canonical.Unsaid() | canonical.Searched() | canonical.Finished():
                pass

    def _start(self, event: canonical.Started) -> bytes:
        message = client_wire.Answer(
            id=event.id or self._context.id,
            model=event.model or self._context.model,
            usage=usage_body(self._usage, service_tier=event.service_tier),
        )
        return _frame(client_wire.MessageStart(message))

    def _end(self) -> Iterator[bytes]:
        stop = wire.Stop(
            STOP_REASONS[self._finished.finish], self._finished.stop_sequence
        )
        usage = usage_body(self._usage, self._searched)
        yield _frame(client_wire.MessageDelta(stop, usage))
        yield _frame(wire.MessageStop())

    def _part(self, event: PartEvent) -> Iterator[bytes]:
        if self._open is not None and event.index != self._open:
            self._waiting.setdefault(event.index, []).append(event)
            return
        match event:
            case canonical.PartStarted():
                yield self._open_block(event)
            case canonical.Delta(index, text):
                kind = self._kinds[index]
                yield _frame(wire.BlockDelta(self._blocks, _DELTAS[kind](text)))
            case canonical.SignatureDelta(index, signature):
                if self._kinds[index] == "reasoning":
                    proof = wire.SignatureDelta(signature)
                    yield _frame(wire.BlockDelta(self._blocks, proof))
            case canonical.Cited(index, citation):
                if self._kinds[index] == "text":
                    cited = wire.CitationsDelta(write_citation(citation))
                    yield _frame(wire.BlockDelta(self._blocks, cited))
            case canonical.PartEnded():
                yield _frame(wire.BlockStop(self._blocks))
                self._blocks += 1
                self._open = None
                yield from self._search()
                yield from self._next()

    def _search(self) -> Iterator[bytes]:
        """Write the searches, which wait for an open block to end."""
        if self._open is not None:
            return
        for search in self._searches:
            for block in write_search(search):
                start = {
                    "type": "content_block_start",
                    "index": self._blocks,
                    "content_block": block,
                }
                yield encode_frame(_ENCODE(start), "content_block_start")
                yield _frame(wire.BlockStop(self._blocks))
                self._blocks += 1
        self._searches.clear()

    def _next(self) -> Iterator[bytes]:
        """Write what waited, up to a part that is still open."""
        while self._waiting and self._open is None:
            for event in self._waiting.pop(next(iter(self._waiting))):
                yield from self._part(event)

    def _open_block(self, event: canonical.PartStarted) -> bytes:
        self._open = event.index
        self._kinds[event.index] = event.kind
        piece = _frame(wire.BlockDelta(self._blocks, _DELTAS[event.kind]("")))
        self._head = piece.removesuffix(b'""' + _TAIL)
        block: wire.AnswerBlock
        if event.kind == "tool_call":
            block = wire.ToolUseBlock(event.id, event.name, msgspec.Raw(b"{}"))
        elif event.kind != "reasoning":
            block = wire.TextBlock("")
        elif event.encrypted is not None:
            block = wire.RedactedThinkingBlock(event.encrypted)
        else:
            block = wire.ThinkingBlock("")
        return _frame(wire.BlockStart(self._blocks, block))


_DELTAS: dict[
    canonical.PartKind,
    type[wire.TextDelta | wire.ThinkingDelta | wire.InputJsonDelta],
] = {
    "text": wire.TextDelta,
    "refusal": wire.TextDelta,
    "reasoning": wire.ThinkingDelta,
    "tool_call": wire.InputJsonDelta,
}


def _frame(event: msgspec.Struct) -> bytes:
    return encode_frame(_ENCODE(event), str(event.__struct_config__.tag))
