"""Canonical answers and streams as legacy completions: text, and nothing else.

https://platform.openai.com/docs/api-reference/completions/object. A refusal is text.
Left out, having no word here: reasoning, calls, citations, log probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from extproc import canonical
from extproc.errors import GatewayError
from extproc.formats.base import WriterContext
from extproc.formats.openai_errors import write_error
from extproc.formats.openai_usage import write_usage
from extproc.framing.sse import encode_frame
from extproc.usage import Usage

_encode: Callable[[object], bytes] = msgspec.json.Encoder().encode

FINISH_REASONS: Mapping[canonical.Finish, str] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "context_length": "length",
    "tool_calls": "stop",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "pause": "stop",
}

KEEP_ALIVE = b": keep-alive\n"
DONE = b"data: [DONE]\n\n"


def write_answer(answer: canonical.Answer, context: WriterContext) -> bytes:
    """Write `answer`; what its provider did not say is in `context`."""
    completion: dict[str, object] = {
        "id": answer.id or context.id,
        "object": "text_completion",
        "created": context.created if answer.created is None else answer.created,
        "model": answer.model or context.model,
        "choices": [
            {
                "index": index,
                "text": "".join(
                    part.text
                    for part in choice.parts
                    if isinstance(part, canonical.Text | canonical.Refusal)
                ),
                "logprobs": None,
                "finish_reason": FINISH_REASONS[choice.finish],
            }
            for index, choice in enumerate(answer.choices)
        ],
    }
    if answer.usage is not None:
        completion["usage"] = msgspec.Raw(write_usage(answer.usage))
    return _encode(completion)


def write_error_event(error: GatewayError) -> bytes:
    """Write what ends a stream that has begun; the SDKs raise ``APIError`` for it."""
    return encode_frame(write_error(error))


class CompletionWriter:
    """Canonical events in, ``text_completion`` chunks out; see `StreamWriter`."""

    __slots__ = ("_after", "_before", "_context", "_ended", "_head", "_tail", "_usage")

    def __init__(self, context: WriterContext) -> None:
        self._context = context
        self._head = self._write_head(context.id, context.created, context.model)
        self._tail = b'],"usage":null}\n\n' if context.include_usage else b"]}\n\n"
        self._after = b',"logprobs":null,"finish_reason":null}' + self._tail
        self._before: dict[tuple[int, int], bytes] = {}
        """What stands before the text of a part's pieces, by choice and index, if it is
        one that is said."""
        self._usage: Usage | None = None
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
                out.append(self._write(event))
        return b"".join(out)

    def say(self, piece: canonical.Delta) -> bytes:
        """See `StreamWriter.say`."""
        place = piece.choice, piece.index
        if not piece.text or place not in self._before:
            return b""
        return self._before[place] + _encode(piece.text) + self._after

    def _write(self, event: canonical.Event) -> bytes:
        match event:
            case canonical.Started(answer_id, model, usage, created):
                self._head = self._write_head(
                    answer_id or self._context.id,
                    self._context.created if created is None else created,
                    model or self._context.model,
                )
                self._usage = usage or self._usage
            case canonical.PartStarted(index, kind, choice=choice):
                if kind in {"text", "refusal"}:
                    self._before[choice, index] = self._begin(choice)
            case canonical.Finished(finish, _, choice):
                word = FINISH_REASONS[finish].encode()
                end = b',"logprobs":null,"finish_reason":"%b"}' % word
                return self._begin(choice) + b'""' + end + self._tail
            case canonical.Reported(usage):
                self._usage = usage
            case canonical.KeepAlive():
                return KEEP_ALIVE
            case canonical.Failed(error):
                self._ended = True
                return write_error_event(error)
            case canonical.Ended():
                self._ended = True
                return self._end()
            case _:
                pass  # what is no text, and the ends of parts
        return b""

    def _write_head(self, answer_id: str, created: int, model: str) -> bytes:
        return (
            b'data: {"id":%b,"object":"text_completion","created":%d,"model":%b,'
            b'"choices":['
        ) % (_encode(answer_id), created, _encode(model))

    def _begin(self, choice: int) -> bytes:
        return b'%b{"index":%d,"text":' % (self._head, choice)

    def _end(self) -> bytes:
        if self._context.include_usage and self._usage is not None:
            return b'%b],"usage":%b}\n\n%b' % (
                self._head, write_usage(self._usage), DONE,
            )  # fmt: skip
        return DONE
