"""Bare Envoy against the gateway: one run, one machine, the configuration of `make run`.

    make bench            prints the table, writes bench/results/<date>.json

See bench/README.md for the method. Figures are medians over the rounds; within a round
every subject is measured once, so that drift of the machine hits all alike.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import re
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import extproc

sys.path.insert(0, str(Path(__file__).parent))

from report import MOCKED, PACED, PACED_CHUNKS, STREAMS, SUBJECTS, table
from stage import (
    HERE,
    KEY,
    bare_bootstrap,
    bare_command,
    body,
    child,
    cpu,
    free_port,
    gateway_config,
    processes,
    provider,
    rss,
    run_gateway,
    wait_for_answer,
)

SLOWER = (250, 500)
"""Requests a second, beside half of what the slowest subject serves: at that much, a machine
may have nothing left, as a request that comes alone costs more than one in a crowd."""


# ----------------------------------------------------------------- what is measured


def load(url: str, text: str, *extra: object, may_fail: bool = False) -> dict[str, Any]:
    """Run the load generator once; what fails ends the run, unless it may."""
    done = subprocess.run(
        [
            sys.executable, str(HERE / "load.py"), f"{url}/v1/chat/completions", KEY, text,
            *map(str, extra),
        ],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    seen: dict[str, Any] = json.loads(done.stdout)
    if seen["failures"] and not may_fail:
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
        return processes(self._gateway)


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
    """Return the medians of what was seen; nothing of what never was."""
    found = {
        key: [one[key] for one in rounds if one[key] is not None] for key in rounds[0]
    }
    return {key: statistics.median(seen) for key, seen in found.items() if seen}


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
        provider() as upstream,
        child(
            sys.executable, "-m", "extproc.local.mock", "--port", "0", "--pace-ms", "0",
            "--key", KEY,
        ) as mock,
    ):  # fmt: skip
        assert mock.stdout
        mock_port = int(mock.stdout.readline().split(":")[-1])
        results = run(Path(folder), upstream, mock_port, options)
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
    ours_at = folder, ports["gateway"], ports["control"]
    starts = []
    for _ in range(3):  # the first has nothing compiled yet
        with run_gateway(*ours_at):
            starts.append(wait_for_answer(urls["gateway"]))
    threads = envoy_threads(folder)
    ready = statistics.median(worker_ready(folder) for _ in range(5))
    by_itself = alone(folder)
    with (
        child(*bare_command(folder, threads), stderr=subprocess.DEVNULL) as plain,
        run_gateway(*ours_at) as ours,
    ):
        wait_for_answer(urls["bare"])
        wait_for_answer(urls["gateway"])
        time.sleep(2)
        peers = Peers(urls, plain.pid, ours)
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


if __name__ == "__main__":
    sys.exit(main())
