"""The gateway of a siege, and a provider whose answers never end."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import sqlalchemy as sa

from extproc.db.database import FILE
from tests.chaos.stage import Stage
from tests.harness import KEY, Process

CHUNK = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n'
REQUEST_SECONDS = 3
"""How long a body may take here; headers may take ten seconds, which is not configured."""
HELD = 64 << 20
"""Bytes of bodies that a worker may hold."""
PATIENCE = 30.0
LIMITED_KEY = "sk-limited-0123456789abcdef0123456789abcd"
LIMIT, LEASE_PERCENT = 100, 10.0
STEADY = (
    "disk",
    "sql",
    "control",
    "redis-slow",
    "files",
    "memory",
    "clock",
    "sql-gone",
)
"""Models that are asked while something of the gateway's own is gone."""


class Fountain:
    """A provider whose answers never end, and are as fast as they are read."""

    def __init__(self, size: int = 20) -> None:
        self.open = 0
        self.begun = 0
        self._size = size
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, sock: socket.socket) -> None:
        """Listen at what is bound already."""
        self._server = await asyncio.start_server(self._serve, sock=sock, backlog=4096)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        size = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        body = await reader.readexactly(size)
        pause = 0.0 if b'"flood"' in body else 0.25
        self.begun += 1
        self.open += 1
        gone = asyncio.ensure_future(reader.read(1))
        try:
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                b"transfer-encoding: chunked\r\n\r\n"
            )
            data = CHUNK % (b"w" * self._size * (1 if pause else 100))
            while not gone.done():
                writer.write(b"%x\r\n%s\r\n" % (len(data), data))
                await writer.drain()
                await asyncio.wait({gone}, timeout=pause)
            raise ConnectionResetError
        finally:
            gone.cancel()
            self.open -= 1


@dataclass
class Crowd:
    """The world that they come to."""

    stage: Stage
    fountain: Fountain
    short: bool
    books: str = ""
    """The database's URL; empty: the file that the gateway makes."""
    processes: dict[str, list[psutil.Process]] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return self.stage.port

    @property
    def state(self) -> Path:
        return self.stage._folder / "state"

    @property
    def database(self) -> Path:
        return self.state / FILE

    def tasks(self) -> int:
        """Return how many tasks the workers have, as they say once a second."""
        return self._of_workers("tasks")

    def held(self) -> int:
        """Return how many bytes of bodies they hold, likewise."""
        return self._of_workers("held_bytes")

    def _of_workers(self, what: str) -> int:
        return sum(
            int(float(line.rpartition(" ")[2]))
            for line in self._metrics().splitlines()
            if line.startswith(f"extproc_worker_{what}{{")
        )

    async def resting_tasks(self) -> int:
        """Return the same when both have said it."""

        def said() -> bool:
            return self._metrics().count("extproc_worker_tasks{") == 2

        assert await until(said), "the workers do not say how many tasks they have"
        return await asyncio.to_thread(self.tasks)

    def _metrics(self) -> str:
        (control,) = self.processes["control"]
        (port,) = {
            one.laddr.port
            for one in control.net_connections("tcp4")
            if one.status == psutil.CONN_LISTEN
        }
        return httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text

    def _running(self) -> Process:
        assert self.stage._process is not None
        return self.stage._process

    def find_processes(self) -> None:
        """Look up who serves."""
        run = psutil.Process(self._running().pid)
        self.processes = {"worker": [], "envoy": [], "control": []}
        for process in run.children(recursive=True):
            line = " ".join(process.cmdline())
            for name, mark in (
                ("worker", "extproc.server.worker"), ("envoy", "/envoy "),
                ("control", "extproc.local.control"),
            ):  # fmt: skip
                if mark in line:
                    self.processes[name].append(process)
                    break

    def megabytes(self, name: str) -> float:
        return sum(one.memory_info().rss for one in self.processes[name]) / 1e6

    def descriptors(self) -> int:
        """Return how many all have, but for connections that Envoy keeps for later."""
        held = sum(one.num_fds() for all_ in self.processes.values() for one in all_)
        return held - sum(self._gauges("^cluster.*upstream_cx_active$").values())

    def stats(self) -> dict[str, int]:
        """Return Envoy's gauges of what is open."""
        return self._gauges(
            "^(http.gateway.downstream_(cx|rq)_active"
            "|cluster.*upstream_rq_active|server.live)$"
        )

    def _gauges(self, pattern: str) -> dict[str, int]:
        text = self.stage._admin(f"/stats?filter={pattern}")
        return {
            name: int(value)
            for name, _, value in (line.partition(": ") for line in text.splitlines())
        }

    def records(self, model: str) -> int:
        """Return how many requests for `model` are in the books."""
        engine = sa.create_engine(
            self.books or f"sqlite:///{self.database}", poolclass=sa.NullPool
        )
        query = sa.text("select count(*) from usage where model = :model")
        with contextlib.closing(engine.connect()) as books:
            return int(books.execute(query, {"model": model}).scalar_one())

    async def request(self, model: str, more: bytes = b"", size: int = 0) -> Any:
        """Begin a streamed request; return reader and writer."""
        said = {"role": "user", "content": "x" * size or "Hi"}
        body = json.dumps({"model": model, "stream": True, "messages": [said]}).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(head(len(body), more) + body)
        return reader, writer


