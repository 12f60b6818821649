"""What becomes of every field of every client's API at every provider's.

The fields come from the installed SDKs' own types, what becomes of them from the gateway's
own code; `tests/fields/samples.toml` has the values. A field that a new SDK brings fails
here until somebody has decided about it, and so does one of which nothing becomes.
``EXTPROC_GOLDEN=write`` rewrites `docs/fields.md`; the diff is what is reviewed.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anthropic.types.beta import message_create_params as messages
from openai.types import completion_create_params as completions
from openai.types.chat import completion_create_params as chat
from openai.types.responses import response_create_params as responses

from tests.casebook import PROVIDER_FORMATS
from tests.fields import answers
from tests.fields.document import TITLES, document
from tests.fields.observe import Seen, observe
from tests.fields.rows import DATA, Row, Sampler, matches, pattern
from tests.test_cases import JUDGES

pytestmark = pytest.mark.xdist_group("fields")

DOCUMENT = Path(__file__).parents[1] / "docs" / "fields.md"

CLIENTS: dict[str, Any] = {
    "openai_chat": chat.CompletionCreateParamsStreaming,
    "openai_completions": completions.CompletionCreateParamsStreaming,
    "openai_responses": responses.ResponseCreateParamsStreaming,
    "anthropic": messages.MessageCreateParamsStreaming,
}
clients = pytest.mark.parametrize("client", CLIENTS)

Found = dict[str, list[Seen]]


@functools.cache
def observed(client: str) -> tuple[tuple[Row, Found], ...]:
    """Return every row, and what becomes of each of its values, by provider."""
    rows = Sampler(client).rows(CLIENTS[client])
    return tuple(
        (row, {name: observe(row, name) for name in PROVIDER_FORMATS})
        for row in rows
        if row.values
    )


def each(client: str) -> Iterator[tuple[Row, str, Seen]]:
    for row, found in observed(client):
        for provider, seen in found.items():
            for one in seen:
                yield row, provider, one


@clients
def test_every_top_level_field_of_the_sdk_has_a_sample_or_an_excuse(client):
    fields = set(CLIENTS[client].__annotations__) | {
        name
        for base in getattr(CLIENTS[client], "__orig_bases__", ())
        for name in getattr(base, "__annotations__", ())
    }
    assert len(fields) > 15
    seen = {re.split(r"[.\[<]", row.path)[0] for row, _ in observed(client)}
    excused = {*DATA["common"]["impossible"], *DATA[client].get("impossible", {})}
    assert fields - seen <= excused


@clients
def test_nothing_is_lost_in_silence(client):
    """Kept, reported, or refused; where it is none of these, the data says why."""
    lost = [
        (row.path, provider, seen.value)
        for row, provider, seen in each(client)
        if seen.kind == "nothing" and not seen.where
    ]
    assert lost == []


@clients
def test_a_refusal_is_a_400_that_names_the_field(client):
    for row, _, seen in each(client):
        assert seen.kind != "failed", (row.path, seen)
        if seen.kind != "refused":
            continue
        (named,) = seen.where
        field = re.split(r"[.\[<]", row.path)[0]
        related = {field, *DATA["common"]["related"].get(field, [])}
        told = re.split(r"[.\[]", named)[0] in related or field in seen.message
        assert told, (row.path, seen)


@clients
def test_a_refusal_names_the_provider_unless_it_is_everybodys(client):
    for row, found in observed(client):
        foreign = [(one, seen) for one, seen in found.items() if one != client]
        for provider, several in foreign:
            for i, seen in enumerate(several):
                if seen.kind != "refused" or f"(provider {provider})" in seen.message:
                    continue
                others = {other[i].message for _, other in foreign}
                assert others == {seen.message}, (row.path, provider, seen.message)


@clients
def test_what_is_sent_is_what_the_providers_sdk_could_send(client):
    judged = 0
    for row, provider, seen in each(client):
        path = f"{client}:{row.path}"
        if provider == client or not seen.body or matches(list(DATA["unjudged"]), path):
            continue
        try:
            JUDGES[provider](seen.body)
        except AssertionError as exc:
            raise AssertionError(f"{row.path} at {provider}: {exc}") from exc
        judged += 1
    assert judged > 50


@clients
def test_the_clients_own_format_keeps_what_it_is_sent(client):
    for row, provider, seen in each(client):
        if provider == client:
            unread = matches(list(DATA["unreadable"]), f"{client}:{row.path}")
            told = {"left out"} if unread else {"kept", "nothing"}
            assert seen.kind in told, (row.path, seen)


@clients
def test_a_word_that_is_kept_is_there_unless_it_is_translated(client):
    """A difference alone could be anything: the words themselves must be there."""
    for row, provider, seen in each(client):
        words = [one for one in words_of(seen.value) if one in {"sample", "other"}]
        if seen.kind == "kept" and not seen.left_out and words:
            said = f"{client}:{provider}:{row.path}"
            there = all(one in seen.body.decode() for one in words)
            assert there or matches(list(DATA["translated"]), said), (said, seen)


def words_of(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for one in value.values():
                yield from words_of(one)
        case list():
            for one in value:
                yield from words_of(one)
        case _:
            pass


def test_every_excuse_is_needed():
    needed = {
        f"{row.client}:{row.path}"
        for client in CLIENTS
        for row, _, seen in each(client)
        if seen.kind == "nothing"
    }
    for note in DATA["silent"]:
        assert any(pattern(note["path"]).fullmatch(path) for path in needed), note
        assert note["why"]


def test_the_document_is_fresh():
    written = document({client: observed(client) for client in CLIENTS})
    written += answers.document(TITLES)
    if os.environ.get("EXTPROC_GOLDEN") == "write":
        DOCUMENT.write_text(written)
    assert DOCUMENT.read_text() == written


def test_what_is_lost_would_be_noticed():
    """The judge itself can say no: a field that is read by nobody."""
    row = Row(
        "openai_chat", "made_up",
        ({"model": "m", "messages": [{"role": "user", "content": "Hi", "mood": "x"}]},),
        ("x",), {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
        whole=False,
    )  # fmt: skip
    (seen,) = observe(row, "anthropic")
    assert (seen.kind, seen.where) == ("nothing", ())
    assert json.loads(seen.body)["messages"]
