"""``make chaos``, its second half: crowds, and the loss of what the gateway stands on.

One gateway (`extproc run`, two workers) bears them one after the other, in short together.
Judged is what must hold of each: what clients were told, that every request has its record
and no limit was passed, and at the end that nothing is left: no stream, no connection, no
file descriptor, no task, no body.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

from tests.chaos import crowds, losses, straits
from tests.chaos.client import ask
from tests.chaos.stage import Stage, staged
from tests.chaos.world import Crowd, Fountain, Row, config, until

Play = Callable[[Crowd, int], Awaitable[tuple[str, list[str]]]]

CROWDS: dict[str, tuple[Play, int, int]] = {
    "idle": (crowds.idle, 10_000, 500),
    "slow-headers": (crowds.slow_headers, 500, 20),
    "slow-bodies": (crowds.slow_bodies, 200, 20),
    "header-flood": (crowds.header_flood, 600, 30),
    "cancels": (crowds.cancels, 1000, 60),
    "large-bodies": (crowds.large_bodies, 50, 8),
    "large-answers": (crowds.large_answers, 50, 8),
    "disk-full": (losses.disk_full, 200, 20),
    "sql-locked": (losses.sql_locked, 200, 20),
}
"""Who comes, how many, and how many in short."""
AFTER: dict[str, tuple[Play, int, int]] = {
    "slow-readers": (crowds.slow_readers, 50, 8),
    "few-files": (straits.few_files, 200, 40),
    "redis-full": (losses.redis_full, 400, 150),
    "redis-slow": (losses.redis_slow, 100, 10),
    "control-killed": (losses.control_killed, 200, 20),
}
"""What all others would feel, or would be felt in: memory is everybody's."""
NARROW: dict[str, tuple[Play, int, int]] = {
    "sql-gone": (straits.sql_gone, 200, 20),
    "clock-jump": (straits.clock_jump, 60, 8),
    "memory": (straits.memory, 3000, 1500),
}
"""Of a gateway of their own, with 64 MB for Envoy, a Postgres, and a clock that is set."""
PLAYS = CROWDS | AFTER | NARROW
SLOW = ("slow-headers", "slow-bodies")


async def leavings(crowd: Crowd, descriptors: int, tasks: int) -> list[str]:
    """Return what is left when all have gone."""
    wrong = []

    def empty() -> bool:
        return not any(
            value for name, value in crowd.stats().items() if name != "server.live"
        )

    if not await until(empty):
        left = {name: value for name, value in crowd.stats().items() if value}
        wrong.append(f"still open: {left}")
    if not await until(lambda: crowd.descriptors() <= descriptors + ROOM):
        wrong.append(f"{crowd.descriptors() - descriptors} more file descriptors")
    if not await until(lambda: crowd.tasks() <= tasks):
        wrong.append(f"{crowd.tasks() - tasks} more tasks of the workers")
    if not await until(lambda: not crowd.held()):
        wrong.append(f"{crowd.held()} bytes of bodies in the workers")
    if crowd.fountain.open:
        wrong.append(f"{crowd.fountain.open} streams of the provider's are still open")
    return wrong


ROOM = 24
"""Of SQLite, of probes, of control's own connections."""


async def play(crowd: Crowd, name: str) -> Row:
    """Let one crowd come and go."""
    run, many, few = PLAYS[name]
    clients = few if crowd.short else many
    try:
        figure, wrong = await run(crowd, clients)
    except (OSError, AssertionError) as error:
        figure, wrong = "", [repr(error)]
    except ExceptionGroup as group:
        figure, wrong = "", [repr(error) for error in group.exceptions]
    return Row(name, clients, figure, wrong)


async def everybody(
    stage: Stage, names: Sequence[str], *, short: bool
) -> AsyncIterator[Row]:
    """Yield a row for each crowd, and one for what they leave behind."""
    fountain = Fountain()
    await fountain.start(stage.spout)
    await asyncio.to_thread(stage.settle)
    async for row in _all(Crowd(stage, fountain, short), names):
        yield row
    await fountain.stop()


async def in_straits(
    stage: Stage, names: Sequence[str], *, short: bool
) -> AsyncIterator[Row]:
    """Yield the same of a gateway that has little."""
    fountain = Fountain()
    await fountain.start(stage.spout)
    with straits.means(stage) as means:
        little = config(stage) | {"limits": {"memory_bytes": straits.MEMORY}}
        await asyncio.to_thread(lambda: stage.start(little, **means.environ))
        crowd = straits.Straits(stage, fountain, short, means.books.url, means=means)
        async for row in _all(crowd, names):
            yield row
    await fountain.stop()


async def _all(crowd: Crowd, names: Sequence[str]) -> AsyncIterator[Row]:
    crowd.find_processes()
    # Whatever is opened once is open now.
    for _ in range(4):
        await ask(crowd.port, "stand-in", stream=True)
    before, tasks = crowd.descriptors(), await crowd.resting_tasks()
    workers, envoy = crowd.processes["worker"], crowd.processes["envoy"]
    together = [name for name in names if crowd.short and name in CROWDS]
    # They wait for times that are not ours to shorten, and are in nobody's way.
    slow = [
        asyncio.ensure_future(play(crowd, name)) for name in together if name in SLOW
    ]
    others = (play(crowd, name) for name in together if name not in SLOW)
    for row in await asyncio.gather(*others):
        yield row
    for name in names:
        if name not in together:
            yield await play(crowd, name)
    for row in await asyncio.gather(*slow):
        yield row
    crowd.find_processes()
    failure = (await ask(crowd.port, "stand-in", stream=False))[0]
    wrong = await leavings(crowd, before, tasks) + ([failure] if failure else [])
    if crowd.processes["worker"] != workers or crowd.processes["envoy"] != envoy:
        wrong.append("a worker or Envoy is another process")
    left = "no stream, connection, descriptor, task, body is left"
    yield Row("afterwards", 1, left, wrong)


async def _next(rows: AsyncIterator[Row]) -> Row:
    return await anext(rows)


def siege(stage: Stage, names: Sequence[str], *, short: bool) -> Iterator[Row]:
    """Let those of these names come; yield the table."""
    if chosen := [name for name in names if name not in NARROW]:
        yield from _run(everybody(stage, chosen, short=short))


def narrow(names: Sequence[str], *, short: bool) -> Iterator[Row]:
    """Yield the table of those that have a gateway of their own."""
    if chosen := [name for name in names if name in NARROW]:
        with staged() as stage:
            yield from _run(in_straits(stage, chosen, short=short))


def _run(rows: AsyncIterator[Row]) -> Iterator[Row]:
    with asyncio.Runner() as runner:
        while True:
            try:
                yield runner.run(_next(rows))
            except StopAsyncIteration:
                return
