"""What must survive translation, both ways: `survival.toml` names it all and what shows it.

A proof that is gone, renamed, or asserts nothing fails here, and so does a provider that a
case leaves out without a reason. What no other test shows stands here, too.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from extproc.exchange import events
from extproc.exchange.commands import Route
from extproc.exchange.exchange import Exchange
from extproc.providers import PROVIDERS
from extproc.runtime import Grant, ModelSpec, Runtime, Snapshot, TargetSpec
from tests import casebook
from tests.casebook import CLIENTS, PROVIDER_FORMATS, Upstream, cases
from tests.oracles.events import aws_messages, cut

ROOT = Path(__file__).parents[1]
TABLE: dict[str, list[dict[str, Any]]] = tomllib.loads(
    (Path(__file__).parent / "survival.toml").read_text()
)
NAMED = {case.name: case for case in cases()}
KEPT = pytest.mark.parametrize("row", TABLE["kept"], ids=lambda row: row["what"])
clients = pytest.mark.parametrize("client", CLIENTS)
providers = pytest.mark.parametrize("provider", PROVIDER_FORMATS)

# ---------------------------------------------------------------- the table


@functools.cache
def functions(file: str) -> dict[str, str]:
    """Return a test file's functions, by name."""
    tree = ast.parse((ROOT / file).read_text())
    return {
        node.name: ast.unparse(node)
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }


def look_at(proof: str) -> None:
    """Hold a proof against what is there."""
    file, _, name = proof.partition("::")
    if not name:
        assert proof in NAMED, proof
        return
    said = functions(file)[name]
    assert any(one in said for one in ("assert", "pytest.raises", "validate")), proof
    assert "pytest.skip" not in said, proof


@KEPT
def test_what_must_survive_in_a_request_is_shown_at_every_provider(row):
    if isinstance(row["asked"], str):
        assert " " in row["asked"]
        return
    assert row["asked"]
    for proof in row["asked"]:
        look_at(proof)
        if proof in NAMED:
            case = NAMED[proof]
            assert "asks" not in case.told, proof
            written = {file.parent.name for file in case.folder.glob("*/golden.txt")}
            assert written == set(PROVIDER_FORMATS), proof


@KEPT
def test_what_must_survive_in_an_answer_is_shown_of_every_provider(row):
    if isinstance(row["answered"], str):
        assert " " in row["answered"]
        assert "unanswered" not in row
        return
    assert row["answered"]
    excused = row.get("unanswered", {})
    assert set(excused) <= set(row["answered"])
    for proof in row["answered"]:
        look_at(proof)
        if proof in NAMED:
            silent = excused.get(proof, {})
            assert all(silent.values())
            whole = {
                one
                for one in PROVIDER_FORMATS
                if set(NAMED[proof].upstreams(one)) == {"answer", "stream"}
            }
            assert whole | set(silent) == set(PROVIDER_FORMATS), proof
            assert not whole & set(silent), proof


@pytest.mark.parametrize("row", TABLE["mended"], ids=lambda row: row["what"])
def test_what_others_lose_is_shown_not_to_be_lost(row):
    assert row["shown"]
    for proof in row["shown"]:
        look_at(proof)


# ---------------------------------------------------------------- what no other shows

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def ask(client: str, provider: str, said: Any) -> casebook.Asked:
    model = casebook._models()[provider]
    return casebook.ask(client, provider, json.dumps(said).encode(), model)


def body_of(asked: casebook.Asked) -> dict[str, Any]:
    assert asked.attempt is not None, asked.refusal
    found: dict[str, Any] = json.loads(asked.attempt.body)
    return found


def leaves(value: Any) -> Iterator[Any]:
    match value:
        case dict():
            for one in value.values():
                yield from leaves(one)
        case list():
            for one in value:
                yield from leaves(one)
        case _:
            yield value


