"""What a client is told of its limits, in its own dialect.

OpenAI: https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers,
Anthropic: https://docs.anthropic.com/en/api/rate-limits#response-headers. Of several
limits of one kind the one is told of which the smallest part is left.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime

from extproc.policy.claims import Claim, Left

Standing = tuple[Claim, Left]
Headers = tuple[tuple[str, str], ...]

Three = tuple[str, str, str]
"""The names of the headers for the limit, what remains of it, and its reset."""


def _openai(word: str) -> Three:
    begin = "x-ratelimit"
    return f"{begin}-limit-{word}", f"{begin}-remaining-{word}", f"{begin}-reset-{word}"


def _anthropic(word: str) -> Three:
    begin = f"anthropic-ratelimit-{word}"
    return f"{begin}-limit", f"{begin}-remaining", f"{begin}-reset"


OPENAI = {"requests": _openai("requests"), "total_tokens": _openai("tokens")}
ANTHROPIC = {
    "requests": _anthropic("requests"),
    "total_tokens": _anthropic("tokens"),
    "input_tokens": _anthropic("input-tokens"),
    "output_tokens": _anthropic("output-tokens"),
}
NAMES = tuple(
    name for three in (*OPENAI.values(), *ANTHROPIC.values()) for name in three
)
"""Every header that `limit_headers` can give; Envoy adds them to answers by name."""


def limit_headers(
    standings: Iterable[Standing], *, anthropic: bool, at: float
) -> Headers:
    """Return the headers for where the limits stand at `at` (Unix seconds)."""
    words = ANTHROPIC if anthropic else OPENAI
    tightest: dict[str, Standing] = {}
    for standing in standings:
        claim, left = standing
        if claim.counts not in words:
            continue
        known = tightest.get(claim.counts)
        if known is None or left.remaining * known[0].limit < known[1].remaining * max(
            1, claim.limit
        ):
            tightest[claim.counts] = standing
    out: list[tuple[str, str]] = []
    for counts, (claim, left) in tightest.items():
        limit, remaining, reset = words[counts]
        out += (
            (limit, str(claim.limit)),
            (remaining, str(left.remaining)),
            (reset, _instant(at + left.reset) if anthropic else duration(left.reset)),
        )
    return tuple(out)


def duration(seconds: float) -> str:
    """Write a time as OpenAI does: ``17ms``, ``1.5s``, ``6m0s``, ``1h0m0s``."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    if seconds < 60:
        return f"{math.ceil(seconds * 10) / 10:g}s"
    whole = math.ceil(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"


def _instant(at: float) -> str:
    """Write a moment in RFC 3339."""
    moment = datetime.fromtimestamp(math.ceil(at), UTC)
    return moment.isoformat().replace("+00:00", "Z")
