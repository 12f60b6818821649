"""Rows played at configured providers: the mock is behind real URLs, in a provider's place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from extproc.cli import app
from extproc.local.conformance import checks, live
from extproc.local.conformance.checks import Wrong
from extproc.local.conformance.features import FEATURES
from extproc.local.conformance.heard import Call, Counts, Heard
from extproc.local.conformance.live import LIVE
from extproc.local.mock import MockServer
from tests.local.mock.conftest import Thread

KEY = "sk-mock-do-not-show"
FILE = """
providers:
  ours: {{type: openai, base_url: "{url}/v1", api_key: {key}}}
  claude: {{type: anthropic, base_url: "{url}/v1", api_key: {key}}}
  google: {{type: gemini, base_url: "{url}/v1beta", api_key: {key}}}
  amazon: {{type: bedrock, base_url: "{url}", api_key: {key}}}
models:
  anything: {{targets: [{{provider: ours, model: gpt-4o}}]}}
"""


@pytest.fixture(scope="module")
def mock() -> Iterator[MockServer]:
    with Thread(pace=0) as server:
        yield server


@pytest.fixture
def file(mock: MockServer, tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(FILE.format(url=mock.url, key=KEY))
    return path


def run(file: Path, *arguments: str, say: str | None = None):
    command = ["conformance", "--live", "--config", str(file), *arguments]
    return CliRunner().invoke(app, command, input=say, env={})


@pytest.mark.parametrize("provider", ["ours", "amazon"])
def test_a_live_provider_gets_the_same_rows(file, provider):
    done = run(file, "--yes", "--json", "--provider", provider)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows, done.stderr
    assert rows[0].keys() == {
        "client_format", "provider_format", "provider", "feature", "outcome", "reason",
    }  # fmt: skip
    assert {row["provider"] for row in rows} == {provider}
    assert [row for row in rows if row["outcome"] == "fail"] == []
    assert done.exit_code == 0
    found = {row["feature"] for row in rows}
    assert found == {feature.name for feature in FEATURES}
    passed = {row["feature"] for row in rows if row["outcome"] == "pass"}
    assert {"plain", "streamed", "tool result", "reasoning over two turns"} <= passed
    unplayed = {row["reason"] for row in rows if row["feature"] == "truncated stream"}
    assert unplayed == {"not played: a real provider cannot be made to do so"}
    assert KEY not in done.output


def test_nobody_is_asked_before_the_cost_is_agreed_to(file):
    done = run(file, "--provider", "ours", say="n\n")
    assert done.exit_code == 1
    assert "requests a provider" in done.stderr
    assert "ours (gpt-4o): about $" in done.stderr
    assert "{" not in done.stdout


def test_a_provider_is_chosen_by_its_type_too(file):
    done = run(file, "--provider", "bedrock", say="n\n")
    assert "amazon (" in done.stderr
    assert "ours" not in done.stderr


def test_a_model_can_be_named(file):
    done = run(file, "--provider", "ours", "--model", "gpt-4.1-mini", say="n\n")
    assert "ours (gpt-4.1-mini): " in done.stderr


def test_who_cannot_be_asked_is_named(tmp_path):
    path = tmp_path / "gateway.yaml"
    path.write_text(
        "providers: {aws: {type: bedrock}}\nmodels: {m: {targets: [{provider: aws}]}}\n"
    )
    done = run(path, "--yes")
    assert done.exit_code == 2
    assert "not asked: aws: its requests are signed by Envoy" in done.stderr


def test_a_provider_that_is_down_fails_every_row_without_its_key(file, unused_tcp_url):
    file.write_text(FILE.format(url=unused_tcp_url, key=KEY))
    done = run(file, "--yes", "--json", "--provider", "claude")
    assert done.exit_code == 1
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    reasons = {row["reason"] for row in rows if row["feature"] == "plain"}
    assert reasons == {"no answer: ConnectError"}
    assert KEY not in done.output


@pytest.mark.parametrize("bound", ["MOST_BYTES", "LONGEST_SECONDS"])
def test_an_answer_that_does_not_end_is_none(file, monkeypatch, bound):
    monkeypatch.setattr(live, bound, 0)
    done = run(file, "--yes", "--json", "--provider", "ours")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    reasons = {row["reason"] for row in rows if row["feature"] == "plain"}
    assert reasons == {"no answer: it does not end"}


def test_a_refused_key_is_not_repeated(mock, tmp_path):
    path = tmp_path / "gateway.yaml"
    key = "sk-wrong-0123456789"
    path.write_text(FILE.format(url=mock.url, key=key))
    done = run(path, "--yes", "--json", "--provider", "ours")
    assert done.exit_code == 1
    assert key not in done.output


@pytest.fixture
def unused_tcp_url() -> str:
    return "http://127.0.0.1:9"


def test_every_feature_is_asked_or_says_why_not():
    assert [one.name for one in LIVE] == [one.name for one in FEATURES]
    assert all("[[mock" not in one.prompt.text for one in LIVE if not one.unplayed)


GOOD = Heard(
    status=200, text="Hello", finish="stop", counts=Counts(3, 4),
    sent={"cache_control": {"type": "ephemeral"}},
)  # fmt: skip
CALLED = Heard(status=200, calls=(Call("1", "f", '{"a":1}'),), finish="tools")


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (checks.speaks, GOOD, {"text": " "}),
        (checks.speaks, GOOD, {"finish": "length"}),
        (checks.called("f", "g"), CALLED, {"calls": ()}),
        (checks.called("f"), CALLED, {"calls": (Call("1", "h", "{}"),)}),
        (checks.called("f"), CALLED, {"calls": (Call("1", "f", "[]"),)}),
        (checks.called("f"), CALLED, {"calls": CALLED.calls * 2}),
        (checks.called("f"), CALLED, {"finish": "stop"}),
        (checks.cut_off, Heard(status=200, finish="length"), {"finish": "stop"}),
        (checks.marks_a_prefix, GOOD, {"sent": {}}),
        (checks.marks_a_prefix, GOOD, {"counts": None}),
        (checks.fails, Heard(status=404, error="no"), {"status": 500}),
        (checks.fails, Heard(status=404, error="no"), {"error": ""}),
    ],
)
def test_each_check_of_live_answers_can_fail(check, good, bad):
    check(good)
    changed = Heard(**{name: getattr(good, name) for name in Heard.__slots__})
    for name, value in bad.items():
        setattr(changed, name, value)
    with pytest.raises(Wrong):
        check(changed)
