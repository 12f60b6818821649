"""What a provider's failure becomes, for every provider's format and every client's.

The table's rows are what providers answer; the judges are the clients' official SDKs,
which make of it one of their own classes. A stream that cannot go on ends in an error
event of the client's API, and in nothing behind it.
"""

from __future__ import annotations

import functools
import json
from typing import Any, NamedTuple

import anthropic
import httpx2
import openai
import pytest

from tests import casebook
from tests.casebook import CLIENTS, PROVIDER_FORMATS, Upstream, cases
from tests.oracles.clients import CLIENTS as SDKS
from tests.oracles.events import aws_messages, cut

KEY = "sk-proj-4f9Jq2LrT8vWxYz0aBcDeFgHiJkLmNoP"
GOOGLES = "AIzaSyD4f9Jq2LrT8vWxYz0aBcDeFgHiJkLmNo"
WORDS = (
    f'Key "{KEY}" \\ at https://ada:pass-word-1@host.test/v1?key={GOOGLES}&alt=sse: '
    "slow <down>, ü."
)
SECRETS = (KEY, GOOGLES, "pass-word-1")

NAMED = {case.name: case for case in cases()}
PLAIN = NAMED["plain"]


def openai_shape(_: int) -> bytes:
    error = {"message": WORDS, "type": "some_error", "param": None, "code": None}
    return json.dumps({"error": error}).encode()


def anthropic_shape(status: int) -> bytes:
    kinds = {400: "invalid_request_error", 404: "not_found_error", 413: "request_too_large",
             429: "rate_limit_error", 529: "overloaded_error"}  # fmt: skip
    error = {"type": kinds.get(status, "api_error"), "message": WORDS}
    return json.dumps({"type": "error", "error": error}).encode()


def google_shape(status: int) -> bytes:
    kinds = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED",
             500: "INTERNAL", 503: "UNAVAILABLE"}  # fmt: skip
    error = {"code": status, "message": WORDS, "status": kinds.get(status, "UNKNOWN")}
    return json.dumps({"error": error}).encode()


def message_shape(_: int) -> bytes:
    return json.dumps({"message": WORDS}).encode()


SHAPES = {
    "openai_chat": openai_shape, "openai_responses": openai_shape,
    "anthropic": anthropic_shape, "gemini": google_shape, "converse": message_shape,
    "cohere": message_shape,
}  # fmt: skip


class Said(NamedTuple):
    """What a provider answers with, and what becomes of it."""

    status: int
    told: int
    """The status that the client sees."""
    retry_after: str | None = None
    asks_again: bool = True
    body: bytes | None = None
    """In place of the provider's own shape."""
    kind: str = "application/json"


ANSWERS = {
    "its own form": Said(429, 429, "7"),
    "a long wait": Said(429, 429, "121", asks_again=False),
    "two minutes": Said(503, 503, "120"),
    "a wait as a date": Said(503, 503, "Fri, 15 Jan 2027 08:00:09 GMT"),
    "a date that is far": Said(503, 503, "Fri, 15 Jan 2027 09:00:00 GMT", asks_again=False),
    "the request's fault": Said(400, 400),
    "no such model": Said(404, 404),
    "too large": Said(413, 413),
    "not processable": Said(422, 422),
    "broken": Said(500, 500),
    "overloaded": Said(529, 529, "3"),
    "the gateway's key": Said(401, 502, asks_again=False),
    "the gateway's bill": Said(402, 502, asks_again=False),
    "the gateway's rights": Said(403, 502, asks_again=False),
    "a page": Said(502, 502, body=b"<html><body>sorry</body></html>", kind="text/html"),
    "nothing": Said(503, 503, body=b""),
    "half of JSON": Said(500, 500, body=b'{"error": {"mess'),
    "a number": Said(500, 500, body=b"7"),
    "bytes": Said(504, 504, body=b"\xff\xfe\x00", kind="application/octet-stream"),
}  # fmt: skip