TURN: dict[str, Any] = {
    "openai_chat": {"messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "I look.", "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "42"},
    ], "tools": [TOOL]},
    "openai_responses": {"input": [
        {"role": "user", "content": "Hi"},
        {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
         "content": [{"type": "output_text", "text": "I look.", "annotations": []}]},
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "42"},
    ], "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"},
                  "strict": False}], "store": False},
    "anthropic": {"max_tokens": 99, "messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "call_1", "name": "f", "input": {}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "call_1", "content": "42"}]},
    ], "tools": [{"name": "f", "input_schema": {"type": "object"}}]},
}  # fmt: skip


@pytest.mark.parametrize("client", TURN)
@providers
def test_words_and_calls_of_a_turn_keep_their_order(provider, client):
    body = ask(client, provider, {"model": "m", **TURN[client]})
    assert body.attempt is not None
    sent = body.attempt.body
    turns = sent[sent.index(b"Hi") :]  # behind what tools there are
    if provider in {"openai_chat", "cohere"}:
        # One message has both, and no order in it.
        assert sorted((b"I look." in turns, b'"f"' in turns)) == [True, True]
        return
    assert turns.index(b"I look.") < turns.index(b'"f"') < turns.rindex(b"42")


@providers
def test_safety_settings_reach_gemini_and_are_refused_elsewhere(provider):
    wish = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    asked = ask("openai_chat", provider, {**CHAT, "safety_settings": wish})
    if provider == "gemini":
        assert body_of(asked)["safetySettings"] == wish
    elif provider == "openai_chat":
        assert body_of(asked)["safety_settings"] == wish
    else:
        # Who asks for less safety, or for more, would not get it.
        assert asked.refusal is not None
        error = json.loads(asked.refusal.body)["error"]
        assert (asked.refusal.status, error["param"]) == (400, "safety_settings")
        assert f"(provider {provider})" in error["message"]


@pytest.mark.parametrize("client", ["openai_chat", "openai_completions"])
@providers
def test_two_choices_are_asked_for_or_refused(provider, client):
    said = CHAT if client == "openai_chat" else {"model": "m", "prompt": "Hi"}
    asked = ask(client, provider, {**said, "n": 2})
    if provider in {"openai_chat", "gemini"}:
        assert 2 in set(leaves(body_of(asked)))
        return
    assert asked.refusal is not None
    error = json.loads(asked.refusal.body)["error"]
    assert (asked.refusal.status, error["param"]) == (400, "n")
    assert f"(provider {provider})" in error["message"]


@pytest.mark.parametrize(
    ("client", "said"),
    [
        ("openai_chat", {**CHAT, "max_tokens": 77}),
        ("openai_chat", {**CHAT, "max_completion_tokens": 77}),
        ("openai_completions", {"model": "m", "prompt": "Hi", "max_tokens": 77}),
        ("openai_responses", {"model": "m", "input": "Hi", "max_output_tokens": 77}),
        ("anthropic", {**CHAT, "max_tokens": 77}),
    ],
)
@providers
def test_the_limit_of_tokens_is_understood_in_every_spelling(provider, client, said):
    body = body_of(ask(client, provider, said))
    spelled = {
        "openai_chat": ["max_completion_tokens"], "anthropic": ["max_tokens"],
        "openai_responses": ["max_output_tokens"], "cohere": ["max_tokens"],
        "gemini": ["generationConfig", "maxOutputTokens"],
        "converse": ["inferenceConfig", "maxTokens"],
    }  # fmt: skip
    if provider == client:
        assert 77 in body.values()
        return
    at: Any = body
    for name in spelled[provider]:
        at = at[name]
    assert at == 77


def test_who_demands_a_limit_gets_the_targets_default():
    assert body_of(ask("openai_chat", "anthropic", CHAT))["max_tokens"] == 4096
    for provider in ("openai_responses", "gemini", "converse", "cohere"):
        sent = json.dumps(body_of(ask("openai_chat", provider, CHAT)))
        assert "max" not in sent.lower(), provider


BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "arguments that are no JSON": ("openai_chat", {"messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{oops"}}]},
    ]}, "messages[1].tool_calls[0]"),
    "a picture that is none": ("openai_chat", {"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "data:nonsense"}}]}]},
        "messages[0].content[0]"),
    "a choice that nobody knows": (
        "openai_chat", {**CHAT, "tools": [TOOL], "tool_choice": "perhaps"}, "tool_choice"),
    "a role that nobody has": (
        "openai_chat", {"messages": [{"role": "narrator", "content": "x"}]}, "messages[0]"),
    "arguments of an item": ("openai_responses", {"input": [
        {"role": "user", "content": "Hi"},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{oops"}]},
        "input[1]"),
    "a picture of an item": ("openai_responses", {"input": [{"role": "user", "content": [
        {"type": "input_image", "detail": "auto", "image_url": "data:nonsense"}]}]},
        "input[0].content[0]"),
    "an unknown choice of a response": (
        "openai_responses", {"input": "Hi", "tool_choice": "perhaps"}, "tool_choice"),
    "an input that is no object": ("anthropic", {"max_tokens": 9, "messages": [
        {"role": "user", "content": "Hi"}, {"role": "assistant", "content": [
            {"type": "tool_use", "id": "a", "name": "f", "input": "{oops"}]}]}, "messages[1]"),
    "a picture of a block": ("anthropic", {"max_tokens": 9, "messages": [
        {"role": "user", "content": [{"type": "image", "source": {
            "type": "base64", "media_type": "image/png"}}]}]},
        "messages[0].content[0]"),
    "an unknown choice of a message": (
        "anthropic", {**CHAT, "max_tokens": 9, "tool_choice": {"type": "perhaps"}},
        "tool_choice"),
    "a prompt that is no text": ("openai_completions", {"prompt": {"a": 1}}, "prompt"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_a_400_in_the_clients_shape_at_every_provider(name):
    client, said, field = BAD[name]
    for provider in PROVIDER_FORMATS:
        if provider == client:
            continue  # its own to judge
        refusal = ask(client, provider, {"model": "m", **said}).refusal
        assert refusal is not None, provider
        assert refusal.status == 400, provider
        told = json.loads(refusal.body)
        if client == "anthropic":
            assert (told["type"], told["error"]["type"]) == (
                "error", "invalid_request_error",
            )  # fmt: skip
            assert field in told["error"]["message"], provider
        else:
            assert set(told) == {"error"}
            assert told["error"]["param"].startswith(field), provider


def counted(client: str, event: Any) -> int:
    """Return how many times an event tells the usage of the whole answer."""
    if event.data == b"[DONE]":
        return 0
    said = json.loads(event.data)
    match client:
        case "anthropic":
            return said["type"] == "message_delta" and "usage" in said
        case "openai_responses":
            return bool(said.get("response", {}).get("usage"))
        case _:
            return bool(said.get("usage"))


@clients
@providers
def test_a_client_is_told_its_usage_once(provider, client):
    case = NAMED["usage_cached"]
    request = casebook.asked_to_stream(case.request(client) or b"", client)
    asked = casebook.ask(client, provider, request, case.model(provider))
    found = casebook.answer(asked.exchange, case.upstreams(provider)["stream"])
    assert sum(counted(client, event) for event in cut(found.body)) == 1


def test_every_kind_of_token_is_told_in_the_clients_words():
    """As OpenAI's audio model says it, which is the only one that speaks."""
    usage = {
        "prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 30, "audio_tokens": 20},
        "completion_tokens_details": {"reasoning_tokens": 8, "audio_tokens": 9,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
    }  # fmt: skip
    message = {"role": "assistant", "content": "Hi", "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    said = {"id": "c", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [choice], "usage": usage}  # fmt: skip
    upstream = Upstream("application/json", (json.dumps(said).encode(),))
    requests = {
        "openai_completions": {"model": "m", "prompt": "x"},
        "anthropic": {**CHAT, "max_tokens": 9},
    }
    for client, request in requests.items():
        asked = ask(client, "openai_chat", request)
        found = casebook.answer(asked.exchange, upstream)
        seen = found.record.usage
        assert seen is not None
        assert (seen.cache_read_input_tokens, seen.reasoning_output_tokens) == (30, 8)
        assert (seen.audio_input_tokens, seen.audio_output_tokens) == (20, 9)
        told = json.loads(found.body)["usage"]
        if client == "anthropic":
            assert told["cache_read_input_tokens"] == 30
            assert told["input_tokens"] == 70
            assert told["output_tokens"] == 50
        else:
            assert told["prompt_tokens_details"]["cached_tokens"] == 30
            assert told["prompt_tokens_details"]["audio_tokens"] == 20
            assert told["completion_tokens_details"]["reasoning_tokens"] == 8
            assert told["completion_tokens_details"]["audio_tokens"] == 9


TIERS = {
    "openai_chat": (b'"service_tier":"default"', b'"service_tier":"priority"'),
    "openai_responses": (b'"service_tier":"default"', b'"service_tier":"priority"'),
    "anthropic": (b'"service_tier":"standard"', b'"service_tier":"priority"'),
    "converse": (b'{"usage"', b'{"serviceTier":{"type":"priority"},"usage"'),
}
"""What a provider says of the tier, and what it says where that is another."""


@pytest.mark.parametrize("client", TURN)
@pytest.mark.parametrize("provider", TIERS)
def test_the_tier_that_has_served_is_told_in_streams_too(provider, client):
    if provider == client:
        return
    case = NAMED["streamed"]
    (file,) = (case.folder / provider).glob("upstream.*")
    said = file.read_bytes().replace(*TIERS[provider])
    assert b"priority" in said
    pieces = [said]
    if provider == "converse":
        pieces = list(aws_messages(said.decode().splitlines()))
    request = casebook.asked_to_stream(case.request(client) or b"", client)
    asked = casebook.ask(client, provider, request, case.model(provider))
    stream = case.upstreams(provider)["stream"]
    told = casebook.answer(asked.exchange, stream, pieces).body
    events = [one.data for one in cut(told) if one.data != b"[DONE]"]
    found = {leaf for one in events for leaf in leaves(json.loads(one))}
    # Of a message's stream the first event alone has a place for it.
    late = (provider, client) == ("converse", "anthropic")
    assert ("priority" in found) == (not late)


def rendered(client: str, request: bytes, *chain: str) -> dict[str, bytes]:
    """Return what each provider of a chain would be sent."""
    targets = tuple(
        TargetSpec(provider=one, type=one, cluster=one, authority="a.test",
                   base_path="/v1", model=casebook._models()[one])
        for one in chain
    )  # fmt: skip
    with mock.patch.dict(PROVIDERS, {one: PROVIDER_FORMATS[one] for one in chain}):
        key = Grant("k", hashlib.sha256(casebook.KEY.encode()).hexdigest())
        models = (ModelSpec("*", targets),)
        runtime = Runtime.of(Snapshot(generation=1, grants=(key,), models=models))
    playing = Exchange(runtime, id="gw-1", started=1_800_000_000.0, now=0.0)
    told = playing.receive(events.RequestHeaders(casebook.head(client), end=False), 0.0)
    told += playing.receive(events.RequestBody(request, end=True), 0.0)
    route = told[0]
    assert isinstance(route, Route)
    return {one.cluster: one.body for one in route.chain}


@pytest.mark.parametrize("client", TURN)
def test_a_fallback_is_asked_as_if_it_were_the_first(client):
    for name in ("tool_call", "reasoning", "prompt_caching", "structured_output"):
        request = NAMED[name].request(client) or b""
        names = [one for one in PROVIDER_FORMATS if one != "cohere"]
        alone = {one: rendered(client, request, one)[one] for one in names}
        for chain in (names[:4], names[::-1][:4], names[2:] + names[:1]):
            assert rendered(client, request, *chain) == {
                one: alone[one] for one in chain
            }
