"""A whole gateway under mixed traffic and killed processes, and everybody's books of it.

The provider keeps books of its own (`extproc.local.mock.books`); what one request is
called in them is what its client says is its end user, so that each can be compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count as count_from
from pathlib import Path
from typing import Any

import httpx
import msgspec
import redis
import sqlalchemy as sa

from extproc.config.file_names import ADMIN_SOCKET
from extproc.db.database import Database
from extproc.db.tables import UsageRecord
from extproc.exchange.completion import Completion
from extproc.identity import NANOS
from extproc.server import journal, journals
from tests.budgets.world import Asked, ask, key_of
from tests.harness import (
    FORGIVING,
    Mock,
    mock_config,
    temporary_folder,
    wait_for,
)
from tests.redis_server import RedisServer
from tests.running import Run

CLIENTS = 12
PRICES = {
    "gpt-4o": (10, 100),
    "claude-sonnet-4-5": (30, 300),
    "gemini-2.5-flash": (5, 70),
}
"""Dollars for a million tokens, of the prompt and of the answer."""
TOTAL = {"period": "total"}
KEYS: dict[str, dict[str, Any]] = {
    "hard": {"budgets": [{"usd": 1000, **TOTAL}]},
    "soft": {"budgets": [{"usd": 1000, "mode": "soft", **TOTAL}], "team": "core"},
    "small": {"budgets": [{"usd": 0.5, **TOTAL}], "team": "core"},
    "cut": {"budgets": [{"usd": 0.1, **TOTAL}], "cut_off": True},
    "limited": {
        "budgets": [{"usd": 1000, **TOTAL}],
        "rate_limits": {"requests_per_minute": 200, "tokens_per_hour": 100_000},
        "concurrency": 6,
    },
}
TEAMS = {"core": {"budgets": [{"usd": 2000, **TOTAL}]}}
WORST_NANOS = 2_000_000_000
"""No request of ours may cost more."""
PROMPT = "The canary sings 4711-prompt-canary"
WRONG_KEY = "sk-wrong-canary-0123456789abcdef0123456789"
LONG = " ".join(f"w{n}" for n in range(300))


@dataclass(frozen=True)
class Kind:
    """One way in which a request goes."""

    model: str = "gpt-4o"
    stream: bool = False
    directive: str = ""
    path: str = "/v1/chat/completions"
    leave_after: int | None = None


CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
KINDS = [
    *(
        Kind(model, stream=stream, path=path)
        for model in PRICES
        for stream in (False, True)
        for path in (CHAT, MESSAGES, RESPONSES)
    ),
    *(Kind("both", stream=s, directive="fail-first n=1 key={mark}") for s in (False, True)),
    *(
        Kind(model, stream=True, directive=f'answer="{LONG}"', leave_after=700)
        for model in PRICES
    ),
    Kind("gpt-4o", directive="slow-first-token ms=500", leave_after=0),
    *(Kind("gpt-4o", directive=f"status={status}") for status in (400, 429, 500)),
    Kind("both", directive="reset"),
    *(
        Kind(model, stream=True, directive=f"{how} after=5")
        for model in ("gpt-4o", "claude-sonnet-4-5")
        for how in ("error-mid-stream", "reset-mid-stream", "cut-mid-chunk")
    ),
    *(Kind("gpt-4o", stream=s, directive="no-usage") for s in (False, True)),
    Kind("gpt-4o", directive="cached tokens=3"),
]  # fmt: skip


def body_of(kind: Kind, mark: str) -> bytes:
    """Return a request of this kind, whose client calls itself `mark`."""
    text = f"{PROMPT} [[mock: mark={mark}]]"
    if kind.directive:
        text += f"[[mock: {kind.directive.format(mark=mark)}]]"
    said: dict[str, Any] = {"model": kind.model, "stream": kind.stream}
    if kind.path == RESPONSES:
        said |= {"input": text, "max_output_tokens": 400, "user": mark}
    elif kind.path == MESSAGES:
        said |= {"metadata": {"user_id": mark}}
    else:
        said |= {"user": mark}
    if kind.path != RESPONSES:
        said |= {
            "max_tokens": 400,
            "messages": [{"role": "user", "content": text}],
        }
    return json.dumps(said).encode()


class Running(Run):
    """`extproc run` with two workers over Redis, and mock providers with books."""

    def __init__(self, folder: Path) -> None:
        self.redis = RedisServer(keep=True)
        self.served = folder / "served.jsonl"
        self.mock = Mock(folder, "--books", str(self.served), pace_ms=2)
        config = mock_config(
            self.mock.url,
            keys=[{"id": n, "key": key_of(n), **said} for n, said in KEYS.items()],
            teams=TEAMS,
            prices={m: {"input": i, "output": o} for m, (i, o) in PRICES.items()},
            accounting={"store": self.redis.url, "deadline": 2, "hold": 2},
            **FORGIVING,
        )
        super().__init__(folder, config, workers=2)

    def envoy(self, path: str) -> bytes:
        """Return what Envoy's admin interface says at `path`."""
        line = self.processes("extproc.server.worker")[0].info["cmdline"]
        control = Path(line[line.index("--control") + 1])
        transport = httpx.HTTPTransport(uds=str(control.with_name(ADMIN_SOCKET)))
        with httpx.Client(transport=transport, timeout=30) as client:
            return client.get(f"http://envoy{path}").content

    def written(self) -> set[str]:
        """Return whose records the workers have, and control has not."""
        found = set()
        for path in (self.state / journals.FOLDER).glob(f"*{journals.SUFFIX}"):
            with contextlib.suppress(OSError):
                for entry in journal.read(path.read_bytes())[0]:
                    if entry.kind == journal.Kind.RECORD:
                        one = msgspec.msgpack.decode(entry.data, type=Completion)
                        found.add(one.end_user or "")
        return found

    def health(self) -> dict[str, Any]:
        """Return what control says of everything; empty while it is away."""
        with contextlib.suppress(httpx.HTTPError, OSError):
            return dict(httpx.get(f"{self.control_url()}/health/ready").json())
        return {}

    def stop(self) -> None:
        self.process.stop()
        self.mock.stop()
        self.redis.stop()


