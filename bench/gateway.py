"""Bare Envoy against the gateway: one run, one machine, the configuration of `make run`.

    make bench            prints the table, writes bench/results/<date>.json

See bench/README.md for the method. Figures are medians over the rounds; within a round
every subject is measured once, so that drift of the machine hits all alike.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import platform
import re
import resource
import signal
import socket
import statistics
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

import extproc
from extproc.local.envoy import find_envoy

HERE = Path(__file__).parent
KEY = "sk-bench-" + "0123456789abcdef" * 3
TICKS = os.sysconf("SC_CLK_TCK")
CHUNKS = 500
PACED_CHUNKS = 25
SLOWER = (250, 500)
"""Requests a second, beside half of what the slowest subject serves: at that much, a machine
may have nothing left, as a request that comes alone costs more than one in a crowd."""


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


SUBJECTS = {
    "bare": ("bare", body("gpt-4o")),
    "pass-through": ("gateway", body("gpt-4o")),
    "translated": ("gateway", body("claude-sonnet-4-5")),
}
# The same with a provider that costs what one in Python costs: the built-in mock. Its
# share of the machine is the same for bare Envoy and for us.
MOCKED = {
    "bare, mock provider": ("bare-mock", body("gpt-4o")),
    "pass-through, mock provider": ("gateway", body("mock-gpt")),
    "translated, mock provider": ("gateway", body("mock-claude")),
}
STREAMS = {
    "bare, streamed": ("bare", body("gpt-4o", stream=True)),
    "pass-through, streamed": ("gateway", body("gpt-4o", stream=True)),
    "translated, streamed": ("gateway", body("claude-sonnet-4-5", stream=True)),
}
# An event every 20 ms: in a burst the first byte waits for what is read along with it.
PACED = {
    "bare, streamed": ("bare", body("paced", stream=True)),
    "pass-through, streamed": ("gateway", body("paced", stream=True)),
    "translated, streamed": ("gateway", body("paced-claude", stream=True)),
}


# ----------------------------------------------------------------- what is measured


@contextlib.contextmanager
def child(*command: object, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a process in its own group and end it with all it started."""
    process = subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
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


