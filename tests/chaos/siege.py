"""``make chaos``, its second half: crowds, and the loss of what the gateway stands on.

One gateway (`extproc run`, two workers) bears them one after the other, in short together.
Judged is what must hold of each: what clients were told, that every request has its record
and no limit was passed, and at the end that nothing is left: no stream, no connection, no
file descriptor.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

from tests.chaos import crowds, losses
from tests.chaos.client import ask
from tests.chaos.stage import Stage
from tests.chaos.world import Crowd, Fountain, Row, until

Play = Callable[[Crowd, int], Awaitable[tuple[str, list[str]]]]

CROWDS: dict[str, tuple[Play, int, int]] = {
    "idle": (crowds.idle, 10_000, 500),
    "slow-headers": (crowds.slow_headers, 500, 20),
    "slow-bodies": (crowds.slow_bodies, 200, 20),
    "header-flood": (crowds.header_flood, 600, 30),
    "cancels": (crowds.cancels, 1000, 60),
    "large-bodies": (crowds.large_bodies, 50, 4),
    "disk-full": (losses.disk_full, 200, 20),
    "sql-locked": (losses.sql_locked, 200, 20),
}
"""Who comes, how many, and how many in short."""
AFTER: dict[str, tuple[Play, int, int]] = {
    "slow-readers": (crowds.slow_readers, 50, 8),
    "redis-full": (losses.redis_full, 400, 150),
    "redis-slow": (losses.redis_slow, 100, 10),
    "control-killed": (losses.control_killed, 200, 20),
}
"""What all others would feel, or would be felt in: memory is everybody's."""
PLAYS = CROWDS | AFTER
SLOW = ("slow-headers", "slow-bodies")


async def leavings(crowd: Crowd, descriptors: int) -> list[str]:
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
    crowd = Crowd(stage, fountain, short)
    crowd.find_processes()
    # Whatever is opened once is open now.
    for _ in range(4):
        await ask(crowd.port, "stand-in", stream=True)
    before = crowd.descriptors()
    workers, envoy = crowd.processes["worker"], crowd.processes["envoy"]
    together = [name for name in names if short and name in CROWDS]
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
    wrong = await leavings(crowd, before) + ([failure] if failure else [])
    if crowd.processes["worker"] != workers or crowd.processes["envoy"] != envoy:
        wrong.append("a worker or Envoy is another process")
    yield Row("afterwards", 1, "no stream, connection, descriptor is left", wrong)
    await fountain.stop()


async def _next(rows: AsyncIterator[Row]) -> Row:
    return await anext(rows)


def siege(stage: Stage, names: Sequence[str], *, short: bool) -> Iterator[Row]:
    """Let those of these names come; yield the table."""
    with asyncio.Runner() as runner:
        rows = everybody(stage, names, short=short)
        while True:
            try:
                yield runner.run(_next(rows))
            except StopAsyncIteration:
                return
