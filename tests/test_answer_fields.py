"""What clients are told of answers, field by field: see `tests/fields/answers.py`."""

from __future__ import annotations

import itertools

import pytest
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from tests.casebook import CLIENTS, PROVIDER_FORMATS
from tests.fields.answers import (
    DATA,
    WAYS,
    collect,
    document,
    is_of,
    observed,
    paths,
    reason,
    rows,
)
from tests.fields.document import TITLES
from tests.fields.rows import pattern

ways = pytest.mark.parametrize("way", WAYS)
clients = pytest.mark.parametrize("client", CLIENTS)


@clients
@ways
def test_no_field_of_an_answer_is_lost_in_silence(client, way):
    silent = [
        path
        for path, cells in rows(client, way)
        if set(cells) == {"absent"} and not reason(client, way, path)
    ]
    assert silent == []


def test_every_reason_is_needed():
    empty = {
        f"{client}:{way}:{path}"
        for client, way in itertools.product(CLIENTS, WAYS)
        for path, cells in rows(client, way)
        if set(cells) == {"absent"}
    }
    for note in DATA["absent"]:
        assert note["why"]
        for one in note["paths"]:
            assert any(pattern(one).fullmatch(path) for path in empty), one


@clients
@ways
def test_what_every_answer_has_is_told_of_every_provider(client, way):
    told = dict(rows(client, way))
    always = {
        ("openai_chat", "answer"): ["choices[].message.content", "choices[].finish_reason", "usage.total_tokens"],
        ("openai_chat", "stream"): ["choices[].delta.content", "choices[].finish_reason", "usage.total_tokens"],
        ("openai_completions", "answer"): ["choices[].text", "usage.total_tokens"],
        ("openai_completions", "stream"): ["choices[].text", "usage.total_tokens"],
        ("openai_responses", "answer"): ["output[]<message>.content[]<output_text>.text", "status", "usage.total_tokens"],
        ("openai_responses", "stream"): ["<response.output_text.delta>.delta", "<response.completed>"],
        ("anthropic", "answer"): ["content[]<text>.text", "stop_reason", "usage.output_tokens"],
        ("anthropic", "stream"): ["<content_block_delta>.delta<text_delta>.text", "<message_delta>.usage.output_tokens"],
    }  # fmt: skip
    for path in always[client, way]:
        assert "absent" not in told[path], path


def test_what_clients_cannot_be_told_is_reported():
    assert (
        "answer.document_citations"
        in observed("openai_chat")["answer"].reported["anthropic"]
    )
    assert observed("anthropic")["answer"].reported["converse"] == set()


def test_a_field_that_is_new_would_be_noticed():
    class Newer(ChatCompletion):
        mood: str | None = None

    assert "mood" in set(paths(Newer)) - set(paths(ChatCompletion))
    assert not reason("openai_chat", "answer", "mood")


def test_the_judge_tells_what_is_the_providers_from_what_is_made():
    said = ["Grüße, Ada", 17, "a-1"]
    assert is_of("Grüße", said)
    assert is_of(17, said)
    assert is_of({"x": ["a-1"]}, said)
    assert not is_of("stop", said)
    assert not is_of(1, [1])
    assert not is_of(True, [True])


def test_what_a_type_does_not_know_is_our_own():
    class Message(BaseModel):
        text: str

    found: dict[str, list[object]] = {"text": [], "mood (ours)": []}
    collect(Message, {"text": "a", "mood": "b"}, "", found)
    assert found == {"text": ["a"], "mood (ours)": ["b"]}


def test_the_document_has_a_column_for_each_provider():
    written = document(TITLES)
    for client in CLIENTS:
        foreign = [one for one in PROVIDER_FORMATS if one != client]
        head = "| field | " + " | ".join(TITLES[one] for one in foreign) + " |"
        assert head in written
