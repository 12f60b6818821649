"""The official Python SDK against the gateway, as its users have it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pydantic
import pytest

from tests.harness import BEDROCK, KEY

pytestmark = pytest.mark.envoy

MODELS = ["gpt-4o", "claude-sonnet-4-5", "gemini-2.5-flash", BEDROCK]
"""The same format in and out, and another."""
SAY: Any = [{"role": "user", "content": "Say something nice"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["c", "f"]},
            },
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}
CLOCK: Any = {"type": "function", "function": {"name": "get_time"}}


@pytest.fixture
def client(peers):
    with openai.OpenAI(base_url=peers.base_url, api_key=KEY, max_retries=0) as client:
        yield client


@pytest.mark.parametrize("model", MODELS)
def test_a_plain_answer(client, model):
    answer = client.chat.completions.create(model=model, messages=SAY)
    assert answer.choices[0].message.content.startswith("You said: Say something nice")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == (
        answer.usage.prompt_tokens + answer.usage.completion_tokens
    )
    assert answer.usage.completion_tokens > 0
    assert answer._request_id


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("asked", [False, True])
def test_a_stream_and_its_usage(client, model, asked):
    plain = client.chat.completions.create(model=model, messages=SAY)
    options = {"stream_options": {"include_usage": True}} if asked else {}
    stream = client.chat.completions.create(
        model=model, messages=SAY, stream=True, **options
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == plain.choices[0].message.content
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert stream.response.headers["content-type"].startswith("text/event-stream")
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    if asked:
        assert len(usages) == 1
        assert usages[0].completion_tokens == plain.usage.completion_tokens
        assert chunks[-1].choices == []
    else:
        assert usages == []
        assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("streamed", [False, True])
def test_parallel_tool_calls_and_their_results(client, model, streamed):
    messages = [{"role": "user", "content": "use get_weather and get_time please"}]
    ask = {"model": model, "messages": messages, "tools": [WEATHER, CLOCK]}
    if streamed:
        with client.chat.completions.stream(**ask) as stream:
            message = stream.get_final_completion().choices[0].message
    else:
        message = client.chat.completions.create(**ask).choices[0].message
    calls = {call.function.name: call for call in message.tool_calls}
    assert set(calls) == {"get_weather", "get_time"}
    weather = json.loads(calls["get_weather"].function.arguments)
    assert set(weather) == {"city", "unit"}
    assert json.loads(calls["get_time"].function.arguments) == {}

    results = [
        {"role": "tool", "tool_call_id": call.id, "content": f"{name} is fine"}
        for name, call in calls.items()
    ]
    turn = {
        "role": "assistant",
        "content": message.content,
        "tool_calls": [call.model_dump(exclude_none=True) for call in calls.values()],
    }
    for call in turn["tool_calls"]:
        call.pop("index", None)
        call["function"].pop("parsed_arguments", None)
    answer = client.chat.completions.create(
        model=model, messages=[*messages, turn, *results], tools=[WEATHER, CLOCK]
    )
    assert answer.choices[0].message.content


@pytest.mark.parametrize("model", MODELS)
def test_a_forced_tool(client, model):
    answer = client.chat.completions.create(
        model=model,
        messages=SAY,
        tools=[WEATHER, CLOCK],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
    )
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "get_weather"


def test_thinking_goes_out_and_comes_back_with_its_signature(client, peers):
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    ask = {"model": "claude-sonnet-4-5", "max_tokens": 3000, "tools": [CLOCK]}
    messages = [{"role": "user", "content": "call get_time and think"}]
    first = client.chat.completions.create(
        **ask, messages=messages, extra_body=thinking
    )
    message = first.choices[0].message.model_dump(exclude_none=True)
    (block,) = message["thinking_blocks"]
    assert message["reasoning_content"] == block["thinking"]
    assert block["signature"]
    # The mock refuses a thought that is not the one that it signed.
    again = [
        *messages,
        message,
        {
            "role": "tool",
            "tool_call_id": message["tool_calls"][0]["id"],
            "content": "12",
        },
    ]
    second = client.chat.completions.create(**ask, messages=again, extra_body=thinking)
    assert second.choices[0].message.content
    sent = json.loads(peers.mock.requests()[-1]["body"])
    assert sent["messages"][1]["content"][0]["signature"] == block["signature"]


ERRORS: dict[int, Any] = {
    400: openai.BadRequestError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    503: openai.InternalServerError,
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("status", ERRORS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_providers_error_is_the_sdks_own_exception(client, model, status, stream):
    say: Any = [{"role": "user", "content": f"[[mock: status={status}]]"}]
    with pytest.raises(ERRORS[status]) as caught:
        client.chat.completions.create(model=model, messages=say, stream=stream)
    assert caught.value.status_code == status
    assert caught.value.body["message"]
    assert set(caught.value.body) >= {"message", "type", "param", "code"}


@pytest.mark.parametrize("model", MODELS)
def test_an_overloaded_provider_is_an_error_the_sdk_retries(client, model):
    say: Any = [{"role": "user", "content": "[[mock: status=529]]"}]
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model=model, messages=say)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("status", [429, 500])
def test_the_sdk_retries_and_then_succeeds(peers, model, status):
    directive = (
        f"[[mock: fail-first n=2 key={model}-{status}-{peers.gateway.edge} "
        f"status={status} retry-after=0]]"
    )
    with openai.OpenAI(base_url=peers.base_url, api_key=KEY, max_retries=2) as client:
        answer = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": f"{directive} hello"}]
        )
    assert answer.choices[0].message.content
    assert len(peers.mock.requests()) == 3


def test_retry_after_reaches_the_client(client):
    say: Any = [{"role": "user", "content": "[[mock: status=429 retry-after=7]]"}]
    for model in MODELS:
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model=model, messages=say)
        assert caught.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize("model", MODELS)
def test_an_error_inside_a_stream_is_raised(client, model):
    say: Any = [{"role": "user", "content": "[[mock: error-mid-stream after=4]]"}]
    stream = client.chat.completions.create(model=model, messages=say, stream=True)
    with pytest.raises(openai.APIError):
        list(stream)


@pytest.mark.parametrize("model", MODELS)
def test_a_stream_that_ends_too_early_is_raised(client, model):
    say: Any = [{"role": "user", "content": "[[mock: truncate after=4]]"}]
    stream = client.chat.completions.create(model=model, messages=say, stream=True)
    with pytest.raises(openai.APIError, match="ended"):
        list(stream)


@pytest.mark.parametrize("model", MODELS)
def test_the_sdk_times_out_by_its_own_clock(peers, model):
    say: Any = [{"role": "user", "content": "[[mock: silence seconds=3]]"}]
    with (
        openai.OpenAI(
            base_url=peers.base_url, api_key=KEY, max_retries=0, timeout=0.5
        ) as client,
        pytest.raises(openai.APITimeoutError),
    ):
        client.chat.completions.create(model=model, messages=say)


def test_a_wrong_key_and_an_unknown_model(peers, client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nobody", messages=SAY)
    assert caught.value.code == "model_not_found"
    with (
        openai.OpenAI(base_url=peers.base_url, api_key="sk-no", max_retries=0) as wrong,
        pytest.raises(openai.AuthenticationError),
    ):
        wrong.models.list()
    assert peers.mock.requests() == []


def test_models(client):
    names = [model.id for model in client.models.list()]
    assert {"gpt-4o", "claude-sonnet-4-5", "mapped"} <= set(names)
    assert client.models.retrieve("mapped").id == "mapped"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")


def test_many_at_once_with_the_async_client(peers):
    async def main():
        async with openai.AsyncOpenAI(
            base_url=peers.base_url, api_key=KEY, max_retries=0
        ) as client:

            async def one(n):
                stream = await client.chat.completions.create(
                    model=MODELS[n % 2],
                    messages=[{"role": "user", "content": f"number {n}"}],
                    stream=True,
                )
                return "".join(
                    [chunk.choices[0].delta.content or "" async for chunk in stream]
                )

            return await asyncio.gather(*(one(n) for n in range(40)))

    answers = asyncio.run(main())
    assert all(f"number {n}" in answer for n, answer in enumerate(answers))


@pytest.mark.parametrize("model", MODELS)
def test_structured_output(client, model):
    class Person(pydantic.BaseModel):
        name: str
        age: int

    answer = client.chat.completions.parse(
        model=model, messages=SAY, response_format=Person
    )
    assert isinstance(answer.choices[0].message.parsed, Person)
