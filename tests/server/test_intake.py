"""What control does with a record: each counts once, wherever it is from."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from grpc import aio

from extproc.config.file_names import LOG_SOCKET
from extproc.exchange.completion import Completion
from extproc.exchange.local_reply import LOCAL
from extproc.exchange.slip import Slip
from extproc.runtime import Runtime, Snapshot
from extproc.server import control_link, envoy_log
from extproc.server.intake import Intake
from extproc.server.link import WorkerLink
from extproc.telemetry import confirm
from extproc.telemetry.access import EXPORT
from extproc.telemetry.metrics import Metrics
from tests.server.test_link import completion, until, working
from tests.telemetry.slips import written
from tests.telemetry.test_access import export

METER = "key/app/total/UTC/0"


class Books:
    def __init__(self) -> None:
        self.noted: list[str] = []

    def note(self, completions: Sequence[Completion]) -> None:
        self.noted += [one.id for one in completions]


async def no_stats(_: str) -> dict[str, int]:
    raise ConnectionError


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
def intake(tmp_path: Path, books: Books, monkeypatch) -> Intake:
    monkeypatch.setattr(envoy_log, "SWEEP_SECONDS", 0.01)
    monkeypatch.setattr(confirm, "GRACE_SECONDS", 0.0)
    made = Intake(
        state=tmp_path,
        run=tmp_path,
        metrics=Metrics(),
        books=books,  # type: ignore[arg-type]
        wall_clock=lambda: 1_000.0,
        monotonic=lambda: 1_000.0,
        stats=no_stats,
    )
    snapshot = Snapshot(generation=1, models=())
    made.configure(snapshot, Runtime.of(snapshot), None)
    return made


def test_what_a_worker_did_not_live_to_record_is_counted_filed_and_charged(
    intake: Intake, books: Books, tmp_path: Path
) -> None:
    """The worker that is there hears what is left of the budget."""
    heard: list[dict[str, int]] = []
    worker = WorkerLink(
        tmp_path / "control.sock",
        lambda _: None,
        id="b",
        on_balances=lambda told: heard.append({m: b.nanos for m, b in told.items()}),
    )
    slip = Slip("chat", "app", (("p", "c", "m"),), reserved=70, budgets=((METER, 9),))
    batch = export(
        {"id": "gw-a-1", "slip": written(slip), "status": "503", "attempts": "1",
         "request_id": "r-1"},
        started=1000.0,
    )  # fmt: skip

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            serving = [
                tasks.create_task(intake.link.run()),
                tasks.create_task(intake.envoy_log.run()),
            ]
            async with working(worker):
                await until(lambda: intake.link.peers)
                async with aio.insecure_channel(
                    f"unix:{tmp_path / LOG_SOCKET}"
                ) as channel:
                    await channel.unary_unary(EXPORT)(batch, wait_for_ready=True)
                await until(lambda: heard)
                # Should the worker have lived after all, its own word comes too late.
                worker.record(completion("gw-a-1"))
                worker.record(completion("gw-b-1"))
                await worker.flushed()
            for task in serving:
                task.cancel()

    asyncio.run(main())
    assert books.noted == ["gw-a-1", "gw-b-1"]
    assert intake.ledger.balances[METER].nanos == 70
    assert heard == [{METER: 70}]
    assert b"extproc_requests_total" in intake._metrics.render()


def test_a_worker_that_hangs_and_wakes_makes_no_second_record(
    intake: Intake, books: Books, tmp_path: Path, monkeypatch
) -> None:
    """It is connected all the time, and silent; what it says then is known by its id."""
    monkeypatch.setattr(control_link, "SILENT_SECONDS", 0.0)
    monkeypatch.setattr(confirm, "PATIENCE_SECONDS", 0.0)
    worker = WorkerLink(tmp_path / "control.sock", lambda _: None, id="a")
    slip = Slip("chat", "app", (("p", "c", "m"),), reserved=70, budgets=((METER, 9),))
    batch = export(
        {"id": "gw-a-1", "slip": written(slip), "status": "503", "attempts": "1",
         "request_id": "r-1"},
        started=1000.0,
    )  # fmt: skip

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            serving = [
                tasks.create_task(intake.link.run()),
                tasks.create_task(intake.envoy_log.run()),
            ]
            async with working(worker):
                await until(lambda: intake.link.peers)
                async with aio.insecure_channel(
                    f"unix:{tmp_path / LOG_SOCKET}"
                ) as channel:
                    await channel.unary_unary(EXPORT)(batch, wait_for_ready=True)
                await until(lambda: books.noted)
                assert intake.link.peers
                worker.record(
                    msgspec.structs.replace(
                        completion("gw-a-1"), cost=9, budgets=((METER, 9),)
                    )
                )
                await worker.flushed()
            for task in serving:
                task.cancel()

    asyncio.run(main())
    assert books.noted == ["gw-a-1"]
    assert intake.ledger.balances[METER].nanos == 70
    rendered = intake._metrics.render().decode()
    counted = [
        line for line in rendered.splitlines()
        if line.startswith("extproc_requests_total{")
    ]  # fmt: skip
    assert [line.rsplit(" ", 1)[1] for line in counted] == ["1.0"]


def test_what_envoy_answered_is_not_counted_on_the_workers_word(
    intake: Intake, books: Books, tmp_path: Path
) -> None:
    worker = WorkerLink(tmp_path / "control.sock", lambda _: None)
    local = msgspec.structs.replace(completion("gw-a-1"), operation=LOCAL)

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(intake.link.run())
            async with working(worker):
                worker.record(local)
                worker.record(completion("gw-a-2"))
                await worker.flushed()
            serving.cancel()

    asyncio.run(main())
    assert books.noted == ["gw-a-2"]
    assert intake.envoy_log.confirmations.waiting == 1


def test_a_worker_is_told_which_deployment_broke_its_answer_off(
    intake: Intake, books: Books, tmp_path: Path
) -> None:
    """It took the client to have left: Envoy says no more of it to a worker."""
    heard: dict[str, list[str]] = {"a": [], "b": []}
    one, two = (
        WorkerLink(
            tmp_path / "control.sock",
            lambda _: None,
            id=name,
            on_broke=heard[name].extend,
        )
        for name in heard
    )
    left = msgspec.structs.replace(
        completion("gw-a-1"), outcome="canceled", cluster="p", request_model="m"
    )
    said = {"status": "200", "attempts": "1", "request_id": "r"}

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            serving = [
                tasks.create_task(intake.link.run()),
                tasks.create_task(intake.envoy_log.run()),
            ]
            async with working(one), working(two):
                await until(lambda: len(intake.link.peers) == 2)
                one.record(msgspec.structs.replace(left, id="gw-a-2"))
                one.record(left)
                await one.flushed()
                async with aio.insecure_channel(
                    f"unix:{tmp_path / LOG_SOCKET}"
                ) as channel:
                    batch = export(
                        {"id": "gw-a-2", "flags": "DC", **said},
                        {"id": "gw-a-1", "flags": "UC", **said},
                    )
                    await channel.unary_unary(EXPORT)(batch, wait_for_ready=True)
                await until(lambda: heard["a"])
            for task in serving:
                task.cancel()

    asyncio.run(main())
    assert heard == {"a": ["p/m"], "b": []}
    assert books.noted == ["gw-a-2", "gw-a-1", "gw-a-1"]
