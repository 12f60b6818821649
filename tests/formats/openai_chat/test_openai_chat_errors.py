"""Errors of providers of every shape, and ours in OpenAI's."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, strategies as st

from extproc.errors import BadRequest, Overloaded, UpstreamError
from extproc.formats.openai_chat import CLIENT, PROVIDER

OPENAI = {
    "error": {
        "message": "Unknown parameter: 'foo'.",
        "type": "invalid_request_error",
        "param": "foo",
        "code": "unknown_parameter",
    }
}

SHAPES = {
    "openai": (400, OPENAI, "Unknown parameter: 'foo'.", "invalid_request_error"),
    "code is a number": (429, {"error": {"message": "slow down", "code": 429}}, "slow down", "rate_limit_error"),
    "error is a string": (500, {"error": "boom"}, "boom", "server_error"),
    "words beside": (400, {"error": "bad_request", "message": "why"}, "why", "invalid_request_error"),
    "vllm": (400, {"object": "error", "message": "too long", "type": "BadRequestError"}, "too long", "BadRequestError"),
    "detail": (404, {"detail": "Not Found"}, "Not Found", "invalid_request_error"),
    "fastapi": (422, {"detail": [{"loc": ["body"], "msg": "field required"}]}, "field required", "invalid_request_error"),
    "message": (503, {"message": "try later"}, "try later", "server_error"),
    "google list": (400, [{"error": {"message": "bad", "status": "INVALID_ARGUMENT"}}], "bad", "invalid_request_error"),
    "empty error": (500, {"error": {}}, "The provider answered with status 500.", "server_error"),
    "null error": (500, {"error": None}, "The provider answered with status 500.", "server_error"),
    "a number": (500, 3, "The provider answered with status 500.", "server_error"),
    "an empty list": (500, [], "The provider answered with status 500.", "server_error"),
    "html in json": (502, {"message": "<html><body>x</body></html>"}, "The provider answered with status 502.", "server_error"),
}  # fmt: skip


@pytest.mark.parametrize(("status", "said", "message", "kind"), SHAPES.values(), ids=SHAPES)  # fmt: skip
def test_an_error_is_read_whatever_its_shape(status, said, message, kind):
    error = PROVIDER.read_error(status, json.dumps(said).encode())
    assert (error.status, error.message, error.type) == (status, message, kind)


def test_openais_own_words_are_kept():
    error = PROVIDER.read_error(400, json.dumps(OPENAI).encode())
    assert json.loads(CLIENT.write_error(error)) == OPENAI


FOUND = {
    "code": "ResponsibleAIPolicyViolation",
    "content_filter_result": {
        "jailbreak": {"filtered": True, "detected": True},
        "custom_blocklists": {"filtered": False, "details": [{"id": "b", "n": 1}]},
    },
}


def azures(beneath: object) -> bytes:
    """Return Azure's refusal of a prompt, with `beneath` as its inner error."""
    said = {
        "message": "The response was filtered.", "type": None, "param": "prompt",
        "code": "content_filter", "status": 400, "innererror": beneath,
    }  # fmt: skip
    return json.dumps({"error": said}).encode()


def test_what_azures_filter_found_stands_beneath_the_error():
    error = PROVIDER.read_error(400, azures(FOUND))
    assert (error.status, error.code, error.param) == (400, "content_filter", "prompt")
    assert json.loads(CLIENT.write_error(error))["error"] == {
        "message": "The response was filtered.", "type": "invalid_request_error",
        "param": "prompt", "code": "content_filter", "innererror": FOUND,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("beneath", "told"),
    [
        ("words", None),
        ({"a": "x" * 5000}, None),
        ({"a": 'Bearer abcdef"g'}, {"a": '[redacted]"g'}),
        ({"a": ["<html>x"]}, {"a": [""]}),
    ],
)
def test_an_inner_error_is_short_and_without_keys(beneath, told):
    assert PROVIDER.read_error(400, azures(beneath)).inner == told


