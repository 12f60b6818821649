"""Clients that mean no good, or know no better: many, slow, endless, huge, gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tests.chaos.client import ask
from tests.chaos.provider import Conduct, completion, words
from tests.chaos.world import (
    HELD,
    REQUEST_SECONDS,
    Crowd,
    gather,
    head,
    status_of,
    until,
)

COPIES = {"requests": 3, "answers": 4}
"""How much of a worker's memory a byte of a body may take: two while it is read or
written, and what the allocator keeps; an answer is there as it came, as text, and as it
leaves."""


async def idle(crowd: Crowd, many: int) -> tuple[str, list[str]]:
    """Connections that say nothing."""
    before = crowd.megabytes("envoy")

    async def connect(number: int) -> Any:
        await asyncio.sleep(number / 1500)  # below `new_connections_per_second`
        return await asyncio.open_connection("127.0.0.1", crowd.port)

    held = await gather(many, connect)
    try:
        counted = await until(
            lambda: crowd.stats()["http.gateway.downstream_cx_active"] >= many
        )
        each = 1000 * (crowd.megabytes("envoy") - before) / many
        began = time.monotonic()
        failure = (await ask(crowd.port, "stand-in", stream=False))[0]
        took = 1000 * (time.monotonic() - began)
        wrong = [failure] if failure else []
        if not counted:
            wrong.append("not all are connected")
    finally:
        for _, writer in held:
            writer.close()
    return f"{each:.1f} KB of Envoy each; an answer among them in {took:.0f} ms", wrong


async def slow_headers(crowd: Crowd, many: int) -> tuple[str, list[str]]:
    """Slowloris: headers that never end."""

    async def one(_: int) -> tuple[int, float]:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", crowd.port)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\n")
        answer = asyncio.ensure_future(status_of(reader))
        while not answer.done():
            with contextlib.suppress(OSError):
                writer.write(b"x-a: b\r\n")
            await asyncio.wait({answer}, timeout=1)
        writer.close()
        return answer.result(), time.monotonic() - began

    seen = await gather(many, one)
    wrong = [f"told {status}" for status, _ in seen if status not in {408, 0}]
    longest = max(took for _, took in seen)
    if longest > 20:
        wrong.append(f"held for {longest:.0f} s")
    return f"cut off after {longest:.1f} s", wrong


async def slow_bodies(crowd: Crowd, many: int) -> tuple[str, list[str]]:
    """Bodies that never end."""

    async def one(_: int) -> tuple[int, float]:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", crowd.port)
        writer.write(head(1000) + b'{"model": "fountain",')
        status = await status_of(reader)
        writer.close()
        return status, time.monotonic() - began

    seen = await gather(many, one)
    wrong = [f"told {status}" for status, _ in seen if status != 408]
    longest = max(took for _, took in seen)
    if longest > REQUEST_SECONDS + 10:
        wrong.append(f"held for {longest:.0f} s")
    return f"told 408 after {longest:.1f} s", wrong


async def header_flood(crowd: Crowd, many: int) -> tuple[str, list[str]]:
    """Too many headers, too long ones."""
    kinds = (
        b"".join(b"x-%d: a\r\n" % number for number in range(300)),
        b"x-long: " + b"a" * 100_000 + b"\r\n",
        b"x-api-key: a\r\n" * 150,
    )

    async def one(number: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", crowd.port)
        with contextlib.suppress(OSError):
            writer.write(head(2, kinds[number % 3]) + b"{}")
        status = await status_of(reader)
        writer.close()
        return status

    seen = await gather(many, one)
    wrong = [f"told {status}" for status in seen if status not in {431, 0}]
    return f"{seen.count(431)} told 431, {seen.count(0)} cut off", wrong


async def cancels(crowd: Crowd, many: int) -> tuple[str, list[str]]:
    """Clients that leave in the middle of a stream."""
    before = crowd.records("cancel")

    async def one(number: int) -> bool:
        await asyncio.sleep(number / 200)
        reader, writer = await crowd.request("cancel")
        whole = await reader.readuntil(b"\n\n")
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            whole += await reader.readuntil(b"\n\n")
        writer.transport.abort()
        return b" 200 " in whole.split(b"\r\n", 1)[0]

    seen = await gather(many, one)
    wrong = [f"{seen.count(False)} had no stream"] if not all(seen) else []
    kept = await until(lambda: crowd.records("cancel") >= before + many)
    found = crowd.records("cancel") - before
    if not kept or found != many:
        wrong.append(f"{many} requests have {found} records")
    return f"{found} records of {many} requests", wrong


async def slow_readers(crowd: Crowd, many: int) -> tuple[str, list[str]]:
    """Clients that ask for a flood and do not read it."""
    sizes = {name: crowd.megabytes(name) for name in ("worker", "envoy")}
    before = crowd.records("flood")

    async def one(_: int) -> Any:
        reader, writer = await crowd.request("flood")
        await reader.readuntil(b"\n\n")
        writer.transport.pause_reading()
        return writer

    held = await gather(many, one)
    await asyncio.sleep(3)
    grown = {name: crowd.megabytes(name) - sizes[name] for name in sizes}
    for writer in held:
        writer.transport.abort()
    wrong = [
        f"{name} grew by {more:.0f} MB" for name, more in grown.items() if more > 20 + 8 * many
    ]  # fmt: skip
    if not await until(lambda: crowd.records("flood") == before + many):
        wrong.append(f"{crowd.records('flood') - before} records of {many}")
    said = ", ".join(f"{name} {more:+.0f} MB" for name, more in grown.items())
    return f"held: {said}", wrong


async def large_bodies(crowd: Crowd, many: int) -> tuple[str, list[str]]:
    """Bodies of many megabytes at once."""
    megabytes = 4 if crowd.short else 20

    async def one(_: int) -> int:
        reader, writer = await crowd.request(
            "stand-in", b"connection: close\r\n", megabytes << 20
        )
        # Who is refused is told so before the body is read, and then cut off.
        answer = asyncio.ensure_future(status_of(reader))
        try:
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            status = await answer
            with contextlib.suppress(ConnectionError):
                await reader.read()
        finally:
            answer.cancel()
            writer.close()
        return status

    # Who waits for room in vain is told so, by the worker or by Envoy's clock.
    return await _large(crowd, many, megabytes, "stand-in", one, {200, 408, 503})


async def large_answers(crowd: Crowd, many: int) -> tuple[str, list[str]]:
    """Answers of many megabytes at once, which the worker has to hold until they are whole.

    Half of them are passed on as they came and half translated; a third of the clients
    stand still for a while.
    """
    megabytes = 4 if crowd.short else 20
    size = megabytes << 20
    text, whole = await asyncio.to_thread(
        lambda: (words(size), completion("answers", size))
    )
    around = tuple(whole.split(text))
    crowd.stage.good.conduct["answers"] = Conduct(size=size)
    say = b'{"model": "answers", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}'
    more = b"anthropic-version: 2023-06-01\r\nconnection: close\r\n"

    async def one(number: int) -> int:
        """Return the status of what is whole and right; 0 for all else."""
        translated = number % 2 == 1
        path = b"/v1/messages" if translated else b"/v1/chat/completions"
        reader, writer = await asyncio.open_connection("127.0.0.1", crowd.port)
        try:
            writer.write(head(len(say), more, path) + say)
            answer = Answer(text)
            await answer.read(reader, 1.0 if number % 3 == 0 else 0.0)
        except (OSError, asyncio.IncompleteReadError):
            return 0
        finally:
            writer.close()
        if answer.status != 200:
            error = json.loads(b"".join(answer.around))
            right = error["error"]["message"] and ("type" in error) == translated
        else:
            right = answer.found and (translated or tuple(answer.around) == around)
        return answer.status if right else 0

    try:
        return await _large(crowd, many, megabytes, "answers", one, {200, 503})
    finally:
        del crowd.stage.good.conduct["answers"]


class Answer:
    """What a client is told; the text that it should be is compared and not kept."""

    def __init__(self, text: bytes) -> None:
        self.status = 0
        self.around = [b"", b""]
        """What is before the text, and behind it."""
        self._text = memoryview(text)
        self._seen = 0

    @property
    def found(self) -> bool:
        """Whether all of the text was in it."""
        return self._seen == len(self._text)

    async def read(self, reader: asyncio.StreamReader, pause: float) -> None:
        """Read all of it, after a `pause` behind the headers.

        Raises:
            IncompleteReadError: it is cut.
        """
        self.status, length = await status_of(reader), -1
        while (line := await reader.readuntil(b"\n")) != b"\r\n":
            name, _, value = line.lower().partition(b": ")
            length = int(value) if name == b"content-length" else length
        await asyncio.sleep(pause)
        if length >= 0:
            self._take(await reader.readexactly(length))
            return
        while size := int(await reader.readuntil(b"\n"), 16):
            self._take((await reader.readexactly(size + 2))[:-2])
        await reader.readexactly(2)

    def _take(self, data: bytes) -> None:
        if not self._seen:
            self.around[0] += data
            start = self.around[0].find(self._text[:16])
            if start < 0:
                return
            data = self.around[0][start:]
            self.around[0] = self.around[0][:start]
        part = self._text[self._seen : self._seen + len(data)]
        if data[: len(part)] == part:
            self._seen += len(part)
            data = data[len(part) :]
        self.around[1] += data


async def _large(
    crowd: Crowd,
    many: int,
    megabytes: int,
    model: str,
    one: Callable[[int], Awaitable[int]],
    expected: set[int],
) -> tuple[str, list[str]]:
    """Let `one` ask so often at once; judge what it is told and how the workers grow."""
    before = {name: crowd.megabytes(name) for name in ("worker", "envoy")}
    most = dict(before)
    kept = crowd.records(model)
    asking = asyncio.ensure_future(gather(many, one))
    while not asking.done():
        await asyncio.wait({asking}, timeout=0.2)
        most = {name: max(most[name], crowd.megabytes(name)) for name in most}
    seen = asking.result()
    served = seen.count(200)
    wrong = [f"{status}" for status in seen if status not in expected]
    grown = most["worker"] - before["worker"]
    copies = COPIES["answers" if model == "answers" else "requests"]
    bound = copies * HELD / 1e6 * len(crowd.processes["worker"])
    if grown > bound:
        wrong.append(f"the workers grew by {grown:.0f} MB, of {bound:.0f}")
    if not served:
        wrong.append("none was served")
    if not await until(lambda: crowd.records(model) >= kept + served):
        wrong.append("records are missing")
    said = ", ".join(f"{name} {most[name] - before[name]:+.0f} MB" for name in most)
    told = f"{served} served of {many} of {megabytes} MB"
    return f"{told}; at most {said}", wrong
