"""Results of a client's own search: told to Claude on Bedrock as such, to others as texts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import CitationsSearchResultLocation, Message

from extproc.formats.base import Unsupported
from tests.formats.relay import PLACES, relay
from tests.oracles.converse_requests import judge

URL = "https://example.test/rome"
NOVA = "us.amazon.nova-2-lite-v1:0"


def found(**more: Any) -> Any:
    content = [{"type": "text", "text": "Sunny."}, {"type": "text", "text": "Warm."}]
    return {
        "type": "search_result", "source": URL, "title": "Rome", "content": content,
        **more,
    }  # fmt: skip


CITED = found(citations={"enabled": True})
TEXT = f"Rome\n{URL}\n\nSunny.\nWarm."


def asked(*parts: Any, stream: bool = False) -> Any:
    content = [*parts, {"type": "text", "text": "How is it?"}]
    message = {"role": "user", "content": content}
    return {"model": "m", "max_tokens": 99, "stream": stream, "messages": [message]}


def called(*results: Any) -> Any:
    """Return a conversation in which a tool has found something."""
    use = {"type": "tool_use", "id": "t1", "name": "look", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": list(results)}
    return {
        "model": "m", "max_tokens": 99,
        "tools": [{"name": "look", "input_schema": {"type": "object"}}],
        "messages": [
            {"role": "user", "content": "How is it?"},
            {"role": "assistant", "content": [use]},
            {"role": "user", "content": [result]},
        ],
    }  # fmt: skip


def test_claude_on_bedrock_is_given_them_as_they_are_and_cites_them():
    back = relay("anthropic", "converse", asked(found(), CITED))
    first, second, _ = back.sent["messages"][0]["content"]
    said = {"source": URL, "title": "Rome", "content": [{"text": "Sunny."}, {"text": "Warm."}]}  # fmt: skip
    assert first == {"searchResult": said}
    assert second == {"searchResult": {**said, "citations": {"enabled": True}}}
    assert back.dropped == ()
    judge(json.dumps(back.sent).encode())
    message = Message.model_validate(back.whole, strict=True)
    cited = [c for block in message.content if block.type == "text" for c in block.citations or ()]  # fmt: skip
    assert cited == [
        CitationsSearchResultLocation(
            type="search_result_location", cited_text="Sunny.", source=URL, title="Rome",
            search_result_index=1, start_block_index=0, end_block_index=1,
        )
    ]  # fmt: skip


def test_a_stream_cites_them_too():
    back = relay("anthropic", "converse", asked(CITED, stream=True), cut=7)
    (cited,) = [
        event["delta"]["citation"]
        for event in back.events
        if event.get("delta", {}).get("type") == "citations_delta"
    ]
    CitationsSearchResultLocation.model_validate(cited, strict=True)
    assert (cited["source"], cited["search_result_index"]) == (URL, 0)


def test_a_tool_on_bedrock_may_give_them():
    back = relay("anthropic", "converse", called(CITED, found()))
    result = back.sent["messages"][2]["content"][0]["toolResult"]["content"]
    assert [one["searchResult"]["title"] for one in result] == ["Rome", "Rome"]
    judge(json.dumps(back.sent).encode())


def test_a_breakpoint_on_one_of_its_texts_stands_behind_all_of_it():
    marked = found()
    marked["content"][0]["cache_control"] = {"type": "ephemeral"}
    back = relay("anthropic", "converse", asked(marked))
    kinds = [next(iter(block)) for block in back.sent["messages"][0]["content"]]
    assert kinds == ["searchResult", "cachePoint", "text"]


@pytest.mark.parametrize("provider", ["openai_chat", "openai_responses", "gemini"])
def test_others_are_told_their_texts(provider):
    told = relay("anthropic", provider, asked(found())).sent
    assert TEXT in texts(told)
    assert TEXT in texts(relay("anthropic", provider, called(found())).sent)


def test_other_models_of_bedrock_are_told_their_texts():
    told = relay("anthropic", "converse", asked(found()), model=NOVA).sent
    assert told["messages"][0]["content"][0] == {"text": TEXT}


@pytest.mark.parametrize("provider", sorted(set(PLACES) - {"anthropic", "converse"}))
def test_who_cites_none_of_them_is_not_asked_to(provider):
    with pytest.raises(Unsupported) as caught:
        relay("anthropic", provider, asked(found(), CITED))
    assert caught.value.param == "messages[0].content[1].citations"
    with pytest.raises(Unsupported) as caught:
        relay("anthropic", provider, called(CITED))
    assert caught.value.param == "messages[2].content[0].content[0].citations"


def texts(value: Any) -> list[str]:
    """Return the strings of a JSON value."""
    match value:
        case str():
            return [value]
        case list():
            return [text for one in value for text in texts(one)]
        case dict():
            return [text for one in value.values() for text in texts(one)]
        case _:
            return []
