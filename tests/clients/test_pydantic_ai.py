"""pydantic-ai against the gateway: three of its models over every provider."""

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
def test_an_agent_answers_and_counts(pydantic_ai, api, model):
    run = pydantic_ai.value("say", api=api, model=model, text=HELLO)
    assert run["text"].startswith(ECHO)
    assert run["usage"]["requests"] == 1
    assert min(run["usage"].values()) > 0


@EVERYWHERE
def test_an_agent_streams_what_it_would_say(pydantic_ai, api, model):
    ask = {"api": api, "model": model, "text": HELLO}
    plain = pydantic_ai.value("say", **ask)
    run = pydantic_ai.value("stream", **ask)
    assert run["text"] == plain["text"]
    assert run["deltas"] > 2
    assert run["usage"] == plain["usage"]


@EVERYWHERE
@pytest.mark.parametrize("call", ["say", "stream"])
def test_an_agent_uses_its_tools(pydantic_ai, api, model, call):
    run = pydantic_ai.value(call, api=api, model=model, text=USE)
    assert run["text"].startswith(USED)
    assert run["usage"]["requests"] == 2
    if call == "say":
        assert [name for kind, name in run["parts"] if kind == "tool-call"] == [
            "get_weather",
            "get_time",
        ]


STRUCTURED = [
    (api, model, mode)
    for api, model in over("chat", "responses", "anthropic")
    for mode in ("tool", "native")
    # By the name of a model that is not Claude's pydantic-ai knows that it cannot.
    if mode == "tool" or api != "anthropic" or "claude" in model
]


@pytest.mark.parametrize(("api", "model", "mode"), STRUCTURED)
def test_structured_output(pydantic_ai, api, model, mode):
    person = pydantic_ai.value(
        "structured", api=api, model=model, text="final_result: who?", mode=mode
    )
    assert person["class"] == "Person"


@SOMEWHERE
def test_a_providers_error_has_its_status(pydantic_ai, api, model):
    for call in ("say", "stream"):
        error = pydantic_ai.error(
            call, api=api, model=model, text="[[mock: status=429 retry-after=1]]"
        )
        assert "ModelHTTPError" in error["kinds"], error
        assert error["status"] == 429
