"""The official Anthropic SDK against the gateway, over both providers."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import pytest

from tests.harness import BEDROCK, KEY

pytestmark = pytest.mark.envoy

MODELS = ["sonnet", "gpt-4o", "gemini-2.5-flash", BEDROCK]
"""The same format in and out, and another."""
SAY: Any = [{"role": "user", "content": "Say something nice"}]
WEATHER: Any = {
    "name": "get_weather",
    "description": "Tells the weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
CLOCK: Any = {"name": "get_time", "input_schema": {"type": "object"}}


@pytest.fixture
def client(peers):
    with anthropic.Anthropic(
        base_url=peers.gateway.url, api_key=KEY, max_retries=0
    ) as client:
        yield client


@pytest.mark.parametrize("model", MODELS)
def test_a_plain_answer(client, model):
    answer = client.messages.create(model=model, max_tokens=100, messages=SAY)
    assert answer.content[0].text.startswith("You said: Say something nice")
    assert answer.stop_reason == "end_turn"
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0


@pytest.mark.parametrize("model", MODELS)
def test_a_stream_adds_up_to_the_plain_answer(client, model):
    ask = {"model": model, "max_tokens": 100, "messages": SAY}
    plain = client.messages.create(**ask)
    with client.messages.stream(**ask) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert text == plain.content[0].text
    assert message.stop_reason == plain.stop_reason
    assert message.usage.output_tokens == plain.usage.output_tokens


@pytest.mark.parametrize("model", MODELS)
def test_tools_and_their_results(client, model):
    ask = {"model": model, "max_tokens": 500, "tools": [WEATHER, CLOCK]}
    messages: Any = [{"role": "user", "content": "use get_weather and get_time"}]
    with client.messages.stream(**ask, messages=messages) as stream:
        message = stream.get_final_message()
    assert message.stop_reason == "tool_use"
    calls = [block for block in message.content if block.type == "tool_use"]
    assert [call.name for call in calls] == ["get_weather", "get_time"]
    assert calls[1].input == {}
    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": "fine"}
        for call in calls
    ]
    turn = [block.model_dump(exclude_none=True) for block in message.content]
    for block in turn:
        for name in set(block) - {"type", "text", "id", "name", "input"}:
            del block[name]
    answer = client.messages.create(
        **ask,
        messages=[
            *messages,
            {"role": "assistant", "content": turn},
            {"role": "user", "content": results},
        ],
    )
    assert answer.stop_reason == "end_turn"


ERRORS: dict[int, Any] = {
    400: anthropic.BadRequestError,
    404: anthropic.NotFoundError,
    429: anthropic.RateLimitError,
    500: anthropic.InternalServerError,
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("status", ERRORS)
def test_a_providers_error_is_the_sdks_own_exception(client, model, status):
    say: Any = [{"role": "user", "content": f"[[mock: status={status}]]"}]
    with pytest.raises(ERRORS[status]) as caught:
        client.messages.create(model=model, max_tokens=100, messages=say)
    assert caught.value.status_code == status
    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["message"]


@pytest.mark.parametrize("model", MODELS)
def test_an_error_inside_a_stream_is_raised(client, model):
    say: Any = [{"role": "user", "content": "[[mock: error-mid-stream after=4]]"}]
    with (
        pytest.raises(anthropic.APIStatusError),
        client.messages.stream(model=model, max_tokens=100, messages=say) as stream,
    ):
        stream.get_final_message()


def test_a_wrong_key_and_an_unknown_model(peers, client):
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(model="nobody", max_tokens=9, messages=SAY)
    with (
        anthropic.Anthropic(
            base_url=peers.gateway.url, api_key="sk-no", max_retries=0
        ) as wrong,
        pytest.raises(anthropic.AuthenticationError) as caught,
    ):
        wrong.messages.create(model="gpt-4o", max_tokens=9, messages=SAY)
    body: Any = caught.value.body
    assert body["error"]["type"] == "authentication_error"
    assert peers.mock.requests() == []


def test_models_are_listed_in_anthropics_shape(client):
    names = [model.id for model in client.models.list()]
    assert {"gpt-4o", "claude-sonnet-4-5"} <= set(names)
    assert client.models.retrieve("mapped").display_name == "mapped"


def test_the_clients_bytes_version_and_beta_reach_anthropic(peers):
    body = (
        b'{"model": "claude-sonnet-4-5" ,"max_tokens":64,"system":[{"type":"text",'
        b'"text":"x","cache_control":{"type":"ephemeral"}}],\n'
        b'"messages":[{"role":"user","content":"caf\xc3\xa9"}]}'
    )
    answer = peers.http.post(
        "/v1/messages?beta=true",
        content=body,
        headers={
            "content-type": "application/json",
            "anthropic-version": "2023-06-01",
            "anthropic-beta": "context-1m-2025-08-07",
        },
    )
    assert answer.status_code == 200, answer.text
    (request,) = peers.mock.requests()
    assert request["body"] == body
    assert request["headers"]["anthropic-beta"] == "context-1m-2025-08-07"
    assert request["headers"]["anthropic-version"] == "2023-06-01"


def test_anthropics_headers_do_not_reach_openai(peers):
    body = {"model": "gpt-4o", "max_tokens": 64, "messages": SAY}
    answer = peers.http.post(
        "/v1/messages",
        json=body,
        headers={"anthropic-version": "2023-06-01", "anthropic-beta": "a"},
    )
    assert answer.status_code == 200, answer.text
    headers = peers.mock.requests()[0]["headers"]
    assert not [name for name in headers if name.startswith("anthropic")]
    assert json.loads(peers.mock.requests()[0]["body"])["max_completion_tokens"] == 64


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("sonnet", "/v1/messages/count_tokens"),
        ("gpt-4o", "/v1/responses/input_tokens"),
    ],
)
def test_tokens_are_counted_by_whoever_serves_the_model(peers, client, model, path):
    count = client.messages.count_tokens(model=model, messages=SAY)
    assert count.input_tokens > 0
    assert peers.mock.requests()[0]["path"].partition("?")[0] == path
