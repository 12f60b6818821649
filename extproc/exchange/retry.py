"""What a client is told of when to ask again."""

from __future__ import annotations

from extproc.errors import ACCOUNT_REFUSED
from extproc.exchange.commands import Headers
from extproc.routing.wait import read_retry_after

PATIENCE = 120.0
"""Seconds that OpenAI's SDKs wait at most (``MAX_RETRY_AFTER_DELAY``). Anthropic's sleep as
long as they are told, with their caller waiting; both obey ``x-should-retry``."""


def advice(
    ours: str | None,
    providers: str | None = None,
    *,
    wall: float | None = None,
    code: str | None = None,
) -> Headers:
    """Return the headers that say when to ask again.

    Args:
        ours: the ``retry-after`` to set.
        providers: the one that is in the answer already.
        wall: Unix seconds now, for one that is a date.
        code: the error's; an account that was refused is refused the next time, too.
    """
    headers: Headers = () if ours is None else (("retry-after", ours),)
    seconds = read_retry_after(providers if ours is None else ours, wall)
    long = seconds is not None and seconds > PATIENCE
    if long or code == ACCOUNT_REFUSED:
        headers = (*headers, ("x-should-retry", "false"))
    return headers
