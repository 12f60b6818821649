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
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import stage
from application import Application
from stage import KEY, body, processes, rss, wait_for_answer

MOST_KB = 20.0
EACH = 1000
"""Streams of a connection: as many as the gateway's listener lets it have."""


def over(one: Application) -> set[int]:
    """Return the streams that have come to their end, well or not."""
    return one.ended | {
        stream
        for stream, said in one.said.items()
        if b"[DONE]" in said or b'"error"' in said
    }


def open_streams(url: str, count: int) -> list[Application]:
    """Open so many, all before any answer is waited for; one that is lost ends the run."""
    text = body("hold", stream=True).encode()
    applications = [Application(url, KEY) for _ in range(-(-count // EACH))]
    shares = [min(EACH, count - number * EACH) for number in range(len(applications))]
    for one, share in zip(applications, shares, strict=True):
        one.ask(text, share)
    for one, share in zip(applications, shares, strict=True):
        while len(one.said.keys() | one.ended) < share:
            one.read()
    lost = sum(len(over(one)) for one in applications)
    if lost:
        raise SystemExit(f"{lost} of {count} streams are lost")
    return applications


def measure(url: str, gateway: int, count: int, seconds: float) -> bool:
    """Open them, wait, look again; return whether all is well."""
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
    for one in streams:
        one.read_all()
        one.close()
    gone = sum(len(over(one)) for one in streams)
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
    with stage.gateway_alone() as (url, gateway):
        return 0 if measure(url, gateway, options.streams, options.seconds) else 1


if __name__ == "__main__":
    sys.exit(main())