def ask(url: str, text: str) -> int:
    request = urllib.request.Request(
        f"{url}/v1/chat/completions",
        data=text.encode(),
        headers={"authorization": f"Bearer {KEY}", "content-type": "application/json"},
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


def cpu(pid: int) -> float:
    """Return the CPU seconds that a process has used, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss(pid: int) -> float:
    """Return a process's resident memory in MB."""
    return psutil.Process(pid).memory_info().rss / 1e6


def load(url: str, text: str, *extra: object) -> dict[str, Any]:
    """Run the load generator once."""
    done = subprocess.run(
        [
            sys.executable, str(HERE / "load.py"), f"{url}/v1/chat/completions", KEY, text,
            *map(str, extra),
        ],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    seen: dict[str, Any] = json.loads(done.stdout)
    if seen["failures"]:
        raise SystemExit(f"{seen['failures']} of {seen['requests']} requests failed")
    return seen


def measure(peers: Peers, subject: str, text: str, *extra: object) -> dict[str, float]:
    """Load one subject; return its rate and its CPU per request in µs."""
    pids = peers.pids(subject)
    before = {name: cpu(pid) for name, pid in pids.items()}
    seen = load(peers.urls[subject], text, *extra)
    used = {name: cpu(pid) - before[name] for name, pid in pids.items()}
    requests = max(1, seen["requests"])
    return {
        "rate": seen["requests"] / seen["seconds"],
        "p50": seen["p50"],
        "p99": seen["p99"],
        "first_p50": seen["first_p50"],
        "first_p99": seen["first_p99"],
        **{f"{name} µs": 1e6 * spent / requests for name, spent in used.items()},
    }


class Peers:
    """The processes under test."""

    def __init__(self, urls: dict[str, str], bare: int, gateway: int) -> None:
        self.urls = urls
        self._bare = bare
        self._gateway = gateway

    def pids(self, subject: str) -> dict[str, int]:
        if subject.startswith("bare"):
            return {"envoy": self._bare}
        found = {}
        for process in psutil.Process(self._gateway).children(recursive=True):
            line = " ".join(process.cmdline())
            if "extproc.server.worker" in line:
                found["worker"] = process.pid
            elif "extproc.local.control" in line:
                found["control"] = process.pid
            elif "/envoy" in line.split(" ")[0]:
                found["envoy"] = process.pid
        return found


def open_streams(url: str, count: int) -> list[socket.socket]:
    """Open streams that say one word and then stay; a lost one ends the run."""
    host, port = url.removeprefix("http://").split(":")
    text = body("hold", stream=True)
    request = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\n"
        f"authorization: Bearer {KEY}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(text)}\r\n\r\n{text}"
    ).encode()
    opened = []
    for _ in range(count):
        conn = socket.create_connection((host, int(port)), timeout=20)
        conn.sendall(request)
        opened.append(conn)
    for number, conn in enumerate(opened):
        said = b""
        while b"data: " not in said:
            more = conn.recv(65536)
            said += more
            if not more or b" 200 " not in said[:20]:
                raise SystemExit(f"stream {number} of {count} is lost: {said!r}")
    return opened


def first_bytes(peers: Peers, options: argparse.Namespace) -> dict[str, Any]:
    """Measure the time to the first byte of a stream's body, and what a chunk costs there.

    Some 20 streams are open at any time.
    """
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(options.rounds):
        for name, (subject, text) in PACED.items():
            seen = measure(
                peers, subject, text, "--connections", 64,
                "--seconds", options.seconds, "--rate", 30,
            )  # fmt: skip
            times = {
                "p50": seen["first_p50"], "p99": seen["first_p99"],
                **{key: seen[key] / PACED_CHUNKS for key in seen if key.endswith("µs")},
            }  # fmt: skip
            found.setdefault(name, []).append(times)
    return {name: medians(figures) for name, figures in found.items()}


def per_megabyte(peers: Peers) -> dict[str, float]:
    """Return the CPU µs of Envoy and worker for a MB of small and of large bodies."""
    found = {}
    for megabytes, times in ((1, 30), (8, 8), (30, 3)):
        text = body("gpt-4o", padding="x" * (megabytes * 1_000_000))
        asked = _request(peers.urls["gateway"], text)
        _ask_raw(peers.urls["gateway"], asked)
        before = {pid: cpu(pid) for pid in peers.pids("gateway").values()}
        for _ in range(times):
            _ask_raw(peers.urls["gateway"], asked)
        used = sum(cpu(pid) - was for pid, was in before.items())
        found[f"{megabytes} MB"] = 1e6 * used / times / megabytes
    return found


def _request(url: str, text: str) -> bytes:
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {url.removeprefix('http://')}\r\n"
        f"authorization: Bearer {KEY}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(text)}\r\n\r\n{text}"
    ).encode()


def _ask_raw(url: str, asked: bytes) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as conn:
        conn.sendall(asked)
        said = conn.recv(65536)
    if b" 200 " not in said[:20]:
        raise SystemExit(f"a body of {len(asked)} bytes was answered with {said!r}")


def worker_ready(folder: Path) -> float:
    """Return the seconds from a worker's start to a connection that it accepts."""
    snapshot = next(folder.glob(".extproc/*/snapshot.msgpack"))
    path = folder / "ready.sock"
    command = [
        sys.executable, "-m", "extproc.server.worker", "--socket", path,
        "--control", folder / "nobody.sock", "--snapshot", snapshot,
    ]  # fmt: skip
    began = time.monotonic()
    with (
        child(*command, stderr=subprocess.DEVNULL),
        socket.socket(socket.AF_UNIX) as conn,
    ):
        while time.monotonic() - began < 30:
            try:
                conn.connect(str(path))
            except OSError:
                time.sleep(0.002)
            else:
                return time.monotonic() - began
    raise SystemExit("the worker does not come up")


