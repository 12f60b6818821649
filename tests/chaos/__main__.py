"""``make chaos``: whatever fails or comes, clients see what cannot be helped and nothing else.

    python -m tests.chaos [--short] [name …]

Two halves: faults under load (`tests.chaos.faults`), then crowds and the loss of what the
gateway stands on (`tests.chaos.siege`); in short, at one gateway. Prints a table of each and
ends with a summary. Exit code 1: a client saw a failure that a healthy target could have
hidden, or something of the second half did not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tests.chaos import faults, scenarios, siege, world
from tests.chaos.stage import Stage, staged

FAULTS = tuple(scenario.name for scenario in scenarios.EVERYTHING)


def config(stage: Stage) -> dict[str, Any]:
    """Return the configuration of both halves, and tell the providers how to behave."""
    one, two = scenarios.config(stage), world.config(stage)
    both = {
        name: one[name] | two[name] for name in ("providers", "models", "accounting")
    }
    return one | two | both


@contextlib.contextmanager
def started(models: Mapping[str, Any] | None = None) -> Iterator[Stage]:
    """Give a stage with a gateway on it, which has more `models`."""
    with staged() as stage:
        whole = config(stage)
        whole["models"] |= models or {}
        stage.start(whole)
        yield stage


def show(head: str, rows: Iterable[Any]) -> list[Any]:
    """Print a table as it comes; return its rows."""
    print(head, flush=True)
    seen = []
    for row in rows:
        seen.append(row)
        print(row, flush=True)
        for line in getattr(row, "why", ()):
            print(f"    {line}", flush=True)
    return seen


def summary(first: list[faults.Row], second: list[world.Row], seconds: float) -> str:
    """Return the last line."""
    requests = sum(row.requests for row in first)
    failures = sum(len(row.failures) for row in first)
    wrong = sum(bool(row.wrong) for row in second)
    return (
        f"{requests} requests, {failures} failures seen by clients, "
        f"{sum(row.failed for row in first)} of them could have been hidden, "
        f"{len(first)} faults; {len(second)} crowds and losses, {wrong} did not hold; "
        f"{seconds:.0f} s"
    )


def main() -> int:
    """Print everything; return the exit code."""
    parser = argparse.ArgumentParser(prog="tests.chaos")
    parser.add_argument("--short", action="store_true", help="a minute of it")
    parser.add_argument(
        "names", nargs="*", help=f"some of: {', '.join((*FAULTS, *siege.PLAYS))}"
    )
    options = parser.parse_args()
    unknown = set(options.names).difference(FAULTS, siege.PLAYS)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    names = options.names or (*FAULTS, *siege.PLAYS)
    broken = [name for name in FAULTS if name in names]
    crowds = [name for name in siege.PLAYS if name in names]
    began = time.monotonic()
    first: list[faults.Row] = []
    second: list[world.Row] = []
    with contextlib.ExitStack() as stages:
        stage = stages.enter_context(started())
        if broken:
            rows = faults.faults(stage, broken, short=options.short)
            first = show(faults.HEAD, rows)
        if broken and crowds and not options.short:
            # What has borne all that is no measure of memory.
            stages.close()
            stage = stages.enter_context(started())
        if crowds:
            second = show(world.HEAD, siege.siege(stage, crowds, short=options.short))
    # Whoever serves here has what others were short of.
    if any(name in siege.NARROW for name in crowds):
        second += show(world.HEAD, siege.narrow(crowds, short=options.short))
    print(summary(first, second, time.monotonic() - began))
    return int(any(row.failed for row in first) or any(row.wrong for row in second))


if __name__ == "__main__":
    sys.exit(main())
