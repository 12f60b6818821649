"""What a request costs control: CPU and calls a record, by part, without any HTTP.

    .venv/bin/python bench/control_cpu.py [--rounds 20] [--profile CASE] [--json PATH]

In one process the real `Intake`, join, ledger, metrics, books and a SQLite database, fed
with what the sockets would bring at 1,000 requests a second: a worker's frame of 50
records, Envoy's export of the same requests, and a transaction for 500 of them. A figure
is the least of many rounds: other work on the machine only ever adds. Beside it stand the
calls that the profiler counts, which do not depend on the machine; `tests/test_bench.py`
holds them.

``--profile CASE`` says where the calls go. `control_memory.py` has sockets and event loop
in its figure, over many more records.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import gc
import pstats
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
)

sys.path.insert(0, str(Path(__file__).parent))

import stage

from extproc.config.build import build
from extproc.config.load import loads
from extproc.db.database import Database
from extproc.exchange.completion import Completion
from extproc.runtime import Runtime
from extproc.server import control_link, envoy_log
from extproc.server.books import Books
from extproc.server.control_link import Peer
from extproc.server.intake import Intake
from extproc.server.link_frames import RawRecords, encoder
from extproc.telemetry.metrics import Metrics
from extproc.usage import Usage

BATCH = 50
"""Records of a frame, and of an export of Envoy's: `BATCH_SECONDS` of 1,000 requests/s."""
TRANSACTION = 500
"""Records that the database gets at once: `GATHER_SECONDS` of as many."""
ENDS = 2_000_000_000
BUDGETS = (("key/ci/usd/month/", ENDS), ("team/core/usd/month/", ENDS))


class Case(msgspec.Struct, frozen=True):
    """One kind of request."""

    name: str
    budgets: bool = False
    streamed: bool = False


CASES = (
    Case("plain"),
    Case("with budgets", budgets=True),
    Case("streamed, with budgets", budgets=True, streamed=True),
)


def completion(case: Case, number: int) -> Completion:
    """Return the record of a request, as a worker makes it."""
    model = ("gpt-4o", "claude-sonnet-4-5")[number % 2]
    provider = ("openai", "anthropic")[number % 2]
    owed: dict[str, Any] = {}
    if case.budgets:
        owed = {
            "admission": "admitted", "reserved": 300_000, "budgets": BUDGETS,
            "team": "core", "user": "ada", "organization": "acme", "tags": ("blue",),
        }  # fmt: skip
    return Completion(
        id=f"gw-0123456789abcdef-{number:x}",
        request_id=f"6fa3c3a0-0000-4000-8000-{number:012x}",
        operation="chat", started=time.time(), duration=0.25 + number % 7 / 100,
        outcome="ok", status=200, key="ci", original_model=model, virtual_model=model,
        request_model=model, response_model=model, provider=provider, cluster=provider,
        attempts=1, attempts_at=(round(time.time(), 3),), usage=Usage(19, 16),
        first_byte=0.2, request_bytes=300, answer_bytes=500, chunks=1,
        streamed=case.streamed, cost=123_456, **owed,
    )  # fmt: skip


def frame_of(first: int, completions: list[Completion]) -> bytes:
    """Return the body of a worker's frame with these records."""
    raw = tuple(msgspec.Raw(encoder.encode(one)) for one in completions)
    return encoder.encode(RawRecords(first, raw, 0))


def export_of(completions: list[Completion]) -> bytes:
    """Return Envoy's log of these requests, as Envoy words it."""
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    resource.resource.SetInParent()
    scope = resource.scope_logs.add()
    for one in completions:
        record = scope.log_records.add(time_unix_nano=int(one.started * 1e9))
        slip = (
            f'["chat","ci",[["{one.provider}","{one.cluster}","{one.request_model}"]]]'
        )
        record.body.string_value = "\t".join(
            [
                one.id, slip, one.request_id or "-", "chat", "200", "-", "via_upstream",
                "1", "250", "300", "500",
            ]
        )  # fmt: skip
    return request.SerializeToString()


