"""How long a worker waits for its store: not by the clock, but by what it was there to hear.

A reply that lies in the socket while the worker does something else is not the store's
lateness. So the time given runs in steps, and a turn of the loop that takes longer than a
step counts for little more: on an idle loop it is the time itself, in a burst it is turns.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

STEPS: Final = 10
"""Looks in the time given. A verdict is there some seven turns after it was asked for."""
LONGEST: Final = 1.5
"""Steps that a turn counts for at most; timers are some 1 ms late on an idle machine."""
NEAR: Final = 1e-6
"""Seconds that are none: sums of steps are not exact."""


class _Waiting(NamedTuple):
    due: float
    verdict: asyncio.Future[Any]
    give_up: Callable[[], None]


class Patience:
    """With all that one worker waits for; one timer, and only while it does."""

    def __init__(self) -> None:
        self._given = 0.0
        self._looked = 0.0
        self._step = 0.0
        self._waiting: deque[_Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def wait(
        self,
        loop: asyncio.AbstractEventLoop,
        seconds: float,
        verdict: asyncio.Future[Any],
        give_up: Callable[[], None],
    ) -> None:
        """Call `give_up` when `verdict` is not done after `seconds`."""
        now = loop.time()
        if self._timer is None:
            self._looked = now
            self._step = seconds / STEPS
            self._look_later(loop, self._step)
        begun = self._given + min(now - self._looked, LONGEST * self._step)
        self._waiting.append(_Waiting(begun + seconds, verdict, give_up))

    def _look_later(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._timer = loop.call_at(self._looked + seconds, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self._given += min(now - self._looked, LONGEST * self._step)
        self._looked = now
        self._timer = None
        waiting = self._waiting
        # In the order in which they are due, but for a deadline that was just changed.
        while waiting and (
            waiting[0].verdict.done() or waiting[0].due <= self._given + NEAR
        ):
            first = waiting.popleft()
            if not first.verdict.done():
                first.give_up()
        if waiting:
            self._look_later(loop, min(self._step, waiting[0].due - self._given))
