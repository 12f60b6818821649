"""The worker process: what it loads, how it starts, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys

import grpc
import msgspec
import pytest

from extproc.deployment import RoutingNumbers
from extproc.runtime import Snapshot
from extproc.server.lean import HEALTH_CHECK, SERVING
from extproc.server.service import make_id_factory
from extproc.server.worker import Worker, read_snapshot
from extproc.server.worker_options import parse
from tests.harness import Process, temporary_folder, wait_for

HEAVY = {
    "bpe_openai", "envoy_data_plane", "genai_prices", "httpx", "prometheus_client",
    "pydantic", "rich", "sqlalchemy", "starlette", "typer", "uvicorn", "yaml",
}  # fmt: skip
"""What costs a worker tens of MB or a second, and serves no request."""


def loaded(*modules):
    code = f"import sys, {', '.join(modules)}; print(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_a_worker_loads_nothing_heavy():
    modules = loaded("extproc.server.worker")
    assert not modules & HEAVY
    assert "grpc" not in modules, "the lean edge needs none of it"
    assert "extproc" in modules


MODULES = 500
"""Measured are 470 to 480, by the version of Python: each is half a millisecond of a start."""


def test_a_worker_loads_no_more_modules_than_it_may():
    code = "import extproc.server.worker, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    modules = done.stdout.split()
    assert len(modules) <= MODULES
    # What only some providers speak comes with the configuration that names them.
    for one in ("gemini", "converse", "cohere"):
        assert not [name for name in modules if f"formats.{one}" in name]


def test_ids_are_unique_across_workers():
    makers = [make_id_factory(prefix) for prefix in ("ab", "cd")]
    ids = {make() for _ in range(3) for make in makers}
    assert len(ids) == 6


@pytest.mark.parametrize("edge", ["lean", "grpc"])
def test_a_worker_serves_from_a_snapshot_file_and_drains(edge):
    with temporary_folder() as folder:
        (folder / "snapshot").write_bytes(
            msgspec.msgpack.encode(Snapshot(generation=1))
        )
        process = Process(
            sys.executable, "-m", "extproc.server.worker", "--socket", folder / "w.sock",
            "--control", folder / "c.sock", "--snapshot", folder / "snapshot",
            "--edge", edge, log=folder / "log",
        )  # fmt: skip
        try:
            wait_for(lambda: (folder / "w.sock").exists() or None, process.output)
            with grpc.insecure_channel(f"unix:{folder}/w.sock") as channel:
                health = channel.unary_unary(HEALTH_CHECK)
                assert health(b"", timeout=5, wait_for_ready=True) == SERVING
            process.send(signal.SIGTERM)
            assert process.wait() == 0
            assert '"level":"error"' not in process.output()
        finally:
            process.stop()


def test_a_worker_without_a_snapshot_waits_for_control_and_can_be_stopped():
    with (
        temporary_folder() as folder,
        contextlib.closing(socket.socket(socket.AF_UNIX)) as control,
    ):
        control.bind(str(folder / "c.sock"))
        control.listen()
        control.settimeout(20)
        process = Process(
            sys.executable, "-m", "extproc.server.worker", "--socket", folder / "w.sock",
            "--control", folder / "c.sock", log=folder / "log",
        )  # fmt: skip
        try:
            control.accept()[0].close()  # it is up
            assert not (folder / "w.sock").exists()
            process.send(signal.SIGTERM)
            assert process.wait() == 0
        finally:
            process.stop()


def test_an_address_that_cannot_be_listened_on_is_one_sentence_and_code_2():
    with temporary_folder() as folder:
        (folder / "snapshot").write_bytes(
            msgspec.msgpack.encode(Snapshot(generation=1))
        )
        process = Process(
            sys.executable, "-m", "extproc.server.worker",
            "--socket", folder / "no" / "w.sock", "--control", folder / "c.sock",
            "--snapshot", folder / "snapshot", log=folder / "log",
        )  # fmt: skip
        try:
            assert process.wait() == 2
            assert "Traceback" not in process.output()
            assert '"level":"error"' in process.output()
        finally:
            process.stop()


@pytest.mark.parametrize("content", [b"", b"junk", b"\x93\x01\x02\x03"])
def test_a_snapshot_file_of_no_use_is_ignored(tmp_path, content):
    (tmp_path / "snapshot").write_bytes(content)
    assert read_snapshot(tmp_path / "snapshot") is None
    assert read_snapshot(tmp_path / "missing") is None
    assert read_snapshot(None) is None


WRONG = [
    [],
    ["--control", "c"],
    ["--control", "c", "--socket", "s", "--listen", "127.0.0.1:1"],
    ["--control", "c", "--listen", "127.0.0.1:1"],
    ["--control", "c", "--socket", "s", "--tls-key", "k"],
]


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_options_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_what_routing_has_learned_outlives_a_reload():
    async def main() -> None:
        worker = Worker(parse(["--socket", "w0.sock", "--control", "c.sock"]))
        worker._apply(Snapshot(1))
        assert worker._service is not None
        routing = worker._service.office.routing
        for _ in range(3):
            routing.health("a/m").failed(0.0, routing.numbers, reason="500")
        slow = RoutingNumbers(cooldown=77.0)
        worker._apply(Snapshot(2, routing=slow))
        assert worker._service.office.routing is routing
        assert routing.numbers == slow
        assert routing.health("a/m").reason == "500"
        assert worker._live().deployments[0].id == "a/m"

    asyncio.run(main())