def head(
    length: int, more: bytes = b"", path: bytes = b"/v1/chat/completions"
) -> bytes:
    return (
        b"POST %s HTTP/1.1\r\nhost: gateway\r\n"
        b"authorization: Bearer %s\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n%s\r\n" % (path, KEY.encode(), length, more)
    )


@dataclass
class Row:
    """What came of one crowd."""

    name: str
    clients: int
    figure: str
    wrong: list[str]

    def __str__(self) -> str:
        judged = "; ".join(self.wrong[:3]) or "held"
        return f"{self.name:<20}{self.clients:>8}  {self.figure:<58}  {judged}"


HEAD = f"{'crowd':<20}{'clients':>8}  {'figure':<58}  judged"

Play = Callable[[Crowd, int], Awaitable[tuple[str, list[str]]]]


async def gather(many: int, one: Callable[[int], Awaitable[Any]]) -> list[Any]:
    async with asyncio.timeout(PATIENCE + many / 20), asyncio.TaskGroup() as tasks:
        made = [tasks.create_task(_whole(one(number))) for number in range(many)]
    return [task.result() for task in made]


async def _whole(one: Awaitable[Any]) -> Any:
    return await one


async def until(holds: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Wait until `holds`, and say whether it came to that."""
    patience = time.monotonic() + seconds
    while not await asyncio.to_thread(holds):
        if time.monotonic() > patience:
            return False
        await asyncio.sleep(0.1)
    return True


async def status_of(reader: asyncio.StreamReader) -> int:
    """Return the status of an answer, 0 where the connection just ends."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        line = await reader.readline()
        return int(line.split()[1]) if line else 0
    return 0


def config(stage: Stage) -> dict[str, Any]:
    """Return the gateway's configuration; the fountain will be at the stage's spout."""
    port = stage.spout.getsockname()[1]
    one = {"type": "openai", "api_key": "sk-one"}
    return {
        "workers": 2,
        "accounting": {"store": stage.redis.url, "lease_percent": LEASE_PERCENT},
        "timeouts": {"request": REQUEST_SECONDS},
        "limits": {"held_bytes": HELD},
        "providers": {
            "good": {**one, "base_url": stage.good.url},
            "fountain": {
                **one,
                "base_url": f"http://127.0.0.1:{port}/v1",
                "timeouts": {"keep_alive": 1},
            },
        },
        "models": {
            "stand-in": {"targets": [{"provider": "good"}]},
            "flood": {"targets": [{"provider": "fountain"}]},
            "cancel": {"targets": [{"provider": "fountain"}]},
            "answers": {"targets": [{"provider": "good"}]},
            **{name: {"targets": [{"provider": "good"}]} for name in STEADY},
        },
        "keys": [
            {
                "id": "limited",
                "key_sha256": hashlib.sha256(LIMITED_KEY.encode()).hexdigest(),
                "rate_limits": {"requests_per_hour": LIMIT},
            }
        ],
    }
