"""LiteLLM as a client of the gateway, over every provider."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.judge import ECHO, HELLO, OPENAI, USED, over, some

pytestmark = pytest.mark.envoy

SOMEWHERE = pytest.mark.parametrize(("api", "model"), some("openai", "anthropic"))
EVERYWHERE = pytest.mark.parametrize(("api", "model"), over("openai", "anthropic"))
SAY: Any = [{"role": "user", "content": HELLO}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


@EVERYWHERE
def test_a_completion_and_its_stream(litellm, api, model):
    ask = {"api": api, "model": model, "messages": SAY, "max_tokens": 300}
    plain = litellm.value("chat", **ask)
    message = plain["choices"][0]["message"]
    assert message["content"].startswith(ECHO)
    came = litellm.value("stream", **ask)
    assert came["choices"][0]["message"]["content"] == message["content"]
    assert came["chunks"] > 2
    for name in ("prompt_tokens", "completion_tokens"):
        assert came["usage"][name] == plain["usage"][name] > 0


@EVERYWHERE
@pytest.mark.parametrize("call", ["chat", "stream"])
def test_a_tool_and_its_result(litellm, api, model, call):
    said: Any = [{"role": "user", "content": "use get_weather please"}]
    ask = {"api": api, "model": model, "tools": [WEATHER], "max_tokens": 300}
    message = litellm.value(call, **ask, messages=said)["choices"][0]["message"]
    (made,) = message["tool_calls"]
    assert set(json.loads(made["function"]["arguments"])) == {"city"}
    said += [
        {"role": "assistant", "content": None, "tool_calls": [made]},
        {"role": "tool", "tool_call_id": made["id"], "content": "sunny"},
    ]
    answer = litellm.value(call, **ask, messages=said)
    assert answer["choices"][0]["message"]["content"].startswith(USED)


def text_of(response: Any) -> str:
    (message,) = [item for item in response["output"] if item["type"] == "message"]
    return str(message["content"][0]["text"])


@pytest.mark.parametrize("model", OPENAI)
def test_responses_whole_and_streamed(litellm, model):
    ask = {"api": "openai", "model": model, "input": HELLO}
    plain = litellm.value("responses", **ask)
    assert text_of(plain).startswith(ECHO)
    came = litellm.value("responses", **ask, stream=True)
    assert came["kinds"][0] == "response.created"
    assert came["kinds"][-1] == "response.completed"
    assert text_of(came["response"]) == text_of(plain)


@SOMEWHERE
@pytest.mark.parametrize(
    ("status", "kind"), [(400, "BadRequestError"), (429, "RateLimitError")]
)
def test_a_providers_error_is_litellms_own(litellm, api, model, status, kind):
    said = [{"role": "user", "content": f"[[mock: status={status}]]"}]
    for call in ("chat", "stream"):
        error = litellm.error(call, api=api, model=model, messages=said, max_tokens=300)
        assert error["class"] == kind, error
        assert error["status"] == status
