"""Canonical events in, ``chat.completion.chunk`` frames out.

https://platform.openai.com/docs/api-reference/chat-streaming. This is the hot path of
every translated stream: a chunk is its constant head, a few bytes of delta and its
constant tail, joined; only text is encoded, and no dict is built for it.

Reasoning is an extension. Its text streams as ``reasoning_content`` and again in
``thinking_blocks``, whose entries are pieces of blocks that share an ``index``, as the
pieces of a tool call do; the signature comes as a piece without text, and reasoning that
only the provider can read as one piece, whole:

    {"reasoning_content": "Hm", "thinking_blocks":
        [{"index": 0, "type": "thinking", "thinking": "Hm"}]}
    {"thinking_blocks":
        [{"index": 0, "type": "thinking", "thinking": "", "signature": "Eq…"}]}
    {"thinking_blocks": [{"index": 1, "type": "redacted_thinking", "data": "Eq…"}]}

A client that merges deltas by index (openai-python's ``chat.completions.stream`` does,
and refuses lists without) ends up with whole blocks; one that appends them has the
pieces. `request_reader` takes both back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import msgspec

from extproc import canonical
from extproc.formats.base import WriterContext
from extproc.formats.openai_annotations import Json, nest, write_annotations
from extproc.formats.openai_chat.answer_writer import SERVICE_TIERS
from extproc.formats.openai_chat.errors import write_error_event
from extproc.formats.openai_chat.finish import write_finish
from extproc.formats.openai_usage import write_usage
from extproc.usage import Usage

_encode: Callable[[object], bytes] = msgspec.json.Encoder().encode

KEEP_ALIVE = b": keep-alive\n"
"""A comment: every reader of server-sent events skips it. No empty line follows, which
openai-go before 3.43 took for the end of an event that cannot be read."""

DONE = b"data: [DONE]\n\n"

_CHOICES = b'"choices":['


_RareEvent = (
    canonical.Started
    | canonical.PartStarted
    | canonical.SignatureDelta
    | canonical.Cited
    | canonical.Searched
    | canonical.Unsaid
    | canonical.PartEnded
    | canonical.Finished
    | canonical.Reported
    | canonical.KeepAlive
    | canonical.Failed
    | canonical.Ended
)
"""All but `Delta`: what comes once a part or less."""


@dataclasses.dataclass(slots=True)
class _Part:
    """What stands around the text of an open part's deltas."""

    before: bytes
    after: bytes
    between: bytes = b""
    """Where the text stands twice."""
    end_empty: bytes = b""
    """What a part is given that ends without text: arguments that are JSON."""
    place: int = 0
    """Its index among the tool calls or thinking blocks of its choice."""
    said: int = 0
    """How many characters it has."""
    cited: tuple[canonical.Citation, ...] = ()
    is_text: bool = False
    scored: bytes = b""
    """What stands around the log probabilities of its deltas, where it may have them."""


class _Choice:
    """What is known of one choice so far."""

    __slots__ = ("blocks", "calls", "cited", "head", "refused", "said")

    def __init__(self, head: bytes) -> None:
        self.head = head
        """The constant part of its chunks, up to the delta."""
        self.calls = 0
        self.blocks = 0
        self.refused = False
        self.said = 0
        """How many characters its content has in parts that are over."""
        self.cited: list[Json] = []
        """The annotations of those parts."""


