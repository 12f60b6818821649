"""Anthropic's errors, in whole answers and in streams, both ways.

https://platform.claude.com/docs/en/api/errors. What the client caused keeps its status
and words. What the gateway's own account caused (401, 402, 403) is a 502 without the
provider's words, which may show a credential: the client can do nothing about it, and a
401 would make its SDK blame its own key.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from extproc.errors import ACCOUNT_REFUSED, BadRequest, GatewayError, UpstreamError
from extproc.formats.anthropic import wire
from extproc.framing.sse import encode_frame

STATUSES: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""Anthropic's error types and the status of each; in a stream only the type is told."""

TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""The type that goes with a status; other statuses below 500 are invalid requests."""

CODES: Mapping[int, str] = {
    404: "upstream_not_found", 413: "request_too_large", 429: "rate_limit_exceeded",
}  # fmt: skip

MAX_BODY = 64 * 1024
"""An error that is longer is not one of Anthropic's; those are under 1 KiB."""

_ERROR = msgspec.json.Decoder(wire.Error)


def read_error(status: int, body: bytes) -> UpstreamError:
    """Read an error answer of any shape; see `ProviderFormat.read_error`."""
    try:
        detail = wire.decode(_ERROR, body) if len(body) <= MAX_BODY else None
    except msgspec.MsgspecError:
        detail = None
    if detail is not None:
        return _failure(status, detail.error.type, detail.error.message)
    return _failure(
        status,
        TYPES.get(status, "invalid_request_error" if status < 500 else "api_error"),
        f"The provider answered with status {status} and said nothing that can be read.",
    )


def error_of(detail: wire.ErrorDetail) -> UpstreamError:
    """Return the error that an event in a stream tells of."""
    return _failure(STATUSES.get(detail.type, 500), detail.type, detail.message)


def _failure(status: int, kind: str, message: str) -> UpstreamError:
    if status in {401, 402, 403}:
        return UpstreamError(
            "The provider does not accept the gateway's account.",
            status=502,
            code=ACCOUNT_REFUSED,
        )
    if kind == "overloaded_error" or status == 529:
        kept = status if status >= 500 else 529
        return UpstreamError(message, status=kept, type=kind, code="overloaded")
    if status < 400:
        return UpstreamError(message, status=502, code="bad_upstream_answer")
    code = CODES.get(status)
    if status == 400 and message.startswith("prompt is too long"):
        code = "context_length_exceeded"  # what OpenAI's clients look for
    return UpstreamError(message, status=status, type=kind, code=code)


# ---------------------------------------------------------------- to the client


NO_THREADS = {"error_code": "thread_unsupported_request"}
"""Anthropic's own word for a request that can have no server-held thread: its SDKs go on
with the whole conversation, as their tool runners do by themselves."""


class _Body(msgspec.Struct, tag="error", tag_field="type"):
    error: wire.ErrorDetail


def write_error(error: GatewayError) -> bytes:
    """Write the body of an error answer; see `ClientFormat.write_error`."""
    fallback = "invalid_request_error" if error.status < 500 else "api_error"
    kind = TYPES.get(error.status, fallback)
    message = error.message
    if error.param and error.param not in message:
        # This API has no other place to name the field, and names it so itself.
        message = f"{error.param}: {message}"
    detail = wire.ErrorDetail(kind, message)
    if isinstance(error, BadRequest) and error.param == "thread":
        detail = wire.RefusedDetail(kind, message, NO_THREADS)
    return msgspec.json.encode(_Body(detail))


def write_error_event(error: GatewayError) -> bytes:
    """Write the event that ends a stream; see `ClientFormat.write_error_event`."""
    return encode_frame(write_error(error), "error")
