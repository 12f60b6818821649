"""LlamaIndex against the gateway: OpenAILike over every provider."""

from __future__ import annotations

import pytest

from tests.clients.judge import ECHO, HELLO, OPENAI, USED

pytestmark = pytest.mark.envoy


@pytest.mark.parametrize("model", OPENAI)
def test_a_chat_and_its_stream(llama_index, model):
    plain = llama_index.value("say", model=model, text=HELLO)
    assert plain["text"].startswith(ECHO)
    assert plain["usage"]["total_tokens"] > 0
    came = llama_index.value("stream", model=model, text=HELLO)
    assert came["text"] == came["deltas"] == plain["text"]
    assert came["chunks"] > 2


@pytest.mark.parametrize("model", OPENAI)
def test_a_tool_and_its_result(llama_index, model):
    came = llama_index.value("tools", model=model, text="use get_weather please")
    ((name, arguments),) = came["ran"]
    assert (name, set(arguments)) == ("get_weather", {"city"})
    assert came["text"].startswith(USED)


@pytest.mark.parametrize("model", OPENAI)
def test_structured_prediction(llama_index, model):
    person = llama_index.value("structured", model=model, text="Who?")
    assert person["class"] == "Person"


@pytest.mark.parametrize("model", OPENAI)
def test_a_providers_error_is_the_sdks_own(llama_index, model):
    for call in ("say", "stream"):
        error = llama_index.error(call, model=model, text="[[mock: status=429]]")
        assert "RateLimitError" in error["kinds"]