CLASSES = {
    400: ("BadRequestError", "BadRequestError"),
    404: ("NotFoundError", "NotFoundError"),
    413: ("APIStatusError", "ContentTooLargeError"),
    422: ("UnprocessableEntityError", "UnprocessableEntityError"),
    429: ("RateLimitError", "RateLimitError"),
    500: ("InternalServerError", "InternalServerError"),
    502: ("InternalServerError", "InternalServerError"),
    503: ("InternalServerError", "ServiceUnavailableError"),
    504: ("InternalServerError", "GatewayTimeoutError"),
    529: ("InternalServerError", "OverloadedError"),
}
"""What OpenAI's and Anthropic's SDKs call an answer of a status."""

_next: list[httpx2.Response] = []


def _transport() -> httpx2.Client:
    return httpx2.Client(transport=httpx2.MockTransport(lambda _: _next.pop()))


_OPENAI = openai.OpenAI(
    api_key="k", base_url="http://gateway.test", max_retries=0, http_client=_transport()
)
_ANTHROPIC = anthropic.Anthropic(
    api_key="k", base_url="http://gateway.test", max_retries=0, http_client=_transport()
)
_CALLS: dict[str, Any] = {
    "openai_chat": functools.partial(
        _OPENAI.chat.completions.create, model="m", messages=[]
    ),
    "openai_completions": functools.partial(
        _OPENAI.completions.create, model="m", prompt=""
    ),
    "openai_responses": functools.partial(
        _OPENAI.responses.create, model="m", input=""
    ),
    "anthropic": functools.partial(
        _ANTHROPIC.messages.create, model="m", max_tokens=9, messages=[]
    ),
}


def raised(client: str, found: casebook.Answered, *, stream: bool) -> Any:
    """Return what the client's SDK raises over an answer."""
    headers = {key: one for key, one in found.headers.items() if key != ":status"}
    _next[:] = [httpx2.Response(found.status, content=found.body, headers=headers)]
    with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)) as caught:
        _CALLS[client](stream=stream)
    return caught.value


def asked(provider: str, client: str, *, stream: bool) -> casebook.Asked:
    request = PLAIN.request(client) or b""
    if stream:
        request = casebook.asked_to_stream(request, client)
    return casebook.ask(client, provider, request, PLAIN.model(provider))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("provider", PROVIDER_FORMATS)
def test_an_error_of_any_shape_is_the_clients_own(provider, client, stream):
    for name, said in ANSWERS.items():
        where = (name, provider, client)
        body = SHAPES[provider](said.status) if said.body is None else said.body
        headers = {} if said.retry_after is None else {"retry-after": said.retry_after}
        upstream = Upstream(said.kind, (body,), said.status, headers)
        found = casebook.answer(
            asked(provider, client, stream=stream).exchange, upstream
        )
        assert found.status == said.told, where
        assert found.headers["content-type"] == "application/json", where
        assert found.headers["x-extproc-provider"] == provider, where
        assert found.record.outcome == "upstream_error", where

        assert found.headers.get("retry-after") == said.retry_after, where
        obeyed = None if said.asks_again else "false"
        assert found.headers.get("x-should-retry") == obeyed, where

        text = found.body.decode()
        assert not any(one in text for one in SECRETS), where
        error = raised(client, found, stream=stream)
        message = error.body["error"] if client == "anthropic" else error.body
        assert message["message"], where
        assert "<html" not in text, where
        own_words = said.body is None and said.told == said.status
        assert ("slow <down>, ü." in message["message"]) == own_words, where
        is_anthropic = client == "anthropic"
        assert type(error).__name__ == CLASSES[said.told][is_anthropic], where
        shape = (
            {"type", "message"}
            if is_anthropic
            else {"message", "type", "param", "code"}
        )
        assert set(message) == shape, where
        top = {"type", "error"} if is_anthropic else {"error"}
        assert set(json.loads(text)) == top, where


# ---------------------------------------------------------------- inside a stream


def chunk(payload: Any, name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(payload)}\n\n".encode()


def openai_failed(payload: dict[str, Any]) -> bytes:
    response = {
        "id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-5",
        "status": "failed", "output": [], "parallel_tool_calls": True, "tools": [],
        "tool_choice": "auto", "error": payload, "incomplete_details": None,
        "instructions": None, "metadata": {},
    }  # fmt: skip
    event = {"type": "response.failed", "sequence_number": 5, "response": response}
    return chunk(event, "response.failed")


