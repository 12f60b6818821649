"""What a request leaves behind in a worker: bytes and objects, counted and not sampled.

    .venv/bin/python bench/worker_memory.py [--requests 200000]

The worker of `worker_cpu.py`, in one process, is asked each of its cases in turn. After a
warm-up Python's own account of what is allocated (`tracemalloc`) and the objects that the
collector knows are taken, then again after half of so many requests, and after all. What
fills (sixty slots of a window, texts that are remembered) has filled in one half; what grows
grows in both, and the lesser of the two is judged. The resident memory of a process also has
what its allocator keeps for later; this has not. Exit code 1: more than `--left` bytes a
request are still there, and where they were made is said.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tracemalloc
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parent))

import worker_cpu

from extproc.server.h2 import calls
from extproc.state import memory

LEFT_BYTES = 1.0
WARM = 320
"""Requests before the first account: what is remembered is full, caches are warm."""
FEW = 16
"""What is remembered of ended requests here, so that it is full soon: a worker remembers
8,192 streams of a connection and 10,000 settled claims, some 1.5 MB."""


def ask(worker: worker_cpu.Worker, requests: int) -> None:
    """Ask so many requests, of each case as many."""
    whole = [case for case in worker_cpu.CASES if not case.stream]
    for case in whole:
        for _ in range(requests // len(whole) // 20):
            worker.run(worker.prepare(case, 20))
            worker.taken.written.clear()
            pulse = worker.office.till._pulse  # noqa: SLF001  control would hear of it
            pulse.kept(pulse.beat().number)


def account() -> tuple[int, int]:
    """Return the bytes and the objects that there are now."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0], len(gc.get_objects())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--left", type=float, default=LEFT_BYTES)
    options = parser.parse_args()
    requests = options.requests
    calls.REMEMBERED_STREAMS = memory.REMEMBERED = FEW
    worker = worker_cpu.Worker(uvloop.new_event_loop())
    tracemalloc.start()
    ask(worker, WARM)
    before, objects = account()
    earlier = tracemalloc.take_snapshot()
    held, known = account()
    own = held - before  # of the snapshot itself
    halves = []
    for _ in range(2):
        ask(worker, requests // 2)
        after, left = account()
        halves.append(((after - held) / requests * 2, (left - known) / requests * 2))
        held, known = after, left
    said = ", ".join(
        f"{grown:+.2f} bytes and {more:+.4f} objects" for grown, more in halves
    )
    print(
        f"{requests} requests, a request of each half: {said} left "
        f"({before / 1e6:.1f} MB and {objects} objects before; {own} bytes of account)"
    )
    grown, more = map(min, zip(*halves, strict=True))
    if grown <= options.left and more <= 0.01:
        return 0
    later = tracemalloc.take_snapshot()
    for line in later.compare_to(earlier, "lineno")[:10]:
        print(f"  {line}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
