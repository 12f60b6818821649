"""What there is too little of: files, memory; a clock that jumps, a database that is gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.client import ask, load
from tests.chaos.losses import SECONDS, _kept, _limited, _steady
from tests.chaos.stage import Stage
from tests.chaos.world import (
    LEASE_PERCENT,
    LIMIT,
    Crowd,
    gather,
    head,
    until,
)
from tests.databases import Postgres

MEMORY = 64 << 20
"""Bytes that Envoy may have here."""
SET_CLOCK = """\
import time

_now = time.time

def _later():
    try:
        with open(%r) as file:
            return _now() + int(file.read() or 0)
    except OSError:
        return _now()

time.time = _later
"""
"""In every process of ours: the wall clock, not the one by which time is measured."""
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
SPARE = 10
"""Files that Envoy may still open, while there are few."""


@dataclass
class Means:
    """What the second gateway has."""

    books: Postgres
    clock: Path
    """Says how much later it is."""
    environ: Mapping[str, str] = field(default_factory=dict)

    def set_clock(self, seconds: int) -> None:
        new = self.clock.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.rename(self.clock)


@dataclass
class Straits(Crowd):
    """The world of a gateway that has little."""

    means: Means | None = None


@contextlib.contextmanager
def means(stage: Stage) -> Iterator[Means]:
    """Give a database and a clock."""
    books = Postgres()
    try:
        found = Means(books, stage.folder / "clock")
        found.set_clock(0)
        # Envoy does not run under libfaketime; it reads that clock for its log only.
        (stage.folder / "sitecustomize.py").write_text(SET_CLOCK % str(found.clock))
        found.environ = {
            "PYTHONPATH": str(stage.folder),
            "EXTPROC_DATABASE_URL": books.url,
        }
        yield found
    finally:
        books.stop()  # without waiting for the gateway to leave
        books.close()


async def few_files(crowd: Crowd, many: int) -> tuple[str, list[str]]:
    """Envoy may open ten more files, the workers none; then a crowd comes."""
    before = crowd.records("files")
    served = [crowd.processes["envoy"][0], *crowd.processes["worker"]]
    normal = {one.pid: one.rlimit(resource.RLIMIT_NOFILE) for one in served}
    keeping = [await asyncio.open_connection("127.0.0.1", crowd.port) for _ in range(5)]
    seen = Counter([await _again(*one) for one in keeping])
    for one in served:
        more = SPARE if one is served[0] else 0
        limits = (one.num_fds() + more, normal[one.pid][1])
        one.rlimit(resource.RLIMIT_NOFILE, limits)
    held = []
    try:
        held = await gather(
            many, lambda _: asyncio.open_connection("127.0.0.1", crowd.port)
        )
        full = await until(lambda: served[0].num_fds() >= limits_of(served[0]) - 1)
        waiting = [
            asyncio.ensure_future(ask(crowd.port, "files", stream=True))
            for _ in range(5)
        ]
        meanwhile = Counter([await _again(*one) for one in keeping])
        seen += meanwhile
    finally:
        for one in served:
            one.rlimit(resource.RLIMIT_NOFILE, normal[one.pid])
        for _, writer in [*held, *keeping]:
            writer.close()
    late = [failure for failure, *_ in await asyncio.gather(*waiting) if failure]
    wrong = [f"told {failure[:60]}" for failure in late]
    wrong += [f"told {status}" for status in seen if status not in {200, 503}]
    wrong += [] if full else ["Envoy had files left"]
    wrong += await _kept(crowd, "files", before + seen[200] + 5 - len(late))
    return f"{meanwhile[200]} of 5 served meanwhile, 5 of 5 who waited after", wrong


def limits_of(process: Any) -> int:
    return int(process.rlimit(resource.RLIMIT_NOFILE)[0])


async def _again(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, model: str = "files"
) -> int:
    """Ask on a connection that stays; return the status, 0 where it is closed."""
    body = json.dumps(
        {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
    ).encode()
    writer.write(head(len(body)) + body)
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        said = answer.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
        if said:
            await reader.readexactly(int(said))
        else:
            await reader.readuntil(b"\r\n0\r\n\r\n")
        return int(answer.split()[1])
    return 0


async def sql_gone(crowd: Crowd, many: int) -> tuple[str, list[str]]:
    """Postgres is killed and comes back; nobody who asks notices."""
    assert isinstance(crowd, Straits)
    assert crowd.means is not None
    books = crowd.means.books
    await asyncio.to_thread(books.stop)
    try:
        lost = SECONDS if crowd.short else 3 * SECONDS
        wrong = await _steady(crowd, "sql-gone", many, lost)
    finally:
        await asyncio.to_thread(books.start)
    wrong += await _kept(crowd, "sql-gone", many)
    return f"{many} served without it, a record of each after", wrong


HOUR = 3600 + 2 * 60
"""And two slots of a window of an hour: what is that old no longer counts."""
UNHEARD = 10
"""Requests in a hundred that may be told 503: Redis waits for its turn on a machine on
which everything here runs on two cores, and then a worker's lease may be used up."""


