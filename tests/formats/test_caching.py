"""Breakpoints for the prompt cache: which stay, where, for how long; judged by the mocks."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from extproc import canonical as c
from extproc.errors import BadRequest
from extproc.formats import gemini, openai_chat
from extproc.formats.anthropic.request import CACHE
from extproc.formats.base import Unsupported
from extproc.formats.caching import SECONDS, Offer, bind, lifetime
from extproc.formats.openai_caching import OFFER, offer
from extproc.framing.members import read_members
from extproc.local.mock.reply import Request
from extproc.local.mock.state import Memory
from tests.formats.relay import CLIENTS, PLACES, relay

PNG = "iVBORw0KGgoAAAANSUhEUg=="
NOVA = "us.amazon.nova-pro-v1:0"


def asked(*messages: c.Message, **more: Any) -> c.Request:
    return c.Request(model="m", messages=messages, **more)


def user(*parts: c.Part) -> c.Message:
    return c.Message("user", parts, where="messages[0]")


def text(ttl: str | None = None) -> c.Text:
    return c.Text("a", c.CacheControl(ttl))


def bound(
    request: c.Request, to: Offer | None
) -> tuple[list[str | None], tuple[str, ...]]:
    """Return the lifetimes that are left, in the order of the prompt, and the reports."""
    left_out: dict[str, None] = {}
    made = bind(request, left_out.setdefault, to)
    found: list[Any] = [*made.tools]
    for message in made.messages:
        for part in message.parts:
            found += [*getattr(part, "parts", ()), part]
    caches = [getattr(one, "cache", None) for one in found]
    return [one.ttl for one in caches if one is not None], tuple(left_out)


def test_a_result_that_goes_to_the_front_of_its_turn_lives_as_long_as_what_it_passes():
    result = c.ToolResult("t", (c.Text("b"),), cache=c.CacheControl("5m"))
    request = asked(user(text("1h")), c.Message("tool", (result,), where="messages[1]"))
    assert bound(request, CACHE)[0] == ["1h", "1h"]


def test_instructions_that_go_to_the_front_put_off_nobodys_end():
    request = asked(user(text("1h")), c.Message("system", (text("5m"),), where="x"))
    assert bound(request, CACHE)[0] == ["1h", "1h"]
    request = asked(user(text("5m")), c.Message("system", (text("1h"),), where="x"))
    assert bound(request, CACHE)[0] == ["1h", "1h"]


@pytest.mark.parametrize(
    ("ttl", "offered", "given", "reported"),
    [
        (None, CACHE, None, ()),
        ("5m", CACHE, "5m", ()),
        ("1h", CACHE, "1h", ()),
        ("30m", CACHE, "1h", ()),
        ("12h", CACHE, "1h", ("x.ttl",)),
        ("5m", OFFER, None, ()),
        ("30m", OFFER, "30m", ()),
        ("1h", OFFER, "12h", ()),
        ("1h", Offer(), None, ("x.ttl",)),
        ("5m", Offer(), None, ()),
    ],
)
def test_a_lifetime_is_at_least_the_one_that_is_asked_for(
    ttl, offered, given, reported
):
    left_out: dict[str, None] = {}
    assert lifetime(ttl, offered, "x", left_out.setdefault) == given
    assert tuple(left_out) == reported


def test_a_lifetime_that_nobody_has_is_refused():
    with pytest.raises(BadRequest) as refused:
        lifetime("2h", CACHE, "x", print)
    assert refused.value.param == "x.ttl"


def test_of_too_many_the_last_ones_stay():
    request = asked(user(*[text() for _ in range(6)]))
    assert bound(request, CACHE) == (
        [None] * 4,
        (
            "messages[0].content[0].cache_control",
            "messages[0].content[1].cache_control",
        ),
    )


def test_what_stands_before_a_longer_one_lives_as_long():
    request = asked(user(text(), text("1h"), text()), tools=(c.Tool("f", cache=c.CacheControl()),))  # fmt: skip
    assert bound(request, CACHE) == (["1h", "1h", "1h", None], ())
    assert bound(request, OFFER)[0] == [None, "12h", None]


def test_what_the_provider_is_to_set_stands_on_the_last_part_that_can_carry_it():
    said = c.Message("assistant", (c.Text("a"), c.Reasoning("b", "s"), c.Text(" ")))
    request = asked(user(c.Text("a")), said, caching=c.Caching(automatic=True, ttl="1h"))  # fmt: skip
    made = bind(request, print, CACHE)
    assert made.messages[1].parts[0] == c.Text("a", c.CacheControl("1h"))
    assert made.caching is None
    already = asked(user(text("5m")), caching=c.Caching(automatic=True))
    assert bound(already, CACHE) == (["5m"], ())


def test_a_breakpoint_of_a_result_moves_to_its_last_part_and_back():
    whole = c.ToolResult("c", (c.Text("a"), c.Text("b")), cache=c.CacheControl())
    made = bind(asked(user(whole)), print, OFFER)
    (result,) = made.messages[0].parts
    assert isinstance(result, c.ToolResult)
    assert [part.cache for part in result.parts] == [None, c.CacheControl()]
    assert result.cache is None
    again = bind(made, print, Offer(nested=False)).messages[0].parts[0]
    assert again == whole
    first = c.ToolResult("c", (text(), c.Text("b")))
    assert bound(asked(user(first)), Offer(nested=False)) == (
        [], ("messages[0].content[0].content[0].cache_control",),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("model", "takes"),
    [
        ("gpt-5.6", True), ("gpt-5.6-sol", True), ("gpt-5.10-mini", True), ("gpt-6", True),
        ("gpt-5.5", False), ("gpt-5", False), ("gpt-4o", False), ("o3", False),
        ("llama-5.6", False), ("my-deployment", False), ("openai/gpt-5.6", False),
    ],
)  # fmt: skip
def test_openais_models_take_breakpoints_from_gpt_5_6_on(model, takes):
    assert (offer(model) is not None) == takes


PARTS = st.one_of(
    st.builds(c.Text, st.sampled_from(["a", "", " "]), st.none() | st.builds(c.CacheControl, st.none() | st.sampled_from(list(SECONDS)))),
    st.builds(c.Image, st.just(c.Inline("image/png", PNG)), st.none(), st.none() | st.builds(c.CacheControl)),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.lists(PARTS, max_size=7),
    st.none() | st.builds(c.Caching, st.booleans(), st.none() | st.sampled_from(["5m", "1h"])),
    st.lists(st.none() | st.just("1h"), max_size=2),
)  # fmt: skip
def test_any_breakpoints_become_some_that_the_mock_takes(parts, wish, tools):
    request = asked(
        c.Message("user", (c.Text("hello"), *parts), where="messages[0]"),
        caching=wish,
        tools=tuple(
            c.Tool(f"f{i}", cache=c.CacheControl(ttl)) for i, ttl in enumerate(tools)
        ),
    )
    for name in ("anthropic", "converse"):
        place = PLACES[name]
        rendered = place.format.write_request(request, place.model, 99)
        mock = place.mock(Memory(lambda: 1.7e9), ("sk-mock-*",))
        headers = (("content-type", "application/json"), *place.headers)
        path = place.path.format(place.model)
        reply = mock.respond(Request("POST", path, headers, rendered.body))
        assert reply.status == 200, reply.body


MARK = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
MESSAGES = {
    "model": "m", "max_tokens": 99, **MARK,
    "system": [{"type": "text", "text": "Long.", **MARK}],
    "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello", **MARK}]}],
}  # fmt: skip


@pytest.mark.parametrize("provider", ["openai_chat", "openai_responses"])
@pytest.mark.parametrize(("model", "marks"), [("gpt-5.6", 2), ("gpt-4o", 0)])
def test_an_openai_model_is_told_only_what_it_takes(provider, model, marks):
    relayed = relay("anthropic", provider, MESSAGES, model=model)
    assert json.dumps(relayed.sent).count('"prompt_cache_breakpoint"') == marks
    assert ("prompt_cache_options" in relayed.sent) == bool(marks)
    assert ("cache_control" in relayed.dropped) == (not marks)


def test_a_nova_has_no_breakpoint_in_its_tools():
    tool = {"name": "f", "input_schema": {"type": "object", "properties": {}}, **MARK}
    relayed = relay("anthropic", "converse", {**MESSAGES, "tools": [tool]}, model=NOVA)
    assert json.dumps(relayed.sent["toolConfig"]).count("cachePoint") == 0
    assert json.dumps(relayed.sent).count("cachePoint") == 2
    assert relayed.dropped == (
        "tools[0].cache_control", "system[0].cache_control.ttl",
        "messages[0].content[0].cache_control.ttl",
    )  # fmt: skip


# ---------------------------------------------------------------- Gemini's own


def chat(**more: Any) -> c.Request:
    said = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **more}
    raw = msgspec.json.encode(said)
    read: c.Request = CLIENTS["openai_chat"].read_request(raw, read_members(raw))
    return read


@pytest.mark.parametrize("word", ["cached_content", "cachedContent"])
def test_a_context_that_gemini_has_cached_passes_by_its_name(word):
    request = chat(**{word: "cachedContents/a"})
    body = gemini.PROVIDER.write_request(request, "gemini-3.5-flash", 9).body
    assert json.loads(body)["cachedContent"] == "cachedContents/a"


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"cached_content": 1}, BadRequest),
        (
            {
                "cached_content": "a",
                "tools": [{"type": "function", "function": {"name": "f"}}],
            },
            Unsupported,
        ),
        (
            {
                "cached_content": "a",
                "messages": [
                    {"role": "system", "content": "a"}, {"role": "user", "content": "b"},
                ],
            },
            Unsupported,
        ),
    ],
)  # fmt: skip
def test_such_a_context_has_its_instructions_and_tools_in_it(more, error):
    with pytest.raises(error) as refused:
        gemini.PROVIDER.write_request(chat(**more), "gemini-3.5-flash", 9)
    assert refused.value.param == "cached_content"


@pytest.mark.parametrize("provider", ["anthropic", "converse", "openai_chat"])
def test_nobody_else_has_it(provider):
    with pytest.raises(Unsupported) as refused:
        PLACES[provider].format.write_request(chat(cached_content="a"), "claude-x", 9)
    assert refused.value.param == "cached_content"


def test_a_breakpoint_in_a_result_has_the_clients_own_name():
    said = (c.Text("12 degrees", c.CacheControl()),)
    request = c.Request(
        model="m",
        messages=(
            c.Message("user", (c.Text("Hi"),), where="input[0]"),
            c.Message("assistant", (c.ToolCall("c", "f", "{}"),), where="input[1]"),
            c.Message("tool", (c.ToolResult("c", said),), where="input[2]"),
        ),
    )
    rendered = openai_chat.PROVIDER.write_request(request, "gpt-4o", 1)
    assert rendered.dropped == ("input[2].output[0].cache_control",)
