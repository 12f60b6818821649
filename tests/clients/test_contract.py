"""What all clients together need of a gateway, point by point, over plain HTTP.

Open WebUI, LibreChat, Cline and Continue are as they are known to ask: with headers and
fields of their own, and with a list of models that is fetched again and again.
"""

from __future__ import annotations

import gzip
import json
import time
from typing import Any

import httpx
import pytest
import zstandard

from tests.clients.conftest import LIMITED_KEY
from tests.clients.judge import ANTHROPIC, ECHO, HELLO, OPENAI
from tests.harness import KEY, NARROW_KEY

pytestmark = pytest.mark.envoy

CHAT = "/v1/chat/completions"
PATHS = {"chat": CHAT, "responses": "/v1/responses", "anthropic": "/v1/messages"}
VERSION = {"anthropic-version": "2023-06-01"}


def ask(api: str, model: str, text: str = HELLO, **more: Any) -> dict[str, Any]:
    if api == "responses":
        return {"model": model, "input": text, **more}
    said = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    return {"max_tokens": 300, **said} if api == "anthropic" else said


def payloads(answer: httpx.Response) -> list[Any]:
    """Return the data of a stream's events."""
    assert answer.status_code == 200, answer.text
    lines = [
        line.removeprefix("data: ")
        for line in answer.text.split("\n")
        if line.startswith("data: ")
    ]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


# ------------------------------------------------- 1: models, 11: who asks


@pytest.mark.parametrize(
    "credential",
    [{"authorization": f"Bearer {KEY}"}, {"x-api-key": KEY}],
    ids=lambda headers: next(iter(headers)),
)
@pytest.mark.parametrize("version", [{}, VERSION], ids=["openai", "anthropic"])
def test_models_are_listed_in_both_shapes_by_both_credentials(
    world, credential, version
):
    answer = httpx.get(f"{world[0].url}/v1/models", headers={**credential, **version})
    listed = answer.json()
    assert {"gpt-4o", "sonnet"} <= {model["id"] for model in listed["data"]}
    if version:
        assert listed["has_more"] is False
        assert {model["type"] for model in listed["data"]} == {"model"}
    else:
        assert listed["object"] == "list"
        assert {model["object"] for model in listed["data"]} == {"model"}


def test_a_key_sees_its_own_models_only(world):
    headers = {"authorization": f"Bearer {NARROW_KEY}"}
    for version in ({}, VERSION):
        answer = httpx.get(f"{world[0].url}/v1/models", headers={**headers, **version})
        assert [model["id"] for model in answer.json()["data"]] == ["gpt-4o"]


def test_models_can_be_polled(http, mock):
    began = time.monotonic()
    for _ in range(50):
        assert http.get("/v1/models").status_code == 200
    assert time.monotonic() - began < 5
    assert mock.requests() == []


@pytest.mark.parametrize("api", PATHS)
def test_each_api_takes_a_bearer_token_or_an_api_key(world, api):
    for headers in ({"authorization": f"Bearer {KEY}"}, {"x-api-key": KEY}):
        answer = httpx.post(
            f"{world[0].url}{PATHS[api]}", json=ask(api, "gpt-4o"), headers=headers
        )
        assert answer.status_code == 200


# ------------------------------------------------- 2: limits of tokens


@pytest.mark.parametrize("model", OPENAI)
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_either_limit_of_tokens_is_understood(http, model, name):
    limit: dict[str, Any] = {name: 5}
    answer = http.post(CHAT, json=ask("chat", model) | limit)
    assert answer.json()["choices"][0]["finish_reason"] == "length"


# ------------------------------------------------- 3, 4: streams


@pytest.mark.parametrize("model", OPENAI)
def test_usage_is_asked_for_upstream_and_told_to_who_asked(http, mock, model):
    quiet = payloads(http.post(CHAT, json=ask("chat", model, stream=True)))
    assert not [chunk for chunk in quiet[:-1] if chunk.get("usage")]
    told = payloads(
        http.post(
            CHAT,
            json=ask(
                "chat", model, stream=True, stream_options={"include_usage": True}
            ),
        )
    )
    assert told[-2]["choices"] == []
    assert told[-2]["usage"]["total_tokens"] > 0
    if model == "gpt-4o":
        for request in mock.requests():
            sent = json.loads(request["body"])
            assert sent["stream_options"]["include_usage"] is True


