"""What went wrong in the middle of a stream, read and written.

OpenAI says it twice: in an ``error`` event, whose words stand at the top in the SDK's
types and in an ``error`` object in what its servers send, and in ``response.failed``,
which ends the stream. So do we. openai-python and openai-node raise ``APIError`` for the
object; clients that wait for an end of the stream's own have that.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from extproc.errors import GatewayError, UpstreamError
from extproc.formats.openai_errors import error_of
from extproc.formats.openai_responses import answer_wire
from extproc.formats.openai_responses.wire import present
from extproc.framing.sse import encode_frame

_encode = msgspec.json.Encoder().encode

_STATUSES: Mapping[str, int] = {
    "rate_limit_exceeded": 429, "insufficient_quota": 429, "server_error": 500,
    "server_is_overloaded": 503, "slow_down": 503, "invalid_prompt": 400,
    "context_length_exceeded": 400, "bio_policy": 400, "content_filter": 400,
}  # fmt: skip
"""What the codes of a failed response would be as a status; all others are a 502."""

_CODES: Mapping[int, str] = {429: "rate_limit_exceeded", 400: "invalid_prompt"}
"""And back: a failed response has a code out of a list; all others are server errors."""


def read_failure(said: answer_wire.Response) -> UpstreamError:
    """Read the error of a response that has failed."""
    return _error(present(said.error))


def read_error_event(said: answer_wire.Error | answer_wire.Glance) -> UpstreamError:
    """Read an ``error`` event."""
    error = present(said.error)
    if error is None:
        flat = {"message": said.message, "code": said.code, "param": said.param}
        error = msgspec.Raw(_encode(flat))
    return _error(error)


def _error(error: msgspec.Raw | None) -> UpstreamError:
    said = {} if error is None else answer_wire.anything.decode(error)
    code = said.get("code") if isinstance(said, dict) else None
    status = _STATUSES.get(code, 502) if isinstance(code, str) else 502
    return error_of(status, {"error": said} if said else None)


def failure_of(error: GatewayError) -> dict[str, object]:
    """Return the ``error`` of a response that has failed."""
    return {"code": _CODES.get(error.status, "server_error"), "message": error.message}


def write_error_event(error: GatewayError, sequence_number: int = 0) -> bytes:
    """Write an ``error`` event, which a ``response.failed`` follows."""
    event = {
        "type": "error",
        "sequence_number": sequence_number,
        "code": error.code,
        "message": error.message,
        "param": error.param,
        "error": {
            "type": error.type,
            "code": error.code,
            "message": error.message,
            "param": error.param,
        },
    }
    return encode_frame(_encode(event), "error")
