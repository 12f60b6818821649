"""Control's end of Envoy's access log, over a real socket, asked by gRPC's own client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from grpc import aio

from extproc.exchange.completion import Completion
from extproc.server import envoy_log
from extproc.server.envoy_log import EnvoyLog
from extproc.telemetry.access import EXPORT
from extproc.telemetry.confirm import GRACE_SECONDS, Confirmations
from tests.harness import temporary_folder
from tests.telemetry.test_access import export


class World:
    def __init__(self, path: Path) -> None:
        self.now = 1_000.0
        self.settled: list[Completion] = []
        self.total: int | None = None
        self.path = path
        self.log = EnvoyLog(
            path,
            Confirmations(clock=lambda: self.now),
            settle=lambda ended: self.settled.extend(one.completion for one in ended),
            stats=self._stats,
            spans=self._spans,
        )
        self.spans: list[bytes] = []

    def _spans(self, export: bytes) -> bytes:
        self.spans.append(export)
        return b""

    async def _stats(self, pattern: str) -> dict[str, int]:
        assert "logs_dropped" in pattern
        if self.total is None:
            raise ConnectionError
        return {"dropped": self.total}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[aio.Channel]:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self.log.run())
            async with aio.insecure_channel(f"unix:{self.path}") as channel:
                try:
                    yield channel
                finally:
                    task.cancel()


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
def world(monkeypatch):
    monkeypatch.setattr(envoy_log, "SWEEP_SECONDS", 0.01)
    monkeypatch.setattr(envoy_log, "STATS_SECONDS", 0.01)
    with temporary_folder() as folder:
        yield World(folder / "log.sock")


def test_a_batch_is_taken_and_what_has_no_record_is_settled(world: World) -> None:
    async def main() -> None:
        async with world.running() as channel:
            send = channel.unary_unary(EXPORT)
            batch = export({"request_id": "q", "status": "404"}, started=1000.0)
            assert await send(batch, wait_for_ready=True) == b""
            assert world.log.confirmations.waiting == 1
            world.now += GRACE_SECONDS
            await until(lambda: world.settled)
        assert [one.id for one in world.settled] == ["envoy-q"]

    asyncio.run(main())


def test_what_is_no_batch_is_refused_and_the_next_is_taken(world: World) -> None:
    async def main() -> None:
        async with world.running() as channel:
            send = channel.unary_unary(EXPORT)
            with pytest.raises(grpc.RpcError):
                await send(b"\xff\xff", wait_for_ready=True)
            assert await send(export({"request_id": "q"})) == b""

    asyncio.run(main())


def test_no_exchange_is_served_on_this_socket(world: World) -> None:
    async def main() -> None:
        async with world.running() as channel:
            method = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
            with pytest.raises(grpc.RpcError) as caught:
                await channel.unary_unary(method)(b"", wait_for_ready=True)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    asyncio.run(main())


def test_what_envoy_has_dropped_is_its_own_count(world: World) -> None:
    async def main() -> None:
        async with world.running():
            await asyncio.sleep(0.03)
            assert world.log.dropped == 0  # Envoy does not answer yet
            world.total = 7
            await until(lambda: world.log.dropped == 7)

    asyncio.run(main())