class ChunkWriter:
    """See the module's docstring; the interface is `formats.base.StreamWriter`."""

    __slots__ = (
        "_choices", "_close", "_context", "_ended", "_head", "_parts", "_tail", "_tier",
        "_usage",
    )  # fmt: skip

    def __init__(self, context: WriterContext) -> None:
        self._context = context
        self._head = _head(context.id, context.created, context.model)
        self._close = b'}],"usage":null}\n\n' if context.include_usage else b"}]}\n\n"
        self._tail = b',"logprobs":null,"finish_reason":null' + self._close
        self._choices: dict[int, _Choice] = {}
        self._parts: dict[tuple[int, int], _Part] = {}
        self._usage: Usage | None = None
        self._tier = b""
        """The member that says who served it, once that is known."""
        self._ended = False

    def write(self, events: Iterable[canonical.Event]) -> bytes:
        """Return the frames for `events`; nothing after the stream's end or failure."""
        out: list[bytes] = []
        for event in events:
            if self._ended:
                break
            if isinstance(event, canonical.Delta):
                out.append(self.say(event))
            else:
                self._write(event, out)
        return b"".join(out)

    def say(self, piece: canonical.Delta) -> bytes:
        """See `StreamWriter.say`."""
        part = self._parts[piece.choice, piece.index]
        if piece.logprobs is not None and part.scored:
            return self._say_scored(piece, piece.logprobs, part)
        if not piece.text:
            return b""
        text = _encode(piece.text)
        part.said += len(piece.text)
        part.end_empty = b""
        if part.between:
            return part.before + text + part.between + text + part.after
        return part.before + text + part.after

    def _write(self, event: _RareEvent, out: list[bytes]) -> None:
        match event:
            case canonical.Started(answer_id, model, usage, created, tier):
                self._head = _head(
                    answer_id or self._context.id,
                    self._context.created if created is None else created,
                    model or self._context.model,
                )
                self._tier = _tier(tier)
                self._usage = usage or self._usage
                self._choice(0, out)
            case canonical.PartStarted():
                self._start_part(event, self._choice(event.choice, out), out)
            case canonical.SignatureDelta():
                self._write_signature(event, out)
            case canonical.Cited(index, citation, choice):
                self._parts[choice, index].cited += (citation,)
            case canonical.PartEnded(index, choice):
                self._end_part(choice, self._parts.pop((choice, index)), out)
            case canonical.Finished(finish, _, choice):
                self._finish(finish, self._choice(choice, out), out)
            case canonical.Reported(usage, tier):
                self._usage = usage
                self._tier = _tier(tier) or self._tier
            case canonical.KeepAlive():
                out.append(KEEP_ALIVE)
            case canonical.Failed(error):
                self._ended = True
                out.append(write_error_event(error))
            case canonical.Ended():
                self._ended = True
                self._end(out)
            case canonical.Searched() | canonical.Unsaid():
                pass

    def _choice(self, index: int, out: list[bytes]) -> _Choice:
        """Return a choice; its first chunk says whose turn it is, and no other does."""
        choice = self._choices.get(index)
        if choice is None:
            begun = self._head + self._tier + _CHOICES
            head = b'%b{"index":%d,"delta":' % (begun, index)
            choice = self._choices[index] = _Choice(head)
            out += (head, b'{"role":"assistant","content":null}', self._tail)
        return choice

    def _start_part(
        self, event: canonical.PartStarted, choice: _Choice, out: list[bytes]
    ) -> None:
        if event.kind == "reasoning":
            part = self._start_reasoning(event, choice, out)
        elif event.kind == "tool_call":
            part = self._start_call(event, choice, out)
        elif event.kind == "refusal":
            choice.refused = True
            part = _Part(
                choice.head + b'{"refusal":', b"}" + self._tail,
                scored=b'},"logprobs":{"content":null,"refusal":%b},"finish_reason":null',
            )  # fmt: skip
        else:
            part = _Part(
                choice.head + b'{"content":', b"}" + self._tail,
                scored=b'},"logprobs":{"content":%b,"refusal":null},"finish_reason":null',
                is_text=True,
            )  # fmt: skip
        self._parts[event.choice, event.index] = part

    def _start_reasoning(
        self, event: canonical.PartStarted, choice: _Choice, out: list[bytes]
    ) -> _Part:
        place, choice.blocks = choice.blocks, choice.blocks + 1
        if event.encrypted:
            out += (
                choice.head,
                b'{"thinking_blocks":[{"index":%d,"type":"redacted_thinking","data":%b}]}'
                % (place, _encode(event.encrypted)),
                self._tail,
            )
        return _Part(
            before=choice.head + b'{"reasoning_content":',
            between=(
                b',"thinking_blocks":[{"index":%d,"type":"thinking","thinking":' % place
            ),
            after=b"}]}" + self._tail,
            place=place,
        )

    def _start_call(
        self, event: canonical.PartStarted, choice: _Choice, out: list[bytes]
    ) -> _Part:
        place, choice.calls = choice.calls, choice.calls + 1
        member, text = (
            (b"custom", b"input") if event.custom else (b"function", b"arguments")
        )
        out += (
            choice.head,
            b'{"tool_calls":[{"index":%d,"id":%b,"type":"%b","%b":{"name":%b,"%b":""}}]}'
            % (place, _encode(event.id), member, member, _encode(event.name), text),
            self._tail,
        )
        before = b'%b{"tool_calls":[{"index":%d,"%b":{"%b":' % (
            choice.head, place, member, text,
        )  # fmt: skip
        after = b"}}]}" + self._tail
        # Clients parse the arguments, and "" is not JSON.
        empty = b"" if event.custom else before + b'"{}"' + after
        return _Part(before, after, end_empty=empty, place=place)

    def _end_part(self, index: int, part: _Part, out: list[bytes]) -> None:
        """End a part; what it cites is told when the choice is whole."""
        out.append(part.end_empty)
        choice = self._choices[index]
        choice.cited += write_annotations(part.cited, part.said, choice.said)
        if part.is_text:
            choice.said += part.said

    def _say_scored(
        self, piece: canonical.Delta, logprobs: msgspec.Raw, part: _Part
    ) -> bytes:
        part.said += len(piece.text)
        after = part.scored % bytes(logprobs)
        return part.before + _encode(piece.text) + after + self._close

    def _write_signature(
        self, event: canonical.SignatureDelta, out: list[bytes]
    ) -> None:
        part = self._parts[event.choice, event.index]
        signature = _encode(event.signature)
        if part.between:
            delta = (
                b'{"thinking_blocks":[{"index":%d,"type":"thinking","thinking":"",'
                b'"signature":%b}]}'
            )
        else:
            # openai-python's own helper asserts that each piece has a function.
            delta = (
                b'{"tool_calls":[{"index":%d,"function":{"arguments":""},'
                b'"extra_content":{"google":{"thought_signature":%b}}}]}'
            )
        head = self._choices[event.choice].head
        out += (head, delta % (part.place, signature), self._tail)

    def _finish(
        self, finish: canonical.Finish, choice: _Choice, out: list[bytes]
    ) -> None:
        if choice.cited:
            # All at once: openai-python's accumulator takes no second list.
            delta = b'{"annotations":%b}' % _encode(nest(choice.cited))
            out += (choice.head, delta, self._tail)
        reason = write_finish(finish, refused=choice.refused).encode()
        out += (
            choice.head,
            b'{},"logprobs":null,"finish_reason":"%b"' % reason,
            self._close,
        )

    def _end(self, out: list[bytes]) -> None:
        if self._context.include_usage and self._usage is not None:
            head = self._head + self._tier + _CHOICES
            out.append(b'%b],"usage":%b}\n\n' % (head, write_usage(self._usage)))
        out.append(DONE)


def _head(answer_id: str, created: int, model: str) -> bytes:
    return (
        b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,'
    ) % (_encode(answer_id), created, _encode(model))


def _tier(said: str | None) -> bytes:
    tier = SERVICE_TIERS.get(said or "")
    return b"" if tier is None else b'"service_tier":%b,' % _encode(tier)
