"""LangChain against the gateway: three of its model classes over every provider."""

from __future__ import annotations

import pytest

from tests.clients.judge import ECHO, HELLO, USE, USED, over, some

pytestmark = pytest.mark.envoy

SOMEWHERE = pytest.mark.parametrize(
    ("api", "model"), some("chat", "responses", "anthropic")
)
EVERYWHERE = pytest.mark.parametrize(
    ("api", "model"), over("chat", "responses", "anthropic")
)


@EVERYWHERE
def test_invoke_has_text_and_usage(langchain, api, model):
    answer = langchain.value("say", api=api, model=model, text=HELLO)
    assert answer["text"].startswith(ECHO)
    usage = answer["usage"]
    assert usage["input_tokens"] > 0
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


@EVERYWHERE
def test_a_stream_adds_up_to_the_plain_answer_with_its_usage(langchain, api, model):
    ask = {"api": api, "model": model, "text": HELLO}
    # Of its own, langchain-openai asks for usage only where the base URL is OpenAI's.
    asks = {"stream_usage": True} if api == "chat" else {}
    plain = langchain.value("say", **ask)
    came = langchain.value("stream", **ask, **asks)
    assert came["text"] == plain["text"]
    assert came["texts"] > 2
    assert came["usage"]["output_tokens"] == plain["usage"]["output_tokens"]


@pytest.mark.parametrize(("api", "model"), over("chat"))
def test_usage_that_was_not_asked_for_is_not_in_the_stream(langchain, api, model):
    came = langchain.value("stream", api=api, model=model, text=HELLO)
    assert came["text"].startswith(ECHO)
    assert came["usage"] is None


@EVERYWHERE
@pytest.mark.parametrize("streamed", [False, True])
def test_bound_tools_go_round_until_there_is_an_answer(langchain, api, model, streamed):
    came = langchain.value("tools", api=api, model=model, text=USE, streamed=streamed)
    ran = dict(came["ran"])
    assert set(ran) == {"get_weather", "get_time"}
    assert set(ran["get_weather"]) == {"city"}
    assert ran["get_time"] == {}
    assert came["text"].startswith(USED)
    assert came["calls"] == []


METHODS = [
    *((api, model, {}) for api, model in over("chat", "responses", "anthropic")),
    *(
        (api, model, {"method": "function_calling"})
        for api, model in over("chat", "responses")
    ),
    *((api, model, {"strict": True}) for api, model in over("chat", "responses")),
    *((api, model, {"method": "json_schema"}) for api, model in over("anthropic")),
]


@pytest.mark.parametrize(("api", "model", "options"), METHODS)
def test_structured_output(langchain, api, model, options):
    person = langchain.value("structured", api=api, model=model, text="Who?", **options)
    assert person["class"] == "Person"


def test_thinking_goes_round_with_its_signature(langchain, mock):
    came = langchain.value(
        "tools",
        api="anthropic",
        model="claude-sonnet-4-5",
        text="use get_time and think",
        thinking={"type": "enabled", "budget_tokens": 1024},
    )
    assert came["text"].startswith(USED)
    assert b'"signature"' in mock.requests()[-1]["body"]


ERRORS = {400: "BadRequestError", 429: "RateLimitError"}


@SOMEWHERE
@pytest.mark.parametrize("status", ERRORS)
def test_a_providers_error_is_the_sdks_own(langchain, api, model, status):
    text = f"[[mock: status={status}]]"
    for call in ("say", "stream"):
        error = langchain.error(call, api=api, model=model, text=text)
        assert ERRORS[status] in error["kinds"], error
        assert error["status"] == status