@pytest.mark.parametrize(
    "body",
    [
        b"", b"   ", b"upstream connect error", b"<!DOCTYPE html><html>secret</html>",
        b"\xff\xfe\x00", b'{"error": {"message": "\xff"}}', b'{"error": ', b"null",
        b'{"error": {"message": "' + b"x" * 10_000_000 + b'"}}',
        b"<html>" * 2_000_000,
    ],
    ids=["empty", "space", "text", "html", "binary", "not utf-8", "cut", "null", "10 MB", "html 10 MB"],
)  # fmt: skip
def test_what_is_no_json_gives_a_short_neutral_message(body):
    error = PROVIDER.read_error(503, body)
    assert error.message == "The provider answered with status 503."
    assert (error.status, error.type) == (503, "server_error")


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_credential_is_the_gateways_own_trouble(status):
    said = {"error": {"message": "Incorrect API key provided: sk-abc***xyz", "code": "invalid_api_key"}}  # fmt: skip
    error = PROVIDER.read_error(status, json.dumps(said).encode())
    assert (error.status, error.type, error.code) == (
        502, "upstream_auth_error", "upstream_auth_error",
    )  # fmt: skip
    assert "sk-" not in error.message
    assert "api_key" not in CLIENT.write_error(error).decode()


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-AbCdEf0123456789", "sk-abc*********************xyz", "gsk_AbCdEf0123456789",
        "Bearer AbCdEf", "AIzaSyAbCdEf0123456789", "AKIAIOSFODNN7EXAMPLE", "abcd****************wxyz",
    ],
)  # fmt: skip
def test_no_fragment_of_a_key_gets_through(secret):
    said = {"error": {"message": f"Quota of key {secret} is used up", "param": secret}}
    error = PROVIDER.read_error(429, json.dumps(said).encode())
    assert secret not in CLIENT.write_error(error).decode()
    assert error.message == "Quota of key [redacted] is used up"


@pytest.mark.parametrize(
    "words",
    [
        "keyword_arguments must be given",
        "the key 'messages' is unknown",
        "a task-force",
    ],
)
def test_plain_words_are_not_taken_for_keys(words):
    assert PROVIDER.read_error(400, json.dumps({"message": words}).encode()).message == words  # fmt: skip


@pytest.mark.parametrize(
    ("status", "seen"), [(200, 502), (302, 502), (404, 404), (529, 529)]
)
def test_the_status_is_kept_where_it_is_an_errors(status, seen):
    assert PROVIDER.read_error(status, b"{}").status == seen


@pytest.mark.parametrize("words", ["x", "x-", "a*", "sk-", "Bearer ", "<", "key_"])
def test_a_long_message_is_cut_in_no_time(words):
    said = json.dumps({"message": words * (200_000 // len(words))}).encode()
    began = time.perf_counter()
    assert len(PROVIDER.read_error(400, said).message) <= 4000
    assert time.perf_counter() - began < 2  # a search that backtracks takes minutes


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["error", "message", "detail", "type", "code"]), inner
        )
    ),
    max_leaves=10,
)


@given(st.integers(100, 599), JSON)
def test_any_json_is_read_and_can_be_written(status, said):
    error = PROVIDER.read_error(status, json.dumps(said).encode())
    assert isinstance(error, UpstreamError)
    written = json.loads(CLIENT.write_error(error))
    assert set(written) == {"error"}
    assert set(written["error"]) == {"message", "type", "param", "code"}
    assert isinstance(written["error"]["message"], str)


def test_an_error_is_written_in_openais_shape():
    error = BadRequest('no "x"', param="messages[0]", code="invalid_value")
    assert json.loads(CLIENT.write_error(error)) == {
        "error": {
            "message": 'no "x"',
            "type": "invalid_request_error",
            "param": "messages[0]",
            "code": "invalid_value",
        }
    }


def test_an_error_event_is_one_frame():
    event = CLIENT.write_error_event(Overloaded("full"))
    assert event.startswith(b'data: {"error":{"message":"full","type":')
    assert event.endswith(b"}}\n\n")
    assert event.count(b"\n") == 2
