"""Anthropic's npm SDK against the gateway, over every provider."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients.judge import ANTHROPIC, ECHO, HELLO, USE
from tests.harness import KEY

pytestmark = [pytest.mark.envoy, pytest.mark.node]

MODELS = pytest.mark.parametrize("model", ANTHROPIC)
SAY: Any = [{"role": "user", "content": HELLO}]
TOOLS: Any = [
    {
        "name": "get_weather",
        "description": "Tells the weather",
        "input_schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
    {"name": "get_time", "input_schema": {"type": "object", "properties": {}}},
]


@MODELS
def test_a_plain_answer_and_its_stream(anthropic_node, model):
    ask = {"model": model, "max_tokens": 300, "messages": SAY}
    plain = anthropic_node.value("create", **ask)
    message = plain["message"]
    assert message["content"][0]["text"].startswith(ECHO)
    assert plain["requestId"]
    whole = anthropic_node.value("accumulate", **ask)
    assert whole["seen"]["text"] == message["content"][0]["text"]
    assert whole["message"]["content"] == message["content"]
    assert whole["message"]["stop_reason"] == message["stop_reason"] == "end_turn"
    assert (
        whole["message"]["usage"]["output_tokens"] == message["usage"]["output_tokens"]
    )


@MODELS
def test_a_stream_has_anthropics_events_in_their_order(anthropic_node, model):
    came = anthropic_node.value("events", model=model, max_tokens=300, messages=SAY)
    kinds = [event["type"] for event in came["events"]]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("content_block_start") == kinds.count("content_block_stop")


@MODELS
def test_parallel_tool_calls(anthropic_node, model):
    said = [{"role": "user", "content": USE}]
    ask = {"model": model, "max_tokens": 500, "messages": said, "tools": TOOLS}
    for call in ("create", "accumulate"):
        message = anthropic_node.value(call, **ask)["message"]
        calls = [b for b in message["content"] if b["type"] == "tool_use"]
        assert [made["name"] for made in calls] == ["get_weather", "get_time"]
        assert [set(made["input"]) for made in calls] == [{"city"}, set()]
        assert message["stop_reason"] == "tool_use"


@MODELS
@pytest.mark.parametrize("stream", [False, True])
def test_the_tool_runner_goes_round_until_there_is_an_answer(
    anthropic_node, model, stream
):
    """The runner asks for a server-held thread, and where there is none does without."""
    foreign = model != ANTHROPIC[0]
    came = anthropic_node.value(
        "runTools",
        **({} if foreign else {"thread": False}),
        model=model,
        max_tokens=500,
        messages=[{"role": "user", "content": USE}],
        tools=TOOLS,
        stream=stream,
    )
    assert [name for name, _ in came["ran"]] == ["get_weather", "get_time"]
    assert came["message"]["stop_reason"] == "end_turn"


def test_thinking_goes_round_with_its_signature(anthropic_node, mock):
    came = anthropic_node.value(
        "runTools",
        thread=False,
        model="claude-sonnet-4-5",
        max_tokens=3000,
        thinking={"type": "enabled", "budget_tokens": 1024},
        messages=[{"role": "user", "content": "use get_time and think"}],
        tools=TOOLS,
    )
    assert came["message"]["stop_reason"] == "end_turn"
    assert b'"signature"' in mock.requests()[-1]["body"]


ERRORS = {400: "BadRequestError", 404: "NotFoundError", 429: "RateLimitError"}


@MODELS
@pytest.mark.parametrize("status", ERRORS)
def test_a_providers_error_is_the_sdks_own_exception(anthropic_node, model, status):
    said = [{"role": "user", "content": f"[[mock: status={status}]]"}]
    for call in ("create", "events", "accumulate"):
        error = anthropic_node.error(call, model=model, max_tokens=9, messages=said)
        assert (error["class"], error["status"]) == (ERRORS[status], status)
        assert error["body"]["error"]["message"]
        assert error["requestId"]


@MODELS
def test_an_error_inside_a_stream_is_raised(anthropic_node, model):
    said = [{"role": "user", "content": "[[mock: error-mid-stream after=4]]"}]
    came = anthropic_node.value("events", model=model, max_tokens=300, messages=said)
    assert came["error"]["body"]["type"] == "error"


def test_tokens_are_counted(anthropic_node):
    count = anthropic_node.value("count", model="claude-sonnet-4-5", messages=SAY)
    assert count["input_tokens"] > 0


def test_models(anthropic_node):
    models = {model["id"]: model for model in anthropic_node.value("models")}
    assert {"gpt-4o", "claude-sonnet-4-5"} <= set(models)
    assert anthropic_node.value("model", id="mapped") == models["mapped"]
    assert anthropic_node.error("model", id="nobody")["class"] == "NotFoundError"


def test_a_token_is_as_good_as_a_key(anthropic_node):
    client = {"apiKey": None, "authToken": KEY}
    ask = {"model": "gpt-4o", "max_tokens": 300, "messages": SAY}
    assert anthropic_node.value("create", client, **ask)["status"] == 200
    wrong = {"apiKey": None, "authToken": "sk-no"}
    assert (
        anthropic_node.error("create", wrong, **ask)["class"] == "AuthenticationError"
    )
