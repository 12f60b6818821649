"""What works from which client at which provider: played, judged, and written down.

``EXTPROC_GOLDEN=write`` rewrites `docs/support-matrix.md`; the diff is what is reviewed.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from extproc.cli import app
from extproc.exchange.events import ResponseBody
from extproc.local.conformance import (
    PLAYED,
    anthropic,
    checks,
    document,
    openai_chat,
    openai_responses,
    play,
)
from extproc.local.conformance.checks import NotCarried, Wrong
from extproc.local.conformance.dialect import Event, cut
from extproc.local.conformance.endpoints import ENDPOINTS
from extproc.local.conformance.features import FEATURES
from extproc.local.conformance.gateway import Gateway
from extproc.local.conformance.heard import Call, Cited, Counts, Heard
from extproc.local.conformance.prompts import WEATHER, Prompt
from extproc.local.conformance.rows import DIALECTS, MODELS
from extproc.providers import JUDGED
from tests.oracles.providers import PROVIDERS as ANSWERS

MATRIX = Path(__file__).parents[2] / "docs" / "support-matrix.md"
BEDROCK = MODELS["bedrock"][0]
SEARCH = Prompt("日本: search the web", web_search=True)
PAPERS = Prompt("Hello", pdf=True, cited=True)
CLIENTS = [pytest.param(one, id=one.name) for one in DIALECTS]

rows = functools.cache(play)


def test_nothing_fails():
    assert [row for row in rows() if row.outcome == "fail"] == []


def test_the_document_is_fresh():
    written = document(rows())
    if os.environ.get("EXTPROC_GOLDEN") == "write":
        MATRIX.write_text(written)
    assert MATRIX.read_text() == written


def test_only_what_a_clients_api_cannot_say_has_no_row():
    found = {(row.client_format, row.provider, row.feature) for row in rows()}
    assert len(found) == len(rows())
    everything = itertools.product(DIALECTS, JUDGED, FEATURES)
    missing = {
        (dialect.name, feature.name)
        for dialect, provider, feature in everything
        if (dialect.name, provider, feature.name) not in found
    }
    assert missing == {
        ("anthropic", "JSON mode"),
        ("anthropic", "seed"),
        ("anthropic", "two choices"),
        ("anthropic", "logprobs"),
        ("anthropic", "audio in"),
        ("openai_responses", "audio in"),
        ("openai_chat", "cited documents"),
        ("openai_responses", "cited documents"),
        ("openai_responses", "stop sequence"),
        ("openai_responses", "seed"),
        ("openai_responses", "two choices"),
    }


def test_what_is_no_chat_is_asked_of_everybody():
    found = {
        (row.feature, row.provider): row.outcome
        for row in rows()
        if row.feature in {one.feature for one in ENDPOINTS}
    }
    everything = itertools.product(ENDPOINTS, PLAYED)
    missing = {(one.feature, who) for one, who in everything} - set(found)
    assert missing == {("vectors", "tei"), ("vectors in base64", "tei")}
    for one in ENDPOINTS:
        for who in set(one.models) - one.unmocked:
            assert found[one.feature, who] == "pass"


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda one: one.feature)
def test_the_judges_of_what_is_no_chat_can_say_no(endpoint):
    empty = {
        "data": [], "results": [{"index": 0}], "usage": {}, "input_tokens": 0,
    }  # fmt: skip
    with pytest.raises((Wrong, LookupError)):
        endpoint.check(empty)


def test_what_is_refused_names_a_field():
    reasons = {row.reason for row in rows() if row.outcome == "unsupported"}
    assert reasons
    assert all(": " in reason for reason in reasons)
    assert "n: Anthropic's API gives one answer." in reasons
    assert "seed: left out, and reported" in reasons


def test_a_field_is_named_as_the_clients_api_spells_it():
    names = {
        (row.provider, row.reason.removeprefix("streamed: ").partition(":")[0])
        for row in rows()
        if (row.client_format, row.feature) == ("openai_responses", "logprobs")
    }
    assert names == {
        ("openai", ""),
        ("anthropic", "include"),
        ("gemini", ""),
        ("bedrock", "include"),
        ("azure", ""),
        ("vertex", ""),
        ("mistral", ""),
        ("bedrock-anthropic", "include"),
        ("vertex-anthropic", "include"),
        ("cohere", "include"),
    }


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("provider", ["anthropic", "gemini", "bedrock"])
@pytest.mark.parametrize("dialect", CLIENTS)
def test_the_reasoning_that_comes_back_is_proven(dialect, provider, stream):
    """Without proofs in the first answer, the second turn would show nothing."""
    prompt = Prompt("weather", tools=(WEATHER,), thinking=True, stream=stream)
    heard = Gateway().ask(dialect, provider, MODELS[provider][1], prompt)
    assert heard.proofs


class Overheard(Gateway):
    """Keeps what the provider has answered."""

    def _answer(self, *asked):
        told = list(super()._answer(*asked))
        self.raw = b"".join(one.data for one in told if isinstance(one, ResponseBody))
        return iter(told)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("dialect", "provider", "model", "prompt"),
    [
        (openai_chat.DIALECT, "openai", "gpt-4o-search-preview", SEARCH),
        (openai_responses.DIALECT, "openai", "gpt-4o", SEARCH),
        (anthropic.DIALECT, "anthropic", "claude-sonnet-4-5", SEARCH),
        (anthropic.DIALECT, "anthropic", "claude-sonnet-4-5", PAPERS),
        # One that signs nothing: the SDK writes a signature in another base64.
        (openai_chat.DIALECT, "gemini", "gemini-2.5-flash", SEARCH),
        (anthropic.DIALECT, "bedrock", BEDROCK, PAPERS),
    ],
)
def test_the_mocks_cite_in_the_types_of_their_sdks(
    dialect, provider, model, prompt, stream
):
    gateway = Overheard()
    heard = gateway.ask(dialect, provider, model, replace(prompt, stream=stream))
    judge = ANSWERS[gateway.provider_format(dialect.name, provider)]
    judge(gateway.raw, streamed=stream)
    assert heard.cited
    unasked = replace(prompt, stream=stream, web_search=False, cited=False)
    assert not gateway.ask(dialect, provider, model, unasked).cited


@pytest.mark.parametrize("dialect", CLIENTS)
def test_a_streamed_answer_adds_up_to_the_whole_one(dialect):
    gateway, (model, _) = Gateway(), MODELS["bedrock"]
    heard = [
        gateway.ask(
            dialect, "bedrock", model, Prompt("weather, text before", tools=(WEATHER,),
            stream=stream, stream_usage=stream),
        )
        for stream in (False, True)
    ]  # fmt: skip
    whole, streamed = heard
    assert (whole.text, whole.finish, whole.counts) == (
        streamed.text,
        streamed.finish,
        streamed.counts,
    )
    assert whole.text == "Let me look that up."
    (one,), (other,) = whole.calls, streamed.calls
    assert (one.name, json.loads(one.arguments)) == (
        other.name,
        json.loads(other.arguments),
    )


GOOD = Heard(
    status=200, text="You said: a", finish="stop", counts=Counts(3, 4, 2),
    sent={"x": ["a b", 1, "cachePoint"]},
)  # fmt: skip
CALLED = Heard(status=200, calls=(Call("1", "f", "{}"),), finish="tools")


def differs(heard: Heard, **fields) -> Heard:
    changed = Heard(**{name: getattr(heard, name) for name in Heard.__slots__})
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


CITING = differs(GOOD, cited=(Cited("page a", "You said"),))


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (checks.ok, GOOD, {"status": 500}),
        (checks.ok, GOOD, {"error": "no"}),
        (checks.ok, GOOD, {"ended": False}),
        (checks.says("You"), GOOD, {"text": "I"}),
        (checks.says("You"), GOOD, {"finish": "length"}),
        (checks.calls(("f", "{}")), CALLED, {"calls": ()}),
        (checks.calls(("f", "{}")), CALLED, {"calls": (Call("1", "f", ""),)}),
        (checks.calls(("f", "{}")), CALLED, {"finish": "stop"}),
        (
            checks.calls(("f", "{}"), ("f", "{}")),
            differs(CALLED, calls=(*CALLED.calls, Call("2", "f", "{}"))),
            {"calls": CALLED.calls * 2},
        ),
        (checks.calls_nothing, GOOD, {"calls": CALLED.calls}),
        (checks.carries("b", checks.ok), GOOD, {"sent": {}}),
        (checks.carries(1, checks.ok), GOOD, {"sent": {"x": 2}}),
        (checks.cites("a", "You", checks.ok), CITING, {"cited": ()}),
        (checks.cites("a", "You", checks.ok), CITING, {"cited": (Cited("b", "You"),)}),
        (checks.cites("a", "You", checks.ok), CITING, {"cited": (Cited("a", "ou"),)}),
        (checks.cites("a", "", checks.ok), CITING, {"text": "It said"}),
        (checks.is_json("a"), differs(GOOD, text='{"a":1}'), {"text": "{}"}),
        (checks.is_json(), differs(GOOD, text="{}"), {"text": "[]"}),
        (checks.stops_before("STOP"), GOOD, {"text": "a STOP"}),
        (checks.stops_before("STOP"), GOOD, {"text": ""}),
        (checks.counts, GOOD, {"counts": None}),
        (checks.counts, GOOD, {"counts": Counts(3, 0)}),
        (checks.caches(2), GOOD, {"counts": Counts(3, 4)}),
        (checks.caches(2), GOOD, {"sent": {}}),
        (checks.thinks, differs(GOOD, proofs=("p",), thinking="t"), {"thinking": ""}),
        (checks.thinks, differs(GOOD, sent={"reasoning_effort": 1}), {"sent": {}}),
        (
            checks.proves(differs(GOOD, proofs=("a proof",))),
            differs(GOOD, text="The tool says", sent=["a proof"]),
            {"sent": ["another"]},
        ),
        (checks.has_choices(2), differs(GOOD, choices=2), {"choices": 1}),
        (checks.has_logprobs, differs(GOOD, logprobs=1), {"logprobs": 0}),
        (
            checks.fails_with(429, "2", "slow"),
            Heard(status=429, retry_after="2", error="slow down"),
            {"retry_after": ""},
        ),
        (checks.breaks, differs(GOOD, error="no"), {"error": ""}),
        (checks.breaks, differs(GOOD, error="no"), {"ended": False}),
    ],
)  # fmt: skip
def test_each_check_can_fail(check, good, bad):
    check(good)
    with pytest.raises(Wrong):
        check(differs(good, **bad))


def test_what_was_not_carried_is_told_from_what_went_wrong():
    with pytest.raises(NotCarried):
        checks.carries("z", checks.ok)(GOOD)


def test_events_are_cut_out_of_a_stream():
    events = cut(b": hi\n\nevent: a\ndata: 1\ndata: 2\n\ndata:3\r\n\r\n")
    assert [(one.name, one.payload) for one in events] == [("a", b"1\n2"), ("", b"3")]


def run(*arguments: str):
    return CliRunner().invoke(app, ["conformance", *arguments])


def test_the_command_prints_rows():
    done = run("--json", "--provider", "anthropic")
    assert done.exit_code == 0
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["provider"] for row in found} == {"anthropic"}
    assert found[0] == {
        "client_format": "openai_chat",
        "provider_format": "anthropic",
        "provider": "anthropic",
        "feature": "plain",
        "outcome": "pass",
        "reason": "",
    }


def test_the_command_prints_a_table_for_each_provider():
    done = run("--provider", "bedrock")
    assert done.exit_code == 0
    for word in ("bedrock", "openai_responses", "truncated stream", "unsupported"):
        assert word in done.stdout


def test_a_gateway_that_fails_is_told_and_ends_in_1(monkeypatch):
    monkeypatch.setattr(
        "extproc.local.conformance.gateway.event_bytes", lambda _: b"data: nonsense\n\n"
    )
    done = run("--json", "--provider", "gemini")
    assert done.exit_code == 1
    failed = [
        row
        for row in map(json.loads, done.stdout.splitlines())
        if row["outcome"] == "fail"
    ]
    assert "streamed" in {row["feature"] for row in failed}
    assert "plain" not in {row["feature"] for row in failed}


def test_an_answer_that_no_client_can_read_is_a_failure(monkeypatch):
    monkeypatch.setattr(
        "extproc.local.conformance.gateway.cut", lambda _: [Event("", b"{}")]
    )
    found = [row for row in play(["anthropic"]) if row.feature == "streamed"]
    assert {row.outcome for row in found} == {"fail"}
    assert all("cannot be read" in row.reason for row in found)


def test_a_provider_that_does_not_exist_is_named():
    done = run("--provider", "nobody")
    assert done.exit_code == 2
    assert "'nobody'" in done.stderr
