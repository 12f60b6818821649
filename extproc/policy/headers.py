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

OPENAI = {"requests": "requests", "total_tokens": "tokens"}
ANTHROPIC = {
    "requests": "requests",
    "total_tokens": "tokens",
    "input_tokens": "input-tokens",
    "output_tokens": "output-tokens",
}
NAMES = (
    *(f"x-ratelimit-{w}-{n}" for n in OPENAI.values() for w in ("limit", "remaining", "reset")),
    *(
        f"anthropic-ratelimit-{n}-{w}"
        for n in ANTHROPIC.values()
        for w in ("limit", "remaining", "reset")
    ),
)  # fmt: skip
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
        word = words[counts]
        if anthropic:
            begin, reset = f"anthropic-ratelimit-{word}", _instant(at + left.reset)
            out += (
                (f"{begin}-limit", str(claim.limit)),
                (f"{begin}-remaining", str(left.remaining)),
                (f"{begin}-reset", reset),
            )
        else:
            out += (
                (f"x-ratelimit-limit-{word}", str(claim.limit)),
                (f"x-ratelimit-remaining-{word}", str(left.remaining)),
                (f"x-ratelimit-reset-{word}", duration(left.reset)),
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
