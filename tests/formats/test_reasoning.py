"""Efforts, budgets and levels: the words of each API for how much a model is to reason."""

from __future__ import annotations

import itertools
import json
from typing import Any, get_args

import msgspec
import pytest
from openai.types import ChatModel, ReasoningEffort

from extproc import canonical as c
from extproc.formats import (
    anthropic,
    converse,
    gemini,
    openai_chat,
    openai_responses,
    reasoning,
)
from extproc.formats.base import Rendered
from extproc.formats.reasoning import (
    BUDGETS,
    EFFORTS,
    SHARES,
    effort_of,
    openai_efforts,
    plan_openai,
)
from extproc.framing.members import read_members
from extproc.local.mock.openai.models import MODELS

HELLO = [{"role": "user", "content": "Hello"}]


def members(value: Any) -> Any:
    body = msgspec.json.encode(value)
    return body, read_members(body)


def chat(**asks: Any) -> c.Request:
    return openai_chat.CLIENT.read_request(
        *members({"model": "m", "messages": HELLO, **asks})
    )


def responses(**asks: Any) -> c.Request:
    return openai_responses.CLIENT.read_request(
        *members({"model": "m", "input": "Hi", **asks})
    )


def messages(**asks: Any) -> c.Request:
    said = {"model": "m", "messages": HELLO, "max_tokens": 40_000, **asks}
    return anthropic.CLIENT.read_request(*members(said))


ENABLED = {"type": "enabled", "budget_tokens": 10_000}
ADAPTIVE = {"type": "adaptive"}
OFF = {"type": "disabled"}

OPENAI = [
    # (the client's request, model, the effort that OpenAI is told, what is reported)
    (messages(thinking=ENABLED), "gpt-5", "medium", ("thinking.budget_tokens",)),
    (messages(thinking={**ENABLED, "budget_tokens": 1024}), "o3", "low", ("thinking.budget_tokens",)),
    (messages(thinking={**ENABLED, "budget_tokens": 31_999}), "o3", "high", ("thinking.budget_tokens",)),
    (messages(thinking=ADAPTIVE), "gpt-5", None, ()),
    (messages(thinking=OFF), "gpt-5.1", "none", ()),
    (messages(thinking=OFF), "gpt-5", "minimal", ("thinking",)),
    (messages(thinking=OFF), "o3", "low", ("thinking",)),
    (messages(thinking=OFF), "gpt-4o", None, ()),
    (messages(thinking=ENABLED), "gpt-4o", None, ("thinking",)),
    (messages(thinking=ADAPTIVE), "gpt-4.1-mini", None, ("thinking",)),
    (messages(thinking=ENABLED), "deepseek-chat", None, ("thinking",)),
    (messages(output_config={"effort": "max"}), "gpt-5", "high", ("output_config.effort",)),
    (messages(output_config={"effort": "max"}), "gpt-5.4", "xhigh", ("output_config.effort",)),
    (messages(output_config={"effort": "max"}), "gpt-5.6-sol", "max", ()),
    (messages(output_config={"effort": "low"}), "gpt-4o", None, ("output_config.effort",)),
    (messages(output_config={"effort": "high"}), "qwen3-32b", "high", ()),
    (messages(output_config={"effort": "low"}), "gpt-5-pro", "high", ("output_config.effort",)),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "model", "effort", "dropped"), OPENAI)
def test_openai_is_told_the_effort_in_both_of_its_apis(asked, model, effort, dropped):
    said = openai_chat.PROVIDER.write_request(asked, model, 4096)
    assert json.loads(said.body).get("reasoning_effort") == effort
    assert said.dropped == dropped
    said = openai_responses.PROVIDER.write_request(asked, model, 4096)
    assert json.loads(said.body).get("reasoning", {}).get("effort") == effort
    assert said.dropped == dropped


def test_a_responses_client_is_told_of_what_a_chat_model_does_not_do():
    asked = responses(reasoning={"effort": "low", "summary": "auto"})
    said = openai_chat.PROVIDER.write_request(asked, "gpt-5", 4096)
    assert json.loads(said.body)["reasoning_effort"] == "low"
    assert said.dropped == ("reasoning.display",)
    said = openai_chat.PROVIDER.write_request(asked, "gpt-4o", 4096)
    assert said.dropped == ("reasoning",)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("thinking", [ENABLED, ADAPTIVE, OFF])
def test_no_model_of_the_mock_is_told_an_effort_that_it_refuses(model, thinking):
    said = openai_chat.PROVIDER.write_request(messages(thinking=thinking), model, 4096)
    told = "reasoning_effort" in json.loads(said.body)
    assert not (told and "reasoning_effort" in MODELS[model].refuses)
    assert bool(openai_efforts(model)) == MODELS[model].reasoning


