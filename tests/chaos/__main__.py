"""``make chaos``: providers fail under load; every failure that a client sees is one too many.

    python -m tests.chaos [--short]

Prints a table and a summary; exit code 1 when a client saw a failure.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.chaos.client import Result, load
from tests.chaos.provider import Provider
from tests.chaos.scenarios import BURST, SCENARIOS, Cast, Scenario, config
from tests.harness import Gateway, temporary_folder


@dataclass
class Row:
    """One line of the table."""

    name: str
    requests: int
    failures: list[str]
    p50: float
    p99: float
    most: float
    asked: int
    """Requests that the faulty provider still got, where it can be counted."""

    def __str__(self) -> str:
        return (
            f"{self.name:<20}{self.requests:>9}{len(self.failures):>9}{self.p50:>9.0f}"
            f"{self.p99:>9.0f}{self.most:>9.0f}{self.asked:>9}"
        )


HEAD = f"{'fault':<20}{'requests':>9}{'failures':>9}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'at fault':>9}"


async def play(
    cast: Cast, port: int, scenario: Scenario, *, rate: float, seconds: float
) -> Row:
    """Run one scenario."""
    if scenario.at_once:
        rate, seconds = scenario.at_once * 20.0, 0.05
    meanwhile = asyncio.ensure_future(scenario.meanwhile(cast, seconds))
    results = await load(port, scenario.name, rate=rate, seconds=seconds)
    await meanwhile
    return _row(scenario, results, cast)


def _row(scenario: Scenario, results: list[Result], cast: Cast) -> Row:
    times = sorted(1000 * result.seconds for result in results)
    at_fault: Provider = cast.mortal if scenario.first == "mortal" else cast.bad
    return Row(
        scenario.name,
        len(results),
        [result.failure for result in results if result.failure],
        statistics.median(times),
        times[int(0.99 * (len(times) - 1))],
        times[-1],
        at_fault.asked[scenario.name],
    )


def rounds(*, short: bool) -> Iterator[tuple[list[Scenario], float, float]]:
    """Yield scenarios that run together, their rate and seconds each."""
    if short:
        yield SCENARIOS, 6, 5
        yield [BURST], 0, 0
    else:
        for scenario in SCENARIOS:
            yield [scenario], 50, 20
        yield [BURST], 0, 0


def chaos(*, short: bool, **options: Any) -> list[Row]:
    """Run everything; return the table."""
    cast = Cast()
    rows: list[Row] = []
    try:
        with temporary_folder() as folder:
            everything = [*SCENARIOS, BURST]
            gateway = Gateway(config(cast, everything), folder, **options)
            port = int(gateway.url.rpartition(":")[2])
            try:
                for scenarios, rate, seconds in rounds(short=short):
                    rows += asyncio.run(
                        together(cast, port, scenarios, rate=rate, seconds=seconds)
                    )
            finally:
                gateway.stop()
    finally:
        cast.close()
    return rows


async def together(
    cast: Cast, port: int, scenarios: list[Scenario], *, rate: float, seconds: float
) -> list[Row]:
    """Run scenarios at the same time: each has models of its own."""
    return await asyncio.gather(
        *(play(cast, port, one, rate=rate, seconds=seconds) for one in scenarios)
    )


def main() -> int:
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(prog="tests.chaos")
    parser.add_argument("--short", action="store_true", help="half a minute of it")
    began = time.monotonic()
    rows = chaos(short=parser.parse_args().short)
    print(HEAD)
    for row in rows:
        print(row)
        for failure in row.failures[:3]:
            print(f"    {failure}")
    failures = sum(len(row.failures) for row in rows)
    requests = sum(row.requests for row in rows)
    print(
        f"{requests} requests, {failures} failures seen by clients, "
        f"{len(rows)} faults, {time.monotonic() - began:.0f} s"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
