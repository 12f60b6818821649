"""What a request costs the worker's own code when it comes alone: nothing is in a cache then.

    .venv/bin/python bench/idle.py [--case translated]

The same reads as in `worker_cpu.py`, in one process, with nothing between them, after a pause
in which the process sleeps, and after 96 MB have been copied, which is more than the caches of
most machines hold. Where a pause costs as much as the copy, nothing is left in a cache after it,
whoever took it away. `make bench` asks for 30 streams a second: a pause of 33 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import time
from collections.abc import Callable

import worker_cpu

PAUSES = (0.001, 0.005, 0.033)
"""Seconds."""
MORE_THAN_ANY_CACHE = 96 << 20


def copied() -> Callable[[], None]:
    """Return what puts all else out of the caches."""
    there, zeros = bytearray(MORE_THAN_ANY_CACHE), bytes(MORE_THAN_ANY_CACHE)

    def copy() -> None:
        there[:] = zeros

    return copy


def measure(
    worker: worker_cpu.Worker,
    case: worker_cpu.Case,
    before: Callable[[], None],
    times: int,
) -> list[float]:
    """Return the medians, in µs, of what its request takes, and its answer."""
    taken: list[list[float]] = []
    for reads in worker.prepare(case, times):
        spent = []
        for data in reads:
            before()
            began = time.perf_counter()
            worker.connection.data_received(data)
            spent.append(1e6 * (time.perf_counter() - began))
        worker.taken.written.clear()
        worker.connection.sweep(0.0)
        taken.append(spent)
    return [statistics.median(one) for one in list(zip(*taken, strict=True))[:2]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--case", default="pass-through")
    parser.add_argument("--times", type=int, default=200)
    options = parser.parse_args()
    case = next(one for one in worker_cpu.CASES if one.name == options.case)
    worker = worker_cpu.Worker(asyncio.new_event_loop())
    worker.check(case)
    worker.run(worker.prepare(case, 60))
    gc.collect()
    gc.freeze()
    ways: list[tuple[str, Callable[[], None]]] = [
        ("at once", lambda: None),
        *[(f"after {1000 * s:g} ms", lambda s=s: time.sleep(s)) for s in PAUSES],
        ("after 96 MB", copied()),
    ]
    print(f"| {case.name} | request, µs | answer, µs |")
    print("|---|---|---|")
    for name, before in ways:
        request, answer = measure(worker, case, before, options.times)
        print(f"| {name} | {request:.0f} | {answer:.0f} |", flush=True)


if __name__ == "__main__":
    main()
