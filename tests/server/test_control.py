"""Control: load, keep the old when the new is wrong, tell workers and operators."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pytest

from extproc.exchange.completion import Completion
from extproc.identity import GrantBook
from extproc.runtime import Snapshot
from extproc.server import compiled, control as module, watchman
from extproc.server.compiled import Overrides, read_compiled
from extproc.server.control import Control
from extproc.server.grants import take
from extproc.server.keys import hash_key, make_key
from extproc.server.link import WorkerLink
from extproc.server.options import CannotStart, Options
from tests.sink import Sink

GOOD = """
providers:
  openai: {type: openai, api_key: "${KEY}"}
models:
  gpt-4o: {targets: [{provider: openai}]}
"""
TWO = GOOD + "  gpt-4o-mini: {targets: [{provider: openai}]}\n"
SECRET = "sk-0123456789abcdef0123"
BROKEN = GOOD.replace("targets", "tragets") + f"{SECRET}: 1\n"


class NoEnvoy:
    """An Envoy that is not there yet, or has everything."""

    def __init__(self) -> None:
        self.have: set[str] | None = None

    async def ready(self) -> bool:
        return self.have is not None

    async def clusters(self) -> set[str]:
        return self.have or set()

    async def stats(self, pattern: str) -> dict[str, int]:
        del pattern
        return {}


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "gateway.yaml"
        self.envoy = NoEnvoy()
        self.environ = {"KEY": "sk-upstream"}
        self.file.write_text(GOOD)

    def control(self, *, resume: bool = False) -> Control:
        options = Options(
            state=self.folder,
            run=self.folder,
            config=self.file,
            overrides=Overrides(control="127.0.0.1:0"),
            resume=resume,
        )
        return Control(
            options,
            envoy=self.envoy,
            environ=self.environ,
            monotonic=lambda: 0.0,
            wall_clock=lambda: 1_700_000_000.0,
        )

    def digest(self) -> str:
        return compiled.digest(
            state=self.folder,
            run=self.folder,
            config=self.file,
            overrides=Overrides(control="127.0.0.1:0"),
            mock_url=None,
            concurrency=2,
            environ=self.environ,
        )

    def snapshot(self) -> Snapshot:
        content = (self.folder / compiled.SNAPSHOT_FILE).read_bytes()
        return msgspec.msgpack.decode(content, type=Snapshot)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.02)
    return Bench(tmp_path)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def running(control: Control) -> AsyncIterator[asyncio.Event]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(control.run(stop))
        try:
            yield stop
        finally:
            stop.set()


def test_the_first_start_leaves_what_the_next_one_needs(bench: Bench) -> None:
    asyncio.run(bench.control().reload())
    summary = read_compiled(bench.folder)
    assert summary is not None
    assert summary.digest == bench.digest()
    assert summary.providers == ("openai",)
    assert summary.models == ("gpt-4o",)
    assert bench.snapshot().generation == 1
    assert (bench.folder / "snapshot.msgpack").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("change", ["file", "variable", "master", "key"])
def test_the_digest_knows_everything_that_matters(bench: Bench, change: str) -> None:
    before = bench.digest()
    match change:
        case "file":
            bench.file.write_text(TWO)
        case "variable":
            bench.environ["KEY"] = "sk-other"
        case "master":
            bench.environ["EXTPROC_MASTER_KEY"] = "sk-m"
        case _:
            make_key(bench.folder)
    after = bench.digest()
    assert after != before
    bench.environ["UNRELATED"] = "1"
    assert bench.digest() == after


def test_a_first_configuration_that_is_wrong_does_not_start(bench: Bench) -> None:
    bench.file.write_text(BROKEN)
    with pytest.raises(CannotStart) as caught:
        asyncio.run(bench.control().run(asyncio.Event()))
    assert any("tragets" in problem for problem in caught.value.problems)
    assert read_compiled(bench.folder) is None


def test_a_broken_file_changes_nothing_and_is_reported(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        seen: list[int] = []
        worker = WorkerLink(
            bench.folder / "control.sock", lambda s: seen.append(s.generation)
        )
        control = bench.control()
        async with running(control), asyncio.TaskGroup() as tasks:
            task = tasks.create_task(worker.run())
            await until(lambda: seen == [1])

            bench.file.write_text(BROKEN)
            await until(lambda: control.problems)
            _, detail = await control.ready()
            assert "gateway.yaml:5" in str(detail["config"])
            # A mistake may be a key in the wrong place; anybody may ask.
            assert "[redacted:api_key]" in str(detail["config"])
            assert SECRET not in str(detail)
            metrics = control.metrics.render().decode()
            assert "extproc_config_last_reload_successful 0.0" in metrics
            assert "extproc_config_generation 1.0" in metrics
            assert bench.snapshot().generation == 1

            bench.file.write_text(TWO)
            await until(lambda: not control.problems)
            await until(lambda: seen[-1] == 2)
            metrics = control.metrics.render().decode()
            assert "extproc_config_last_reload_successful 1.0" in metrics
            assert "extproc_config_generation 2.0" in metrics
            task.cancel()

    with caplog.at_level("INFO"):
        asyncio.run(main())
    assert "gateway.yaml:5" in caplog.text
    assert "serves on" in caplog.text
    assert "sk-upstream" not in caplog.text


def test_the_same_content_is_the_same_generation(bench: Bench) -> None:
    control = bench.control()
    asyncio.run(control.reload())
    before = bench.snapshot()
    bench.file.write_text(GOOD + "\n# a comment\n")
    asyncio.run(control.reload())
    asyncio.run(bench.control(resume=True).reload())
    assert bench.snapshot() == before


def test_a_control_that_comes_back_to_a_broken_file_serves_on(bench: Bench) -> None:
    asyncio.run(bench.control().reload())
    bench.file.write_text(BROKEN)

    async def main() -> None:
        seen: list[int] = []
        worker = WorkerLink(
            bench.folder / "control.sock", lambda s: seen.append(s.generation)
        )
        async with running(bench.control(resume=True)), asyncio.TaskGroup() as tasks:
            task = tasks.create_task(worker.run())
            await until(lambda: seen == [1])
            task.cancel()

    asyncio.run(main())


def test_a_new_key_reaches_the_workers(bench: Bench) -> None:
    async def main() -> None:
        grants: GrantBook = {}
        worker = WorkerLink(
            bench.folder / "control.sock",
            lambda _: None,
            on_grants=partial(take, grants),
        )
        async with running(bench.control()), asyncio.TaskGroup() as tasks:
            task = tasks.create_task(worker.run())
            key = make_key(bench.folder)
            await until(lambda: bytes.fromhex(hash_key(key)) in grants)
            task.cancel()

    asyncio.run(main())


def test_the_master_key_is_the_only_one_while_it_is_set(bench: Bench) -> None:
    make_key(bench.folder)
    bench.environ["EXTPROC_MASTER_KEY"] = "sk-master"
    asyncio.run(bench.control().reload())
    assert [grant.id for grant in bench.snapshot().grants] == ["master"]
    for path in bench.folder.rglob("*"):
        assert path.is_dir() or b"sk-master" not in path.read_bytes()


def test_operators_see_whether_a_request_would_be_served(bench: Bench) -> None:
    async def main() -> None:
        control = bench.control()
        seen: list[Snapshot] = []
        worker = WorkerLink(bench.folder / "control.sock", seen.append)
        async with running(control), httpx.AsyncClient() as client:
            file = bench.folder / compiled.ADDRESS_FILE
            await until(file.exists)
            url = f"http://{file.read_text()}"
            assert (await client.get(f"{url}/health/live")).status_code == 200
            assert (await client.get(f"{url}/healthz")).status_code == 200
            assert (await client.get(f"{url}/readyz")).status_code == 503
            assert (await client.get(f"{url}/health/ready")).status_code == 503
            async with asyncio.TaskGroup() as tasks:
                task = tasks.create_task(worker.run())
                await until(lambda: seen)
                # Without its clusters Envoy is of no use.
                bench.envoy.have = {"sidecar"}
                assert (await client.get(f"{url}/health/ready")).status_code == 503
                bench.envoy.have = {"sidecar", "openai"}
                ready = await client.get(f"{url}/health/ready")
                assert ready.status_code == 200
                assert ready.json()["workers"][0]["pid"] == os.getpid()
                assert ready.json()["config"]["generation"] == 1

                worker.record(
                    Completion(
                        id="a", operation="chat", started=1, duration=1, outcome="ok",
                        status=200, provider="openai", original_model="gpt-4o",
                    )
                )  # fmt: skip
                await asyncio.wait_for(worker.flushed(), 5)
                metrics = (await client.get(f"{url}/metrics")).text
                assert 'model="gpt-4o",operation="chat",outcome="ok"' in metrics
                assert "extproc_workers_connected 1.0" in metrics
                task.cancel()

    asyncio.run(main())


def test_what_needs_a_restart_is_said_and_not_started_from(bench: Bench) -> None:
    control = bench.control()
    asyncio.run(control.reload())
    bench.envoy.have = {"sidecar", "openai"}
    bench.file.write_text(GOOD + "limits: {connections: 7}\n")
    asyncio.run(control.reload())
    assert control.restart_needed
    summary = read_compiled(bench.folder)
    assert summary is not None
    assert summary.digest == ""


def test_a_key_made_over_the_admin_api_reaches_the_workers_and_goes_again(
    bench: Bench,
) -> None:
    seen: list[Snapshot] = []
    grants: GrantBook = {}

    async def play() -> None:
        owner = make_key(bench.folder)
        control = bench.control()
        async with running(control):
            link = WorkerLink(
                bench.folder / "control.sock",
                seen.append,
                on_grants=partial(take, grants),
            )
            task = asyncio.ensure_future(link.run())
            await until(lambda: seen)
            address = (bench.folder / compiled.ADDRESS_FILE).read_text()
            async with httpx.AsyncClient(
                base_url=f"http://{address}/admin/v1",
                headers={"authorization": f"Bearer {owner}"},
            ) as http:
                me = (await http.get("/me")).json()
                assert me == {"id": "default", "role": "owner"}
                made = (await http.post("/keys", json={"id": "ci"})).json()
                digest = bytes.fromhex(hash_key(made["key"]))
                await until(lambda: digest in grants)
                assert (await http.delete("/keys/ci")).status_code == 204
                await until(lambda: digest not in grants)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    asyncio.run(play())


def test_keys_of_the_database_outlive_a_reload_and_a_restart_without_it(
    bench: Bench,
) -> None:
    async def play() -> None:
        owner = make_key(bench.folder)
        control = bench.control()
        async with running(control):
            await until((bench.folder / compiled.ADDRESS_FILE).exists)
            address = (bench.folder / compiled.ADDRESS_FILE).read_text()
            async with httpx.AsyncClient(base_url=f"http://{address}") as http:
                said = await http.post(
                    "/admin/v1/keys", json={"id": "ci"}, headers={"x-api-key": owner}
                )
            digest = hash_key(said.json()["key"])
            await until(lambda: digest in _hashes(bench.snapshot()))
            bench.file.write_text(TWO)
            await until(lambda: len(bench.snapshot().models) == 2)
            assert digest in _hashes(bench.snapshot())
        bench.environ["EXTPROC_DATABASE_URL"] = f"postgres://x@/x?host={bench.folder}"
        bench.file.write_text(GOOD)
        again = bench.control(resume=True)
        async with running(again):
            await until(lambda: len(bench.snapshot().models) == 1)
            assert digest in _hashes(bench.snapshot())
            _, detail = await again.ready()
            assert detail["database"] == {
                "problem": "OperationalError",
                "version": 1,
                "waiting_bytes": 0,
                "lost_records": 0,
            }

    asyncio.run(play())


def _hashes(snapshot: Snapshot) -> set[str]:
    return {grant.sha256 for grant in snapshot.grants}


def test_records_of_workers_reach_the_books_that_operators_read(bench: Bench) -> None:
    async def play() -> None:
        owner = make_key(bench.folder)
        control = bench.control()
        async with running(control):
            link = WorkerLink(bench.folder / "control.sock", lambda _: None)
            task = asyncio.ensure_future(link.run())
            for n in range(3):
                link.record(
                    Completion(
                        id=f"gw-{n}", operation="chat", started=1_700_000_000.0,
                        duration=0.1, outcome="ok", status=200, key="ci", cost=5,
                    )
                )  # fmt: skip
            await until(lambda: link.unacknowledged == 0)
            address = (bench.folder / compiled.ADDRESS_FILE).read_text()
            async with (
                httpx.AsyncClient(base_url=f"http://{address}/admin/v1") as http,
                asyncio.timeout(10),
            ):
                while True:
                    said = await http.get("/spend?by=key", headers={"x-api-key": owner})
                    if said.json()["data"]:
                        break
                    await asyncio.sleep(0.02)
            [group] = said.json()["data"]
            assert (group["key"], group["requests"], group["cost_usd"]) == (
                "ci",
                3,
                1.5e-8,
            )
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    asyncio.run(play())


def test_requests_that_fail_are_told_to_who_wants_to_know(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, however often somebody looks, by the webhooks that the file names."""
    monkeypatch.setattr(watchman, "LOOK_SECONDS", 0.02)

    async def play(sink: Sink) -> None:
        bench.file.write_text(
            f"{GOOD}telemetry:\n  alerts:\n    webhooks:\n"
            f"      - {{url: '{sink.url}/one', kinds: [errors], secret: shh-0123456789}}\n"
            f"      - {{url: '{sink.url}/two', kinds: [budget]}}\n"
        )
        control = bench.control()
        async with running(control):
            link = WorkerLink(bench.folder / "control.sock", lambda _: None)
            task = asyncio.ensure_future(link.run())
            for n in range(20):
                link.record(
                    Completion(
                        id=f"gw-{n}", operation="chat", started=1_700_000_000.0,
                        duration=0.1, outcome="upstream_error", status=500,
                        provider="openai",
                    )
                )  # fmt: skip
            await until(lambda: len(sink.seen) == 2)
            rendered = control.metrics.render().decode()
            assert 'extproc_alerts_total{kind="errors",result="sent"}' in rendered
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    with Sink() as sink:
        asyncio.run(play(sink))
        told = [(one["path"], json.loads(one["head"])) for one in sink.seen]
    assert [path for path, _ in told] == ["/one", "/one"]
    assert {body["key"] for _, body in told} == {"errors/", "errors/openai"}
    assert told[0][1]["type"] == "error_alert"
    assert told[0][1]["failed"] == 20