@contextlib.contextmanager
def running() -> Iterator[Running]:
    with temporary_folder() as folder:
        run = Running(folder)
        try:
            yield run
        finally:
            run.stop()


async def traffic(run: Running, seconds: float, *, control: bool) -> dict[str, Asked]:
    """Ask for so long, while processes are killed in turn; return what clients saw.

    A worker, Redis and, where that is asked for, control: it takes the longest to start.
    """
    seen: dict[str, Asked] = {}
    until = time.monotonic() + seconds
    numbers = iter(range(10**9))

    async def client(number: int) -> None:
        dice = random.Random(number)
        while time.monotonic() < until:
            mark = f"ask-{next(numbers)}"
            kind = dice.choice(KINDS)
            key = dice.choice(list(KEYS))
            seen[mark] = await _ask(run.url, key_of(key), kind, mark)
            # Who is refused for want of the store asks again a little later.
            await asyncio.sleep(0.3 if seen[mark].status == 503 else 0.05)

    async def disturb() -> None:
        pause = min(seconds, 20) / 4
        for number in count_from(0):
            if time.monotonic() + 3 * pause > until:
                return
            await asyncio.sleep(pause)
            run.kill(f"w{number % 2}.sock")
            await asyncio.sleep(pause)
            run.redis.kill()
            await asyncio.sleep(0.4)
            await asyncio.to_thread(run.redis.restart)
            await asyncio.sleep(pause)
            if control:
                run.kill("extproc.local.control")
                # Every fifth time the next worker dies with records that nobody has.
                while number % 5 != 4 and time.monotonic() < until:
                    if await asyncio.to_thread(run.health):
                        break
                    await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(disturb())
        for number in range(CLIENTS):
            tasks.create_task(client(number))
    return seen


LAST = 8
"""Requests that are answered while control is down, before their workers are killed."""


