"""Takes old exchanges out of the books, a piece at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from extproc.db import usage
from extproc.db.database import Database

log = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 600.0
"""Between two looks: what is kept for days may be kept ten minutes longer."""
PIECE: Final = 2_000
"""Exchanges in one transaction, during which SQLite lets nobody else write."""
PIECE_SECONDS: Final = 0.2
"""Between two pieces, for who else would write."""


class Retention:
    """Deletes what is older than it is to be kept.

    Args:
        database: the books.
        days: returns how long exchanges are kept; None: for ever.
        clock: Unix seconds.
    """

    def __init__(
        self,
        database: Database,
        *,
        days: Callable[[], float | None],
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._days = days
        self._clock = clock

    async def run(self) -> None:
        """Look again and again, until canceled."""
        while True:
            try:
                gone = await self.look()
            except (SQLAlchemyError, OSError) as error:
                reason = type(getattr(error, "orig", None) or error).__name__
                log.warning("old usage cannot be deleted now: %s", reason)
            else:
                if gone:
                    log.info("deleted %d exchanges past their time", gone)
            await asyncio.sleep(PAUSE_SECONDS)

    async def look(self) -> int:
        """Delete what is too old; return how many exchanges that was."""
        days = self._days()
        if days is None:
            return 0
        until, gone = self._clock() - days * 86_400, 0
        while True:
            piece = await asyncio.to_thread(self._forget, until)
            gone += piece
            if piece < PIECE:
                return gone
            await asyncio.sleep(PIECE_SECONDS)

    def _forget(self, until: float) -> int:
        with self._database.write() as session:
            return usage.forget(session, until, limit=PIECE)
