"""Cohere's errors: https://docs.cohere.com/reference/errors.

``{"message": …}`` with a status, of which 498 (a key that is on no list) and 499 (the
request was canceled) are Cohere's own. What is about the gateway's account is a 502.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from extproc.errors import UpstreamError
from extproc.formats.cohere import wire
from extproc.formats.openai_errors import read_error as read_any

ACCOUNT: Mapping[int, int] = {498: 401}
REPLACED: Mapping[int, int] = {499: 502, 501: 400}
"""A feature that a model has not (501) is the request's to mend."""

_TOO_LONG = re.compile(r"(?i)too many tokens|context (?:length|limit|window)")


def read_error(status: int, body: bytes) -> UpstreamError:
    """Read an error answer of any shape; see `ProviderFormat.read_error`."""
    error = read_any(ACCOUNT.get(status, REPLACED.get(status, status)), body)
    if error.status == 400 and _TOO_LONG.search(error.message):
        # What OpenAI's clients look for.
        return UpstreamError(
            error.message, status=400, type=error.type, code="context_length_exceeded"
        )
    return error


def failure(message: str | None, finish: str = "ERROR") -> UpstreamError:
    """Return the error of an answer that Cohere gave up."""
    if finish == "TIMEOUT":
        return UpstreamError(
            message or "The provider did not finish in time.",
            status=504,
            type="timeout_error",
            code="upstream_timeout",
        )
    words = read_any(502, msgspec.json.encode(wire.Failure(message or "")))
    return words if message else UpstreamError("The provider's model failed.")
