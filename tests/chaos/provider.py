"""A provider that misbehaves on command, by the model that it is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import random
import socket
import threading
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

CHUNKS = 5
PIECE = 1 << 18
"""Bytes of a long answer that are in our hands at once."""


@dataclass
class Conduct:
    """How requests for one model go, or for a URL where no model is named."""

    status: int = 200
    chance: float = 1.0
    """Of the status; else it is 200."""
    retry_after: str | None = None
    headers: str = ""
    """More of them; lines."""
    delay: float = 0.0
    reset: bool = False
    message: str = "told to"
    code: str | None = None
    refused_key: str = ""
    """Answered with `refusal`."""
    refusal: int = 401
    stall: float = 0.0
    """Between the chunks of a stream."""
    cut: bool = False
    """A stream's connection ends in its middle."""
    size: int = 0
    """Bytes of what is said where it is not streamed; 0: few."""


class Provider:
    """An OpenAI chat API on a port of its own, in a thread with a loop of its own."""

    def __init__(self, seed: int = 1) -> None:
        self.conduct: dict[str, Conduct] = {}
        self.asked: Counter[str] = Counter()
        """Requests by model."""
        self.begun: Counter[str] = Counter()
        """Requests by URL whose headers are here."""
        self.gone: Counter[str] = Counter()
        """Requests by model whose peer left before their answer was whole, or by URL before
        their body was."""
        self.last: dict[str, tuple[dict[str, Any], dict[str, str]]] = {}
        """Body and headers of the last request, by model."""
        self._chance = random.Random(seed)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Listen; again on the same port after `kill`."""
        self._run(self._listen())

    def kill(self) -> None:
        """Drop the port and every connection, as a process that is killed does."""
        self._run(self._drop())

    def close(self) -> None:
        self._run(self._drop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self.port, reuse_address=True, backlog=1024
        )

    async def _drop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._serve(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head.split("\r\n"))
        }
        url = head.split(" ", 2)[1]
        self.begun[url] += 1
        try:
            body = await _read_body(reader, headers)
        except (OSError, asyncio.IncompleteReadError):
            self.gone[url] += 1
            raise
        asked = _object(body)
        model = asked.get("model", url)
        conduct = self.conduct.get(model, Conduct())
        self.asked[model] += 1
        self.last[model] = asked, headers
        left = asyncio.ensure_future(reader.read(1))
        answer = asyncio.ensure_future(self._answer(writer, conduct, headers, asked))
        try:
            await asyncio.wait({left, answer}, return_when=asyncio.FIRST_COMPLETED)
            if left.done() and not answer.done():
                self.gone[model] += 1
                return False
            left.cancel()
            return await answer
        finally:
            for task in (left, answer):
                task.cancel()
            await asyncio.gather(left, answer, return_exceptions=True)

    async def _answer(
        self,
        writer: asyncio.StreamWriter,
        conduct: Conduct,
        headers: dict[str, str],
        asked: dict[str, Any],
    ) -> bool:
        if conduct.delay:
            await asyncio.sleep(conduct.delay)
        if conduct.reset:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()
            return False
        status = conduct.status if self._chance.random() < conduct.chance else 200
        if conduct.refused_key and headers.get("authorization", "").endswith(
            conduct.refused_key
        ):
            status = conduct.refusal
        if status != 200:
            error = {"message": conduct.message, "type": "error", "code": conduct.code}
            more = conduct.headers
            if conduct.retry_after:
                more += f"retry-after: {conduct.retry_after}\r\n"
            await _send(writer, status, json.dumps({"error": error}).encode(), more)
        elif asked.get("stream"):
            await _stream(
                writer, asked.get("model", ""), conduct.stall, cut=conduct.cut
            )
        else:
            body = completion(asked.get("model", ""), conduct.size)
            await _send(writer, 200, body, conduct.headers)
        await writer.drain()
        return True


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


def _object(body: bytes) -> dict[str, Any]:
    """Return the body where it is a JSON object; a form is none."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


async def _send(
    writer: asyncio.StreamWriter, status: int, body: bytes, more: str = ""
) -> None:
    writer.write(
        f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{more}"
        f"content-length: {len(body)}\r\n\r\n".encode()
    )
    for start in range(0, len(body), PIECE):
        writer.write(body[start : start + PIECE])
        await writer.drain()


async def _stream(
    writer: asyncio.StreamWriter, model: str, stall: float, *, cut: bool
) -> None:
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
        b"transfer-encoding: chunked\r\n\r\n"
    )
    for number in range(CHUNKS):
        delta = {"content": f"word {number} "}
        choice = {
            "index": 0,
            "delta": delta,
            "finish_reason": None if number < CHUNKS - 1 else "stop",
        }
        _chunk(
            writer,
            json.dumps({**_head(model, "chat.completion.chunk"), "choices": [choice]}),
        )
        await writer.drain()
        if stall:
            await asyncio.sleep(stall)
        if cut:
            raise ConnectionResetError
    _chunk(writer, "[DONE]")
    writer.write(b"0\r\n\r\n")


def _chunk(writer: asyncio.StreamWriter, data: str) -> None:
    event = f"data: {data}\n\n"
    writer.write(f"{len(event):x}\r\n{event}\r\n".encode())


def _head(model: str, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": model}


@functools.cache
def words(size: int) -> bytes:
    """Return so much to say, no part of which is like another."""
    return b"".join(b"%07d " % number for number in range(size // 8)) or b"Hello."


@functools.cache
def completion(model: str, size: int = 0) -> bytes:
    """Return an answer; a large one is only made once."""
    message = {"role": "assistant", "content": words(size).decode()}
    answer = json.dumps(
        {
            **_head(model, "chat.completion"),
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
        }
    )
    return answer.encode()
