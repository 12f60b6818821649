"""openai-agents against the gateway: Responses and chat over every provider."""

from __future__ import annotations

import pytest

from tests.clients.judge import ECHO, HELLO, USE, USED, over, some

pytestmark = pytest.mark.envoy

SOMEWHERE = pytest.mark.parametrize(("api", "model"), some("responses", "chat"))
EVERYWHERE = pytest.mark.parametrize(("api", "model"), over("responses", "chat"))


@EVERYWHERE
def test_an_agent_answers_and_streams_the_same(openai_agents, api, model):
    ask = {"api": api, "model": model, "text": HELLO}
    plain = openai_agents.value("say", **ask)
    assert plain["text"].startswith(ECHO)
    assert min(plain["usage"].values()) > 0
    run = openai_agents.value("stream", **ask)
    assert run["text"] == "".join(run["deltas"]) == plain["text"]
    assert run["usage"] == plain["usage"]


@EVERYWHERE
@pytest.mark.parametrize("call", ["say", "stream"])
def test_an_agent_uses_its_tools(openai_agents, api, model, call):
    run = openai_agents.value(call, api=api, model=model, text=USE)
    assert [kind for kind in run["items"] if kind != "reasoning_item"] == [
        "tool_call_item",
        "tool_call_item",
        "tool_call_output_item",
        "tool_call_output_item",
        "message_output_item",
    ]
    assert run["text"].startswith(USED)
    assert run["usage"]["requests"] == 2


@EVERYWHERE
@pytest.mark.parametrize("call", ["say", "stream"])
def test_an_agent_hands_over_to_another(openai_agents, api, model, call):
    run = openai_agents.value(
        call, api=api, model=model, text="transfer_to_clerk please"
    )
    assert run["agent"] == "clerk"
    assert {"handoff_call_item", "handoff_output_item"} <= set(run["items"])
    assert run["text"]


@EVERYWHERE
def test_all_that_was_said_can_be_gone_on_from(openai_agents, api, model):
    run = openai_agents.value("twice", api=api, model=model, text=USE, then=HELLO)
    assert run["text"].startswith(ECHO)


@EVERYWHERE
def test_structured_output(openai_agents, api, model):
    person = openai_agents.value("structured", api=api, model=model, text="Who?")
    assert person["class"] == "Person"


@SOMEWHERE
@pytest.mark.parametrize(
    ("status", "kind"), [(400, "BadRequestError"), (429, "RateLimitError")]
)
def test_a_providers_error_is_the_sdks_own(openai_agents, api, model, status, kind):
    text = f"[[mock: status={status}]]"
    for call in ("say", "stream"):
        error = openai_agents.error(call, api=api, model=model, text=text)
        assert kind in error["kinds"], error
        assert error["status"] == status