@pytest.mark.parametrize("model", OPENAI)
def test_each_stream_ends_as_its_api_has_it(http, model):
    chat = payloads(http.post(CHAT, json=ask("chat", model, stream=True)))
    assert chat[-1] == "[DONE]"
    assert chat[-2]["choices"][0]["finish_reason"] == "stop"
    said = http.post("/v1/responses", json=ask("responses", model, stream=True))
    assert payloads(said)[-1]["type"] == "response.completed"
    said = http.post("/v1/messages", json=ask("anthropic", model, stream=True))
    assert payloads(said)[-1] == {"type": "message_stop"}


# ------------------------------------------------- 5: silence


@pytest.mark.parametrize("api", PATHS)
def test_an_upstream_ping_keeps_the_client_awake_in_its_own_way(http, api):
    """Anthropic pings; a chat or Responses client gets a comment, alone on its line."""
    answer = http.post(PATHS[api], json=ask(api, "claude-sonnet-4-5", stream=True))
    lines = answer.text.split("\n")
    if api == "anthropic":
        assert "event: ping" in lines
        return
    comments = [n for n, line in enumerate(lines) if line.startswith(":")]
    assert comments
    # Never inside an event, and no event of nothing after it.
    assert all(not lines[n - 1] or n == 0 for n in comments)
    assert all(lines[n + 1] for n in comments)


# ------------------------------------------------- 6: errors


@pytest.mark.parametrize("api", PATHS)
@pytest.mark.parametrize("model", ANTHROPIC)
@pytest.mark.parametrize("status", [400, 429, 503])
def test_errors_have_the_callers_shape_and_the_providers_status(
    http, api, model, status
):
    text = f"[[mock: status={status} retry-after=7]]"
    answer = http.post(PATHS[api], json=ask(api, model, text))
    assert answer.status_code == status
    assert answer.headers["retry-after"] == "7"
    assert answer.headers["x-request-id"]
    assert "x-should-retry" not in answer.headers
    body = answer.json()
    assert body["error"]["message"]
    if api == "anthropic":
        assert answer.headers["request-id"]
        assert body["type"] == "error"
    else:
        assert set(body["error"]) >= {"message", "type", "param", "code"}


@pytest.mark.parametrize("api", PATHS)
def test_who_would_wait_too_long_is_told_not_to(http, api):
    for model in ("gpt-4o", "claude-sonnet-4-5"):
        text = "[[mock: status=429 retry-after=3600]]"
        answer = http.post(PATHS[api], json=ask(api, model, text))
        assert answer.headers["retry-after"] == "3600"
        assert answer.headers["x-should-retry"] == "false"


# ------------------------------------------------- 7: bodies


@pytest.mark.parametrize(
    ("coding", "encode"), [("gzip", gzip.compress), ("zstd", zstandard.compress)]
)
@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-5"])
def test_compressed_bodies_are_read(http, coding, encode, model):
    answer = http.post(
        CHAT,
        content=encode(json.dumps(ask("chat", model)).encode()),
        headers={"content-type": "application/json", "content-encoding": coding},
    )
    assert answer.json()["choices"][0]["message"]["content"].startswith(ECHO)