@pytest.mark.parametrize("model", get_args(ChatModel))
def test_every_model_that_the_sdk_names_is_in_the_table(model):
    assert openai_efforts(model) is not None


def test_the_efforts_are_the_sdks():
    (named, _) = get_args(ReasoningEffort)
    assert get_args(named) == EFFORTS
    told = {word for _, efforts in reasoning.OPENAI for word in efforts}
    assert told == set(EFFORTS)


# ---------------------------------------------------------------- the other directions

EVERYWHERE: list[tuple[c.Request, Any, str, Any]] = [
    (chat(reasoning_effort="low"), anthropic, "claude-sonnet-4-5", {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
    (responses(reasoning={"effort": "high"}, max_output_tokens=10_000), anthropic, "claude-sonnet-4-5", {"thinking": {"type": "enabled", "budget_tokens": 8000}}),
    (chat(reasoning_effort="high"), anthropic, "claude-opus-4-7", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}),
    (chat(thinking=OFF), anthropic, "claude-sonnet-5", {"thinking": {"type": "disabled"}}),
    (chat(reasoning_effort="none"), anthropic, "claude-sonnet-4-5", {}),
    (messages(thinking=ENABLED), gemini, "gemini-2.5-flash", {"thinkingConfig": {"includeThoughts": True, "thinkingBudget": 10_000}}),
    (chat(reasoning_effort="medium"), gemini, "gemini-2.5-flash", {"thinkingConfig": {"includeThoughts": True, "thinkingBudget": 8192}}),
    (messages(thinking=ENABLED), gemini, "gemini-3-flash-preview", {"thinkingConfig": {"includeThoughts": True, "thinkingLevel": "MEDIUM"}}),
    (messages(thinking=ADAPTIVE), gemini, "gemini-2.5-flash", {"thinkingConfig": {"includeThoughts": True, "thinkingBudget": -1}}),
    (messages(thinking=OFF), gemini, "gemini-2.5-flash", {"thinkingConfig": {"thinkingBudget": 0}}),
    (responses(reasoning={"effort": "low"}), gemini, "gemini-3-pro-preview", {"thinkingConfig": {"includeThoughts": True, "thinkingLevel": "LOW"}}),
    (messages(thinking=ENABLED), converse, "us.anthropic.claude-sonnet-4-5-20250929-v1:0", {"thinking": ENABLED}),
    (chat(reasoning_effort="low"), converse, "us.anthropic.claude-sonnet-4-5-20250929-v1:0", {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
    (messages(thinking=ENABLED), converse, "us.amazon.nova-2-lite-v1:0", {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "medium"}}),
    (messages(thinking=OFF), converse, "us.amazon.nova-2-lite-v1:0", {"reasoningConfig": {"type": "disabled"}}),
    (messages(thinking=ENABLED), converse, "openai.gpt-oss-120b-1:0", {"reasoning_effort": "medium"}),
    (responses(reasoning={"effort": "minimal"}), converse, "us.amazon.nova-2-lite-v1:0", {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "form", "model", "expected"), EVERYWHERE)
def test_the_others_are_told_too(asked, form, model, expected):
    rendered: Rendered = form.PROVIDER.write_request(asked, model, 4096)
    body = json.loads(rendered.body)
    places = {**body, **body.get("generationConfig", {})}
    places |= body.get("additionalModelRequestFields", {})
    for word in ("thinking", "output_config", "thinkingConfig", "reasoningConfig"):
        assert places.get(word) == expected.get(word)
    assert places.get("reasoning_effort") == expected.get("reasoning_effort")


def test_a_budget_becomes_an_effort_and_is_reported_on_bedrock():
    asked = messages(thinking=ENABLED)
    said = converse.PROVIDER.write_request(asked, "us.amazon.nova-2-lite-v1:0", 4096)
    assert said.dropped == ("thinking.budget_tokens",)


# ---------------------------------------------------------------- the table


def test_more_effort_is_never_worth_less():
    for table in (BUDGETS, SHARES):
        assert list(table) == [word for word in EFFORTS if word in table]
        values: list[float] = list(table.values())
        assert all(a <= b for a, b in itertools.pairwise(values))


@pytest.mark.parametrize("word", ["low", "medium", "high"])
def test_an_effort_comes_back_from_its_budget(word):
    assert effort_of(BUDGETS[word]) == word


def test_an_effort_of_nobody_is_left_to_the_api():
    plan = plan_openai(c.Thinking("immense"), "gpt-5", "reasoning_effort")
    assert (plan.effort, plan.dropped) == ("immense", ())
