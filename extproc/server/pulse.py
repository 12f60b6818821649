"""What a worker says of itself, once a second: counts, times and levels, but no request's.

Names are those of `extproc.telemetry.instruments`. What was told is kept until control has
confirmed it, and told again after a lost connection under the same number: control counts
each once. A worker that dies takes at most its last second with it.

This module is part of every worker: it imports nothing heavy.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

BEAT_SECONDS: Final = 1.0
MAX_SAMPLES: Final = 5_000
"""Times of one name and label that a beat carries; further ones are left out. At 2,000
verbs/s none is."""

Key = tuple[str, ...]
"""A metric's name and the values of its labels."""
Counts = tuple[tuple[Key, float], ...]
"""To be added."""
Times = tuple[tuple[Key, tuple[float, ...]], ...]
"""Seconds, each to be observed."""


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """One second of a worker."""

    number: int
    """Counts from 1: a beat that comes twice counts once."""
    counts: Counts = ()
    times: Times = ()
    levels: dict[str, float] = {}
    """As they are now."""


class BeatKept(msgspec.Struct, frozen=True, tag="beat_kept"):
    """Control has counted the beat of this number."""

    number: int


class Pulse:
    """Collects between two beats."""

    def __init__(
        self,
        levels: Callable[[], Mapping[str, float]] = dict,
        more: Callable[[], Iterable[tuple[Key, float]]] = tuple,
    ) -> None:
        """`levels` and `more`, counts of others' since the last beat, are asked each."""
        self._levels = levels
        self._more = more
        self._counts: Counter[Key] = Counter()
        self._times: dict[Key, list[float]] = {}
        self._number = 0
        self._due: Beat | None = None

    def count(self, *key: str, amount: float = 1) -> None:
        """Add to a counter."""
        self._counts[key] += amount  # type: ignore[assignment]

    def time(self, *key: str, seconds: float) -> None:
        """Note how long something took."""
        times = self._times.setdefault(key, [])
        if len(times) < MAX_SAMPLES:
            times.append(seconds)

    def beat(self) -> Beat:
        """Return what is to be told: the last beat again, if nobody has confirmed it."""
        if self._due is None:
            for key, amount in self._more():
                self._counts[key] += amount  # type: ignore[assignment]
            self._number += 1
            counts, self._counts = self._counts, Counter()
            times, self._times = self._times, {}
            self._due = Beat(
                self._number,
                tuple(counts.items()),
                tuple((key, tuple(values)) for key, values in times.items()),
                {name: float(level) for name, level in self._levels().items()},
            )
        return self._due

    def kept(self, number: int) -> None:
        """Forget the beat that control has counted."""
        if self._due is not None and self._due.number == number:
            self._due = None


LAG_SECONDS: Final = 0.25
"""Between two looks at the event loop."""


async def watch_lag(pulse: Pulse) -> None:
    """Note how late the event loop is, until canceled."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(LAG_SECONDS)
        late = time.perf_counter() - began - LAG_SECONDS
        pulse.time("extproc_event_loop_lag_seconds", seconds=max(0.0, late))
