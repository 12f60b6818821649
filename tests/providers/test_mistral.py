"""Mistral takes nothing that it does not know; its words come and go in OpenAI's.

The members are those of ``ChatCompletionRequest`` and the messages of ``mistralai`` 3.7.
"""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

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

TAKEN = {
    "model", "messages", "temperature", "top_p", "max_tokens", "stream", "stop",
    "random_seed", "metadata", "response_format", "tools", "tool_choice",
    "presence_penalty", "frequency_penalty", "min_tokens", "repetition_penalty", "top_k",
    "logprobs", "top_logprobs", "prompt_logprobs", "top_prompt_logprobs", "n",
    "prediction", "parallel_tool_calls", "reasoning_effort", "prompt_mode", "guardrails",
}  # fmt: skip
IN_MESSAGES = {
    "system": {"role", "content"},
    "user": {"role", "content"},
    "assistant": {"role", "content", "tool_calls", "prefix"},
    "tool": {"role", "content", "tool_call_id", "name"},
}


class Mistral(Acme):
    """Refuses every member that is not in Mistral's schema."""

    def check(self, body: Json) -> None:
        if extra := body.keys() - TAKEN:
            raise Refused(f"extra_forbidden: {sorted(extra)}")
        for message in body["messages"]:
            known = IN_MESSAGES.get(message["role"], set())
            if extra := message.keys() - known:
                raise Refused(f"extra_forbidden: {message['role']} {sorted(extra)}")
            for part in message["content"] if message["role"] == "user" else ():
                if not isinstance(part, str) and (
                    part["type"] not in PARTS or "file" in part
                ):
                    raise Refused(f"no such chunk: {part['type']}")
        super().check(body)

    def openais(self, body: Json) -> Json:
        out = super().openais(body)
        out.pop("prompt_mode", None)
        out["messages"] = [_plain(message) for message in body["messages"]]
        return out


PARTS = {"text", "image_url", "document_url", "file", "reference", "input_audio"}


def _openais_part(part: Json) -> Json:
    if part["type"] == "document_url":
        file = {"file_data": part["document_url"], "filename": part["document_name"]}
        return {"type": "file", "file": file}
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
        for f in ("seed", "n", "logprobs", "json_mode", "audio")
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
    out = form.adapt(read_members(msgspec.json.encode(said)))
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
