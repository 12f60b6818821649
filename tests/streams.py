"""Streams of any length from every provider format, made by hand: text or tool arguments.

Each is a beginning, a piece that may be repeated for ever, and an end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.oracles.events import aws_messages


@dataclass(frozen=True)
class Stream:
    """What a provider sends."""

    content_type: str
    start: tuple[bytes, ...]
    piece: bytes
    end: tuple[bytes, ...]

    def pieces(self, count: int) -> Iterator[bytes]:
        yield from self.start
        for _ in range(count):
            yield self.piece
        yield from self.end


def _sse(*events: Any) -> tuple[bytes, ...]:
    return tuple(
        b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"
        for event in events
    )


def _named(*events: Any) -> tuple[bytes, ...]:
    return tuple(
        f"event: {event['type']}\n".encode() + data
        for event, data in zip(events, _sse(*events), strict=True)
    )


def _chat(text: str, *, arguments: bool) -> Stream:
    def chunk(delta: Any, finish: str | None = None, **more: Any) -> Any:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000,
            "model": "gpt-4o-2024-11-20", "service_tier": "default",
            "system_fingerprint": "fp_1", "choices": [choice], "usage": None, **more,
        }  # fmt: skip

    more: Any
    last: Any
    call = {"index": 0, "id": "call_1", "type": "function"}
    start = [chunk({"role": "assistant", "content": None if arguments else ""})]
    if arguments:
        named = {**call, "function": {"name": "f", "arguments": '{"a":"'}}
        start.append(chunk({"tool_calls": [named]}))
        more = {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}
        last = {"tool_calls": [{"index": 0, "function": {"arguments": '"}'}}]}
    else:
        more, last = {"content": text}, {"content": "."}
    usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
    end = _sse(
        chunk(last),
        chunk({}, "tool_calls" if arguments else "stop"),
        chunk({}, choices=[], usage=usage),
    )
    return Stream(
        "text/event-stream",
        _sse(*start),
        _sse(chunk(more))[0],
        (*end, b"data: [DONE]\n\n"),
    )


def _response(text: str, *, arguments: bool) -> Stream:
    """The last events leave the text out, which has been said: it may be of any length."""
    response: Any = {
        "id": "resp_1", "object": "response", "created_at": 1700000000, "model": "gpt-5",
        "status": "in_progress", "output": [], "error": None, "incomplete_details": None,
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "usage": None,
    }  # fmt: skip
    place = {"item_id": "x_1", "output_index": 0}
    if arguments:
        item: Any = {
            "id": "x_1", "type": "function_call", "status": "in_progress",
            "call_id": "call_1", "name": "f", "arguments": "",
        }  # fmt: skip
        name = "response.function_call_arguments.delta"
        start = [{"type": name, **place, "delta": '{"a":"'}]
        piece = {"type": name, **place, "delta": text}
        end = [{"type": name, **place, "delta": '"}'}]
    else:
        item = {
            "id": "x_1", "type": "message", "status": "in_progress", "role": "assistant",
            "content": [],
        }  # fmt: skip
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        place["content_index"] = 0
        start = [{"type": "response.content_part.added", **place, "part": part}]
        name = "response.output_text.delta"
        piece = {"type": name, **place, "delta": text, "logprobs": []}
        end = []
    done = {**response, "status": "completed", "usage": {
        "input_tokens": 9, "output_tokens": 9, "total_tokens": 18,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }}  # fmt: skip
    return Stream(
        "text/event-stream",
        _named(
            {"type": "response.created", "response": response},
            {"type": "response.output_item.added", "output_index": 0, "item": item},
            *start,
        ),
        _named({**piece, "sequence_number": 7})[0],
        _named(*end, {"type": "response.completed", "response": done}),
    )


def _message(text: str, *, arguments: bool) -> Stream:
    usage = {"input_tokens": 9, "output_tokens": 1}
    message: Any = {
        "id": "msg_1", "type": "message", "role": "assistant", "content": [],
        "model": "claude-sonnet-4-5", "stop_reason": None, "stop_sequence": None,
        "usage": usage,
    }  # fmt: skip
    block: Any = {"type": "text", "text": ""}
    kind, key, first, last = "text_delta", "text", "", "."
    if arguments:
        block = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
        kind, key, first, last = "input_json_delta", "partial_json", '{"a":"', '"}'

    def delta(said: str) -> Any:
        return {
            "type": "content_block_delta", "index": 0, "delta": {"type": kind, key: said},
        }  # fmt: skip

    stop = {
        "stop_reason": "tool_use" if arguments else "end_turn",
        "stop_sequence": None,
    }
    return Stream(
        "text/event-stream",
        _named(
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": block},
            delta(first),
        ),
        _named(delta(text))[0],
        _named(
            delta(last),
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": stop, "usage": {"output_tokens": 9}},
            {"type": "message_stop"},
        ),
    )


def _gemini(text: str, *, arguments: bool) -> Stream:
    """A call comes whole in this API: there are no pieces of arguments."""

    def chunk(part: Any, **more: Any) -> Any:
        content = {"parts": [part], "role": "model"}
        return {
            "candidates": [{"content": content, "index": 0, **more}],
            "usageMetadata": {
                "promptTokenCount": 9, "candidatesTokenCount": 9, "totalTokenCount": 18,
            },
            "modelVersion": "gemini-3.5-flash", "responseId": "r1",
        }  # fmt: skip

    piece: Any = {"text": text}
    if arguments:
        piece = {"functionCall": {"name": "f", "args": {"a": text}}}
    return Stream(
        "text/event-stream",
        _sse(chunk({"text": "."})),
        _sse(chunk(piece))[0],
        _sse(chunk({"text": "."}, finishReason="STOP")),
    )


def _converse(text: str, *, arguments: bool) -> Stream:
    def delta(said: str) -> str:
        told = {"toolUse": {"input": said}} if arguments else {"text": said}
        event = {"contentBlockIndex": 0, "delta": told, "p": "abcdefghijk"}
        return "contentBlockDelta " + json.dumps(event)

    start = ['messageStart {"role":"assistant"}']
    if arguments:
        use = '{"toolUse":{"toolUseId":"t_1","name":"f"}}'
        start.append(f'contentBlockStart {{"contentBlockIndex":0,"start":{use}}}')
    stop = "tool_use" if arguments else "end_turn"
    end = [
        delta('"}' if arguments else "."),
        'contentBlockStop {"contentBlockIndex":0}',
        f'messageStop {{"stopReason":"{stop}"}}',
        'metadata {"usage":{"inputTokens":9,"outputTokens":9,"totalTokens":18}}',
    ]
    return Stream(
        "application/vnd.amazon.eventstream",
        tuple(aws_messages([*start, delta('{"a":"' if arguments else "")])),
        aws_messages([delta(text)])[0],
        tuple(aws_messages(end)),
    )


def _cohere(text: str, *, arguments: bool) -> Stream:
    def content(kind: str, said: str = "") -> Any:
        delta = {"message": {"content": {"type": "text", "text": said}}}
        return {"type": kind, "index": 0, "delta": delta}

    def call(kind: str, said: str = "") -> Any:
        function = {"name": "f", "arguments": said}
        calls = {"id": "f_1", "type": "function", "function": function}
        return {"type": kind, "index": 0, "delta": {"message": {"tool_calls": calls}}}

    made, name = (call, "tool-call") if arguments else (content, "content")
    usage = {"billed_units": {"input_tokens": 9.0, "output_tokens": 9.0}}
    finish = "TOOL_CALL" if arguments else "COMPLETE"
    return Stream(
        "text/event-stream",
        _named(
            {"type": "message-start", "id": "m1"},
            made(f"{name}-start"),
            made(f"{name}-delta", '{"a":"' if arguments else ""),
        ),
        _named(made(f"{name}-delta", text))[0],
        _named(
            made(f"{name}-delta", '"}' if arguments else "."),
            {"type": f"{name}-end", "index": 0},
            {"type": "message-end", "delta": {"finish_reason": finish, "usage": usage}},
        ),
    )


_MADE = {
    "cohere": _cohere,
    "openai_chat": _chat,
    "openai_responses": _response,
    "anthropic": _message,
    "gemini": _gemini,
    "converse": _converse,
}


def stream_of(provider: str, text: str, *, arguments: bool = False) -> Stream:
    """Return a provider's stream whose pieces say `text`.

    Raises:
        KeyError: there is none for this format.
    """
    return _MADE[provider](text, arguments=arguments)
