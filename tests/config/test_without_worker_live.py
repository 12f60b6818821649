"""What Envoy answers by itself, in the client's dialect, with no worker there at all."""

from __future__ import annotations

import asyncio
import json
import stat

import pytest

from extproc.local.envoy import Admin

pytestmark = pytest.mark.envoy

OPENAI = {"message", "type", "param", "code"}
OVER = b"content-length: 33554433\r\n"


def said(answer):
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert answer.headers["server"] == "extproc"
    return answer.json()


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/v1/chat/completions", 503, "gateway_unavailable"),
        ("GET", "/v1/models", 503, "gateway_unavailable"),
        ("GET", "/v1/models/gpt-4o", 503, "gateway_unavailable"),
        ("GET", "/v1/chat/completions", 503, "gateway_unavailable"),
        ("DELETE", "/v1/models/gpt-4o", 503, "gateway_unavailable"),
        ("GET", "/health/ready", 503, "gateway_unavailable"),
        ("GET", "/", 404, "unknown_url"),
        ("POST", "/v1/chat/completions/", 404, "unknown_url"),
        ("POST", "/v1/messagesque", 404, "unknown_url"),
        ("PUT", "/v1/chat/completions", 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("PUT", "/v1/models/gpt-4o", 405, "method_not_allowed"),
        ("GET", "/v1/models/a%2Fb", 400, "malformed_request"),
    ],
)
def test_errors_have_openais_shape(alone, method, path, status, code):
    with alone.client() as client:
        answer = client.request(method, path)
    error = said(answer)["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert set(error) == OPENAI
    assert "upstream" not in error["message"]


@pytest.mark.parametrize(
    ("path", "headers", "status", "kind"),
    [
        ("/v1/messages", {}, 503, "api_error"),
        ("/v1/messages/nothing", {}, 404, "not_found_error"),
        ("/v1/messages/count_tokens?beta=true", {}, 503, "api_error"),
        ("/v1/messages/a%2Fb", {}, 400, "invalid_request_error"),
        (
            "/v1/messages",
            {"connection": "upgrade", "upgrade": "websocket"},
            426,
            "invalid_request_error",
        ),
    ],
)
def test_errors_under_messages_have_anthropics_shape(
    alone, path, headers, status, kind
):
    with alone.client() as client:
        answer = client.post(path, headers=headers)
    body = said(answer)
    assert (answer.status_code, body["type"]) == (status, "error")
    assert body["error"]["type"] == kind
    assert set(body["error"]) == {"type", "message"}


def test_it_lives_without_a_worker(alone):
    with alone.client() as client:
        answer = client.get("/health/live")
    assert (answer.status_code, said(answer)) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("PUT", "/v1/chat/completions", "POST"), ("PUT", "/v1/models/x", "GET")],
)
def test_a_405_names_the_method(alone, method, path, allow):
    with alone.client() as client:
        assert client.request(method, path).headers["allow"] == allow


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/v1/realtime"])
def test_websocket_is_refused_at_once(alone, path):
    upgrade = {"connection": "upgrade", "upgrade": "websocket"}
    with alone.client() as client:
        answer = client.get(path, headers=upgrade)
    assert answer.status_code == 426
    assert said(answer)["error"]["code"] == "upgrade_not_supported"


@pytest.mark.parametrize("offer", ["h2c", "TLS/1.2"])
def test_an_upgrade_that_is_only_offered_is_ignored(alone, offer):
    """Java's clients offer one of these with every request."""
    headers = {"connection": "upgrade", "upgrade": offer}
    with alone.client() as client:
        assert client.get("/health/live", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"GARBAGE\r\n\r\n", 400, "malformed_request"),
        (b"GET /v1/models HTTP/1.1\r\n\r\n", 400, "malformed_request"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nno colon\r\n\r\n", 400, "malformed_request"),
        (
            (
                b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n"
                b"transfer-encoding: chunked\r\n\r\n"
            ),
            400,
            "malformed_request",
        ),
        (b"GET / HTTP/1.0\r\n\r\n", 426, "http_version_not_supported"),
        (
            b"GET / HTTP/1.1\r\nhost: x\r\nlong: " + b"x" * 40_000 + b"\r\n\r\n",
            431,
            "headers_too_large",
        ),
        (
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n" + OVER + b"\r\n",
            413,
            "request_too_large",
        ),
        (
            (
                b"POST /v1/nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
                b"content-length: 9\r\n\r\nslow"
            ),
            404,
            "unknown_url",
        ),
    ],
)
def test_what_is_not_http_is_still_answered_in_json(alone, sent, status, code):
    got, headers, body = alone.raw(sent)
    error = json.loads(body)["error"]
    assert (got, error["code"]) == (status, code)
    assert headers["x-request-id"]
    assert set(error) == OPENAI


def test_a_body_over_the_limit_under_messages_has_anthropics_shape(alone):
    sent = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\n" + OVER + b"\r\n"
    status, _, body = alone.raw(sent)
    assert (status, json.loads(body)["error"]["type"]) == (413, "request_too_large")


def test_no_credential_is_in_the_config_dump(alone):
    async def dump():
        async with Admin(alone.layout.admin) as envoy:
            return await envoy.config_dump()

    text = asyncio.run(dump())
    assert "credential-openai" in text
    assert "sk-secret-of-the-provider" not in text
    assert "c2stc2VjcmV0" not in text  # the same in base64


def test_only_the_owner_can_open_admin_and_secrets(alone):
    (secret,) = alone.layout.xds.glob("sds-openai-*.json")
    assert b"sk-secret-of-the-provider" in secret.read_bytes()
    for path in (alone.layout.admin, secret, alone.layout.xds / "bootstrap.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_deprecated_option_is_used(alone):
    assert "deprecated" not in alone.log.read_text().lower()