def last_words(run: Running) -> tuple[dict[str, Asked], set[str]]:
    """Kill control, ask, and kill all workers before there is another control.

    Return what clients saw, and who was answered and is written in journals alone.
    """
    kinds = [Kind(model, path=path) for model in PRICES for path in (CHAT, MESSAGES)]
    seen: dict[str, Asked] = {}

    async def ask_all(marks: list[str]) -> None:
        async def one(mark: str, kind: Kind) -> None:
            seen[mark] = await _ask(run.url, key_of("hard"), kind, mark)

        async with asyncio.TaskGroup() as tasks:
            for number, mark in enumerate(marks):
                tasks.create_task(one(mark, kinds[number % len(kinds)]))

    for attempt in range(20):
        wait_for(run.health, run.process.output, 60)
        marks = [f"last-{attempt}-{n}" for n in range(LAST)]
        run.kill("extproc.local.control")
        asyncio.run(ask_all(marks))
        written = run.written()
        for number in range(2):
            run.kill(f"w{number}.sock")
        whole = {mark for mark in marks if seen[mark].status == 200}
        if whole and whole <= written:
            return seen, whole
    raise AssertionError("control was always back before the workers were killed")


async def _ask(url: str, key: str, kind: Kind, mark: str) -> Asked:
    body = body_of(kind, mark)
    try:
        if kind.leave_after == 0:
            # Gone before there is any answer.
            async with asyncio.timeout(0.1):
                return await ask(url, key, body, path=kind.path)
        return await ask(url, key, body, path=kind.path, leave_after=kind.leave_after)
    except (TimeoutError, OSError, asyncio.IncompleteReadError, ValueError):
        return Asked(0, {}, b"", left=True)


@dataclass
class Store:
    """What Redis has at the end."""

    spent: dict[str, int]
    held: dict[str, int]
    settled: set[str] = field(default_factory=set)
    expired: set[str] = field(default_factory=set)
    """What was charged as reserved, and nobody has said what came of it."""
    waiting: int = 0


def read_store(server: RedisServer) -> Store:
    tag = "{extproc}"
    with redis.Redis.from_url(server.url) as client:
        store = Store({}, {}, waiting=client.zcard(f"{tag}due"))
        for key in client.scan_iter(f"{tag}b:*"):
            meter = key.decode().removeprefix(f"{tag}b:")
            money = client.hgetall(key)
            store.spent[meter] = int(money.get(b"s", 0))
            store.held[meter] = int(money.get(b"h", 0))
        for key in client.scan_iter(f"{tag}h:*"):
            id_ = key.decode().removeprefix(f"{tag}h:")
            content = client.get(key)
            if content is None:
                continue
            state, _ = msgspec.msgpack.decode(content)
            if state == "settled":
                store.settled.add(id_)
            elif state == "expired":
                store.expired.add(id_)
    return store


def read_rows(state: Path) -> list[UsageRecord]:
    database = Database.in_folder(state)
    with database.read() as session:
        rows = list(session.scalars(sa.select(UsageRecord)))
    database.close()
    return rows


def read_served(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the mock's lines by mark."""
    out: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        if entry["mark"]:
            out[entry["mark"]].append(entry)
    return out


def priced(line: dict[str, Any], model: str) -> int:
    """Return what a line of the mock's books costs, in nano-dollars."""
    given, made = PRICES[model]
    return int((line["input"] * given + line["output"] * made) * NANOS // 1_000_000)


def is_whole(line: dict[str, Any]) -> bool:
    """Say whether a line of the mock's books is of an answer that came to its end."""
    return line["status"] == 200 and line["whole"] and line["input"] is not None


def by_meter(rows: list[UsageRecord]) -> Counter[str]:
    """Return what the rows' costs come to on each budget."""
    sums: Counter[str] = Counter()
    for row in rows:
        sums[f"key/{row.key}/total/UTC/0"] += row.cost or 0
        if row.team:
            sums[f"team/{row.team}/total/UTC/0"] += row.cost or 0
    return sums
