"""Tools that search and read the web: every vendor's words, and who cannot keep them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from extproc import canonical as c
from extproc.errors import BadRequest
from extproc.formats.base import Unsupported
from extproc.formats.web_tools import is_web_tool, read_web_tool
from extproc.framing.members import read_members
from tests.formats.relay import CLIENTS, PLACES, relay

ROME = c.Location("Roma", "IT", None, "Europe/Rome")
PLACE = {"type": "approximate", "city": "Roma", "country": "IT", "timezone": "Europe/Rome"}  # fmt: skip


def read(said: dict[str, Any], kind: str = "") -> Any:
    left_out: list[str] = []
    raw = msgspec.Raw(msgspec.json.encode(said))
    tool = read_web_tool(kind or said["type"], raw, "t", left_out.append)
    return tool, tuple(left_out)


@pytest.mark.parametrize(
    ("said", "tool", "left_out"),
    [
        ({"type": "web_search"}, c.WebSearch("t"), ()),
        (
            {
                "type": "web_search_2025_08_26", "search_context_size": "high",
                "filters": {"allowed_domains": ["a.test"]}, "user_location": PLACE,
                "external_web_access": True,
            },
            c.WebSearch("t", ("a.test",), context_size="high", location=ROME), (),
        ),
        ({"type": "web_search_preview", "search_content_types": ["text"]}, c.WebSearch("t"), ("t.search_content_types",)),
        (
            {
                "type": "web_search_20260318", "name": "web_search", "max_uses": 2,
                "blocked_domains": ["b.test"], "response_inclusion": "full",
                "cache_control": {"type": "ephemeral", "ttl": "1h"}, "allowed_domains": None,
            },
            c.WebSearch("t", (), ("b.test",), 2, cache=c.CacheControl("1h")),
            ("t.response_inclusion",),
        ),
        (
            {
                "type": "web_fetch_20250910", "name": "web_fetch", "allowed_domains": ["a.test"],
                "max_uses": 1, "max_content_tokens": 9, "citations": {"enabled": True},
            },
            c.WebFetch("t", ("a.test",), (), 1, 9, citations=True), (),
        ),
        ({"type": "google_search", "exclude_domains": ["b.test"]}, c.WebSearch("t", (), ("b.test",)), ()),
        ({"type": "googleSearch", "excludeDomains": ["b.test"]}, c.WebSearch("t", (), ("b.test",)), ()),
        ({"type": "urlContext"}, c.WebFetch("t"), ()),
    ],
)  # fmt: skip
def test_every_vendors_words_are_read(said, tool, left_out):
    assert is_web_tool(said["type"])
    assert read(said) == (tool, left_out)


@pytest.mark.parametrize(
    ("said", "error", "param"),
    [
        ({"type": "web_search", "external_web_access": False}, Unsupported, "t.external_web_access"),
        ({"type": "web_fetch_20260318", "url_sources": {}}, Unsupported, "t.url_sources"),
        ({"type": "google_search", "time_range_filter": {}}, Unsupported, "t.time_range_filter"),
        ({"type": "web_search", "search_context_size": "huge"}, BadRequest, "t"),
    ],
)  # fmt: skip
def test_what_only_its_vendor_can_do_is_refused(said, error, param):
    with pytest.raises(error) as refused:
        read(said)
    assert refused.value.param == param


@pytest.mark.parametrize(
    "kind", ["function", "code_interpreter", "web_search_tool", "file_search"]
)
def test_other_tools_are_none_of_these(kind):
    assert not is_web_tool(kind)


SEARCH, HELD, KEPT, FETCH = (
    c.WebSearch("t"), c.WebSearch("t", ("a.test",)), c.WebSearch("t", (), ("b.test",)),
    c.WebFetch("t"),
)  # fmt: skip
NOVA = "us.amazon.nova-2-lite-v1:0"


@pytest.mark.parametrize(
    ("provider", "model", "takes"),
    [
        ("anthropic", "claude-sonnet-4-5", {SEARCH, HELD, KEPT, FETCH}),
        ("openai_responses", "gpt-5", {SEARCH, HELD}),
        ("openai_chat", "gpt-4o-search-preview", {SEARCH}),
        ("openai_chat", "gpt-5", set()),
        ("gemini", "gemini-2.5-flash", {SEARCH, KEPT, FETCH}),
        ("converse", NOVA, {SEARCH}),
        ("converse", "us.amazon.nova-lite-v1:0", set()),
        ("converse", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", set()),
    ],
)  # fmt: skip
@pytest.mark.parametrize("tool", [SEARCH, HELD, KEPT, FETCH], ids=str)
def test_a_provider_takes_a_tool_or_refuses_it_by_its_name(
    provider, model, takes, tool
):
    asked = c.Request(
        model="m",
        messages=(c.Message("user", (c.Text("a"),), where="messages[0]"),),
        tools=(tool,),
    )
    if tool in takes:
        body = PLACES[provider].format.write_request(asked, model, 99).body
        assert (
            b"earch" in body or b"etch" in body or b"url" in body or b"ground" in body
        )
        return
    with pytest.raises(Unsupported) as refused:
        PLACES[provider].format.write_request(asked, model, 99)
    assert (refused.value.param or "").startswith("t")


@pytest.mark.parametrize(("client", "provider"), [("openai_chat", "anthropic"), ("anthropic", "gemini"), ("openai_responses", "anthropic")])  # fmt: skip
def test_the_strict_mocks_take_what_is_written(client, provider):
    body: dict[str, Any] = {"model": "m", "tools": [{"type": "web_search", "user_location": PLACE}]}  # fmt: skip
    if client == "anthropic":
        body["tools"] = [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]  # fmt: skip
        body |= {"max_tokens": 99, "messages": [{"role": "user", "content": "Hi"}]}
    elif client == "openai_chat":
        body["messages"] = [{"role": "user", "content": "Hi"}]
    else:
        body["input"] = "Hi"
    assert relay(client, provider, body).whole


def test_tools_of_gemini_are_named_by_a_member():
    raw = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "tools": [{"googleSearch": {}}, {"url_context": {}}]}).encode()  # fmt: skip
    request = CLIENTS["openai_chat"].read_request(raw, read_members(raw))
    assert request.tools == (c.WebSearch("tools[0]"), c.WebFetch("tools[1]"))


def test_the_only_tool_of_the_provider_is_held_to_all_of_the_calls():
    raw = json.dumps({"model": "m", "input": "Hi", "max_tool_calls": 2, "tools": [{"type": "web_search"}]}).encode()  # fmt: skip
    request = CLIENTS["openai_responses"].read_request(raw, read_members(raw))
    assert request.tools == (c.WebSearch("tools[0]", max_uses=2),)
    assert not request.extras
