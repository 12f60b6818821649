"""Whose turn it is: what connections have still to do, one slice after another.

Ten thousand requests that come at once are seconds of work. A worker that did it all before
it read on would not see Envoy's PING behind them; after two seconds Envoy would take it for
hung, and all its streams would be lost. So what comes is cut into events at once, which
answers PINGs, and the events are worked off in slices, between which the loop reads.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

SLICE_SECONDS: Final = 0.005
"""A read brings 256 KiB, and Envoy's socket holds about as much: a backlog of ten thousand
requests is read, up to the PING behind it, in some sixty slices."""

FEW: Final = 8
"""So many events are handled as they come: they are less than a slice."""

Work = Callable[[], bool]
"""Works for a slice; returns whether there is more to do."""


class Turns:
    """Gives slices to those who have work, in turn."""

    def __init__(self) -> None:
        self._waiting: deque[Work] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, work: Work) -> None:
        """Let `work` have slices, from the loop's next turn on, until it is done."""
        self._waiting.append(work)
        if len(self._waiting) == 1:
            self._go_on()

    def _go_on(self) -> None:
        asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        more = False
        try:
            more = self._waiting[0]()
        finally:
            work = self._waiting.popleft()
            if more:
                self._waiting.append(work)
            if self._waiting:
                self._go_on()
