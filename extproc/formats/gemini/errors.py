"""Gemini's errors: ``google.rpc.Status`` as JSON, alone or in an array.

https://ai.google.dev/gemini-api/docs/troubleshooting and
https://cloud.google.com/apis/design/errors. What the client caused keeps its status and
words. What the gateway's own account caused is a 502 without the provider's words, which
may show a project or a key: 401, 402, 403, and the 400 of a key that is not valid. A failed
precondition is the account's too (a region, a billing plan): a 502 with its words.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping

import msgspec

from extproc.errors import ACCOUNT_REFUSED, UpstreamError
from extproc.formats.gemini import wire

STATUSES: Mapping[str, int] = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""The HTTP status of each canonical code; in a stream there may be no other."""

TYPES: Mapping[int, str] = {
    400: "invalid_request_error", 404: "invalid_request_error",
    409: "invalid_request_error", 413: "invalid_request_error",
    429: "rate_limit_error",
}  # fmt: skip

CODES: Mapping[int, str] = {
    404: "upstream_not_found", 413: "request_too_large", 429: "rate_limit_exceeded",
    503: "overloaded",
}  # fmt: skip

MAX_BODY = 256 * 1024
"""More than any error says: one names every field that is wrong."""

MAX_MESSAGE = 4000

_TOO_LONG = re.compile(r"input token count.*exceeds the maximum number of tokens")
_KEY = re.compile(r"AIza[A-Za-z0-9_-]{10,}|api_key:\S+")
_DELAY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")

_ANYTHING = msgspec.json.Decoder()


class _Detail(msgspec.Struct, rename="camel"):
    reason: str | None = None
    retry_delay: str | None = None


class _Status(msgspec.Struct):
    code: int | None = None
    message: str = ""
    status: str | None = None
    details: list[object] | None = None


def read_error(status: int, body: bytes) -> UpstreamError:
    """Read an error answer of any shape; see `ProviderFormat.read_error`."""
    said: object = None
    if len(body) <= MAX_BODY:
        with contextlib.suppress(msgspec.MsgspecError):
            said = wire.decode(_ANYTHING, body)
    return error_of(status, said)


def error_of(status: int, said: object) -> UpstreamError:
    """Make an error of decoded JSON of any shape; `status` counts if it says none."""
    try:
        detail = msgspec.convert(_inner(said), _Status)
    except msgspec.MsgspecError:
        detail = _Status()
    status = STATUSES.get(detail.status or "", status) if status < 400 else status
    details = list(_details(detail))
    if status in {401, 402, 403} or any(
        one.reason in {"API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED"} for one in details
    ):
        return UpstreamError(
            "The provider does not accept the gateway's account.",
            status=502,
            type="upstream_auth_error",
            code=ACCOUNT_REFUSED,
        )
    if detail.status == "FAILED_PRECONDITION" or not 400 <= status <= 599:
        status = 502
    message = _KEY.sub("[redacted]", detail.message.strip())[:MAX_MESSAGE]
    too_long = status == 400 and _TOO_LONG.search(message)
    return UpstreamError(
        message or f"The provider answered with status {status}.",
        status=status,
        type=TYPES.get(
            status, "api_error" if status >= 500 else "invalid_request_error"
        ),
        code="context_length_exceeded" if too_long else CODES.get(status),
        retry_after=_retry_after(details),
    )


def stream_error_of(said: object) -> UpstreamError:
    """Return the error that a frame of a stream tells of; it has its own status."""
    inner = _inner(said)
    code = inner.get("code") if isinstance(inner, dict) else None
    return error_of(code if isinstance(code, int) and code >= 400 else 0, said)


def _inner(said: object) -> object:
    if isinstance(said, list):
        said = said[0] if said else None
    return said.get("error") if isinstance(said, dict) else None


def _details(status: _Status) -> Iterator[_Detail]:
    for one in status.details or ():
        try:
            yield msgspec.convert(one, _Detail)
        except msgspec.MsgspecError:
            continue


def _retry_after(details: list[_Detail]) -> str | None:
    """Return ``RetryInfo``'s duration, such as ``34.07s``, in whole seconds."""
    for one in details:
        found = _DELAY.fullmatch(one.retry_delay or "")
        if found:
            return str(math.ceil(float(found[1])))
    return None
