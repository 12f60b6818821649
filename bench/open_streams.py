"""Thousands of open streams at once: none may be lost, and each may hold little.

    python bench/open_streams.py [--streams 10000] [--seconds 20]

Each says one word and then stays. While they are open an ordinary question is asked, and
at the end every one of them is looked at again. Exit code 1: one was lost, or the worker
holds more than `MOST_KB` for each.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from gateway import (
    HERE,
    KEY,
    child,
    free_port,
    gateway_config,
    open_streams,
    rss,
    wait_for_answer,
)
from soak import processes

MOST_KB = 20.0


def lost(streams: list[socket.socket]) -> int:
    """Count those that have ended."""
    count = 0
    for one in streams:
        one.setblocking(False)
        try:
            while said := one.recv(65536):
                if b"[DONE]" in said:
                    break
            count += 1
        except BlockingIOError:
            continue
        except OSError:
            count += 1
    return count


def measure(url: str, gateway: int, count: int, seconds: float) -> bool:
    """Open them, wait, look again; return whether all is well."""
    wait_for_answer(url)
    pids = processes(gateway)
    before = {name: rss(pid) for name, pid in pids.items()}
    began = time.monotonic()
    streams = open_streams(url, count)
    opened = time.monotonic() - began
    held = {
        name: 1000 * (rss(pid) - before[name]) / count for name, pid in pids.items()
    }
    time.sleep(seconds)
    began = time.monotonic()
    wait_for_answer(url)
    took = 1000 * (time.monotonic() - began)
    gone = lost(streams)
    for one in streams:
        one.close()
    print(
        f"{count} streams open after {opened:.0f} s, {gone} lost after {seconds:.0f} s more;"
    )
    print(
        f"an answer beside them in {took:.0f} ms; load of the machine {os.getloadavg()[0]:.1f}"
    )
    print("KB a stream: " + ", ".join(f"{name} {kb:.1f}" for name, kb in held.items()))
    return not gone and held["worker"] <= MOST_KB


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with (
        tempfile.TemporaryDirectory(prefix="streams-") as folder,
        child(sys.executable, HERE / "upstream.py") as upstream,
    ):
        assert upstream.stdout
        port = int(upstream.stdout.readline().split()[-1])
        (Path(folder) / "gateway.yaml").write_text(gateway_config(port, port))
        listen, control = free_port(), free_port()
        command = [
            Path(sys.executable).parent / "extproc", "run", "--config", "gateway.yaml",
            "--listen", f"127.0.0.1:{listen}", "--control", f"127.0.0.1:{control}",
        ]  # fmt: skip
        environment = {**os.environ, "EXTPROC_MASTER_KEY": KEY}
        with child(
            *command, cwd=folder, env=environment, stderr=subprocess.DEVNULL
        ) as ours:
            url = f"http://127.0.0.1:{listen}"
            well = measure(url, ours.pid, options.streams, options.seconds)
            return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
