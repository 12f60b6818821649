"""What benchmarks stand on: the processes that are measured, and their configurations."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import yaml

from extproc.local.envoy import find_envoy

HERE = Path(__file__).parent
KEY = "sk-bench-" + "0123456789abcdef" * 3
TICKS = os.sysconf("SC_CLK_TCK")


def body(model: str, **more: object) -> str:
    say = "Write one sentence about foxes and dogs, please."
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": say},
    ]
    return json.dumps(
        {"model": model, "messages": messages, "max_tokens": 100, **more},
        separators=(",", ":"),
    )


@contextlib.contextmanager
def child(*command: object, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a process in its own group and end it with all it started."""
    options = {"stdout": subprocess.PIPE, **options}
    process = subprocess.Popen(
        [str(part) for part in command], text=True, start_new_session=True, **options
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(45)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout:
            process.stdout.close()


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(url: str, text: str, key: str = KEY) -> int:
    request = urllib.request.Request(
        f"{url}/v1/chat/completions",
        data=text.encode(),
        headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()
            return int(answer.status)
    except OSError:
        return 0


def wait_for_answer(url: str, seconds: float = 60) -> float:
    """Return how many seconds it took until a chat was answered."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if ask(url, body("gpt-4o")) == 200:
            return time.monotonic() - began
        time.sleep(0.01)
    raise SystemExit(f"{url} does not answer")


def bare_bootstrap(ports: dict[int, int]) -> str:
    """Return the least configuration that proxies each port to another: a router."""
    made = [_bare(port, upstream) for port, upstream in ports.items()]
    return json.dumps(
        {
            "static_resources": {
                "listeners": [listener for listener, _ in made],
                "clusters": [cluster for _, cluster in made],
            }
        }
    )


def _bare(port: int, upstream: int) -> tuple[object, object]:
    ext = "type.googleapis.com/envoy.extensions"
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    manager = {
        "@type": f"{ext}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bare",
        "use_remote_address": False,
        "http_filters": [
            {
                "name": "router",
                "typed_config": {"@type": f"{ext}.filters.http.router.v3.Router"},
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    # The mock refuses what no provider should see.
                    "request_headers_to_remove": [
                        "x-forwarded-proto",
                        "x-forwarded-for",
                        "x-envoy-expected-rq-timeout-ms",
                    ],
                    "routes": [
                        {
                            "match": {"prefix": "/"},
                            "route": {"cluster": f"to-{upstream}", "timeout": "0s"},
                        }
                    ],
                }
            ]
        },
    }
    filters = [
        {
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": manager,
        }
    ]
    listener = {
        "name": f"bare-{port}",
        "address": address,
        "filter_chains": [{"filters": filters}],
    }
    endpoint = {
        "endpoint": {
            "address": {
                "socket_address": {"address": "127.0.0.1", "port_value": upstream}
            }
        }
    }
    limits = dict.fromkeys(
        ("max_connections", "max_pending_requests", "max_requests"), 100_000
    )
    cluster = {
        "name": f"to-{upstream}",
        "type": "STATIC",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {
            "cluster_name": f"to-{upstream}",
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }
    return listener, cluster


def gateway_config(upstream: int, mock: int) -> str:
    base = {"base_url": f"http://127.0.0.1:{upstream}/v1", "api_key": KEY}
    mocked = {"base_url": f"http://127.0.0.1:{mock}/v1", "api_key": KEY}
    return yaml.safe_dump(
        {
            "providers": {
                "openai": {"type": "openai", **base},
                "anthropic": {"type": "anthropic", **base},
                "mock-openai": {"type": "openai", **mocked},
                "mock-anthropic": {"type": "anthropic", **mocked},
            },
            # For the streams that are held open: by default a worker has 10,000 places.
            "routing": {"overload": {"max_in_flight": 20_000}},
            "models": {
                "gpt-4o": {"targets": [{"provider": "openai"}]},
                "hold": {"targets": [{"provider": "openai"}]},
                "paced": {"targets": [{"provider": "openai"}]},
                "paced-claude": {
                    "targets": [{"provider": "anthropic", "model": "paced"}]
                },
                "mock-gpt": {
                    "targets": [{"provider": "mock-openai", "model": "gpt-4o"}]
                },
                "mock-claude": {
                    "targets": [
                        {"provider": "mock-anthropic", "model": "claude-sonnet-4-5"}
                    ]
                },
                "claude-sonnet-4-5": {"targets": [{"provider": "anthropic"}]},
            },
        }
    )


def bare_command(folder: Path, threads: int = 2) -> list[object]:
    """Return the command of bare Envoy on ``bare.json`` in `folder`."""
    return [
        find_envoy(), "-c", folder / "bare.json", "--concurrency", threads,
        "--use-dynamic-base-id", "--log-level", "error",
    ]  # fmt: skip


def gateway_command(listen: int, control: int) -> list[object]:
    """Return the command of a gateway on ``gateway.yaml`` in its folder, at these ports."""
    return [
        Path(sys.executable).parent / "extproc", "run", "--config", "gateway.yaml",
        "--listen", f"127.0.0.1:{listen}", "--control", f"127.0.0.1:{control}",
    ]  # fmt: skip


@contextlib.contextmanager
def run_gateway(
    folder: Path, listen: int, control: int, **environ: str
) -> Iterator[int]:
    """Run a gateway; yield the id of its process."""
    with child(
        *gateway_command(listen, control),
        cwd=folder,
        env={**os.environ, "EXTPROC_MASTER_KEY": KEY, **environ},
        stderr=subprocess.DEVNULL,
    ) as process:
        yield process.pid


@contextlib.contextmanager
def provider() -> Iterator[int]:
    """Run the provider that answers with constants; yield its port."""
    with child(sys.executable, HERE / "upstream.py") as process:
        assert process.stdout
        yield int(process.stdout.readline().split()[-1])


@contextlib.contextmanager
def gateway_alone() -> Iterator[tuple[str, int]]:
    """Run a gateway before constants; yield URL and process id when it answers."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, provider() as port:
        folder = Path(name)
        (folder / "gateway.yaml").write_text(gateway_config(port, port))
        listen, control = free_port(), free_port()
        with run_gateway(folder, listen, control) as process:
            url = f"http://127.0.0.1:{listen}"
            wait_for_answer(url)
            yield url, process


def processes(gateway: int) -> dict[str, int]:
    """Return the processes of a gateway by name: worker, control, envoy."""
    found = {}
    for process in psutil.Process(gateway).children(recursive=True):
        line = " ".join(process.cmdline())
        if "extproc.server.worker" in line:
            found["worker"] = process.pid
        elif "extproc.local.control" in line:
            found["control"] = process.pid
        elif "/envoy" in line.split(" ")[0]:
            found["envoy"] = process.pid
    return found


def cpu(pid: int) -> float:
    """Return the CPU seconds that a process has used, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss(pid: int) -> float:
    """Return a process's resident memory in MB."""
    return psutil.Process(pid).memory_info().rss / 1e6
