"""Google's errors: any shape is read, and the gateway's own account stays hidden."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from google.genai import errors as genai_errors

from extproc.errors import UpstreamError
from extproc.formats.gemini.errors import STATUSES, read_error, stream_error_of

JsonObject = dict[str, Any]


def status(
    code: int, message: str, name: str, *details: JsonObject, wrapped: bool = False
) -> bytes:
    error: JsonObject = {"code": code, "message": message, "status": name}
    if details:
        error["details"] = list(details)
    said: Any = {"error": error}
    return msgspec.json.encode([said] if wrapped else said)


def retry(delay: Any) -> JsonObject:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    ("code", "name", "shown", "kind", "word"),
    [
        (400, "INVALID_ARGUMENT", 400, "invalid_request_error", None),
        (400, "FAILED_PRECONDITION", 502, "api_error", None),
        (404, "NOT_FOUND", 404, "invalid_request_error", "upstream_not_found"),
        (413, "INVALID_ARGUMENT", 413, "invalid_request_error", "request_too_large"),
        (429, "RESOURCE_EXHAUSTED", 429, "rate_limit_error", "rate_limit_exceeded"),
        (499, "CANCELLED", 499, "invalid_request_error", None),
        (500, "INTERNAL", 500, "api_error", None),
        (503, "UNAVAILABLE", 503, "api_error", "overloaded"),
        (504, "DEADLINE_EXCEEDED", 504, "api_error", None),
        (302, "ODD", 502, "api_error", None),
    ],
)
def test_an_error_keeps_its_status_and_words(code, name, shown, kind, word, wrapped):
    error = read_error(code, status(code, "Words.", name, wrapped=wrapped))
    assert isinstance(error, UpstreamError)
    assert (error.status, error.message) == (shown, "Words.")
    assert (error.type, error.code) == (kind, word)


@pytest.mark.parametrize(
    ("code", "body"),
    [
        (401, status(401, "key AIzaSecretSecret", "UNAUTHENTICATED")),
        (403, status(403, "project 42", "PERMISSION_DENIED", wrapped=True)),
        (403, b"<html>"),
        (
            400,
            status(
                400, "API key not valid. Please pass a valid API key.",
                "INVALID_ARGUMENT",
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "API_KEY_INVALID", "domain": "googleapis.com",
                },
            ),
        ),
    ],
)  # fmt: skip
def test_the_gateways_own_account_is_not_the_clients_fault(code, body):
    error = read_error(code, body)
    assert (error.status, error.code) == (502, "upstream_auth_error")
    assert "key" not in error.message.lower()
    assert "42" not in error.message


@pytest.mark.parametrize(
    ("delay", "shown"),
    [
        ("34.074824224s", "35"), ("2s", "2"), ("0s", "0"), ("", None), ("soon", None),
        ("-1s", None), (3, None), (None, None), ("9" * 400 + "s", None),
    ],
)  # fmt: skip
def test_when_to_retry_is_told_in_seconds(delay, shown):
    violation = {"@type": "type.googleapis.com/google.rpc.QuotaFailure"}
    body = status(429, "Slow down.", "RESOURCE_EXHAUSTED", violation, retry(delay))
    error = read_error(429, body)
    assert (error.status, error.retry_after) == (429, shown)


def test_a_prompt_that_is_too_long_has_its_own_code():
    words = (
        "The input token count (9) exceeds the maximum number of tokens allowed (8)."
    )
    error = read_error(400, status(400, words, "INVALID_ARGUMENT"))
    assert (error.status, error.code) == (400, "context_length_exceeded")
    assert error.message == words


@pytest.mark.parametrize("code", [400, 418, 500, 529])
@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>502</html>", b"{", b"[]", b"[1]", b"null", b"\xff", b'{"error":1}',
        b'{"error":{"message":1}}', b'{"error":{"details":[1]}}', b'{"message":"x"}',
        b'{"error":{"message":"' + b"x" * 300_000 + b'"}}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_an_error_of_any_shape_is_told_in_neutral_words(code, body):
    error = read_error(code, body)
    assert error.status == code
    assert error.message == f"The provider answered with status {code}."


def test_keys_in_words_are_blotted_out():
    body = status(400, "for api_key:AIzaSyA0123456789abc and AIzaSyB0123456789", "X")
    assert read_error(400, body).message == "for [redacted] and [redacted]"


@pytest.mark.parametrize(("name", "code"), STATUSES.items())
def test_in_a_stream_the_name_alone_tells_the_status(name, code):
    error = stream_error_of({"error": {"message": "m", "status": name}})
    hidden = name in {"UNAUTHENTICATED", "PERMISSION_DENIED", "FAILED_PRECONDITION"}
    assert error.status == (502 if hidden else code)


@pytest.mark.parametrize("said", [None, [], {"error": {}}, {"error": {"code": 7}}])
def test_an_error_without_words_in_a_stream_is_the_providers(said):
    assert stream_error_of(said).status == 502


def test_the_sdk_reads_the_shape_that_we_read():
    body = status(429, "Slow down.", "RESOURCE_EXHAUSTED", retry("2s"))
    read = genai_errors.ClientError(429, msgspec.json.decode(body))
    ours = read_error(429, body)
    assert (read.code, read.message) == (ours.status, ours.message)
