"""Turns what is wrong into alerts: once when it begins to matter, and once when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from extproc.server.alert_book import Alert, AlertBook, Kind, Standing
from extproc.server.conditions import Condition
from extproc.server.error_rate import WINDOW_SECONDS

LOOK_SECONDS: Final = 5.0
BLIND_SECONDS: Final[Mapping[Kind, float]] = {
    "budget": 0.0,
    "health": 30.0,
    "errors": WINDOW_SECONDS,
}
"""After a start, that what is not seen to be wrong may be so all the same: workers have not
connected yet, and nobody has counted errors for long enough."""


@dataclass(slots=True)
class _Standing:
    condition: Condition
    since: float
    """When it began, as far as anybody has looked."""
    seen: float
    told: bool = False


class Watchman:
    """Remembers what was told; `clock` gives Unix seconds.

    What comes and goes is told once in `repeat` seconds at most, and what lasts is told
    again that often.
    """

    def __init__(
        self,
        tell: Callable[[Alert], None],
        *,
        clock: Callable[[], float],
        book: AlertBook | None = None,
    ) -> None:
        """Go on from `book`: what has been told stands until it is known to be over."""
        self.repeat = 3_600.0
        self._tell = tell
        self._clock = clock
        self._book = book or AlertBook()
        self._told_at = self._book.page.told_at
        now = clock()
        self._standing = {
            key: _Standing(
                Condition(key, one.summary, one.after, one.kind, one.details),
                one.since,
                now + BLIND_SECONDS[one.kind],
                told=True,
            )
            for key, one in self._book.page.standing.items()
        }

    def look(self, conditions: Iterable[Condition]) -> None:
        """Compare what is wrong now with what was."""
        now = self._clock()
        for one in conditions:
            standing = self._standing.setdefault(one.key, _Standing(one, now, now))
            standing.condition, standing.seen = one, now
            last = self._told_at.get(one.key)
            quiet = last is not None and now - last < self.repeat
            if now - standing.since >= one.after and not quiet:
                standing.told = True
                self._told_at[one.key] = now
                self._say(standing, now)
        for key, standing in list(self._standing.items()):
            # What has only just gone may be back at once.
            if standing.seen < now and now - standing.seen >= standing.condition.after:
                del self._standing[key]
                if standing.told:
                    self._say(standing, now, over=True)
        for key, at in list(self._told_at.items()):
            if key not in self._standing and now - at >= self.repeat:
                del self._told_at[key]
                self._book.changed()

    async def run(self, wrong: Callable[[], Awaitable[Iterable[Condition]]]) -> None:
        """Look until canceled; `wrong` gives what is wrong now."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look(await wrong())

    def _say(self, standing: _Standing, now: float, *, over: bool = False) -> None:
        one = standing.condition
        if over:
            self._book.page.standing.pop(one.key, None)
        else:
            self._book.page.standing[one.key] = Standing(
                one.kind, one.summary, standing.since, one.after, one.details
            )
        self._book.changed()
        self._tell(
            Alert(
                kind=one.kind,
                key=one.key,
                summary=f"Over: {one.summary}" if over else one.summary,
                at=int(now),
                state="resolved" if over else "firing",
                details={**one.details, "since": int(standing.since)},
            )
        )
