"""``make chaos``, its first half: things fail under load, and clients should not see it.

Open-loop load on a gateway of two workers. Each fault begins after a quarter of its run
and ends after three quarters. A row is judged by the failures that a client saw and a
healthy target could have hidden.
"""

from __future__ import annotations

import asyncio
import math
import statistics
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from tests.chaos.client import Result, load
from tests.chaos.scenarios import BURST, EVERYTHING, PROCESSES, SCENARIOS, Scenario
from tests.chaos.stage import Stage


@dataclass
class Row:
    """One line of the table; times in ms but for the last two."""

    name: str
    requests: int
    failures: list[str]
    excused: int
    """Failures of what a dying worker was answering: nobody else can end its answers."""
    open: int
    """Requests under way as the fault began."""
    p50: float
    p99: float
    most: float
    meanwhile: int
    """Requests while the fault lasted."""
    asked: int
    """Attempts that the provider at fault got in that time, where it can count them."""
    normal: float | None
    """Seconds from the fault's beginning until 95 % of what followed in it was as fast as
    before; None: the fault is no such thing."""
    back: float | None
    """Seconds from the fault's end until the preferred target answered again."""
    why: list[str] = field(default_factory=list)
    """What is known of each failure: a line for the client's view, then the gateway's."""

    @property
    def failed(self) -> int:
        """Failures that need not have been."""
        return len(self.failures) - self.excused

    def __str__(self) -> str:
        return (
            f"{self.name:<20}{self.requests:>9}{len(self.failures):>9}{self.excused:>8}"
            f"{self.p50:>8.0f}{self.p99:>8.0f}{self.most:>8.0f}"
            f"{f'{self.asked}/{self.meanwhile}':>11}{_seconds(self.normal):>10}"
            f"{_seconds(self.back):>8}"
        )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


HEAD = (
    f"{'fault':<20}{'requests':>9}{'failures':>9}{'excused':>8}{'p50 ms':>8}{'p99 ms':>8}"
    f"{'max ms':>8}{'at fault':>11}{'normal s':>10}{'back s':>8}"
)


async def play(stage: Stage, scenario: Scenario, *, rate: float, seconds: float) -> Row:
    """Run one scenario."""
    if scenario.at_once:
        rate, seconds = scenario.at_once * 20.0, 0.05
    begins, ends = (0.0, seconds) if scenario.static else (seconds / 4, 3 * seconds / 4)
    loop = asyncio.get_running_loop()
    start = loop.time()
    asking = asyncio.ensure_future(
        load(stage.port, scenario.name, rate=rate, seconds=seconds)
    )
    counter, at_fault = scenario.at_fault(stage).asked, scenario.at_fault(stage)
    before, after = 0, 0
    if not scenario.static:
        await asyncio.sleep(begins)
        before = counter[scenario.name]
        if scenario.conduct is not None:
            at_fault.conduct[scenario.name] = scenario.conduct
        if scenario.begin is not None:
            await scenario.begin(stage, scenario)
        begins = loop.time() - start
        await asyncio.sleep(ends - begins)
        after = counter[scenario.name]
        if scenario.conduct is not None:
            at_fault.conduct.pop(scenario.name)
        if scenario.end is not None:
            await scenario.end(stage, scenario)
        ends = loop.time() - start
    results = sorted(await asking, key=lambda one: one.began)
    after = after or counter[scenario.name]
    row = _row(scenario, results, begins, ends, asked=after - before)
    if row.failures:
        # Envoy tells control of a request within half a second of its end.
        await asyncio.sleep(1.5)
        row.why = await asyncio.to_thread(explained, stage, results)
    return row


def explained(stage: Stage, results: Sequence[Result]) -> list[str]:
    """Return what the gateway itself says of each failure, and of its workers."""
    said, before = stage.logged(), stage.counted
    lines = []
    for one in results:
        if not one.failure:
            continue
        lines.append(
            f"at {one.began:.2f} s, after {one.seconds:.2f} s, "
            f"{one.request_id or 'no id'}: {one.failure!r}"
        )
        lines += [
            f"    {line}" for line in said if one.request_id and one.request_id in line
        ]
    changed = {
        name: value - before.get(name, 0)
        for name, value in stage.connections().items()
        if value != before.get(name, 0)
    }
    lines.append(f"Envoy of its workers: {changed or 'nothing'}")
    lines += [f"log: {line}" for line in said if _tells(line)][:20]
    return lines


def _tells(line: str) -> bool:
    """Say whether a line is about more than one request."""
    return '"request_id"' not in line and '"level":"info"' not in line


def _row(
    scenario: Scenario,
    results: Sequence[Result],
    begins: float,
    ends: float,
    *,
    asked: int,
) -> Row:
    times = sorted(1000 * result.seconds for result in results)
    meanwhile = [one for one in results if begins <= one.began < ends]
    usual = [one.seconds for one in results if one.began < begins] or [
        one.seconds for one in results[len(results) // 2 :]
    ]
    back = [
        one.began + one.seconds - ends
        for one in results
        if one.began >= ends and one.provider == scenario.first
    ]
    under_way = [one for one in results if one.began < begins < one.began + one.seconds]
    excused = [one for one in under_way if one.failure] if scenario.breaks else []
    return Row(
        scenario.name,
        len(results),
        [f"{one.began:.2f} s {one.failure}" for one in results if one.failure],
        len(excused),
        len(under_way),
        statistics.median(times),
        times[int(0.99 * (len(times) - 1))],
        times[-1],
        len(meanwhile),
        asked,
        until_normal(meanwhile, usual, begins) if scenario.passes else None,
        min(back, default=None),
    )


def until_normal(
    meanwhile: Sequence[Result], usual: Sequence[float], begins: float
) -> float:
    """Return after how many seconds 95 % of the rest was as fast as usual."""
    limit = 2 * sorted(usual)[int(0.95 * (len(usual) - 1))] + 0.1
    slow = [one.seconds > limit or bool(one.failure) for one in meanwhile]
    for i, one in enumerate(meanwhile):
        if not slow[i] and sum(slow[i:]) <= math.floor(0.05 * len(slow[i:])):
            return one.began - begins if i else 0.0
    return math.inf


Round = tuple[list[Scenario], float, float]
"""Scenarios that run together, their rate, and their seconds."""


def rounds(*, short: bool) -> Iterator[Round]:
    """Yield them all; in short as many together as do not disturb each other."""
    if short:
        reload, *deaths = PROCESSES
        yield SCENARIOS, 6, 6
        yield [BURST, reload], 25, 4
        for scenario in deaths:
            yield [scenario], 25, 4
    else:
        for scenario in EVERYTHING:
            yield [scenario], 50, 20


def faults(stage: Stage, names: Collection[str], *, short: bool) -> Iterator[Row]:
    """Bring the faults of these names about; yield the table."""
    for scenarios, rate, seconds in rounds(short=short):
        wanted = [one for one in scenarios if one.name in names]
        if wanted:
            stage.settle()
            yield from asyncio.run(together(stage, wanted, rate=rate, seconds=seconds))


async def together(
    stage: Stage, scenarios: list[Scenario], *, rate: float, seconds: float
) -> list[Row]:
    """Run scenarios at the same time: each has models of its own."""
    return await asyncio.gather(
        *(play(stage, one, rate=rate, seconds=seconds) for one in scenarios)
    )