def alone(folder: Path) -> dict[str, Any]:
    """Measure the worker by itself, and one stream of 100,000 chunks."""
    output = folder / "worker.json"
    subprocess.run(
        [
            sys.executable, str(HERE / "worker_cpu.py"), "--flat", "100000",
            "--json", str(output),
        ],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(output.read_text())
    return {
        "costs": {one["case"]: one for one in found["costs"]},
        "flat": {one["case"]: one for one in found["flat"]},
    }


# -------------------------------------------------------------------------- the run


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {
        key: statistics.median(seen[key] for seen in rounds)
        for key in rounds[0]
        if rounds[0][key] is not None
    }


def run_rounds(peers: Peers, options: argparse.Namespace) -> dict[str, Any]:
    """Measure every subject in every round; return the medians."""
    seen: dict[str, list[dict[str, float]]] = {}
    for number in range(options.rounds + 1):  # the first one warms up
        for name, (subject, text) in {**SUBJECTS, **MOCKED, **STREAMS}.items():
            connections = 8 if name in STREAMS else options.connections
            figures = measure(
                peers, subject, text, "--connections", connections,
                "--seconds", options.seconds if number else 1,
            )  # fmt: skip
            if number:
                seen.setdefault(name, []).append(figures)
            print(f"  round {number}: {name}: {figures['rate']:.0f}/s", file=sys.stderr)
    return {name: medians(figures) for name, figures in seen.items()}


def run_latency(
    peers: Peers, rate: float, options: argparse.Namespace
) -> dict[str, Any]:
    """Measure latencies, and what a request costs, at a fixed rate."""
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(options.rounds):
        for name, (subject, text) in SUBJECTS.items():
            figures = measure(
                peers, subject, text, "--connections", 64,
                "--seconds", options.seconds, "--rate", rate,
            )  # fmt: skip
            found.setdefault(name, []).append(figures)
    return {name: medians(figures) for name, figures in found.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--output", type=Path, help="where the JSON goes")
    options = parser.parse_args()
    # What is installed has its bytecode; starts are measured.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Each open stream has a descriptor here, and two in Envoy.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        child(sys.executable, HERE / "upstream.py") as upstream,
        child(
            sys.executable, "-m", "extproc.local.mock", "--port", "0", "--pace-ms", "0",
            "--key", KEY,
        ) as mock,
    ):  # fmt: skip
        assert upstream.stdout
        assert mock.stdout
        upstream_port = int(upstream.stdout.readline().split()[-1])
        mock_port = int(mock.stdout.readline().split(":")[-1])
        results = run(Path(folder), upstream_port, mock_port, options)
    results["machine"] = machine()
    results["options"] = {k: v for k, v in vars(options).items() if k != "output"}
    today = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d")
    output = options.output or HERE / "results" / f"{today}.json"
    output.parent.mkdir(exist_ok=True)
    output.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    print(table(results))
    return 0


def run(
    folder: Path, upstream: int, mock: int, options: argparse.Namespace
) -> dict[str, Any]:
    ports = {name: free_port() for name in ("bare", "bare-mock", "gateway", "control")}
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    (folder / "gateway.yaml").write_text(gateway_config(upstream, mock))
    (folder / "bare.json").write_text(
        bare_bootstrap({ports["bare"]: upstream, ports["bare-mock"]: mock})
    )
    gateway = [
        Path(sys.executable).parent / "extproc", "run", "--config", "gateway.yaml",
        "--listen", f"127.0.0.1:{ports['gateway']}",
        "--control", f"127.0.0.1:{ports['control']}",
    ]  # fmt: skip
    environment = {**os.environ, "EXTPROC_MASTER_KEY": KEY}
    quiet = {"cwd": folder, "env": environment, "stderr": subprocess.DEVNULL}
    starts = []
    for _ in range(3):  # the first has nothing compiled yet
        with child(*gateway, **quiet):
            starts.append(wait_for_answer(urls["gateway"]))
    threads = envoy_threads(folder)
    ready = statistics.median(worker_ready(folder) for _ in range(5))
    by_itself = alone(folder)
    bare = [
        find_envoy(), "-c", folder / "bare.json", "--concurrency", threads,
        "--use-dynamic-base-id", "--log-level", "error",
    ]  # fmt: skip
    with (
        child(*bare, stderr=subprocess.DEVNULL) as plain,
        child(*gateway, **quiet) as ours,
    ):
        wait_for_answer(urls["bare"])
        wait_for_answer(urls["gateway"])
        time.sleep(2)
        peers = Peers(urls, plain.pid, ours.pid)
        idle = {name: rss(pid) for name, pid in peers.pids("gateway").items()}
        rounds = run_rounds(peers, options)
        half = rounds["translated"]["rate"] / 2
        latency = run_latency(peers, half, options)
        slower = {str(rate): run_latency(peers, rate, options) for rate in SLOWER}
        first = first_bytes(peers, options)
        before = {name: rss(pid) for name, pid in peers.pids("gateway").items()}
        opened = open_streams(urls["gateway"], options.streams)
        streaming = {name: rss(pid) for name, pid in peers.pids("gateway").items()}
        for conn in opened:
            conn.close()
        # Last: what large bodies have freed, the C library keeps.
        megabytes = per_megabyte(peers)
    return {
        "worker alone": by_itself,
        "worker ready s": ready,
        "first byte ms": first,
        "CPU µs a MB": megabytes,
        "streams": options.streams,
        "first answer s": {"nothing compiled": starts[0], "compiled": min(starts[1:])},
        "rss idle MB": idle,
        "rss after load MB": before,
        "rss with streams MB": streaming,
        "rounds": rounds,
        "half load": {"rate": half, **latency},
        "at requests/s": slower,
        "envoy threads": threads,
    }


def envoy_threads(folder: Path) -> int:
    """Return how many threads the gateway gives its Envoy, from its own start."""
    for line in folder.rglob("*.log"):
        found = re.search(r"--concurrency (\d+)", line.read_text(errors="replace"))
        if found:
            return int(found[1])
    return os.cpu_count() or 1


def machine() -> dict[str, object]:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": model[1] if model else platform.processor(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        # One that was compiled without its own profile takes a fifth longer.
        "python build": " ".join(platform.python_build()),
        "extproc": extproc.__version__,
    }


