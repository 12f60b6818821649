"""Metrics over OTLP, from control: what ``/metrics`` shows, pushed.

https://opentelemetry.io/docs/specs/otlp/. Names, units and attributes are OpenTelemetry's
own spellings (`extproc.telemetry.instruments`); counters and histograms are cumulative
since control began. The exporter is OpenTelemetry's, in a thread: it may block, and it
tries again by itself until the export's time is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from extproc.telemetry.destination import Destination
from extproc.telemetry.registry import Registry

if TYPE_CHECKING:
    from extproc.telemetry.otlp import MetricsExporter

log = logging.getLogger(__name__)


class Push:
    """Pushes a registry, while it has a destination."""

    def __init__(self, registry: Registry, *, wall_clock: Callable[[], float]) -> None:
        """`wall_clock` gives Unix seconds."""
        self._registry = registry
        self._wall_clock = wall_clock
        self._began = wall_clock()
        self._exports = registry.counter("extproc_telemetry_exports")
        self._destination: Destination | None = None
        self._exporter: MetricsExporter | None = None
        self._changed = asyncio.Event()
        self._failing = False

    def configure(self, destination: Destination | None) -> None:
        """Push there from now on; None: nowhere."""
        if destination == self._destination:
            return
        self._destination = destination
        self._exporter = None
        if destination is not None:
            # A third of a second, and no business of who pushes nothing.
            from extproc.telemetry.otlp import MetricsExporter  # noqa: PLC0415

            self._exporter = MetricsExporter(destination)
        self._changed.set()

    def state(self) -> dict[str, dict[str, object]]:
        """Return how that goes, for people."""
        if self._destination is None:
            return {}
        return {"metrics": {"away": self._failing}}

    async def run(self) -> None:
        """Push until canceled."""
        while True:
            self._changed.clear()
            wait = math.inf if self._destination is None else self._destination.interval
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if math.isinf(wait) else wait):
                    await self._changed.wait()
                    continue
            await self.push()

    async def push(self) -> None:
        """Push once."""
        exporter = self._exporter
        if exporter is None:
            return
        # Collected here: what is watched is this thread's.
        families = list(self._registry.prometheus.collect())
        well = await asyncio.to_thread(
            exporter.export, families, began=self._began, now=self._wall_clock()
        )
        self._exports.labels("metrics", "ok" if well else "failed").inc()
        if not well and not self._failing:
            log.warning("metrics cannot be pushed over OTLP")
        self._failing = not well
