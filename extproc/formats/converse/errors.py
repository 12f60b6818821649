"""Bedrock's errors, in whole answers and in streams.

https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html. The body is
``{"message": …}``; which exception it is stands in a header, which is not seen here, or
seldom in ``__type``, so the status decides. What the client caused keeps its status and
words. What the gateway's own account caused is a 502 without the provider's words, which
name accounts and roles: the client can do nothing about it, and a 401 would make its SDK
blame its own key. Statuses that no client expects of a chat become those that say the same:
a model's time-out (408) is a 504, its failure (424) a 502.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from extproc.errors import ACCOUNT_REFUSED, UpstreamError
from extproc.formats.converse import wire

STATUSES: Mapping[str, int] = {
    "accessDenied": 403,
    "internalServer": 500,
    "modelError": 424,
    "modelNotReady": 429,
    "modelStreamError": 424,
    "modelTimeout": 408,
    "resourceNotFound": 404,
    "serviceQuotaExceeded": 400,
    "serviceUnavailable": 503,
    "throttling": 429,
    "validation": 400,
}
"""Exceptions, without that word behind them, and their statuses; a stream tells no other."""

ACCOUNT = frozenset({
    "accessDenied", "expiredToken", "incompleteSignature", "invalidClientTokenId",
    "invalidSignature", "missingAuthenticationToken", "optInRequired",
    "unrecognizedClient",
})  # fmt: skip
"""What is about the gateway's account, whatever the status."""

TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""The type that goes with a status; other statuses below 500 are invalid requests."""

CODES: Mapping[int, str] = {
    404: "upstream_not_found", 413: "request_too_large", 429: "rate_limit_exceeded",
    503: "overloaded", 504: "upstream_timeout",
}  # fmt: skip

REPLACED: Mapping[int, int] = {408: 504, 424: 502}

MAX_BODY = 64 * 1024
"""An error that is longer is not one of Bedrock's; those are under 4 KiB."""

MAX_WORDS = 4000

_ACCOUNT_NUMBER = re.compile(r"(?<!\d)\d{12}(?!\d)")
"""ARNs in a message name the account that pays."""

_TOO_LONG = re.compile(r"(?i)\b(?:input|prompt) is too long\b")
"""What Bedrock says of a prompt over the model's context window: no code tells it."""

_ERROR = msgspec.json.Decoder(wire.ErrorBody)


def read_error(status: int, body: bytes) -> UpstreamError:
    """Read an error answer of any shape; see `ProviderFormat.read_error`."""
    said = read_body(body)
    words = said.message or said.shouted or ""
    # `com.amazon.coral.service#ThrottlingException`, and a URL may follow.
    kind = said.type.rpartition("#")[2].partition(":")[0]
    return _failure(status, kind_of(kind), words)


def error_of(failure: wire.Failure) -> UpstreamError:
    """Return the error that an exception in a stream tells of."""
    kind = kind_of(failure.kind)
    return _failure(STATUSES.get(kind, 500), kind, failure.message)


def read_body(body: bytes) -> wire.ErrorBody:
    """Read what an exception says, if it is one."""
    try:
        return wire.decode(_ERROR, body) if len(body) <= MAX_BODY else wire.ErrorBody()
    except msgspec.MsgspecError:
        return wire.ErrorBody()


def kind_of(name: str) -> str:
    """Return an exception's name in one spelling: ``ThrottlingException`` is ``throttling``."""
    name = name.removesuffix("Exception")
    return name[:1].lower() + name[1:]


def _failure(status: int, kind: str, words: str) -> UpstreamError:
    if status in {401, 402, 403} or kind in ACCOUNT:
        return UpstreamError(
            "The provider does not accept the gateway's account.",
            status=502,
            code=ACCOUNT_REFUSED,
        )
    told = words.strip()[:MAX_WORDS]
    message = _ACCOUNT_NUMBER.sub("…", told) or (
        f"The provider answered with status {status} and said nothing that can be read."
    )
    if not 400 <= status <= 599:
        return UpstreamError(message, status=502, code="bad_upstream_answer")
    kept = REPLACED.get(status, status)
    fallback = "invalid_request_error" if kept < 500 else "api_error"
    code = CODES.get(kept)
    if kept == 400 and _TOO_LONG.search(message):
        code = "context_length_exceeded"  # what OpenAI's clients look for
    return UpstreamError(
        message, status=kept, type=TYPES.get(kept, fallback), code=code
    )
