"""What control keeps of each request: records by the hundred thousand, without any HTTP.

    python bench/control_memory.py [--records 600000] [--rate 4000]

A whole gateway runs, and beside its worker one of ours, which only says that it has served:
a record for each request, and Envoy's log of it, as both would come. It prints the CPU that
a record costs control, sockets, event loop and what it does anyway included. Control's tables of
what it must remember for a while (64,000 ids of records, what has no partner yet) are full
after the first hundred thousand. Exit code 1: behind that it goes on growing by more than
`LEFT_BYTES` a record.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path

import grpc
import psutil

from extproc.server.link import WorkerLink
from extproc.telemetry.access import EXPORT

sys.path.insert(0, str(Path(__file__).parent))

import stage
from control_cpu import CASES, completion, export_of
from stage import cpu, processes, rss

LEFT_BYTES = 8.0
BATCH = 50
FULL = 300_000
"""Records after which every table of a fixed length is full."""


async def drive(run: Path, control: int, records: int, rate: float) -> bool:
    """Send them; return whether control has come to rest."""
    link = WorkerLink(run / "control.sock", lambda _: None, name="w9", id="9" * 16)
    talking = asyncio.create_task(link.run())
    case = next(one for one in CASES if one.budgets)
    used = cpu(control)
    samples: list[tuple[int, float]] = []
    sample = max(BATCH, records // 60 // BATCH * BATCH)
    began = time.monotonic()
    async with grpc.aio.insecure_channel(f"unix:{run / 'log.sock'}") as channel:
        say = channel.unary_unary(EXPORT)
        for first in range(0, records, BATCH):
            batch = [completion(case, first + number) for number in range(BATCH)]
            for one in batch:
                link.record(one)
            await say(export_of(batch))
            while link.unacknowledged > 200 * BATCH:  # noqa: ASYNC110  no event says so
                await asyncio.sleep(0.01)
            await asyncio.sleep(max(0.0, began + first / rate - time.monotonic()))
            if first % sample == 0:
                samples.append((first, rss(control)))
                if first % (5 * sample) == 0:
                    print(f"{first:>8} records  {samples[-1][1]:7.1f} MB", flush=True)
        await link.flushed()
    talking.cancel()
    await asyncio.sleep(2.0)  # until the database has them, too
    used = cpu(control) - used
    late = [one for one in samples if one[0] >= min(FULL, records // 2)]
    slope, _ = statistics.linear_regression(*zip(*late, strict=True))
    took = time.monotonic() - began
    print(
        f"{records} records in {took:.0f} s, {link.lost} lost; behind the first "
        f"{late[0][0]}: {1e6 * slope:+.1f} bytes a record; "
        f"{1e6 * used / records:.0f} us of CPU a record"
    )
    return 1e6 * slope <= LEFT_BYTES and not link.lost


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=600_000)
    parser.add_argument("--rate", type=float, default=4000)
    options = parser.parse_args()
    with stage.gateway_alone() as (_, gateway):
        control = processes(gateway)["control"]
        line = psutil.Process(control).cmdline()
        run = Path(line[line.index("--run") + 1])
        well = asyncio.run(drive(run, control, options.records, options.rate))
        return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
