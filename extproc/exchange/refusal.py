"""What the client is told where a claim is denied."""

from __future__ import annotations

import math

from extproc.errors import BudgetReached, GatewayError, LimitReached, Overloaded
from extproc.policy.claims import Claim, Denied
from extproc.pricing import show

_UNITS = {
    "requests": "requests",
    "total_tokens": "tokens",
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
}
_WINDOWS = {60: "minute", 3600: "hour", 86_400: "day"}


def unchecked() -> GatewayError:
    """Return what is told where nobody can say whether a limit is reached."""
    return Overloaded(
        "Limits and budgets cannot be checked now; try again.",
        code="limits_unavailable",
        retry_after="1",
    )


def refusal(claim: Claim, verdict: Denied) -> GatewayError:
    """Return the error that names the limit of `claim` and when to come again."""
    wait = verdict.retry_after
    retry_after = None if wait is None else str(max(1, math.ceil(wait)))
    if claim.counts == "running":
        return LimitReached(
            f"{claim.limit} requests of {claim.subject} are under way, which is the "
            "limit; try again when one has ended.",
            code="concurrency_limit_exceeded",
            type="requests",
            retry_after=retry_after,
        )
    if claim.counts == "nanos":
        return _broke(claim, verdict, retry_after)
    unit, window = _UNITS[claim.counts], _WINDOWS.get(claim.seconds, "window")
    kind = "requests" if claim.counts == "requests" else "tokens"
    if wait is None:
        return LimitReached(
            f"This request needs some {claim.amount} {unit}, and {claim.subject} may use "
            f"{claim.limit} in a {window}.",
            type=kind,
        )
    return LimitReached(
        f"Rate limit reached for {claim.subject}: {claim.limit} {unit} in a {window}, "
        f"{verdict.left.remaining} left. Try again in {retry_after} s.",
        type=kind,
        retry_after=retry_after,
    )


def _broke(claim: Claim, verdict: Denied, retry_after: str | None) -> GatewayError:
    if verdict.waiting:
        return LimitReached(
            f"What is left of the budget of {claim.subject} is reserved by requests that "
            "are under way; try again when one has ended.",
            code="budget_reserved",
            type="requests",
            retry_after=retry_after,
        )
    return BudgetReached(
        f"The budget of {claim.subject} is used up: ${show(verdict.left.remaining)} of "
        f"${show(claim.limit)} are left, and this request may cost "
        f"${show(claim.amount)}.",
        retry_after=None,
    )
