"""A whole gateway (`extproc run`, two workers, a Redis) over three providers."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from extproc.local.place import free_port
from tests.chaos.provider import Provider
from tests.harness import KEY, Process, temporary_folder, wait_for
from tests.redis_server import RedisServer

RELOAD_SECONDS = 1.0
_SIDECAR = (
    r"^cluster\.sidecar\.(.*_with_active_rq|http2\.(keepalive_timeout|.*flood|goaway.*)"
    r"|health_check\.failure|outlier_detection\.ejections_enforced_total"
    r"|upstream_(rq|cx)_(timeout|connect_fail|.*overflow|rx_reset))$"
)
"""Counters that tell why a worker's streams ended early."""


class Stage:
    """Who plays: a provider that is well, two that fail, and the gateway between."""

    def __init__(self, folder: Path) -> None:
        self.good = Provider(seed=1)
        self.bad = Provider(seed=2)
        """Is told how to fail."""
        self.mortal = Provider(seed=3)
        """Is killed."""
        self.redis = RedisServer()
        self.spout = socket.socket()
        """Where a provider may listen that is only there for a while."""
        self.spout.bind(("127.0.0.1", 0))
        self.port = 0
        self.position = 0
        """How much of the gateway's log is older than `settle`."""
        self.counted: dict[str, int] = {}
        """What `connections` were then."""
        self.folder = self._folder = folder
        self._file = folder / "gateway.yaml"
        self._config: dict[str, Any] = {}
        self._process: Process | None = None
        self._reloading: asyncio.Task[None] | None = None
        self._reloads = 0
        self._stopped = 0

    def start(self, config: dict[str, Any], **environ: str) -> None:
        """Run the gateway with `config`, and more in its environment."""
        self._config = config
        self._save(config)
        self._process = Process(
            Path(sys.executable).parent / "extproc", "run", "--config", self._file,
            # A port that another Envoy can be given too.
            "--listen", f"127.0.0.1:{free_port(None)}", "--control", "127.0.0.1:0",
            "--state", self._folder / "state",
            log=self._folder / "run.log", env={"EXTPROC_MASTER_KEY": KEY, **environ},
        )  # fmt: skip
        url = str(wait_for(self._address, self._process.output, 60))
        self.port = int(url.rpartition(":")[2])
        wait_for(lambda: self._serves("stand-in") or None, self._process.output, 60)

    def close(self) -> None:
        if self._process is not None:
            self._process.stop()
        self.redis.stop()
        self.spout.close()
        for provider in (self.good, self.bad, self.mortal):
            provider.close()

    def signal_worker(self, number: signal.Signals) -> None:
        """Send a signal to one worker; SIGCONT to the one that was stopped."""
        if number is not signal.SIGCONT:
            self._stopped, _ = self._command("extproc.server.worker")
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(self._stopped).send_signal(number)

    def renew_envoy(self) -> None:
        """Let another Envoy take the place of the one that serves."""
        assert self._process is not None
        self._process.send(signal.SIGUSR2)

    def settle(self) -> None:
        """Wait until Envoy asks both workers: one that was killed takes a while."""
        assert self._process is not None
        wait_for(lambda: self._both() or None, self._process.output)
        self.position = self._process.log.stat().st_size
        self.counted = self.connections()

    def _both(self) -> bool:
        lines = self._admin("/clusters").splitlines()
        flags = [line for line in lines if line.startswith("sidecar::")]
        return sum(line.endswith("health_flags::healthy") for line in flags) == 2

    def _admin(self, path: str) -> str:
        run = self._command("extproc.local.control")[1]
        socket = run[run.index("--run") + 1] + "/admin.sock"
        transport = httpx.HTTPTransport(uds=socket)
        with httpx.Client(
            transport=transport, base_url="http://envoy", verify=False
        ) as http:
            return http.get(path).text

    def logged(self) -> list[str]:
        """Return what the gateway's processes have logged since `settle`."""
        assert self._process is not None
        log = self._process.log.read_bytes()[self.position :]
        return log.decode(errors="replace").splitlines()

    def connections(self) -> dict[str, int]:
        """Return what Envoy has counted of its connections to the workers."""
        lines = self._admin(f"/stats?filter={_SIDECAR}").splitlines()
        found = (line.removeprefix("cluster.sidecar.").split(": ") for line in lines)
        return {name: int(value) for name, value in found}

    def get(self, path: str) -> httpx.Response:
        """Ask control."""
        assert self._process is not None
        return httpx.get(
            f"{wait_for(self._control, self._process.output)}{path}",
            headers={"x-api-key": KEY},
            timeout=20,
        )

    def output(self) -> str:
        assert self._process is not None
        return self._process.output()

    def add_model(self, name: str) -> None:
        """Save a configuration with one more model, and wait until it is served."""
        config = copy.deepcopy(self._config)
        config["models"][name] = {"targets": [{"provider": "good"}]}
        self._config = config
        self._save(config)
        wait_for(lambda: self._serves(name) or None, self.output, 60)

    def begin_reloading(self, model: str) -> None:
        """Change what serves `model`, and who else there is, every second."""
        self._reloading = asyncio.create_task(self._reload(model))

    async def stop_reloading(self) -> None:
        """Stop, and wait until the last change is served.

        Raises:
            AssertionError: it is not.
        """
        if self._reloading is not None:
            self._reloading.cancel()
            await asyncio.gather(self._reloading, return_exceptions=True)
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(self._serves, f"new-{self._reloads}"):
                await asyncio.sleep(0.05)

    async def _reload(self, model: str) -> None:
        while True:
            self._reloads += 1
            n = self._reloads
            config = copy.deepcopy(self._config)
            name = f"provider-{n}"
            config["providers"][name] = dict(config["providers"]["good"])
            config["models"][f"new-{n}"] = {"targets": [{"provider": name}]}
            config["models"][model] |= {
                "strategy": "weighted",
                "targets": [
                    {"provider": "good", "weight": 1 + n % 3},
                    {"provider": name, "weight": 1 + n % 2},
                ],
            }
            self._save(config)
            await asyncio.sleep(RELOAD_SECONDS)

    def _save(self, config: dict[str, Any]) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(yaml.safe_dump(config))
        new.rename(self._file)

    def _address(self) -> str | None:
        return self._said("Gateway ", "/v1")

    def _control(self) -> str | None:
        return self._said("Metrics ", "/metrics")

    def _said(self, what: str, end: str) -> str | None:
        for line in self.output().splitlines():
            if line.startswith(what):
                return line.split()[1].removesuffix(end)
        return None

    def _serves(self, model: str) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            answer = httpx.post(
                f"http://127.0.0.1:{self.port}/v1/chat/completions",
                headers={"authorization": f"Bearer {KEY}"},
                json={"model": model, "messages": [{"role": "user", "content": "Hi"}]},
                timeout=20,
            )
            return answer.status_code == 200
        return False

    def _command(self, module: str) -> tuple[int, list[str]]:
        """Return pid and command line of one of our processes."""
        for process in psutil.process_iter(["cmdline"]):
            line = process.info["cmdline"] or []
            if module in line and str(self._folder) in " ".join(line):
                return process.pid, line
        raise AssertionError(f"there is no {module}")


@contextlib.contextmanager
def staged() -> Iterator[Stage]:
    """Give a stage, and clear it."""
    with temporary_folder() as folder:
        stage = Stage(folder)
        try:
            yield stage
        finally:
            stage.close()
