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

The aim is 20 µs; `tests/test_bench.py` holds calls and bytes.

Content is off by default. What that costs are the *looks*: lines that ask whether it is
wanted, counted a request; each is a member's load and a branch, some 20 ns. Beside them
stands what it costs where it is wanted, and how many functions it calls.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import functools
import gc
import linecache
import pstats
import sys
import time
import timeit
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import msgspec
import uvloop

sys.path.insert(0, str(Path(__file__).parent))

import worker_cpu

from extproc.exchange import content, exchange, request, response
from extproc.exchange.completion import Completion
from extproc.exchange.tally import Tally
from extproc.server.link import WorkerLink
from extproc.server.pulse import Pulse

AIM_US = 20.0


def _no_slip(*_: object) -> str:
    return ""


def _nothing(*_: object, **__: object) -> None:
    pass


@contextlib.contextmanager
def off(worker: worker_cpu.Worker) -> Iterator[None]:
    """Leave telemetry out."""
    record, worker.office.record = worker.office.record, lambda _: None
    with (
        mock.patch.object(request, "write_slip", _no_slip),
        mock.patch.object(Tally, "trace", _nothing),
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
    looks: int
    """At whether content is wanted, where it is not."""
    content_us: float
    """More, where it is."""
    content_calls: int
    """Of functions of `extproc.exchange.content`, where it is."""

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
    best = {"on": float("inf"), "off": float("inf"), "content": float("inf")}

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
        with content_on(worker):
            one_round("content")
    with content_on(worker):
        content_calls = calls_of(worker, case, content.__file__)
    assert calls_of(worker, case, content.__file__) == 0
    return Cost(
        case=case.name,
        on_us=best["on"] / per_round * 1e6,
        off_us=best["off"] / per_round * 1e6,
        alone_us=alone(worker, case),
        calls=calls(worker, case),
        record_bytes=record_bytes(worker, case),
        looks=looks(worker, case),
        content_us=(best["content"] - best["on"]) / per_round * 1e6,
        content_calls=content_calls,
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
        mock.patch.object(Pulse, "time", heard(Pulse.time)),
    ):
        worker.run(worker.prepare(case, 1))
    worker.office.record = record
    return (
        sum(
            min(timeit.repeat(call, timer=time.thread_time, number=200, repeat=20))
            for call in made
        )
        / 200
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


def calls_of(worker: worker_cpu.Worker, case: worker_cpu.Case, file: str) -> int:
    """Return how many functions of `file` are called a request."""
    profile = cProfile.Profile()
    profile.runcall(worker.run, worker.prepare(case, 20))
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    return sum(one[1] for (name, *_), one in stats.items() if name == file) // 20


@contextlib.contextmanager
def content_on(worker: worker_cpu.Worker) -> Iterator[None]:
    """Keep what is said, as `telemetry.content` does at its default size."""
    office = worker.office
    before = office.runtime
    office.runtime = msgspec.structs.replace(before, content_size=16_384)
    yield
    office.runtime = before


def looks(worker: worker_cpu.Worker, case: worker_cpu.Case) -> int:
    """Return how many lines of one exchange ask whether content is wanted."""
    asking = {
        (module.__file__, number)
        for module in (request, response, exchange)
        for number, line in enumerate(linecache.getlines(str(module.__file__)), 1)
        if "capture" in line or "content_size" in line
    }
    files = {name for name, _ in asking}
    found = 0

    def traced(frame: FrameType, event: str, _: object) -> Any:
        nonlocal found
        name = frame.f_code.co_filename
        if name not in files:
            return None
        found += event == "line" and (name, frame.f_lineno) in asking
        return traced

    prepared = worker.prepare(case, 1)
    sys.settrace(traced)
    try:
        worker.run(prepared)
    finally:
        sys.settrace(None)
    return found


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
        f"{'calls':>6} {'bytes kept':>11} {'looks':>6} {'content µs':>11} "
        f"{'its calls':>10}"
    )
    for cost in costs:
        print(
            f"{cost.case:34} {cost.on_us:8.1f} {cost.off_us:8.1f} {cost.us:9.1f} "
            f"{cost.alone_us:9.1f} {cost.calls:6} {cost.record_bytes:11} {cost.looks:6} "
            f"{cost.content_us:11.1f} {cost.content_calls:10}"
        )
    worst = max(cost.alone_us for cost in costs)
    print(f"at most {worst:.1f} µs a request; the aim is {AIM_US:.0f}")
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(costs)))


if __name__ == "__main__":
    main()