def test_a_body_of_just_under_32_mib_reaches_its_provider(http, mock):
    pad = " " * ((32 << 20) - 1000)
    body = json.dumps(ask("chat", "gpt-4o"))[:-1] + pad + "}"
    answer = http.post(CHAT, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200, answer.text
    (seen,) = mock.requests()
    assert len(seen["body"]) == len(body)


# ------------------------------------------------- 9: nothing touched


def test_unknown_fields_and_beta_headers_pass_where_nothing_is_translated(http, mock):
    asked = ask("chat", "gpt-4o", brand_new={"a": [1, 2.50]})
    answer = http.post(CHAT, json=asked, headers={"openai-beta": "x=1"})
    assert "brand_new" in answer.json()["error"]["message"]  # OpenAI's own refusal
    asked = ask("anthropic", "claude-sonnet-4-5", brand_new=1)
    http.post("/v1/messages", json=asked, headers={**VERSION, "anthropic-beta": "a,b"})
    first, second = mock.requests()
    assert b'"brand_new":{"a":[1,2.5' in first["body"].replace(b" ", b"")
    assert first["headers"]["openai-beta"] == "x=1"
    assert b"brand_new" in second["body"]
    assert second["headers"]["anthropic-beta"] == "a,b"


# ------------------------------------------------- 10: limits


@pytest.mark.parametrize("api", PATHS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-5", "gemini-3.5-flash"])
def test_what_is_left_of_a_keys_limits_is_told_in_its_own_dialect(
    world, api, stream, model
):
    answer = httpx.post(
        f"{world[0].url}{PATHS[api]}",
        json=ask(api, model, stream=stream),
        headers={"authorization": f"Bearer {LIMITED_KEY}"},
    )
    assert answer.status_code == 200, answer.text
    names = (
        [f"anthropic-ratelimit-{n}" for n in ("requests-limit", "tokens-limit")]
        if api == "anthropic"
        else [f"x-ratelimit-limit-{n}" for n in ("requests", "tokens")]
    )
    assert [answer.headers[name] for name in names] == ["1000", "1000000"]
    # What the provider says of the gateway's own account is nobody's business.
    told = {name for name in answer.headers if "ratelimit" in name}
    assert len(told) == 6
    assert {name.startswith("anthropic-") for name in told} == {api == "anthropic"}


# ------------------------------------------------- applications


OPEN_WEBUI = {
    "user-agent": "Python/3.11 aiohttp/3.12",
    "x-openwebui-user-name": "Ren%C3%A9",
    "x-openwebui-user-id": "1",
    "x-openwebui-user-email": "a@example.org",
    "x-openwebui-user-role": "user",
    "x-openwebui-chat-id": "00000000-0000-4000-8000-000000000000",
    "x-openwebui-message-id": "1",
    "x-openwebui-task": "title_generation",
}


@pytest.mark.parametrize("model", OPENAI)
def test_open_webui_chats_and_names_its_chats(http, model):
    said = [{"role": "system", "content": "Be brief."}, *ask("chat", model)["messages"]]
    chat = {"model": model, "messages": said, "stream": True}
    assert payloads(http.post(CHAT, json=chat, headers=OPEN_WEBUI))[-1] == "[DONE]"
    title = {**chat, "stream": False, "max_completion_tokens": 1000}
    answer = http.post(CHAT, json=title, headers=OPEN_WEBUI)
    assert answer.json()["choices"][0]["message"]["content"].startswith(ECHO)


@pytest.mark.parametrize("model", OPENAI)
def test_librechat_sends_what_its_sliders_say(http, model):
    said = ask(
        "chat",
        model,
        stream=True,
        stream_options={"include_usage": True},
        user="000000000000000000000000",
        temperature=1,
        top_p=1,
        presence_penalty=0,
        frequency_penalty=0,
    )
    chunks = payloads(http.post(CHAT, json=said))
    assert chunks[-1] == "[DONE]"
    assert chunks[-2]["usage"]["total_tokens"] > 0


READ: Any = {
    "type": "function",
    "function": {
        "name": "read_file",
        "description": "Reads a file",
        "parameters": {
            "type": "object",
            "properties": {"path": {"type": "string"}},
            "required": ["path"],
            "additionalProperties": False,
        },
    },
}


@pytest.mark.parametrize("model", OPENAI)
def test_cline_puts_tool_deltas_together_by_their_index(http, model):
    said: list[Any] = [
        {"role": "system", "content": [{"type": "text", "text": "You are Cline."}]},
        {"role": "user", "content": [{"type": "text", "text": "use read_file please"}]},
    ]
    asked = {
        "model": model,
        "messages": said,
        "tools": [READ],
        "tool_choice": "auto",
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    calls: dict[int, dict[str, Any]] = {}
    text = ""
    for chunk in payloads(http.post(CHAT, json=asked))[:-1]:
        for choice in chunk["choices"]:
            text += choice["delta"].get("content") or ""
            for delta in choice["delta"].get("tool_calls") or ():
                call = calls.setdefault(delta["index"], {"arguments": ""})
                call["id"] = delta.get("id") or call["id"]
                made = delta["function"]
                call["name"] = made.get("name") or call["name"]
                call["arguments"] += made.get("arguments") or ""
    assert list(calls) == [0]
    assert set(json.loads(calls[0]["arguments"])) == {"path"}
    turn = {
        "role": "assistant",
        "content": text or None,
        "tool_calls": [
            {
                "id": calls[0]["id"],
                "type": "function",
                "function": {
                    "name": calls[0]["name"],
                    "arguments": calls[0]["arguments"],
                },
            }
        ],
    }
    result = {"role": "tool", "tool_call_id": calls[0]["id"], "content": "a = 1"}
    last = http.post(CHAT, json={**asked, "messages": [*said, turn, result]})
    deltas = [c["choices"][0]["delta"] for c in payloads(last)[:-1] if c["choices"]]
    assert "a = 1" in "".join(delta.get("content") or "" for delta in deltas)
