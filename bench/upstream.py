"""The provider of the benchmark: constant answers, as fast as Python can write them.

    python bench/upstream.py        prints "listening on PORT"

OpenAI under ``/v1/chat/completions``, Anthropic under ``/v1/messages``; a stream when the
body says ``"stream":true``: 500 events, each in a write of its own. A model called
``paced`` takes its time, as models do: an event every 20 ms, 25 of them. One called
``hold`` streams one event and then nothing for as long as the client stays. It judges
nothing: the mock providers do that, and cost ten times as much.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Iterator

import uvloop

CHUNKS = 500
PACED_CHUNKS = 25
PACE_SECONDS = 0.02
ANSWER = "The quick brown fox jumps over the lazy dog, again and again and again."


def _json_answer(body: object) -> bytes:
    text = json.dumps(body).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(text) + text


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


OPENAI = _json_answer(
    {
        "id": "chatcmpl-bench", "object": "chat.completion", "created": 1700000000,
        "model": "gpt-4o-2024-08-06", "system_fingerprint": "fp_bench",
        "choices": [{
            "index": 0, "finish_reason": "stop", "logprobs": None,
            "message": {"role": "assistant", "content": ANSWER, "refusal": None}}],
        "usage": {
            "prompt_tokens": 19, "completion_tokens": 16, "total_tokens": 35,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0}},
    }
)  # fmt: skip
ANTHROPIC = _json_answer(
    {
        "id": "msg_bench", "type": "message", "role": "assistant",
        "model": "claude-sonnet-4-5", "content": [{"type": "text", "text": ANSWER}],
        "stop_reason": "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": 19, "output_tokens": 16},
    }
)  # fmt: skip
SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


def openai_stream(count: int = CHUNKS) -> list[bytes]:
    def chunk(delta: object, finish: str | None = None) -> bytes:
        body = {
            "id": "chatcmpl-bench", "object": "chat.completion.chunk",
            "created": 1700000000, "model": "gpt-4o-2024-08-06", "usage": None,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }  # fmt: skip
        return b"data: %s\n\n" % json.dumps(body).encode()

    usage = {
        "id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1700000000,
        "model": "gpt-4o-2024-08-06", "choices": [],
        "usage": {"prompt_tokens": 19, "completion_tokens": 500, "total_tokens": 519},
    }  # fmt: skip
    return [
        chunk({"role": "assistant", "content": ""}),
        *[chunk({"content": " word"}) for _ in range(count)],
        chunk({}, "stop"),
        b"data: %s\n\ndata: [DONE]\n\n" % json.dumps(usage).encode(),
    ]


def anthropic_stream(count: int = CHUNKS) -> list[bytes]:
    def event(body: dict[str, object]) -> bytes:
        return b"event: %s\ndata: %s\n\n" % (
            str(body["type"]).encode(),
            json.dumps(body).encode(),
        )

    message = {
        "id": "msg_bench", "type": "message", "role": "assistant", "content": [],
        "model": "claude-sonnet-4-5", "stop_reason": None, "stop_sequence": None,
        "usage": {"input_tokens": 19, "output_tokens": 1},
    }  # fmt: skip
    delta = {"type": "text_delta", "text": " word"}
    return [
        event({"type": "message_start", "message": message}),
        event(
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "text", "text": ""},
            }
        ),
        *[
            event({"type": "content_block_delta", "index": 0, "delta": delta})
            for _ in range(count)
        ],
        event({"type": "content_block_stop", "index": 0}),
        event(
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {"output_tokens": 500},
            }
        ),
        event({"type": "message_stop"}),
    ]


OPENAI_STREAM = [_chunked(event) for event in openai_stream()]
ANTHROPIC_STREAM = [_chunked(event) for event in anthropic_stream()]
OPENAI_PACED = [_chunked(event) for event in openai_stream(PACED_CHUNKS)]
ANTHROPIC_PACED = [_chunked(event) for event in anthropic_stream(PACED_CHUNKS)]
END = b"0\r\n\r\n"


class Provider(asyncio.Protocol):
    """Answers one connection; requests have a content-length, as Envoy's Lua sets it."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._needed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        while len(buffer) >= self._needed:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(buffer[: end + 2])
            position = head.lower().find(b"\r\ncontent-length:")
            length = (
                int(head[position + 17 :].split(b"\r\n", 1)[0]) if position > 0 else 0
            )
            self._needed = end + 4 + length
            if len(buffer) < self._needed:
                return
            body = bytes(buffer[end + 4 : self._needed])
            del buffer[: self._needed]
            self._needed = 0
            self._answer(b"/v1/messages" in head[:60], body)

    def _answer(self, anthropic: bool, body: bytes) -> None:
        write = self._transport.write
        if b'"stream":true' not in body and b'"stream": true' not in body:
            write(ANTHROPIC if anthropic else OPENAI)
            return
        events = ANTHROPIC_STREAM if anthropic else OPENAI_STREAM
        write(SSE_HEAD)
        if b'"hold"' in body:
            write(events[0])
            return
        if b'"paced"' in body:
            self._pace(iter(ANTHROPIC_PACED if anthropic else OPENAI_PACED))
            return
        for event in events:
            write(event)
        write(END)

    def _pace(self, events: Iterator[bytes]) -> None:
        if self._transport.is_closing():
            return
        event = next(events, END)
        self._transport.write(event)
        if event is not END:
            asyncio.get_running_loop().call_later(PACE_SECONDS, self._pace, events)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Provider, "127.0.0.1", 0, backlog=4096)
    print("listening on", server.sockets[0].getsockname()[1], flush=True)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    sys.exit(uvloop.run(main()))
