"""Gateways over one store, and clients that ask all at once, some of which leave."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import msgspec

from extproc.exchange.completion import Completion
from extproc.local.mock.tokens import count
from extproc.policy.budget import NEVER
from extproc.server.control_link import ControlLink
from extproc.server.ledger import LEDGER_FILE, Charge
from tests.harness import FORGIVING, Gateway, Mock, mock_config, temporary_folder
from tests.redis_server import RedisServer

WORDS = " ".join(f"w{n}" for n in range(20))
ANSWER_TOKENS = count(WORDS)
DOLLARS_A_TOKEN = 0.001
ANSWER_NANOS = ANSWER_TOKENS * 1_000_000
WORST_TOKENS = 2 * ANSWER_TOKENS
SECONDS = 120
SPENT = "key/restarted/total/UTC/0"


@dataclass
class Asked:
    """What one client saw."""

    status: int
    headers: dict[str, str]
    body: bytes
    ended: bool = False
    """Whether the body came to HTTP's own end."""
    left: bool = False
    """Whether it went away before the end."""

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["error"]["code"])

    def usage(self) -> dict[str, int]:
        if self.headers["content-type"].startswith("application/json"):
            return dict(json.loads(self.body)["usage"])
        frames = [f for f in self.body.split(b"\n\n") if b'"usage":{' in f]
        return dict(json.loads(frames[-1].removeprefix(b"data: "))["usage"])


def key_of(name: str) -> str:
    return f"sk-{name}-{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def chat(
    *, stream: bool = False, text: str = WORDS, directive: str = "", **more: Any
) -> bytes:
    say = f'Hi [[mock: answer="{text}"]]{directive}'
    body = {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": say}],
        "max_tokens": WORST_TOKENS,
        **more,
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(body).encode()


async def ask(
    url: str,
    key: str,
    body: bytes,
    *,
    leave_after: int | None = None,
    leave_when: asyncio.Event | None = None,
    path: str = "/v1/chat/completions",
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Asked:
    """Ask once on a connection of its own.

    Go away after `leave_after` bytes of the answer, or when `leave_when` says so.
    """
    there = urlsplit(url)
    reader, writer = await asyncio.open_connection(there.hostname, there.port)
    try:
        writer.write(
            (
                f"POST {path} HTTP/1.1\r\nhost: gw\r\n"
                f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n"
                + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                + "\r\n"
            ).encode()
            + body
        )
        answers = asyncio.ensure_future(reader.readuntil(b"\r\n\r\n"))
        if leave_when is not None:
            leaves = asyncio.ensure_future(leave_when.wait())
            await asyncio.wait((answers, leaves), return_when=asyncio.FIRST_COMPLETED)
            leaves.cancel()
            if not answers.done():
                answers.cancel()
                writer.transport.abort()
                return Asked(0, {}, b"", left=True)
        head = (await answers).decode().split("\r\n")
        told = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        status = int(head[0].split()[1])
        if leave_after is not None and status == 200:
            seen = await reader.readexactly(leave_after)
            writer.transport.abort()
            return Asked(status, told, seen, left=True)
        raw = await reader.read()
        return Asked(
            status,
            told,
            _dechunked(raw, told),
            ended=raw.endswith(b"\r\n0\r\n\r\n"),
        )
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _dechunked(raw: bytes, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return raw
    out = []
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        n = int(size, 16)
        if n == 0:
            break
        out.append(raw[:n])
        raw = raw[n + 2 :]
    return b"".join(out)


class Collector:
    """Control's end of the link, for one gateway: it keeps every record."""

    def __init__(self, path: Path) -> None:
        self.records: list[Completion] = []
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(path,))
        self._thread.start()
        self._ready.wait(10)

    def _run(self, path: Path) -> None:
        async def serve() -> None:
            link = ControlLink(path, self.records.extend)
            self._task = asyncio.current_task()
            await link.run(self._ready.set)

        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(serve())
        self._loop.close()

    def stop(self) -> None:
        if self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(10)


@dataclass
class World:
    """What a scenario plays in."""

    name: str
    mock: Mock
    gateways: list[Gateway]
    collectors: list[Collector]
    redis: RedisServer | None
    asked: dict[str, int] = field(default_factory=dict)
    """How many requests of a key there were, where somebody counts them."""

    def ask(self, asking: list[dict[str, Any]]) -> list[Asked]:
        """Ask all at once, the gateways in turn.

        Who has `leaves_as` goes away, unless it is answered, as soon as its request is at
        the provider, which finds that word in it.
        """
        leaving = {
            one["leaves_as"]: asyncio.Event() for one in asking if "leaves_as" in one
        }
        told = [
            {
                **{name: value for name, value in one.items() if name != "leaves_as"},
                "leave_when": leaving.get(one.get("leaves_as", "")),
            }
            for one in asking
        ]

        async def all_at_once() -> list[Asked]:
            looking = asyncio.ensure_future(self._look(leaving))
            try:
                return await asyncio.gather(
                    *(
                        ask(self.gateways[i % len(self.gateways)].url, **one)
                        for i, one in enumerate(told)
                    )
                )
            finally:
                looking.cancel()

        return asyncio.run(asyncio.wait_for(all_at_once(), SECONDS))

    async def _look(self, leaving: dict[str, asyncio.Event]) -> None:
        """Tell who waits for its request to be at the provider that it is."""
        while leaving:
            for seen in await asyncio.to_thread(self.mock.requests):
                for word in [w for w in leaving if w.encode() in seen["body"]]:
                    leaving.pop(word).set()
            await asyncio.sleep(0.05)

    def records(self, key: str, number: int) -> list[Completion]:
        """Return the records of `key`, once all `number` of them are here."""

        async def arrived() -> list[Completion]:
            while True:
                found = [r for c in self.collectors for r in c.records if r.key == key]
                if len(found) >= number:
                    return found
                await asyncio.sleep(0.02)

        return asyncio.run(asyncio.wait_for(arrived(), SECONDS))


@contextlib.contextmanager
def world(
    name: str,
    *,
    gateways: int,
    redis: bool,
    keys: dict[str, Any],
    pace_ms: float = 1.0,
    keep: bool = False,
    **accounting: Any,
):
    """Run `gateways` gateways over one store; `keys` are those of ``gateway.yaml``."""
    with temporary_folder() as folder, contextlib.ExitStack() as stack:
        server = RedisServer(keep=keep) if redis else None
        if server is not None:
            stack.callback(server.stop)
        mock = Mock(folder, pace_ms=pace_ms)
        stack.callback(mock.stop)
        accounting = {"deadline": 5, **accounting}
        if server is not None:
            accounting["store"] = server.url
        config = mock_config(
            mock.url,
            keys=[{"id": n, "key": key_of(n), **said} for n, said in keys.items()],
            prices={"gpt-4o": {"output": DOLLARS_A_TOKEN * 1_000_000}},
            accounting=accounting,
            **FORGIVING,
        )
        started, collectors = [], []
        for number in range(gateways):
            place = folder / str(number)
            place.mkdir()
            collector = Collector(place / "control.sock")
            stack.callback(collector.stop)
            collectors.append(collector)
            # As a control wrote it that knew of 99 cents.
            charge = Charge("gw-before", 990_000_000, ((SPENT, NEVER),))
            (place / LEDGER_FILE).write_bytes(msgspec.json.encode(charge) + b"\n")
            gateway = Gateway(config, place)
            stack.callback(gateway.stop)
            started.append(gateway)
        yield World(name, mock, started, collectors, server)
