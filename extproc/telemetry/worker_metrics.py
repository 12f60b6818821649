"""The metrics that workers report of themselves, added up in control.

A name or a number of labels that is not in the table is left out: a worker of another
version may know more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from extproc.telemetry.instruments import BY_NAME
from extproc.telemetry.registry import Cap, Registry, Values
from extproc.telemetry.series import Counter, Histogram

COUNTERS = (
    "extproc_content_lost", "extproc_cooldowns", "extproc_edge_frames",
    "extproc_store_failures",
)  # fmt: skip
TIMES = ("extproc_event_loop_lag_seconds", "extproc_store_seconds")
LEVELS = (
    "extproc_worker_open_exchanges",
    "extproc_worker_connections",
    "extproc_worker_held_bytes",
    "extproc_worker_waiting_bodies",
    "extproc_worker_tasks",
    "extproc_worker_unacknowledged_records",
    "extproc_worker_unwritten_records",
    "extproc_worker_unsettled",
    "extproc_worker_store_away",
)

MAX_VALUES = 200
"""Of one label: providers, reasons, verbs."""

Key = tuple[str, ...]
"""A metric's name, and the values of its labels."""


class WorkerMetrics:
    """Adds up; `levels` gives each connected worker's name and what it said last."""

    def __init__(
        self,
        registry: Registry,
        levels: Callable[[], Iterable[tuple[str, dict[str, float]]]],
    ) -> None:
        self._counters: dict[str, Counter] = {
            name: registry.counter(name) for name in COUNTERS
        }
        self._times: dict[str, Histogram] = {
            name: registry.histogram(name) for name in TIMES
        }
        self._caps = {
            (name, label): Cap(MAX_VALUES, "other")
            for name in (*COUNTERS, *TIMES)
            for label in BY_NAME[name].labels
        }
        for name in LEVELS:
            registry.watch(name, _of_each(name, levels))

    def add(
        self,
        counts: Iterable[tuple[Key, float]],
        times: Iterable[tuple[Key, Iterable[float]]],
    ) -> None:
        """Add what one worker did in a second."""
        for key, amount in counts:
            counter = self._counters.get(key[0])
            labels = self._labels(key)
            if counter is not None and labels is not None:
                counter.labels(*labels).inc(amount)
        for key, seconds in times:
            histogram = self._times.get(key[0])
            labels = self._labels(key)
            if histogram is not None and labels is not None:
                series = histogram.labels(*labels)
                for one in seconds:
                    series.observe(one)

    def _labels(self, key: Key) -> list[str] | None:
        name, *values = key
        one = BY_NAME.get(name)
        if one is None or len(values) != len(one.labels):
            return None
        return [
            self._caps[name, label](value)
            for label, value in zip(one.labels, values, strict=True)
        ]


def _of_each(
    name: str, levels: Callable[[], Iterable[tuple[str, dict[str, float]]]]
) -> Callable[[], Values]:
    return lambda: {(worker,): said[name] for worker, said in levels() if name in said}
