"""The control process' command line, and its view of Envoy.

    python -m extproc.local.control --state .extproc/8080 --run .extproc/8080 …

Exit codes: 0 stopped, 2 cannot start; why is on standard error, one line a reason.
"""

from __future__ import annotations

import gc

if __name__ == "__main__":
    # What is imported stays: looking for garbage in it took a fifth of a start.
    gc.disable()

import argparse
import asyncio
import os
import random  # noqa: TID251  the edge owns the dice
import signal
import sys
import time
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import httpx
import uvloop

from extproc.config.file_names import ADMIN_SOCKET
from extproc.local.envoy import Admin
from extproc.local.launch import visible
from extproc.server.compiled import Overrides
from extproc.server.control import Control
from extproc.server.options import CannotStart, Options
from extproc.telemetry import logs

T = TypeVar("T")


class AdminEnvoy:
    """`Admin` as control wants it: an Envoy that is away is an `OSError`."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin

    async def ready(self) -> bool:
        """Return whether Envoy has its configuration and listens."""
        return await self._admin.ready()

    async def clusters(self) -> set[str]:
        """Return the names of the clusters that are ready to be used."""
        return await _answered(self._admin.clusters())

    async def stats(self, pattern: str) -> dict[str, int]:
        """Return the counters and gauges whose names match the regular expression."""
        return await _answered(self._admin.stats(pattern))


async def _answered(call: Awaitable[T]) -> T:
    try:
        return await call
    except httpx.HTTPError as error:
        raise ConnectionError(f"Envoy does not answer: {error!r}") from error


def parse(arguments: Sequence[str]) -> tuple[Options, bool]:
    """Read the command line: the options, and whether only the mocks are to serve."""
    parser = argparse.ArgumentParser(prog="extproc.local.control")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True, help="folder of the sockets")
    parser.add_argument("--config", type=Path, help="gateway.yaml")
    parser.add_argument("--listen")
    parser.add_argument("--control")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--mock-url")
    parser.add_argument("--mock-only", action="store_true")
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--files", type=int)
    parser.add_argument("--ca-bundle", type=Path, help="PEM, as Envoy sees it")
    parser.add_argument("--resume", action="store_true")
    given = parser.parse_args(arguments)
    options = Options(
        state=given.state.absolute(),
        run=given.run.absolute(),
        config=given.config,
        overrides=Overrides(given.listen, given.control, given.workers),
        mock_url=given.mock_url,
        concurrency=given.concurrency,
        ca_bundle=given.ca_bundle,
        files=given.files,
        resume=given.resume,
    )
    return options, given.mock_only


async def run(options: Options, environ: Mapping[str, str]) -> None:
    """Run control until SIGTERM or SIGINT.

    Raises:
        CannotStart: the configuration is wrong.
        OSError: an address or a folder cannot be used.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Admin(options.run / ADMIN_SOCKET) as admin:
        control = Control(
            options,
            envoy=AdminEnvoy(admin),
            environ=environ,
            monotonic=time.monotonic,
            wall_clock=time.time,  # noqa: TID251  the edge owns the clock
            jitter=random.random,
        )
        gc.collect()
        gc.freeze()
        gc.enable()
        await control.run(stop)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run control; return the exit code."""
    logs.configure("control", secrets=logs.secrets_of(os.environ))
    options, mock_only = parse(sys.argv[1:] if arguments is None else arguments)
    environ = visible(os.environ, mock_url=options.mock_url, mock_only=mock_only)
    try:
        uvloop.run(run(options, environ))
    except CannotStart as error:
        sys.stderr.write("".join(f"{problem}\n" for problem in error.problems))
        return 2
    except OSError as error:
        sys.stderr.write(f"control cannot start: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
