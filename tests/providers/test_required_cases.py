"""The cases that every provider has to stand, whatever its type and its manners.

A provider that is added to `PROVIDERS` is tried here without further ado: over the mock of
its own in the conformance run, or over `Acme` where it speaks one of OpenAI's APIs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest

from extproc.formats.base import CHAT
from extproc.local.conformance import anthropic, checks, openai_chat
from extproc.local.conformance.checks import Wrong
from extproc.local.conformance.gateway import Gateway
from extproc.local.conformance.heard import Heard
from extproc.local.conformance.prompts import CLOCK, WEATHER, Prompt
from extproc.local.conformance.rows import MODELS
from extproc.local.mock.reply import Reply, Request
from extproc.providers import NATIVE, PROVIDERS
from tests.providers.acme import Acme, Refused

OPENAIS = {"openai_chat", "openai_responses"}


@dataclass(frozen=True)
class Case:
    prompt: Prompt
    check: Callable[[Heard], None]


def fails_without_words(heard: Heard) -> None:
    """Expect an error that says nothing of a page meant for browsers."""
    if heard.status != 502 or not heard.error or "<" in heard.error:
        raise Wrong(f"status {heard.status}, error {heard.error!r}")


def counts_cached(heard: Heard) -> None:
    """Expect three of the prompt's tokens from a cache."""
    checks.counts(heard)
    if heard.counts is None or heard.counts.cached != 3:
        raise Wrong(f"it counted {heard.counts!r}")


_CITY = '{"city":"city value"}'
_CACHED = "Hello, it is a fine day [[mock: cached tokens=3]]"
TOOLS = (WEATHER, CLOCK)

REQUIRED = {
    "plain": [Case(Prompt("Hello"), checks.says("Hello"))],
    "streamed": [Case(Prompt("Hello", stream=True), checks.says("Hello"))],
    "tool_call": [
        Case(
            Prompt("The weather, please", tools=TOOLS, stream=stream),
            checks.calls(("weather", _CITY)),
        )
        for stream in (False, True)
    ],
    "tool_call_without_arguments": [
        Case(
            Prompt("The clock, please", tools=TOOLS, stream=stream),
            checks.calls(("clock", "{}")),
        )
        for stream in (False, True)
    ],
    "error_json": [
        Case(
            Prompt('Hello [[mock: status=429 message="slow down"]]'),
            checks.fails_with(429, "", "slow down"),
        )
    ],
    "error_not_json": [
        Case(Prompt("Hello"), fails_without_words),
    ],
    "truncated": [
        Case(Prompt("Hello [[mock: truncate after=3]]", stream=True), checks.breaks)
    ],
    "usage_cached": [
        Case(Prompt(_CACHED), counts_cached),
        Case(Prompt(_CACHED, stream=True, stream_usage=True), counts_cached),
    ],
}


def test_these_are_the_cases_that_are_required():
    assert list(REQUIRED) == [
        "plain", "streamed", "tool_call", "tool_call_without_arguments", "error_json",
        "error_not_json", "truncated", "usage_cached",
    ]  # fmt: skip


class Proxy:
    """What stands before a provider and fails in words for browsers."""

    name = "proxy"

    def owns(self, request: Request) -> bool:
        return bool(request)

    def respond(self, request: Request) -> Reply:
        page = f"<html><body>Bad gateway: {request.route}</body></html>".encode()
        return Reply(502, page, content_type="text/html")


@cache
def natives() -> Gateway:
    return Gateway()


@cache
def gateway(type_: str) -> Gateway:
    """Return one with `type_` behind it."""
    if type_ in MODELS or type_ in VARIANTS:
        return natives()
    form = PROVIDERS[type_].format.name
    assert form in OPENAIS, f"{type_} needs a mock in extproc/local/conformance"
    return Gateway({type_: Acme(type_)})


VARIANTS = {"azure-v1": "azure", "vertex-project": "vertex"}
"""Other addresses, other credentials; the first ones are deployments and express mode."""
CHATS = [
    *(n for n, p in PROVIDERS.items() if p.format.operation == CHAT),
    *VARIANTS,
]


@pytest.mark.parametrize("case", REQUIRED)
@pytest.mark.parametrize("type_", CHATS)
def test_every_provider_stands_every_case(type_: str, case: str):
    """From clients of an API that it speaks and of one that it does not."""
    known = VARIANTS.get(type_, type_)
    model = MODELS[known][0] if known in MODELS else "gpt-4o"
    over = Gateway({type_: Proxy()}) if case == "error_not_json" else gateway(type_)
    for dialect in (openai_chat.DIALECT, anthropic.DIALECT):
        for one in REQUIRED[case]:
            one.check(over.ask(dialect, type_, model, one.prompt))


def test_a_native_provider_has_a_mock():
    assert NATIVE.keys() <= MODELS.keys()


@pytest.mark.parametrize("type_", [n for n, p in PROVIDERS.items() if p.quirks])
def test_the_server_would_refuse_what_openai_takes(type_: str):
    """The judge is one: plain OpenAI's requests it refuses where a quirk says so."""
    acme = Acme(type_)
    plain = openai_chat.DIALECT.spell(Prompt("Hello"), "gpt-4o")
    everything = {
        **plain, "max_completion_tokens": 5, "max_tokens": 5, "n": 1, "logprobs": False,
        "seed": 1, "logit_bias": {}, "stream_options": {}, "parallel_tool_calls": True, "user": "u",
        "store": True, "service_tier": "auto", "frequency_penalty": 0, "metadata": {},
        "tool_choice": "auto",
    }  # fmt: skip
    everything["messages"][0]["name"] = "ann"
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    everything["messages"].append({"role": "assistant", "tool_calls": [call]})
    unseen = {"reasoning", "x_groq_usage", "base_resp"} | {
        "no_tool_index", "stop_for_tool_calls", "usage_in_every_chunk",
    }  # fmt: skip
    if set(acme.kinds) - unseen:
        with pytest.raises(Refused):
            acme.check(everything)
