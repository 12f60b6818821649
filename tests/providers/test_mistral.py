"""Mistral takes nothing that it does not know; its words come and go in OpenAI's.

The members are those of ``ChatCompletionRequest`` and the messages of ``mistralai`` 3.7.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import get_args

import httpx2
import msgspec
import pydantic
import pytest
from mistralai.client import Mistral as MistralSDK
from mistralai.client.models import (
    AssistantMessage,
    ChatCompletionRequest,
    ContentChunk,
    RequestedServiceTier,
    SystemMessage,
    ToolMessage,
    UserMessage,
)

from extproc.formats import openai_chat
from extproc.framing.members import read_members
from extproc.local.conformance import anthropic, checks, openai_chat as chat
from extproc.local.conformance.checks import NotCarried, Wrong
from extproc.local.conformance.dialect import Dialect
from extproc.local.conformance.features import FEATURES, Feature
from extproc.local.conformance.gateway import Gateway, Refused as RefusedByUs
from extproc.local.conformance.prompts import WEATHER, Prompt
from extproc.providers import PROVIDERS
from tests.providers.acme import Acme, Json, Refused

TAKEN = set(ChatCompletionRequest.model_fields)
IN_MESSAGES = {
    "system": set(SystemMessage.model_fields),
    "user": set(UserMessage.model_fields),
    "assistant": set(AssistantMessage.model_fields),
    "tool": set(ToolMessage.model_fields),
}
PARTS = get_args(get_args(ContentChunk)[0])
"""The SDK's chunks, the last of which is any that it does not know."""


class Mistral(Acme):
    """Refuses every member that is not in Mistral's schema."""

    def check(self, body: Json) -> None:
        if extra := body.keys() - TAKEN:
            raise Refused(f"extra_forbidden: {sorted(extra)}")
        if body.get("service_tier", "auto") not in get_args(RequestedServiceTier):
            raise Refused(f"service_tier: {body['service_tier']}")
        for message in body["messages"]:
            known = IN_MESSAGES.get(message["role"], set())
            if extra := message.keys() - known:
                raise Refused(f"extra_forbidden: {message['role']} {sorted(extra)}")
            if isinstance(message.get("content"), list):
                for part in message["content"]:
                    check_chunk(part)
        super().check(body)

    def openais(self, body: Json) -> Json:
        out = super().openais(body)
        out.pop("prompt_mode", None)
        out["messages"] = [_plain(message) for message in body["messages"]]
        return out


def check_chunk(part: Json) -> None:
    """Refuse a chunk that is none of the SDK's, or has members of another's."""
    kinds = {one.model_fields["type"].default: one for one in PARTS}
    kind = kinds.get(part["type"])
    if kind is None or part["type"] == "UNKNOWN":
        raise Refused(f"no such chunk: {part['type']}")
    try:
        kind.model_validate(part)
    except pydantic.ValidationError as wrong:
        raise Refused(f"{part['type']}: {wrong.errors()[0]['msg']}") from wrong
    if extra := part.keys() - kind.model_fields.keys():
        raise Refused(f"extra_forbidden: {part['type']} {sorted(extra)}")


def _openais_part(part: Json) -> Json:
    if part["type"] == "document_url":
        file = {"file_data": part["document_url"], "filename": part["document_name"]}
        return {"type": "file", "file": file}
    if part["type"] == "input_audio":
        sound = {"data": part["input_audio"], "format": "wav"}
        return {"type": "input_audio", "input_audio": sound}
    return part


def _plain(message: Json) -> Json:
    if message["role"] == "user" and isinstance(message["content"], list):
        return {**message, "content": [*map(_openais_part, message["content"])]}
    out = {k: v for k, v in message.items() if k != "prefix"}
    if isinstance(out.get("content"), list) and message["role"] == "assistant":
        texts = [c["text"] for c in out["content"] if c["type"] == "text"]
        out["content"] = "".join(texts) or None
    return out


GATEWAY = Gateway({"mistral": Mistral("mistral")})
MODEL = "gpt-4o"


def outcome(dialect: Dialect, feature: Feature, *, stream: bool) -> str:
    """Say how a feature of the conformance run fares."""
    prompt = dataclasses.replace(
        feature.prompt,
        stream=stream,
        stream_usage=stream and feature.prompt.stream_usage,
    )
    try:
        heard = GATEWAY.ask(dialect, "mistral", MODEL, prompt)
    except RefusedByUs as refused:
        return f"refused: {refused.field}"
    try:
        feature.check(heard)
    except NotCarried:
        return f"left out: {', '.join(heard.dropped)}"
    except Wrong as wrong:
        return str(wrong)
    return "pass"


OTHERWISE = {
    ("anthropic", "prompt caching"): "left out: system[0].cache_control",
    ("openai_chat", "prompt caching"): (
        "left out: messages[0].content[0].prompt_cache_breakpoint"
    ),
    ("anthropic", "reasoning over two turns"): "left out: thinking",
    ("anthropic", "web search"): "refused: tools[0]",
    ("anthropic", "cited documents"): "refused: messages[0].content[1].citations",
    ("openai_chat", "web search"): (
        "an error with status 400: extra_forbidden: ['web_search_options']"
    ),
    # The mock's model does not hear.
    ("openai_chat", "audio in"): (
        "an error with status 400: Invalid content type. input_audio is only supported "
        "by certain models."
    ),
    # The mock's model does not reason.
    ("openai_chat", "reasoning over two turns"): (
        "an error with status 400: Unsupported parameter: 'reasoning_effort' is not "
        "supported with this model."
    ),
}


@pytest.mark.parametrize("feature", FEATURES, ids=lambda f: f.name)
@pytest.mark.parametrize(
    "dialect", [chat.DIALECT, anthropic.DIALECT], ids=lambda one: one.name
)
def test_mistral_takes_what_clients_say(feature: Feature, dialect: Dialect):
    """Every feature of the conformance run works, but for those that are named."""
    said = {
        f
        for f in ("seed", "n", "logprobs", "json_mode", "audio", "cited")
        if getattr(feature.prompt, f)
    }
    for stream in () if said & dialect.lacks else feature.ways:
        expected = OTHERWISE.get((dialect.name, feature.name), "pass")
        assert outcome(dialect, feature, stream=stream) == expected


def test_a_conversation_with_tools_comes_back_in_ids_that_it_takes():
    for dialect in (chat.DIALECT, anthropic.DIALECT):
        prompt = Prompt("The weather, please", tools=(WEATHER,))
        first = GATEWAY.ask(dialect, "mistral", MODEL, prompt)
        assert len(first.calls) == 1
        again = Prompt(
            "The weather, please", tools=(WEATHER,), answered=first, result="18 degrees"
        )
        checks.says("The tool says", "18 degrees")(
            GATEWAY.ask(dialect, "mistral", MODEL, again)
        )


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
