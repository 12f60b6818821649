"""Hours of ordinary traffic, and what memory does meanwhile.

    make soak                       20 minutes
    make soak SECONDS=14400         four hours

300 requests a second through a whole gateway of its own: two thirds pass, a third is
translated, ten a second are streams of 500 chunks. The resident memory of worker, Envoy
and control is read every few seconds; through the second half of the run goes a straight
line, whose slope, divided by the requests, is what a request has left behind. Exit code 1:
a request failed, or more is left than `LEFT_BYTES` a request.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import stage
from stage import HERE, KEY, body, processes, rss

MIX = (
    (body("gpt-4o"), 195),
    (body("claude-sonnet-4-5"), 95),
    (body("gpt-4o", stream=True), 5),
    (body("claude-sonnet-4-5", stream=True), 5),
)
"""What is asked, and how often a second."""

LEFT_BYTES = 8.0
"""In 20 minutes 1.4 MB of the second half's 180,000 requests: what an allocator's own
comings and goings amount to. One small object a request is 56 bytes."""


async def ask(url: str, text: str, rate: int, seconds: float) -> dict[str, Any]:
    """Run one load generator."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / "load.py"), f"{url}/v1/chat/completions", KEY, text,
        "--connections", "16", "--seconds", str(seconds), "--rate", str(rate),
        stdout=subprocess.PIPE,
    )  # fmt: skip
    said, _ = await process.communicate()
    seen: dict[str, Any] = json.loads(said)
    return seen


async def watch(pids: dict[str, int], seconds: float) -> list[dict[str, float]]:
    """Read the memory of some processes again and again; MB, and the time as ``at``."""
    samples, began = [], time.monotonic()
    while (at := time.monotonic() - began) < seconds:
        samples.append({"at": at, **{name: rss(pid) for name, pid in pids.items()}})
        await asyncio.sleep(min(5.0, seconds / 60))
    return samples


async def soak(url: str, gateway: int, seconds: float) -> bool:
    """Run it; return whether all is well."""
    asking = [ask(url, text, rate, seconds) for text, rate in MIX]
    samples, *seen = await asyncio.gather(watch(processes(gateway), seconds), *asking)
    requests = sum(one["requests"] for one in seen)
    failures = sum(one["failures"] for one in seen)
    late = [one for one in samples if one["at"] >= seconds / 2]
    print(f"{requests} requests in {seconds:.0f} s, {failures} failed")
    print("| | MB at half time | MB at the end | MB an hour | bytes left a request |")
    print("|---|---|---|---|---|")
    well = not failures
    for name in samples[0].keys() - {"at"}:
        slope, _ = statistics.linear_regression(
            [one["at"] for one in late], [one[name] for one in late]
        )
        left = 1e6 * slope / (requests / seconds)
        # Judged is what serves requests; control's memory is there to be read.
        well = well and (left <= LEFT_BYTES or name == "control")
        print(
            f"| {name} | {late[0][name]:.1f} | {late[-1][name]:.1f} | "
            f"{3600 * slope:+.2f} | {left:+.1f} |"
        )
    return well


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=1200)
    seconds = parser.parse_args().seconds
    with stage.gateway_alone() as (url, gateway):
        return 0 if asyncio.run(soak(url, gateway, seconds)) else 1


if __name__ == "__main__":
    sys.exit(main())