def table(results: dict[str, Any]) -> str:
    """Write the results as the README's table."""
    rounds, lines = results["rounds"], []
    lines.append(
        "| | req/s | x bare | Envoy µs | worker µs | control µs | added p50 ms | "
        "added p99 ms |"
    )
    lines.append("|---|---|---|---|---|---|---|---|")
    half = results["half load"]
    for name in SUBJECTS:
        seen = rounds[name]
        added = [half[name][p] - half["bare"][p] for p in ("p50", "p99")]
        lines.append(
            f"| {name} | {seen['rate']:.0f} | {seen['rate'] / rounds['bare']['rate']:.2f} | "
            f"{seen['envoy µs']:.0f} | {seen.get('worker µs', 0):.0f} | "
            f"{seen.get('control µs', 0):.0f} | "
            f"{added[0]:.2f} | {added[1]:.2f} |"
        )
    for name in MOCKED:
        seen, against = rounds[name], rounds["bare, mock provider"]
        lines.append(
            f"| {name} | {seen['rate']:.0f} | {seen['rate'] / against['rate']:.2f} | "
            f"{seen['envoy µs']:.0f} | {seen.get('worker µs', 0):.0f} | "
            f"{seen.get('control µs', 0):.0f} | | |"
        )
    lines += [
        "",
        f"| {CHUNKS} chunks | streams/s | x bare | chunks/s | Envoy µs | worker µs |",
        "|---|---|---|---|---|---|",
    ]
    for name in STREAMS:
        seen = rounds[name]
        lines.append(
            f"| {name} | {seen['rate']:.1f} | "
            f"{seen['rate'] / rounds['bare, streamed']['rate']:.2f} | "
            f"{seen['rate'] * CHUNKS:.0f} | {seen['envoy µs'] / CHUNKS:.1f} | "
            f"{seen.get('worker µs', 0) / CHUNKS:.1f} |"
        )
    lines += [
        "",
        f"| {PACED_CHUNKS} chunks, 20 ms apart | p50 ms | p99 ms | Envoy µs | worker µs |",
        "|---|---|---|---|---|",
    ]
    for name, seen in results["first byte ms"].items():
        lines.append(
            f"| {name} | {seen['p50']:.2f} | {seen['p99']:.2f} | "
            f"{seen['envoy µs']:.0f} | {seen.get('worker µs', 0):.0f} |"
        )
    lines += [
        "",
        "| requests/s | | p50 ms | p99 ms | Envoy µs | worker µs |",
        "|---|---|---|---|---|---|",
    ]
    for rate, subjects in (
        *results["at requests/s"].items(),
        (f"{half['rate']:.0f}", half),
    ):
        for name in SUBJECTS:
            seen = subjects[name]
            lines.append(
                f"| {rate} | {name} | {seen['p50']:.2f} | {seen['p99']:.2f} | "
                f"{seen['envoy µs']:.0f} | {seen.get('worker µs', 0):.0f} |"
            )
    lines.append("")
    lines += ["| | aimed at | measured | |", "|---|---|---|---|"]
    for what, aim, measured, unit, reached in targets(results):
        mark = "reached" if reached else "not reached"
        figure = f"{measured:,.0f}" if abs(measured) >= 100 else f"{measured:.2f}"
        lines.append(f"| {what} | {aim} | {figure}{unit} | {mark} |")
    return "\n".join(lines)


