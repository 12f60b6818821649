"""Canonical requests written for a provider and read back: nothing is lost in silence.

Whatever a request says is in what the provider is told, or is named: in the report of what
was left out, or in the refusal.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings

from extproc import canonical as c
from extproc.formats.base import Rendered, Unsupported
from tests.casebook import PROVIDER_FORMATS
from tests.oracles.readers import READERS, Told
from tests.strategies import FIELDS, TOOLS, requests

MODELS = {
    "openai_chat": "gpt-4o",
    "openai_responses": "gpt-4.1",
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-2.5-flash",
    "cohere": "command-a-vision-07-2025",
    "converse": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
}


SEEDED = c.Request(
    model="some-model",
    messages=(c.Message("user", (c.Text("Hi"),), where="messages[0]"),),
    tools=TOOLS,
    seed=0,
)


def meant(request: c.Request) -> Told:
    """Return what the request says."""
    told, names = Told(), {}
    for message in request.messages:
        for part in message.parts:
            match part:
                case c.Text(text):
                    told.text(message.role, text)
                case c.Image(c.Inline(data=data)):
                    told.said.append((message.role, "image", data))
                case c.Document(c.Inline(data=data)):
                    told.said.append((message.role, "document", data))
                case c.Audio(c.Inline(data=data)):
                    told.said.append((message.role, "audio", data))
                case c.ToolCall(call_id, name, arguments):
                    names[call_id] = name
                    told.call(name, json.loads(arguments))
                case c.ToolResult(call_id, (c.Text(text),), is_error):
                    told.result(names[call_id], text, is_error=is_error)
                case _:
                    raise AssertionError(part)
    told.tools = {tool.name for tool in request.tools if isinstance(tool, c.Tool)}
    for name in FIELDS:
        value: Any = getattr(request, name)
        if isinstance(value, c.ToolChoice):
            value = value.names[0] if value.names else value.mode
        if value not in {None, ()}:
            told.fields[name] = list(value) if isinstance(value, tuple) else value
    return told


def written(provider: str, request: c.Request) -> Rendered | str:
    """Return the provider's request, or the name of what is refused."""
    form = PROVIDER_FORMATS[provider].format
    try:
        return form.write_request(request, MODELS[provider], 1234)
    except Unsupported as refused:
        return refused.param or "nothing"


@pytest.mark.parametrize("provider", PROVIDER_FORMATS)
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(request=requests())
@example(request=SEEDED)
def test_all_of_a_request_is_told_or_named(provider: str, request: c.Request):
    rendered = written(provider, request)
    if isinstance(rendered, str):
        assert rendered.startswith((*FIELDS, "messages["))
        return
    wanted, found = meant(request), READERS[provider](json.loads(rendered.body))
    assert found.said == wanted.said
    unsaid = [name for name in rendered.dropped if name.endswith(".is_error")]
    assert found.errors in {wanted.errors, wanted.errors - len(unsaid)}
    choice = wanted.fields.get("tool_choice")
    if (choice != "none" or found.tools) and found.tools != {choice}:
        assert found.tools == wanted.tools
    for name, value in wanted.fields.items():
        if name in rendered.dropped:
            assert found.fields.get(name) != value, name
        elif (name, value) == ("tool_choice", "auto"):
            assert found.fields.get(name) in {None, value}  # what it is without
        elif value == "none" and not found.tools:
            continue  # without tools there is no choice
        elif (name, value) == ("temperature", 1.0) and "top_p" in wanted.fields:
            # Claude takes one of the two; this one is what it is without.
            assert found.fields.get(name) in {None, value}
        else:
            assert found.fields.get(name) == value, name
    for name in found.fields.keys() - wanted.fields.keys():
        # What a provider demands comes from the configuration.
        assert (name, found.fields[name]) == ("max_output_tokens", 1234)


@pytest.mark.parametrize("provider", PROVIDER_FORMATS)
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(request=requests(media=False))
def test_a_request_of_words_and_tools_is_told_by_every_provider(provider, request):
    """Only a field may be refused, never a conversation in order."""
    rendered = written(provider, request)
    if isinstance(rendered, str):
        assert rendered in FIELDS
        return
    assert READERS[provider](json.loads(rendered.body)).said == meant(request).said
