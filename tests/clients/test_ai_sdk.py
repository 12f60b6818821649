"""The Vercel AI SDK against the gateway: four of its models over every provider."""

from __future__ import annotations

import pytest

from tests.clients.judge import ECHO, HELLO, USE, USED, over, some

pytestmark = [pytest.mark.envoy, pytest.mark.node]

SOMEWHERE = pytest.mark.parametrize(
    ("api", "model"), some("responses", "chat", "compatible", "anthropic")
)
EVERYWHERE = pytest.mark.parametrize(
    ("api", "model"), over("responses", "chat", "compatible", "anthropic")
)


KEPT_NOWHERE = {"providerOptions": {"openai": {"store": False}}}
"""Else the SDK refers to items that it takes to be stored at OpenAI."""


@EVERYWHERE
def test_generate_text_and_stream_text_agree(ai_sdk, api, model):
    ask = {"api": api, "model": model, "prompt": HELLO}
    plain = ai_sdk.value("generate", **ask)
    assert plain["text"].startswith(ECHO)
    assert plain["finishReason"] == "stop"
    assert plain["usage"]["inputTokens"] > 0
    came = ai_sdk.value("stream", **ask)
    assert "".join(came["deltas"]) == plain["text"]
    assert len(came["deltas"]) > 2
    assert came["finishReason"] == "stop"
    assert came["usage"]["outputTokens"] == plain["usage"]["outputTokens"]


@EVERYWHERE
@pytest.mark.parametrize("streamed", [False, True])
def test_tools_run_until_there_is_an_answer(ai_sdk, api, model, streamed):
    came = ai_sdk.value(
        "loop",
        api=api,
        model=model,
        prompt=USE,
        streamed=streamed,
        **(KEPT_NOWHERE if api == "responses" else {}),
    )
    ran = dict(came["ran"])
    assert set(ran["get_weather"]) == {"city"}
    assert ran["get_time"] == {}
    assert came["text"].startswith(USED)
    assert came["steps"] == 2


def test_who_refers_to_items_that_nobody_has_is_told_what_helps(ai_sdk):
    error = ai_sdk.error(
        "loop", api="responses", model="gemini-3.5-flash", prompt=USE, streamed=False
    )
    assert error["status"] == 400
    assert "store: false" in error["message"]


@EVERYWHERE
@pytest.mark.parametrize("streamed", [False, True])
def test_structured_output_by_a_zod_schema(ai_sdk, api, model, streamed):
    person = ai_sdk.value(
        "structured", api=api, model=model, prompt="Who?", streamed=streamed
    )
    assert set(person) == {"name", "age"}


@SOMEWHERE
@pytest.mark.parametrize(("status", "again"), [(400, False), (429, True)])
def test_a_providers_error_is_an_api_call_error(ai_sdk, api, model, status, again):
    for call in ("generate", "stream"):
        error = ai_sdk.error(
            call, api=api, model=model, prompt=f"[[mock: status={status}]]"
        )
        assert error["class"] == "AI_APICallError", error
        assert (error["status"], error["retryable"]) == (status, again)


@SOMEWHERE
def test_an_error_inside_a_stream_is_raised(ai_sdk, api, model):
    error = ai_sdk.error(
        "stream", api=api, model=model, prompt="[[mock: error-mid-stream after=4]]"
    )
    assert error["message"]
