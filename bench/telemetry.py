"""What telemetry at its defaults costs a worker: CPU a request, on and off.

    .venv/bin/python bench/telemetry.py [--rounds 60] [--json PATH]

The worker of `worker_cpu.py`, fed with the same reads. *On* is the product as it is: the
ids by which others know the request, the slip for Envoy's log, the record and its
encoding, the times of the store. *Off* has all of that cut out, which no configuration
does: a record is what money and usage are made of. The rounds of both are made in turn,
and of each the least counts. A stream takes some milliseconds, of which the difference of
two runs is mostly chance; so what telemetry does for one exchange is done again *alone*,
with the same arguments, and that is what the aim is held against. Beside it stand how many
more functions are called, the same for a stream of any length, and the bytes that a record
holds in the worker's memory until control has it.

The aim is 20 µs.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import functools
import gc
import pstats
import sys
import time
import timeit
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import uvloop

sys.path.insert(0, str(Path(__file__).parent))

import worker_cpu

from extproc.exchange import request
from extproc.exchange.completion import Completion
from extproc.exchange.tally import Tally
from extproc.server.link import WorkerLink
from extproc.server.pulse import Pulse

AIM_US = 20.0
NOTHING = Completion(
    id="-", operation="chat", started=0.0, duration=0.0, outcome="ok", status=200
)


def _no_slip(*_: object) -> str:
    return ""


def _no_record(*_: object, **__: object) -> Completion:
    return NOTHING


def _nothing(*_: object, **__: object) -> None:
    pass


@contextlib.contextmanager
def off(worker: worker_cpu.Worker) -> Iterator[None]:
    """Leave telemetry out."""
    record, worker.office.record = worker.office.record, lambda _: None
    with (
        mock.patch.object(request, "write_slip", _no_slip),
        mock.patch.object(Tally, "trace", _nothing),
        mock.patch.object(Tally, "complete", _no_record),
        mock.patch.object(Pulse, "time", _nothing),
    ):
        yield
    worker.office.record = record


class Cost(msgspec.Struct):
    """What telemetry costs in one case."""

    case: str
    on_us: float
    off_us: float
    alone_us: float
    """What it does for one exchange, done by itself."""
    calls: int
    """Of functions, more with it than without: the same on every machine."""
    record_bytes: int
    """That one unconfirmed record holds."""

    @property
    def us(self) -> float:
        """The difference."""
        return self.on_us - self.off_us


def measure(worker: worker_cpu.Worker, case: worker_cpu.Case, rounds: int) -> Cost:
    """Measure one case."""
    per_round = 1 if case.stream else 20
    worker.run(worker.prepare(case, 2 * per_round))
    gc.collect()
    gc.freeze()
    best = {"on": float("inf"), "off": float("inf")}

    def one_round(name: str) -> None:
        prepared = worker.prepare(case, per_round)
        worker.taken.written.clear()
        began = time.thread_time()
        worker.run(prepared)
        best[name] = min(best[name], time.thread_time() - began)

    for _ in range(rounds):
        one_round("on")
        with off(worker):
            one_round("off")
    return Cost(
        case=case.name,
        on_us=best["on"] / per_round * 1e6,
        off_us=best["off"] / per_round * 1e6,
        alone_us=alone(worker, case),
        calls=calls(worker, case),
        record_bytes=record_bytes(worker, case),
    )


def alone(worker: worker_cpu.Worker, case: worker_cpu.Case) -> float:
    """Return the µs that the calls of telemetry take for one exchange, without the rest."""
    made: list[Callable[[], object]] = []

    def heard(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            made.append(functools.partial(call, *args, **kwargs))
            return call(*args, **kwargs)

        return wrapper

    record, worker.office.record = worker.office.record, heard(worker.office.record)
    with (
        mock.patch.object(request, "write_slip", heard(request.write_slip)),
        mock.patch.object(Tally, "trace", heard(Tally.trace)),
        mock.patch.object(Tally, "complete", heard(Tally.complete)),
        mock.patch.object(Pulse, "time", heard(Pulse.time)),
    ):
        worker.run(worker.prepare(case, 1))
    worker.office.record = record
    return (
        sum(min(timeit.repeat(call, number=200, repeat=20)) / 200 for call in made)
        * 1e6
    )


def calls(worker: worker_cpu.Worker, case: worker_cpu.Case) -> int:
    """Return how many more functions are called a request, by the profiler."""

    def count() -> int:
        profile = cProfile.Profile()
        profile.runcall(worker.run, worker.prepare(case, 20))
        return pstats.Stats(profile).total_calls // 20  # type: ignore[attr-defined]

    on = count()
    with off(worker):
        return on - count()


def record_bytes(worker: worker_cpu.Worker, case: worker_cpu.Case) -> int:
    """Return what a kept record takes of the worker's memory, of a thousand of them."""
    kept: list[Completion] = []
    record, worker.office.record = worker.office.record, kept.append
    worker.run(worker.prepare(case, 1))
    worker.office.record = record
    link = WorkerLink(Path("nowhere"), lambda _: None)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(1000):
        link.record(kept[0])
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return (after - before) // 1000


def main() -> None:
    """Measure every case, and say what it comes to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    worker = worker_cpu.Worker(uvloop.new_event_loop())
    costs = [measure(worker, case, options.rounds) for case in worker_cpu.CASES]
    print(
        f"{'case':34} {'on µs':>8} {'off µs':>8} {'less µs':>9} {'alone µs':>9} "
        f"{'calls':>6} {'bytes kept':>11}"
    )
    for cost in costs:
        print(
            f"{cost.case:34} {cost.on_us:8.1f} {cost.off_us:8.1f} {cost.us:9.1f} "
            f"{cost.alone_us:9.1f} {cost.calls:6} {cost.record_bytes:11}"
        )
    worst = max(cost.alone_us for cost in costs)
    print(f"at most {worst:.1f} µs a request; the aim is {AIM_US:.0f}")
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(costs)))


if __name__ == "__main__":
    main()