EVENTS: dict[str, dict[str, bytes]] = {
    "openai_chat": {
        "an error": chunk({"error": {"message": WORDS, "type": "server_error"}}),
        "an error with a code": chunk({"error": {"message": WORDS, "code": 502}}),
        "an error as text": chunk({"error": WORDS}),
    },
    "openai_responses": {
        "error": chunk(
            {"type": "error", "sequence_number": 5, "code": "server_error",
             "message": WORDS, "param": None},
            "error",
        ),
        "response.failed": openai_failed({"code": "server_error", "message": WORDS}),
        "rate limit": openai_failed({"code": "rate_limit_exceeded", "message": WORDS}),
    },
    "anthropic": {
        kind: chunk({"type": "error", "error": {"type": kind, "message": WORDS}}, "error")
        for kind in ("overloaded_error", "api_error", "rate_limit_error", "made_up_error")
    },
    "gemini": {
        "unavailable": chunk({"error": {"code": 503, "message": WORDS, "status": "UNAVAILABLE"}}),
        "internal": chunk({"error": {"code": 500, "message": WORDS, "status": "INTERNAL"}}),
    },
    "converse": {
        kind: b"".join(aws_messages([f"!{kind} {json.dumps({'message': WORDS})}"]))
        for kind in (
            "throttlingException", "modelStreamErrorException",
            "internalServerException", "serviceUnavailableException",
            "validationException", "madeUpException",
        )
    },
    "cohere": {
        "finish": chunk(
            {"type": "message-end", "id": "c1",
             "delta": {"finish_reason": "ERROR", "error": WORDS}},
            "message-end",
        ),
    },
}  # fmt: skip
"""How each provider gives up in the middle of a stream that began with 200."""


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("provider", PROVIDER_FORMATS)
def test_an_error_inside_a_stream_is_an_error_event_and_the_end(provider, client):
    begun = NAMED["error_in_stream"].upstreams(provider)["stream"]
    for kind, event in EVENTS[provider].items():
        where = (kind, provider, client)
        # Behind its error a provider says nothing that is still part of the answer.
        broken = Upstream(begun.content_type, (*begun.pieces[:-1], event))
        found = casebook.answer(asked(provider, client, stream=True).exchange, broken)
        assert found.status == 200, where
        assert found.record.outcome == "upstream_error", where
        if provider == client:
            assert found.body.endswith(event), where
            continue
        assert SDKS[client].hear_stream(found.body).error, where
        text = found.body.decode()
        assert not any(one in text for one in SECRETS), where
        assert "slow <down>, ü." in text, where
        assert found.body.endswith(b"\n\n"), where
        assert is_an_error(client, cut(found.body)[-1]), where


def is_an_error(client: str, event: Any) -> bool:
    said = json.loads(event.data)
    if client == "openai_responses":
        return bool(said["type"] == event.name == "response.failed")
    if client == "anthropic":
        return bool(said["type"] == event.name == "error")
    return set(said) == {"error"} and not event.name


@pytest.mark.parametrize("client", CLIENTS)
def test_a_prompt_that_gemini_blocks_is_an_answer_that_was_withheld(client):
    block = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {
        "promptTokenCount": 4, "totalTokenCount": 4}, "modelVersion": "gemini-3.5-flash"}  # fmt: skip
    for stream in (False, True):
        upstream = Upstream("application/json", (json.dumps(block).encode(),))
        if stream:
            upstream = Upstream("text/event-stream", (chunk(block),))
        found = casebook.answer(
            asked("gemini", client, stream=stream).exchange, upstream
        )
        sdk = SDKS[client]
        heard = sdk.hear_stream(found.body) if stream else sdk.hear(found.body, 200)
        assert (heard.finish, heard.error) == ("refused", None)
        assert heard.counts[0] == 4


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("provider", PROVIDER_FORMATS)
def test_a_stream_that_breaks_off_tells_so(provider, client):
    """At every event and inside of them: `test_cases`; here, in whose words."""
    begun = NAMED["error_in_stream"].upstreams(provider)["stream"]
    broken = Upstream(begun.content_type, begun.pieces[:-1])
    found = casebook.answer(asked(provider, client, stream=True).exchange, broken)
    assert (found.record.outcome, found.record.error) == (
        "upstream_error", "upstream_truncated",
    )  # fmt: skip
    last = cut(found.body)[-1]
    assert SDKS[client].hear_stream(found.body).error
    assert is_an_error(client, last)