Target = tuple[str, str, float, str, bool]
"""What, aimed at, measured, unit, and whether it is reached."""


def targets(results: dict[str, Any]) -> list[Target]:
    """Return every target with what came of it."""
    rounds, half, first = (
        results[name] for name in ("rounds", "half load", "first byte ms")
    )
    found: list[Target] = []

    def least(what: str, aim: float, measured: float, unit: str = "") -> None:
        found.append((what, f"≥ {aim:,g}{unit}", measured, unit, measured >= aim))

    def most(what: str, aim: float, measured: float, unit: str = "") -> None:
        found.append((what, f"≤ {aim:,g}{unit}", measured, unit, measured <= aim))

    for name, aim, cost in (("pass-through", 0.5, 160), ("translated", 0.42, 220)):
        least(f"{name}, x bare", aim, rounds[name]["rate"] / rounds["bare"]["rate"])
        mocked = f"{name}, mock provider"
        against = rounds["bare, mock provider"]["rate"]
        least(f"{mocked}, x bare", aim, rounds[mocked]["rate"] / against)
        most(f"{name}, worker CPU a request", cost, rounds[name]["worker µs"], " µs")
        for quantile, limit in (("p50", 0.5), ("p99", 2)):
            added = half[name][quantile] - half["bare"][quantile]
            most(f"{name}, added {quantile} at half load", limit, added, " ms")
        added = first[f"{name}, streamed"]["p50"] - first["bare, streamed"]["p50"]
        most(f"{name}, added to the first byte, p50", 1, added, " ms")
    burst = rounds["translated, streamed"]
    spent = (burst["envoy µs"] + burst["worker µs"]) / CHUNKS
    least("translated chunks a second and core, Envoy's too", 40_000, 1e6 / spent)
    chunk = results["worker alone"]["costs"]["translated stream"]["us_per_chunk"]
    most("a translated chunk that comes alone", 25, chunk, " µs")
    idle, opened = results["rss idle MB"], results["rss with streams MB"]
    count = results["streams"]
    # Against idle: what the load before has freed, the streams take first.
    held = 1000 * (opened["worker"] - idle["worker"]) / count
    most(f"worker memory of each of {count:,} open streams", 20, held, " kB")
    most("worker RSS, idle", 60, idle["worker"], " MB")
    if count == 1000:
        most("worker RSS, 1,000 open streams", 100, opened["worker"], " MB")
    most("worker ready", 0.3, results["worker ready s"], " s")
    most("first answer", 1.5, results["first answer s"]["compiled"], " s")
    megabytes = list(results["CPU µs a MB"].values())
    most("CPU of a MB, of 30 MB against 1 MB", 1.2, megabytes[-1] / megabytes[0], " x")
    long = results["worker alone"]["flat"]["translated stream"]
    slower = long["last_tenth_us"] / long["first_tenth_us"]
    most("a chunk, the last 10,000 of 100,000 against the first", 1.2, slower, " x")
    return found


if __name__ == "__main__":
    sys.exit(main())
