"""How long a provider says to wait, in the words that providers have for it; pure.

``retry-after``      RFC 9110 10.2.3: seconds, or a date
``retry-after-ms``   milliseconds, beside it or instead (OpenAI, Azure)
``x-ratelimit-reset-requests``, ``-tokens``   a duration such as ``6m0s``, where the
``x-ratelimit-remaining-…`` of the same is 0: https://platform.openai.com/docs/guides/rate-limits
"""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:h|ms|m|s))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def noted(said: str) -> str | None:
    """Return what the upstream Lua has noted as a ``retry-after``: seconds, or a date."""
    kind, _, value = said.partition(" ")
    if kind == "ms":
        found = _number(value)
        return None if found is None else f"{found / 1000:g}"
    if kind == "reset":
        found = _duration(value)
        return None if found is None else f"{found:g}"
    return None if said == "-" else said


def read_retry_after(value: str | None, wall: float | None = None) -> float | None:
    """Return the seconds that a ``retry-after`` says.

    Args:
        value: of the header.
        wall: Unix seconds now; without them a date says nothing.
    """
    if value is None:
        return None
    found = _number(value)
    if found is not None or wall is None:
        return found
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # a zone of any number of digits
        return None
    # A date without a zone is one of the two old forms: UTC (RFC 9110 5.6.7).
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, at.timestamp() - wall)


def _number(value: str) -> float | None:
    try:
        found = float(value)
    except ValueError:
        return None
    return found if 0 <= found < float("inf") else None


def _duration(value: str) -> float | None:
    if _DURATION.fullmatch(value):
        parts = _PART.findall(value)
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return _number(value)
