"""Where control takes Envoy's access log and its spans, and what comes of the log.

A unary method on a unix socket. Control being away costs confirmations and nothing else;
how many is what Envoy itself counts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from extproc.server.lean import LeanServer
from extproc.server.traces import EXPORT as EXPORT_SPANS
from extproc.telemetry.access import ACCEPTED, EXPORT, read_entries
from extproc.telemetry.confirm import Confirmations, Ended

SWEEP_SECONDS: Final = 0.5
STATS_SECONDS: Final = 5.0
DROPPED: Final = r"^access_logs\.open_telemetry_access_log\.logs_dropped$"
"""The counter of entries that Envoy could not deliver."""


class EnvoyLog:
    """One socket.

    Attributes:
        confirmations: the join with the workers' records.
        dropped: entries that Envoy has given up since it began: its own count.
    """

    def __init__(
        self,
        path: Path,
        confirmations: Confirmations,
        *,
        settle: Callable[[Sequence[Ended]], None],
        stats: Callable[[str], Awaitable[dict[str, int]]],
        spans: Callable[[bytes], bytes],
        count: Callable[[], None] = lambda: None,
    ) -> None:
        """`settle` counts and charges; `stats` asks Envoy, and raises `OSError`.

        `spans` takes an export of Envoy's tracer and returns the answer; `count` is called
        when `Confirmations.ready` and `ended` may have more.
        """
        self.confirmations = confirmations
        self.dropped = 0
        self._path = path
        self._settle = settle
        self._stats = stats
        self._count = count
        self._server = LeanServer(unary={EXPORT: self.export, EXPORT_SPANS: spans})

    async def run(self) -> None:
        """Serve until canceled.

        Raises:
            OSError: the path cannot be bound.
        """
        try:
            await self._server.start(str(self._path))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._sweep())
                tasks.create_task(self._count_dropped())
        finally:
            await self._server.stop()
            self.confirmations.release()
            self._count()

    def export(self, request: bytes) -> bytes:
        """Take an ``ExportLogsServiceRequest``; return the answer."""
        self.confirmations.logged(read_entries(request))
        self._count()
        return ACCEPTED

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            if settled := self.confirmations.sweep():
                self._settle(settled)
            self._count()

    async def _count_dropped(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                self.dropped = sum((await self._stats(DROPPED)).values())
            await asyncio.sleep(STATS_SECONDS)
