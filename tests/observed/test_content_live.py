"""What is asked and answered is told by switch, for as long as it is on, and only where."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.observed.gateway import PRIVATE, Observed, until
from tests.otlp import attributes

pytestmark = pytest.mark.envoy

SAID = ("gen_ai.input.messages", "gen_ai.output.messages")
KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"
SECRET = "the quick brown fox of this test"


@pytest.fixture(scope="module")
def kept(gateway: Observed) -> Iterator[Path]:
    """The file of requests, while everything is kept."""
    path = gateway.folder / "requests.jsonl"
    gateway.reload(
        content={"traces": True, "request_log": True},
        request_log={"path": str(path)},
    )
    yield path
    gateway.reload()
    # Off again: nobody is told anything.
    answer = gateway.ask(text="and now?")
    assert not set(SAID) & set(exchange_of(gateway, answer.headers["x-request-id"]))


def exchange_of(gateway: Observed, request_id: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        for span in gateway.collector.spans:
            said = attributes(span.attributes)
            ours = span.kind == Span.SPAN_KIND_INTERNAL
            if ours and said["extproc.request_id"] == request_id:
                return said
        return None

    return gateway.collector.wait(found)


def line_of(path: Path, request_id: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        lines = map(json.loads, path.read_text().splitlines() if path.exists() else ())
        return next((one for one in lines if one["request_id"] == request_id), None)

    line: dict[str, Any] = until(found)
    return line


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["gpt-4o", "flaky"])
def test_a_span_and_a_line_have_what_was_said(
    gateway: Observed, kept: Path, model: str, stream: bool
) -> None:
    """Passed and translated, the second after an attempt that failed."""
    answer = gateway.ask(model, text=f"Reply to bob@example.com, {KEY}", stream=stream)
    request_id = answer.headers["x-request-id"]
    said = exchange_of(gateway, request_id)
    asked, answered = (json.loads(said[name]) for name in SAID)
    text = "Reply to [redacted:email], [redacted:api_key]"
    assert asked == [{"role": "user", "parts": [{"type": "text", "content": text}]}]
    [message] = answered
    [part] = message["parts"]
    assert (message["finish_reason"], part["type"]) == ("stop", "text")
    assert text in part["content"]
    assert KEY not in part["content"]
    line = line_of(kept, request_id)
    assert line["input_messages"] == asked
    assert line["output_messages"] == answered


def test_of_a_private_key_nothing_is_told(gateway: Observed, kept: Path) -> None:
    private = {"authorization": f"Bearer {PRIVATE}"}
    answer = gateway.ask(text="only for us", headers=private)
    request_id = answer.headers["x-request-id"]
    said = exchange_of(gateway, request_id)
    assert not set(SAID) & set(said)
    assert said["extproc.key"] == "private"
    assert "input_messages" not in line_of(kept, request_id)


def test_it_is_nowhere_else(gateway: Observed, kept: Path) -> None:
    answer = gateway.ask(text=SECRET)
    line = line_of(kept, answer.headers["x-request-id"])
    assert SECRET in str(line["input_messages"])
    everywhere = gateway.log() + gateway.scrape()
    for file in gateway.state.rglob("*"):
        if file.is_file():
            everywhere += file.read_bytes().decode("utf-8", "replace")
    assert SECRET not in everywhere
