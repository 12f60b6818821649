"""A gateway for tests: real Envoy, real worker, strict mock, on free ports.

It is put together from the product's own pieces, as control and the supervisor do it, but
without them: a test that is about neither starts in a third of a second.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import certifi
import httpx
import msgspec
import yaml

from extproc.config.build import build
from extproc.config.compile import Layout, compile_envoy, write_files
from extproc.config.compile.listener import LISTENER
from extproc.config.load import loads
from extproc.local.envoy import arguments, find_envoy
from extproc.runtime import Grant, Snapshot

KEY = "sk-test-0123456789abcdef0123456789abcdef"
"""May use every model."""
NARROW_KEY = "sk-narrow-0123456789abcdef0123456789abcd"
"""May use ``gpt-4o`` only."""
BEDROCK = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
"""A model that the mock of Bedrock serves."""
AWS = {
    "AWS_ACCESS_KEY_ID": "MOCKACCESSKEY",
    "AWS_SECRET_ACCESS_KEY": "the mock's key; not a secret",
}
"""The account that the mock of Bedrock knows."""
FORGIVING = {
    "routing": {
        "cooldown": {
            "failures": 1_000_000,
            "least_outcomes": 1_000_000,
            "seconds": 0.001,
            "longest": 0.001,
            "longest_retry_after": 0.001,
            "credential": 0.001,
        }
    }
}
"""For a gateway that tests share: one's failing provider is the next one's healthy one."""
START_SECONDS = 20.0
"""A loaded machine starts Envoy in a second or two."""


def grants() -> list[Grant]:
    """Return what the two keys may do."""
    return [
        Grant("all", hashlib.sha256(KEY.encode()).hexdigest()),
        Grant("narrow", hashlib.sha256(NARROW_KEY.encode()).hexdigest(), ("gpt-4o",)),
    ]


class Process:
    """A child in its own process group, whose output is kept in a file."""

    def __init__(
        self, *command: str | Path, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, **(env or {})},
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def send(self, number: int) -> None:
        os.killpg(self._process.pid, number)

    def wait(self, timeout: float = 10) -> int:
        return self._process.wait(timeout)

    def stop(self) -> None:
        """End it and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            self.send(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(5)
        with contextlib.suppress(ProcessLookupError):
            self.send(signal.SIGKILL)
        self.wait(5)


class Mock:
    """The mock providers, as a process."""

    def __init__(self, folder: Path, *extra: str, pace_ms: float = 0) -> None:
        self._log = folder / "mock.log"
        self._extra = ("--pace-ms", str(pace_ms), *extra)
        self.start("0")
        self.url = str(wait_for(self._address, self.process.output))
        self._http = httpx.Client(base_url=self.url, verify=False)

    def start(self, port: str) -> None:
        self.process = Process(
            *(sys.executable, "-m", "extproc.local.mock", "--port", port),
            *self._extra,
            log=self._log,
        )

    def kill(self) -> None:
        """As a provider that is away."""
        self.process.send(signal.SIGKILL)
        self.process.wait()

    def restart(self) -> None:
        """Serve again, where it did before."""
        self.start(self.url.rpartition(":")[2])
        wait_for(self._answers, self.process.output)

    def _answers(self) -> bool | None:
        with contextlib.suppress(httpx.HTTPError):
            return self._http.get("/_mock/requests").status_code == 200 or None
        return None

    def _address(self) -> str | None:
        first = self.process.output().partition("\n")[0]
        return first.split()[-1] if first.startswith("listening on") else None

    def requests(self) -> list[dict[str, Any]]:
        """Return what reached the mock since `forget`: bodies as bytes, headers by name."""
        return [
            {
                **seen,
                "body": base64.b64decode(seen["body"]),
                "headers": {name.lower(): value for name, value in seen["headers"]},
            }
            for seen in self._http.get("/_mock/requests").json()
        ]

    def forget(self) -> None:
        self._http.delete("/_mock/requests")

    def stop(self) -> None:
        self._http.close()
        self.process.stop()


def wait_for(probe: Any, explain: Any, seconds: float = START_SECONDS) -> Any:
    """Return the first thing that `probe` returns which is not None."""
    patience = time.monotonic() + seconds
    while time.monotonic() < patience:
        found = probe()
        if found is not None:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not ready in {seconds} s: {explain()[-3000:]}")


class Gateway:
    """Envoy and its workers over one configuration."""

    def __init__(
        self,
        config: Mapping[str, Any],
        folder: Path,
        *,
        edge: str = "lean",
        workers: int = 1,
        scheme: str = "http",
        limits: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`env` is Envoy's, in place of an AWS key."""
        self.folder = folder
        self.edge = edge
        self._scheme = scheme
        # How late a client learns that its stream was cut, which many tests wait for.
        times = {"last_bytes": 0.2, **config.get("timeouts", {})}
        text = yaml.safe_dump(
            {"listen": {"address": "127.0.0.1:0"}, **config, "timeouts": times}
        )
        self.config = loads(text, {}, source="gateway.yaml", folder=folder)
        self.layout = Layout.under(
            folder,
            ca_bundle=Path(certifi.where()),
            workers=workers,
            access_log=folder / "access.log",
        )
        self.snapshot = build(self.config, grants=grants(), generation=1, created=1)
        if limits is not None:
            self.snapshot = msgspec.structs.replace(
                self.snapshot,
                limits=msgspec.structs.replace(self.snapshot.limits, **limits),
            )
        (folder / "snapshot").write_bytes(msgspec.msgpack.encode(self.snapshot))
        write_files(compile_envoy(self.config, self.layout), self.layout.xds)
        self.workers = [self.start_worker(i) for i in range(workers)]
        self.envoy = Process(
            *arguments(find_envoy(), self.layout.xds / "bootstrap.json", concurrency=2),
            log=folder / "envoy.log",
            env=AWS if env is None else env,
        )
        try:
            self.url = f"{scheme}://127.0.0.1:{wait_for(self._port, self.output)}"
            wait_for(self._ready, self.output)
        except BaseException:
            self.stop()
            raise

    def start_worker(self, number: int) -> Process:
        return Process(
            sys.executable, "-m", "extproc.server.worker",
            "--socket", self.layout.workers[number],
            "--control", self.folder / "control.sock",
            "--snapshot", self.folder / "snapshot", "--edge", self.edge,
            log=self.folder / f"worker{number}.log",
        )  # fmt: skip

    def output(self) -> str:
        processes = [self.envoy, *self.workers]
        return "\n".join(process.output()[-1500:] for process in processes)

    def admin(self, path: str) -> httpx.Response:
        transport = httpx.HTTPTransport(uds=str(self.layout.admin))
        with httpx.Client(transport=transport, base_url="http://envoy") as client:
            return client.get(path)

    def _port(self) -> int | None:
        # httpx leaks the socket of a unix connection that is refused.
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
            if probe.connect_ex(str(self.layout.admin)):
                return None
        with contextlib.suppress(httpx.HTTPError):
            for listener in (
                self.admin("/listeners?format=json").json().get("listener_statuses", [])
            ):
                if listener["name"] == LISTENER:
                    return int(
                        listener["local_address"]["socket_address"]["port_value"]
                    )
        return None

    def _ready(self) -> bool | None:
        with contextlib.suppress(httpx.HTTPError):
            answer = httpx.get(f"{self.url}/health/ready", verify=False)
            if answer.status_code == 200 and self._whole():
                return True
        return None

    def _whole(self) -> bool:
        """Return whether all workers serve, as Envoy sees it: one is enough to answer."""
        if len(self.workers) == 1:
            return True
        lines = self.admin("/clusters").text.splitlines()
        healthy = tuple(f"{one}::health_flags::healthy" for one in self.layout.workers)
        return sum(line.endswith(healthy) for line in lines) == len(healthy)

    def stop(self) -> None:
        for process in (self.envoy, *self.workers):
            process.stop()


def mock_config(url: str, **more: Any) -> dict[str, Any]:
    """Return a configuration over the mock providers at `url`."""
    base = {"base_url": f"{url}/v1", "api_key": "sk-mock-provider-secret"}
    openai = {"type": "openai", **base}
    anthropic = {"type": "anthropic", "default_max_tokens": 4096, **base}
    gemini = {**base, "type": "gemini", "base_url": f"{url}/v1beta"}
    return {
        "providers": {
            "openai": openai,
            "anthropic": anthropic,
            "gemini": gemini,
            # Without a key Envoy signs, with the credentials of its environment.
            "bedrock": {"type": "bedrock", "base_url": url, "region": "eu-west-1"},
            "vllm": {**openai, "base_url": f"{url}/vllm/v1"},
        },
        "models": {
            "gpt-4o": {"targets": [{"provider": "openai"}]},
            "claude-sonnet-4-5": {"targets": [{"provider": "anthropic"}]},
            # The SDK warns of a model by its real name when its end is near.
            "sonnet": {
                "targets": [{"provider": "anthropic", "model": "claude-sonnet-4-5"}]
            },
            "mapped": {"targets": [{"provider": "openai", "model": "gpt-4o-mini"}]},
            "both": {
                "targets": [
                    {"provider": "openai", "model": "gpt-4o"},
                    {"provider": "anthropic", "model": "claude-sonnet-4-5"},
                ]
            },
            "gpt-*": {"targets": [{"provider": "openai"}]},
            "claude-*": {"targets": [{"provider": "anthropic"}]},
            "gemini-*": {"targets": [{"provider": "gemini"}]},
            "*.anthropic.*": {"targets": [{"provider": "bedrock"}]},
            "amazon.*": {"targets": [{"provider": "bedrock"}]},
            "o3*": {"targets": [{"provider": "openai"}]},
            "text-embedding-*": {"targets": [{"provider": "openai"}]},
            **{
                name: {"targets": [{"provider": "openai"}]}
                for name in (
                    "dall-e-*",
                    "tts-*",
                    "whisper-*",
                    "omni-moderation-*",
                )
            },
            "cohere.*": {"targets": [{"provider": "bedrock"}]},
            "bge-*": {"targets": [{"provider": "vllm"}]},
        },
        **more,
    }


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a folder whose path is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="gw-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running(
    config: Mapping[str, Any] | None = None, *, pace_ms: float = 0, **options: Any
) -> Iterator[tuple[Gateway, Mock]]:
    """Run a mock, and a gateway over it; `config` may name the mock as ``MOCK``."""
    with temporary_folder() as folder:
        mock = Mock(folder, pace_ms=pace_ms)
        try:
            plain = mock_config(mock.url) | dict(config or {})
            gateway = Gateway(plain, folder, **options)
            try:
                yield gateway, mock
            finally:
                gateway.stop()
        finally:
            mock.stop()


__all__ = ["Gateway", "Mock", "Snapshot", "mock_config", "running", "temporary_folder"]
