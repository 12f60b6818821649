"""What runs beside the streams, as long as the process does, whatever becomes of it."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import Final

log = logging.getLogger(__name__)

RESTART_SECONDS: Final = 0.5
"""Before what has failed is tried again."""


async def kept(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run what serves no request, and again if it fails: no stream is lost for its bug."""
    while True:
        try:
            await run()
        except Exception as error:  # noqa: BLE001  whatever it is
            # No traceback: its values may be a client's.
            log.error("the %s failed: %s", name, _cause(error))  # noqa: TRY400
            await asyncio.sleep(RESTART_SECONDS)
        else:
            return


def _cause(error: BaseException) -> str:
    """Return what failed and where, without any value."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    trace = traceback.extract_tb(error.__traceback__)
    where = f" in {trace[-1].name}, line {trace[-1].lineno}" if trace else ""
    return type(error).__name__ + where
