"""Counting tokens where they would be used, as clients of two APIs ask for it."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.errors import BadRequest, ProtocolViolation
from extproc.formats import anthropic, gemini
from extproc.formats.anthropic import count_tokens as messages
from extproc.formats.base import WriterContext
from extproc.formats.converse import count_tokens as converse
from extproc.formats.gemini import count_tokens as google
from extproc.formats.openai_responses import input_tokens as responses
from extproc.framing.members import read_members
from extproc.local.mock.anthropic.api import Anthropic
from extproc.local.mock.reply import Request
from tests.formats.crossing import KEYS, MEMORY, PARTS, cross

TOOL = {
    "name": "weather",
    "description": "The weather.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
ASKED: dict[str, dict[str, Any]] = {
    "messages": {
        "model": "m",
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "How is the weather in Rome?"}],
        "tools": [TOOL],
        "tool_choice": {"type": "auto"},
    },
    "responses": {
        "model": "m",
        "instructions": "Be brief.",
        "input": "How is the weather in Rome?",
        "tools": [
            {
                "type": "function", "name": "weather", "description": "The weather.",
                "parameters": TOOL["input_schema"], "strict": False,
            }
        ],
    },
}  # fmt: skip
CLIENTS = {"messages": messages.CLIENT, "responses": responses.CLIENT}
PROVIDERS: dict[str, dict[str, Any]] = {
    "anthropic": {
        "form": messages.PROVIDER,
        "path": "/v1/messages/count_tokens",
        "model": "claude-sonnet-4-5",
        "key": ("x-api-key", "sk-mock-1"),
    },
    "gemini": {
        "form": google.PROVIDER,
        "path": "/v1beta/models/gemini-2.5-flash:countTokens",
        "model": "gemini-2.5-flash",
        "key": ("x-goog-api-key", "sk-mock-1"),
    },
    "bedrock": {
        "form": converse.PROVIDER,
        "path": "/model/anthropic.claude-sonnet-4-5-20250929-v1:0/count-tokens",
        "model": "anthropic.claude-sonnet-4-5-20250929-v1:0",
    },
    "openai": {
        "form": responses.PROVIDER,
        "path": "/v1/responses/input_tokens",
        "model": "gpt-4o",
    },
}


class _Counting(Anthropic):
    """Anthropic with its version, which our providers send as a header of their own."""

    def owns(self, request):
        return request.route == "/v1/messages/count_tokens"

    def respond(self, request):
        headers = (*request.headers, ("anthropic-version", "2023-06-01"))
        return super().respond(
            Request(request.method, request.path, headers, request.body)
        )


@pytest.fixture(autouse=True)
def _anthropic_too(monkeypatch):
    every = [*PARTS, _Counting(MEMORY, KEYS)]
    monkeypatch.setattr("tests.formats.crossing.PARTS", every)


@pytest.mark.parametrize("client", sorted(CLIENTS))
@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_who_would_serve_it_counts_it(client, provider):
    got = cross(CLIENTS[client], asked=ASKED[client], **PROVIDERS[provider])
    assert got.answer["input_tokens"] > 10
    assert got.usage.total_tokens == 0
    assert got.answer["input_tokens"] in got.said.values()
    if client == "responses":
        assert got.answer["object"] == "response.input_tokens"


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_a_longer_request_counts_more(provider):
    short = cross(messages.CLIENT, asked=ASKED["messages"], **PROVIDERS[provider])
    asked = {**ASKED["messages"], "system": "Be brief and kind and very, very exact."}
    longer = cross(messages.CLIENT, asked=asked, **PROVIDERS[provider])
    assert longer.answer["input_tokens"] > short.answer["input_tokens"]


def test_thinking_needs_no_limit_that_the_request_does_not_have():
    asked = {
        **ASKED["messages"],
        "thinking": {"type": "enabled", "budget_tokens": 5000},
    }
    got = cross(messages.CLIENT, asked=asked, **PROVIDERS["anthropic"])
    assert got.sent["thinking"]["budget_tokens"] == 5000
    assert "max_tokens" not in got.sent


def test_vertex_takes_the_parts_bare():
    body = b'{"model":"m","messages":[{"role":"user","content":"Hi"}],"max_tokens":5}'
    request = anthropic.CLIENT.read_request(body, read_members(body))
    bare = read_members(google.VERTEX.write_request(request, "gemini-2.5-pro", 1).body)
    whole = read_members(
        gemini.PROVIDER.write_request(request, "gemini-2.5-pro", 1).body
    )
    assert bare == {name: whole[name] for name in bare}
    assert "contents" in bare


@pytest.mark.parametrize(
    ("profile", "model"),
    [
        ("us.anthropic.claude-x", "anthropic.claude-x"),
        ("us-gov.anthropic.claude-x", "anthropic.claude-x"),
        ("global.anthropic.claude-x", "anthropic.claude-x"),
        ("anthropic.claude-x", "anthropic.claude-x"),
        ("amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0"),
    ],
)
def test_bedrock_counts_for_the_model_behind_a_profile(profile, model):
    assert converse.foundation_model(profile) == model


def test_a_request_without_messages_is_refused():
    body = b'{"model":"m","messages":[]}'
    with pytest.raises(BadRequest, match="messages"):
        messages.CLIENT.read_request(body, read_members(body))


@pytest.mark.parametrize(
    "body", [b"", b"null", b"{}", b'{"input_tokens":"1"}', b"\xff"]
)
@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_a_count_that_cannot_be_read_is_the_providers_fault(provider, body):
    with pytest.raises(ProtocolViolation):
        PROVIDERS[provider]["form"].read_answer(body)


def test_counting_that_passes_costs_nothing():
    for provider in PROVIDERS.values():
        assert provider["form"].overview(b'{"input_tokens":5}').usage.total_tokens == 0


def test_the_answer_is_the_clients_own():
    answer = messages.PROVIDER.read_answer(b'{"input_tokens":12}')
    context = WriterContext("x", 0, "m", include_usage=False)
    assert messages.CLIENT.write_answer(answer, context) == b'{"input_tokens":12}'
