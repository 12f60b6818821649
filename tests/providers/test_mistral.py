"""Mistral takes nothing that it does not know; its words come and go in OpenAI's.

The members are those of ``ChatCompletionRequest`` and the messages of ``mistralai`` 3.7.
"""

from __future__ import annotations

import contextlib
from typing import Any, get_args

import httpx2
import msgspec
import pytest
from mistralai.client import Mistral as MistralSDK
from mistralai.client.models import (
    AssistantMessage,
    ChatCompletionRequest,
    ChatCompletionResponse,
    CompletionChunk,
    ContentChunk,
    Function,
    SystemMessage,
    ToolMessage,
    UserMessage,
)

from extproc.formats import openai_chat
from extproc.framing.members import read_members
from extproc.local.conformance.gateway import Gateway
from extproc.local.conformance.rows import MODELS, rows_of
from extproc.local.mock.mistral import rules
from extproc.local.mock.mistral.api import PATH, Mistral as Mock
from extproc.local.mock.reply import Reply, Request
from extproc.local.mock.rules import Obj, Rule
from extproc.local.mock.state import Memory
from extproc.providers import PROVIDERS

Json = dict[str, Any]
MODEL = "mistral-large-latest"

TAKEN: dict[str, Any] = {
    "system": SystemMessage, "user": UserMessage, "assistant": AssistantMessage,
    "tool": ToolMessage,
}  # fmt: skip
PARTS = {
    one.model_fields["type"].default: one
    for one in get_args(get_args(ContentChunk)[0])
    if one.model_fields["type"].default
    not in {"UNKNOWN", "tool_reference", "resource", "resource_link"}
}
"""The SDK's chunks, but for those of agents and of MCP."""


def names(rule: Rule) -> set[str]:
    assert isinstance(rule, Obj)
    return {name.rstrip("!") for name in rule.fields}


def test_the_mock_takes_what_the_sdk_knows_and_nothing_else():
    known = {
        field.alias or name
        for name, field in ChatCompletionRequest.model_fields.items()
    }
    assert names(rules.CHAT) == known
    assert rules.MESSAGE.members.keys() == TAKEN.keys()
    for role, rule in rules.MESSAGE.members.items():
        assert names(rule) == set(TAKEN[role].model_fields), role
    assert rules.CHUNKS.keys() == PARTS.keys()
    for kind, rule in rules.CHUNKS.items():
        assert names(rule) == set(PARTS[kind].model_fields), kind
    assert names(rules.TOOL.fields["function!"]) == set(Function.model_fields)


SAID = (
    "Hello", "The weather, please", "refuse", "Hello [[mock: no-usage]]",
    "Hello [[mock: error-mid-stream after=2]]",
)  # fmt: skip


@pytest.mark.parametrize("text", SAID)
@pytest.mark.parametrize("model", ["mistral-large-latest", "magistral-medium-latest"])
def test_what_the_mock_answers_is_in_the_sdks_types(model, text):
    mock = Mock(Memory(lambda: 7.0), ("sk-mock*",))
    tool = {"type": "function", "function": {"name": "weather", "parameters": {}}}
    said = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "tools": [tool],
    }
    for stream in (False, True):
        body = msgspec.json.encode({**said, "stream": stream})
        headers = (
            ("authorization", "Bearer sk-mock"),
            ("content-type", "application/json"),
        )
        reply = mock.respond(Request("POST", PATH, headers, body))
        assert reply.status == 200
        if isinstance(reply, Reply):
            if "no-usage" not in text:
                ChatCompletionResponse.model_validate_json(reply.body)
            continue
        *chunks, done = [one.payload for one in reply.events]
        assert done == b"[DONE]"
        read = [CompletionChunk.model_validate_json(one) for one in chunks]
        assert read[-1].choices[0].finish_reason


def test_features_fare_as_the_support_matrix_says():
    """All others pass: `extproc conformance` plays them over the mock."""
    played = list(rows_of(Gateway(), {"mistral": MODELS["mistral"]}))
    assert {(row.feature, row.outcome) for row in played if row.outcome != "pass"} == {
        ("web search", "unsupported"), ("prompt caching", "unsupported"),
        ("cited documents", "unsupported"), ("citations of a web search", "unsupported"),
    }  # fmt: skip


