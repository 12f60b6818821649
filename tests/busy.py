"""A loop that has always something else to do."""

from __future__ import annotations

import asyncio
import time


class Busy:
    """A loop that has always something to do: each of its turns has a length."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self.turns = 0
        self._loop = loop
        self._seconds = seconds
        self._next = loop.call_soon(self._turn)

    def _turn(self) -> None:
        time.sleep(self._seconds)
        self.turns += 1
        self._next = self._loop.call_soon(self._turn)

    def stop(self) -> None:
        self._next.cancel()