class Control:
    """What control does with records, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        config = loads(
            stage.gateway_config(1, 1), {}, source="gateway.yaml", folder=folder
        )
        snapshot = build(config, grants=(), generation=1, created=1)
        self.database = Database.in_folder(folder)
        self.database.migrate()
        self.books = Books(self.database, folder)

        async def stats(_: str) -> dict[str, int]:
            return {}

        self.intake = Intake(
            state=folder, run=folder, metrics=Metrics(), books=self.books,
            wall_clock=time.time, monotonic=time.monotonic, stats=stats,
        )  # fmt: skip
        self.intake.configure(snapshot, Runtime.of(snapshot), config)
        self.peer = Peer(1, "w0", "0123456789abcdef")
        self.intake.link.peers.append(self.peer)
        self._number = 0

    def prepare(self, case: Case, records: int) -> list[tuple[bytes, bytes]]:
        """Return what the sockets bring of so many requests, in batches."""
        out = []
        for _ in range(records // BATCH):
            batch = [completion(case, self._number + n) for n in range(BATCH)]
            out.append((frame_of(self._number, batch), export_of(batch)))
            self._number += BATCH
        return out

    def run(self, prepared: list[tuple[bytes, bytes]]) -> None:
        """Take it."""
        link, log = self.intake.link, self.intake.envoy_log
        for number, (frame, export) in enumerate(prepared, 1):
            said = control_link.from_worker(frame)
            link.accept(said)
            log.export(export)
            if number * BATCH % TRANSACTION == 0:
                self.books.write_batch()


PARTS: tuple[tuple[str, Callable[[Control], object], str], ...] = (
    ("records read", lambda _: control_link, "from_worker"),
    ("known by id", lambda c: c.intake.link, "unseen"),
    ("records joined", lambda c: c.intake.envoy_log.confirmations, "recorded"),
    ("queued on disk", lambda c: c.books, "note"),
    ("ledger", lambda c: c.intake.ledger, "charge"),
    ("alerts", lambda c: c.intake.alerts, "look"),
    ("metrics", lambda c: c.intake._metrics, "record"),  # noqa: SLF001
    ("error rate", lambda c: c.intake.errors, "note"),
    ("traces", lambda c: c.intake.traces, "tell"),
    ("log read", lambda _: envoy_log, "read_entries"),
    ("log joined", lambda c: c.intake.envoy_log.confirmations, "logged"),
    ("log lines", lambda c: c.intake._lines, "tell"),  # noqa: SLF001
    ("database", lambda c: c.books, "write_batch"),
)


@contextlib.contextmanager
def timed(control: Control, spent: Counter[str]) -> Iterator[None]:
    """Add to `spent` what each part takes, in seconds."""
    with contextlib.ExitStack() as stack:
        for name, of, attribute in PARTS:
            owner = of(control)
            call = getattr(owner, attribute)

            def wrapper(*args: Any, call: Any = call, name: str = name) -> Any:
                began = time.thread_time()
                try:
                    return call(*args)
                finally:
                    spent[name] += time.thread_time() - began

            stack.enter_context(mock.patch.object(owner, attribute, wrapper))
        yield


class Cost(msgspec.Struct):
    """What one case costs, a record."""

    case: str
    us: float
    """Of the least round."""
    calls: int
    """Of functions, by the profiler: the same on every machine."""
    parts: dict[str, float]
    """Of each the µs of its least round."""


def measure(control: Control, case: Case, rounds: int) -> Cost:
    """Measure one case."""
    control.run(control.prepare(case, TRANSACTION))
    gc.collect()
    gc.freeze()
    best, least = (
        float("inf"),
        dict.fromkeys((name for name, *_ in PARTS), float("inf")),
    )
    for _ in range(rounds):
        prepared = control.prepare(case, TRANSACTION)
        spent: Counter[str] = Counter()
        with timed(control, spent):
            began = time.thread_time()
            control.run(prepared)
            best = min(best, time.thread_time() - began)
        least = {name: min(before, spent[name]) for name, before in least.items()}
    return Cost(
        case=case.name,
        us=1e6 * best / TRANSACTION,
        calls=round(profiled(control, case).total_calls / TRANSACTION),  # type: ignore[attr-defined]
        parts={name: 1e6 * one / TRANSACTION for name, one in least.items()},
    )


def profiled(control: Control, case: Case) -> pstats.Stats:
    """Run one round under the profiler."""
    prepared = control.prepare(case, TRANSACTION)
    profile = cProfile.Profile()
    profile.runcall(control.run, prepared)
    return pstats.Stats(profile)


def main() -> None:
    """Measure every case, and say what it comes to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--profile", metavar="CASE")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="control-") as folder:
        control = Control(Path(folder))
        if options.profile:
            case = next(one for one in CASES if one.name == options.profile)
            control.run(control.prepare(case, TRANSACTION))
            profiled(control, case).sort_stats("tottime").print_stats(40)
            return
        costs = [measure(control, case, options.rounds) for case in CASES]
        control.database.close()
    for cost in costs:
        print(f"{cost.case}: {cost.us:.1f} us a record, {cost.calls} calls")
        for name, us in cost.parts.items():
            print(f"  {name:16} {us:6.1f}")
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(costs)))


if __name__ == "__main__":
    main()