async def clock_jump(crowd: Crowd, many: int) -> tuple[str, list[str]]:
    """It is an hour later, then two hours earlier, then as it was."""
    assert isinstance(crowd, Straits)
    assert crowd.means is not None
    wrong: list[str] = []
    told: list[Counter[int]] = []
    burst = 2 * LIMIT // 3
    for at, seconds in enumerate((HOUR, -HOUR, 0), 1):
        crowd.means.set_clock(seconds)
        seen = await load(crowd.port, "clock", rate=20, seconds=many / 20)
        wrong += [f"told {one.failure[:60]}" for one in seen if one.failure]
        wrong += await _kept(crowd, "clock", at * many)
        told.append(Counter(await gather(burst, lambda _: _limited(crowd))))
    # An hour that comes has its own limit. One that comes again has not: the two bursts are
    # of one moment, whatever the clock says.
    due = (burst, LIMIT - burst, burst)
    leases = 2 * LIMIT * LEASE_PERCENT / 100
    for one, fair in zip(told, due, strict=True):
        served, unheard = one[200], one[503]
        wrong += [f"{n} told {s}" for s, n in one.items() if s not in {200, 429, 503}]
        if served > fair + leases:
            wrong.append(f"{served} answers of {fair}")
        if served < fair - unheard:
            wrong.append(f"only {served} answers of {fair}")
    all_ = sum(told, Counter[int]())
    if all_[503] > UNHEARD * len(due) * burst / 100:
        wrong.append(f"{all_[503]} told 503")
    return f"{many} served at each hour, a record of each; with a limit {all_[200]} of {sum(due)}, {all_[429]} told 429, {all_[503]} told 503", wrong  # fmt: skip


async def memory(crowd: Crowd, many: int) -> tuple[str, list[str]]:
    """Envoy has no memory left: it refuses requests, lives, and recovers."""
    before = crowd.records("memory")
    most = crowd.megabytes("envoy")

    async def connect(_: int) -> Connection:
        return await asyncio.open_connection("127.0.0.1", crowd.port)

    async def fill(number: int) -> Connection:
        reader, writer = await connect(number)
        # Its headers do not end, nor are they too long yet.
        writer.write(head(2, b"x-fill: %s\r\n" % (b"a" * 28_000))[:-2])
        return reader, writer

    # Of those that it has let in, one goes on asking.
    keeping = await connect(0)
    told = Counter([await _again(*keeping, "memory")])
    held: list[Connection] = []
    while told[503] < 3 and len(held) < many:
        held += await gather(100, fill)
        await asyncio.sleep(0.3)  # it looks at its memory four times a second
        most = max(most, crowd.megabytes("envoy"))
        status = await _again(*keeping, "memory")
        told[status] += 1
        if not status:
            keeping[1].close()
            keeping = await connect(0)
    full = len(held)
    for _, writer in [*held, keeping]:
        writer.close()
    recovered = False
    for _ in range(300):
        failure = (await ask(crowd.port, "memory", stream=False))[0]
        told[int(failure[:3]) if failure[:3].isdigit() else 200 * (not failure)] += 1
        recovered = not failure
        if recovered:
            break
        await asyncio.sleep(0.1)
    wrong = [f"{n} told {s}" for s, n in told.items() if s not in {200, 503, 0}]
    wrong += [] if told[503] else ["nobody was refused"]
    wrong += [] if recovered else ["it does not recover"]
    wrong += await _kept(crowd, "memory", before + told[200])
    if most > 2 * MEMORY / 1e6 + 50:
        wrong.append(f"Envoy has {most:.0f} MB")
    return (
        f"full with {full} clients: 503, at most {most:.0f} MB; then as before",
        wrong,
    )
