"""How many instructions one request takes in a worker: the same figure on a busy machine.

    .venv/bin/python bench/worker_instructions.py [--requests 100] [--only CASE]

What `worker_cpu.py` drives, under ``valgrind --tool=cachegrind --cache-sim=no``: once with
so many requests after a warm-up, once with none, and the difference divided. Calls alone
mislead: one may be a dictionary's ``get`` or the making of a record of forty fields. Two
runs agree within half a percent.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import worker_cpu

WARM = 60
"""Requests after which the interpreter has made its code special."""
_REFS = re.compile(r"I\s+refs:\s+([\d,]+)")


def drive(name: str, requests: int, served: int) -> None:
    """Make the reads of as many requests, whose making counts for nothing, and serve some."""
    worker = worker_cpu.Worker(asyncio.new_event_loop())
    case = next(one for one in worker_cpu.CASES if one.name == name)
    gc.disable()
    worker.run(worker.prepare(case, WARM))
    worker.run(worker.prepare(case, requests)[:served])


def count(name: str, requests: int, served: int) -> int:
    """Return the instructions of a process that makes and serves so many."""
    command = (
        "valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null",
        sys.executable, __file__, "--drive", name, "--requests", str(requests),
        "--served", str(served),
    )  # fmt: skip
    # Hashes of texts decide how dictionaries are walked.
    done = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": "0"}, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    found = _REFS.search(done.stderr)
    if found is None:
        raise SystemExit(done.stderr)
    return int(found[1].replace(",", ""))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--only", default="", help="cases whose name begins so")
    parser.add_argument("--drive", help=argparse.SUPPRESS)
    parser.add_argument("--served", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.drive:
        drive(arguments.drive, arguments.requests, arguments.served)
        return
    for case in worker_cpu.CASES:
        if case.stream or not case.name.startswith(arguments.only):
            continue
        requests = arguments.requests
        more = count(case.name, requests, requests) - count(case.name, requests, 0)
        print(f"{case.name:34}{more // requests:12,}")


if __name__ == "__main__":
    main()
