"""Errors in OpenAI's shape: ``{"error": {"message", "type", "param", "code"}}``.

Both of OpenAI's APIs, chat completions and Responses, share it; what ends a stream of
theirs is each format's own.

https://platform.openai.com/docs/guides/error-codes. Servers of this format answer errors
in many shapes more, and what stands before them (CDNs, load balancers) in HTML; all are
read, and nothing but words meant for the caller gets through. Azure says beneath an error
what its content filter found (``innererror``:
https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-filter); clients of
this shape get it there, too.

A provider's 401, 402 or 403 is about the gateway's own account. The client would take it
for its own key and drop or rotate that, so it sees a 502 that names neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

from extproc.errors import ACCOUNT_REFUSED, GatewayError, UpstreamError

_MOST_BYTES = 256 * 1024
"""More than any error says: FastAPI servers echo the refused input, which may be long,
but whoever sends more is not explaining anything."""

_MOST_CHARACTERS = 4000
"""Of a message that is passed on."""

_TYPES: Mapping[int, str] = {
    400: "invalid_request_error", 404: "invalid_request_error",
    409: "invalid_request_error", 413: "invalid_request_error",
    422: "invalid_request_error", 429: "rate_limit_error",
}  # fmt: skip
"""The type of an error whose provider says none; 5xx are ``server_error``."""

_HTML = re.compile(r"<(?:!doctype|html|head|body|title|center|h1)\b", re.IGNORECASE)
_KEY = re.compile(
    r"\bBearer\s+[^\s\"',;]+"  # whatever the scheme carries
    r"|\b(?:sk|pk|rk|gsk|xai|nvapi|hf|key)[-_][A-Za-z0-9*._-]{12,}"
    r"|\b(?:AIza|AKIA|ASIA)[A-Za-z0-9_-]{12,}"
    # a key with its middle blotted out; looked for once a word, or it takes n² steps
    r"|(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{2,}+\*{3,}[A-Za-z0-9_-]*",
)

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def read_error(status: int, body: bytes) -> UpstreamError:
    """Read a provider's error answer; its status is kept, but for our own account."""
    return error_of(status, _parse(body))


def error_of(status: int, said: object) -> UpstreamError:
    """Make an error of decoded JSON of any shape."""
    if status in (401, 402, 403):
        return UpstreamError(
            "The gateway's credential for this provider was refused.",
            status=502,
            type="upstream_auth_error",
            code=ACCOUNT_REFUSED,
        )
    kept = status if 400 <= status <= 599 else 502
    inner = _inner(said)
    message = _message(inner) or f"The provider answered with status {status}."
    told: Mapping[str, object] = inner if isinstance(inner, dict) else {}
    error = UpstreamError(
        message,
        status=kept,
        type=_word(told.get("type")) or _TYPES.get(kept, "server_error"),
        code=_word(told.get("code")),
        param=_word(told.get("param")),
    )
    error.inner = _beneath(told.get("innererror"))
    return error


def write_error(error: GatewayError) -> bytes:
    """Write the body of an error answer."""
    said: dict[str, object] = {
        "message": error.message,
        "type": error.type,
        "param": error.param,
        "code": error.code,
    }
    if error.inner is not None:
        said["innererror"] = error.inner
    return _encode({"error": said})


def _parse(body: bytes) -> object:
    if len(body) > _MOST_BYTES or body.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _inner(said: object) -> object:
    """Return the part of an error answer that says what is wrong."""
    if isinstance(said, list):  # Google's compatible endpoint wraps its error in a list
        said = said[0] if said else None
    if isinstance(said, dict) and said.get("error"):
        inner = said["error"]
        # Servers that put the words beside: {"error": "bad_request", "message": …}
        return inner if isinstance(inner, dict) or not _message(said) else said
    return said


def _message(inner: object) -> str | None:
    """Return the first words meant for people, cleaned."""
    for text in _texts(inner):
        if text.strip() and not _HTML.search(text):
            return _KEY.sub("[redacted]", text)[:_MOST_CHARACTERS]
    return None


def _texts(inner: object) -> Iterator[str]:
    if isinstance(inner, str):
        yield inner
    elif isinstance(inner, dict):
        for key in ("message", "detail", "error_description", "msg", "title"):
            yield from _texts(inner.get(key))
    elif isinstance(inner, list):  # FastAPI: {"detail": [{"loc", "msg", "type"}]}
        for item in inner:
            yield from _texts(item)


def _beneath(said: object) -> object:
    """Return an inner error without keys; None where there is none, or too much."""
    if not isinstance(said, dict) or len(_encode(said)) > _MOST_CHARACTERS:
        return None
    return _cleaned(said)


def _cleaned(value: object) -> object:
    if isinstance(value, str):
        return "" if _HTML.search(value) else _KEY.sub("[redacted]", value)
    if isinstance(value, dict):
        return {name: _cleaned(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_cleaned(one) for one in value]
    return value


def _word(value: object) -> str | None:
    """Return a type, code or param: a short string, or a number as one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and 0 < len(value) <= 200 and not _HTML.search(value):
        return _KEY.sub("[redacted]", value)
    return None
