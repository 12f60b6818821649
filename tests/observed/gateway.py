"""A whole gateway, `extproc run`, that tells everybody what it sees."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml

from extproc.server.compiled import read_compiled
from tests.harness import temporary_folder, wait_for
from tests.otlp import Receiver, attributes, receiving
from tests.sink import Sink

MASTER = "sk-observed-0123456789abcdef0123456789"
PRIVATE = "sk-private-0123456789abcdef012345678"
"""Of a key of which nothing is kept."""
PROVIDER_KEY = "sk-mock-provider-secret"
TRACE = "0af7651916cd43dd8448eb211c80319c"
CLIENT_SPAN = "b7ad6b7169203331"


def config(collector: Receiver, **telemetry: Any) -> dict[str, Any]:
    provider = {"base_url": "${EXTPROC_MOCK_URL}/v1", "api_key": PROVIDER_KEY}
    return {
        "listen": {"address": "127.0.0.1:0"},
        "control": {"address": "127.0.0.1:0"},
        "providers": {
            "openai": {"type": "openai", **provider},
            "anthropic": {"type": "anthropic", **provider},
            "wrong": {"type": "openai", **provider, "api_key": "not-a-key-of-theirs"},
        },
        "models": {
            "gpt-4o": {"targets": [{"provider": "openai"}]},
            "flaky": {
                "targets": [
                    {"provider": "openai", "model": "gpt-4o[[mock: status=503]]"},
                    {"provider": "anthropic", "model": "claude-sonnet-4-5"},
                ]
            },
            "silent": {
                "targets": [{"provider": "openai", "model": "gpt-4o[[mock: no-usage]]"}]
            },
            "limited": {
                "targets": [
                    {
                        "provider": "openai",
                        "model": "gpt-4o[[mock: status=429 retry-after=1]]",
                    }
                ]
            },
            "refused": {
                "targets": [{"provider": "wrong", "model": "gpt-4o"}]
            },
            "broken": {
                "targets": [
                    {"provider": "openai", "model": "gpt-4o[[mock: status=500]]"}
                ]
            },
        },
        "routing": {
            "cooldown": {"failures": 1_000_000, "least_outcomes": 1_000_000}
        },
        # How late a client learns that its stream was cut.
        "timeouts": {"last_bytes": 0.2},
        "budgets": [{"usd": 1_000, "period": "day"}],
        "keys": [{"id": "private", "key": PRIVATE, "private": True}],
        # A model that misbehaves has a name that nobody has a price for.
        "prices": {"gpt-4o*": {"input": 1, "output": 2}},
        "telemetry": telemetry
        | {
            "otlp": {
                "endpoint": collector.grpc,
                "protocol": "grpc",
                "headers": {"x-tenant": "gateways"},
                "interval": 1,
            }
        },
    }  # fmt: skip


class Observed:
    """The gateway, and those whom it tells."""

    def __init__(self, folder: Path, collector: Receiver, sink: Sink) -> None:
        self.folder = folder
        self.collector = collector
        self.sink = sink
        self.file = folder / "gateway.yaml"
        self._out, self._err = folder / "out.txt", folder / "err.txt"
        self.state = folder / "state"

    def write(self, **telemetry: Any) -> None:
        self.file.write_text(yaml.safe_dump(config(self.collector, **telemetry)))

    def reload(self, **telemetry: Any) -> None:
        """Serve with `telemetry` from now on."""
        before = self.health()["config"]["generation"]
        self.write(**telemetry)

        def serves() -> bool:
            now = self.health()
            generation = now["config"]["generation"]
            return generation > before and all(
                worker["generation"] == generation for worker in now["workers"]
            )

        until(serves)

    def mock_requests(self) -> list[dict[str, Any]]:
        """Return what reached the providers."""
        compiled = read_compiled(self.state)
        assert compiled is not None
        seen: list[dict[str, Any]] = httpx.get(
            f"{compiled.mock_url}/_mock/requests", timeout=20
        ).json()
        return [
            {**one, "text": base64.b64decode(one["body"]).decode("utf-8", "replace")}
            for one in seen
        ]

    def scrape(self) -> str:
        return httpx.get(f"{self.control}/metrics", timeout=20).text

    def health(self) -> dict[str, Any]:
        known: dict[str, Any] = httpx.get(
            f"{self.control}/health/ready", timeout=20
        ).json()
        return known

    def start(self) -> None:
        environ = {
            name: text
            for name, text in os.environ.items()
            if not name.endswith("_API_KEY") and name != "EXTPROC_STATE"
        }
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "extproc", "run", "--mock"),
                    *("--config", str(self.file), "--state", str(self.state)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**environ, "EXTPROC_MASTER_KEY": MASTER},
                start_new_session=True,
            )
        self.url = wait_for(lambda: self._said("Gateway"), self.log, 60)
        self.url = self.url.removesuffix("/v1")
        self.control = wait_for(lambda: self._said("Metrics"), self.log)
        self.control = self.control.removesuffix("/metrics")
        self.http = httpx.Client(
            base_url=self.url, headers={"authorization": f"Bearer {MASTER}"}, timeout=20
        )

    def _said(self, what: str) -> str | None:
        if self.process.poll() is not None:
            raise AssertionError(self.log())
        for line in self._out.read_text().splitlines():
            if line.startswith(what):
                return line.split()[1]
        return None

    def log(self) -> str:
        return self._err.read_text()

    def ask(
        self, model: str = "gpt-4o", text: str = "Hi", **more: Any
    ) -> httpx.Response:
        headers = more.pop("headers", {})
        messages = [{"role": "user", "content": text}]
        return self.http.post(
            "/v1/chat/completions",
            json={"model": model, "messages": messages, **more},
            headers=headers,
        )

    def spans(self, trace: str) -> list[Any]:
        return [
            span
            for span in self.collector.spans
            if span.trace_id.hex() == trace
        ]  # fmt: skip

    def whole(self, request_id: str, count: int) -> list[Any]:
        """Wait for the spans of a request."""

        def found() -> list[Any] | None:
            ids = {
                span.trace_id.hex()
                for span in self.collector.spans
                if attributes(span.attributes).get("extproc.request_id") == request_id
            }
            spans = [span for trace in ids for span in self.spans(trace)]
            return spans if len(spans) >= count else None

        return self.collector.wait(found)

    def stop(self) -> None:
        if hasattr(self, "http"):
            self.http.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(15)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def observed(**telemetry: Any) -> Iterator[Observed]:
    with receiving() as collector, Sink() as sink, temporary_folder() as folder:
        gateway = Observed(folder, collector, sink)
        gateway.write(**telemetry)
        try:
            gateway.start()
            yield gateway
        finally:
            gateway.stop()


def until(condition: Any, seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return found