def passed(said: Json) -> Json:
    """Return what of a chat client's request Mistral gets."""
    form = PROVIDERS["mistral"].format
    assert form.adapt is not None
    out = form.adapt(read_members(msgspec.json.encode(said)), "m")
    changed = {k: msgspec.json.decode(v) for k, v in out.changes.items() if v}
    left = {k: v for k, v in said.items() if out.changes.get(k, b"") is not None}
    return left | changed


def test_its_own_clients_words_pass():
    said = {
        "model": "m", "messages": [{"role": "user", "content": "Hi"}], "random_seed": 1,
        "prompt_mode": "reasoning", "safe_prompt": True, "guardrails": [],
    }  # fmt: skip
    assert passed(said) == said


def test_thoughts_go_back_as_they_came():
    thought = {"role": "assistant", "content": "a", "reasoning_content": "w"}
    said = {"model": "m", "messages": [thought, {"role": "user", "content": "Why?"}]}
    first, _ = passed(said)["messages"]
    assert first["content"] == [
        {"type": "thinking", "thinking": [{"type": "text", "text": "w"}]},
        {"type": "text", "text": "a"},
    ]
    body = {"id": "1", "choices": [{"index": 0, "message": first}], "model": "m"}
    form = PROVIDERS["mistral"].format
    (choice,) = form.read_answer(msgspec.json.encode(body)).choices
    assert [type(part).__name__ for part in choice.parts] == ["Reasoning", "Text"]
    assert openai_chat.PROVIDER.name == form.name


SCHEMA: Json = {"type": "object", "properties": {"city": {"type": "string"}}}
BOTH: dict[str, tuple[Json, Json]] = {
    "plain": ({}, {}),
    "tuned": (
        {"max_tokens": 9, "random_seed": 3, "stop": ["x"], "temperature": 0.5},
        {"max_completion_tokens": 9, "seed": 3, "stop": ["x"], "temperature": 0.5},
    ),
    "tools": (
        {
            "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
            "tool_choice": "required", "parallel_tool_calls": False,
        },
        {
            "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
            "tool_choice": "required", "parallel_tool_calls": False,
        },
    ),
    "a cache, and a tier": (
        {"prompt_cache_key": "k", "service_tier": "standard_only"},
        {"prompt_cache_key": "k", "service_tier": "default", "user": None},
    ),
    "its own words": (
        {"safe_prompt": True, "prompt_mode": "reasoning"},
        {"safe_prompt": True, "prompt_mode": "reasoning"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("case", BOTH)
def test_it_is_asked_as_its_own_sdk_asks_it(case, stream):
    theirs, ours = BOTH[case]
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        kind = {"content-type": "text/event-stream"}
        return httpx2.Response(200, headers=kind, content=b"data: [DONE]\n\n")

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    said: Json = {"messages": [{"role": "user", "content": "Hi"}], **theirs}
    with MistralSDK(api_key="k", client=http) as client:
        if stream:
            list(client.chat.stream(model=MODEL, **said))
        else:
            with contextlib.suppress(Exception):  # our answer is none of its
                client.chat.complete(model=MODEL, **said)
    (request,) = seen
    kind = PROVIDERS["mistral"]
    assert str(request.url).partition("#")[0] == kind.base_url + kind.chat_path
    assert request.headers["authorization"] == f"{kind.credential_prefix}k"
    body = passed(
        {"model": MODEL, "messages": said["messages"], "stream": stream, **ours}
    )
    assert {k: v for k, v in body.items() if v is not None} == _said(request.content)


def _said(body: bytes) -> Json:
    """Return what the SDK said, without defaults that it spells out."""
    out = msgspec.json.decode(body)
    for tool in out.get("tools", ()):
        if tool["function"].get("strict") is False:
            del tool["function"]["strict"]
        if tool["function"].get("description") == "":
            del tool["function"]["description"]
    return {key: value for key, value in out.items() if value is not None}
