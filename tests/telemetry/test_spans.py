"""A record becomes the right spans, whatever is missing in it."""

from __future__ import annotations

import msgspec
import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.trace import SpanKind
from opentelemetry.trace.status import StatusCode

from extproc.exchange.completion import Completion, FailedAttempt
from extproc.redact import Redactor
from extproc.telemetry.spans import Spans, attempt_times
from extproc.usage import Usage

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ENVOY = f"{TRACE}-00f067aa0ba902b7"
RECORD = Completion(
    id="gw-1",
    request_id="r-1",
    traceparent=f"00-{TRACE}-{SPAN}-01",
    operation="chat",
    started=1000.0,
    duration=2.0,
    outcome="ok",
    status=200,
    original_model="gpt-4o",
    request_model="claude",
    response_model="claude-4",
    provider="anthropic",
    cluster="anthropic",
    attempts=2,
    attempts_at=(1000.1, 1000.6),
    failed_attempts=(FailedAttempt("openai", "openai", "gpt-4o", 503, "7"),),
    skipped=("azure:cooling",),
    streamed=True,
    first_byte=1.5,
    chunks=3,
    answer_bytes=99,
    usage=Usage(10, 20, cache_read_input_tokens=4),
    cost=2_000_000,
    end_user="bob@example.com",
)
THEIRS = {
    value
    for name, value in vars(gen_ai_attributes).items()
    if name.isupper() and isinstance(value, str)
}

spans = Spans(Resource({"service.name": "x"}), Redactor())


def changed(**fields: object) -> Completion:
    return msgspec.structs.replace(RECORD, **fields)


def test_an_exchange_and_its_attempts() -> None:
    exchange, first, second = spans.of(RECORD, 1.0)
    assert [one.name for one in (exchange, first, second)] == [
        "chat gpt-4o", "chat gpt-4o", "chat claude",
    ]  # fmt: skip
    assert [one.kind for one in (exchange, first)] == [
        SpanKind.INTERNAL,
        SpanKind.CLIENT,
    ]
    assert exchange.parent is not None
    assert (exchange.parent.trace_id, exchange.parent.span_id) == (
        int(TRACE, 16),
        int(SPAN, 16),
    )
    for attempt in (first, second):
        assert attempt.parent is not None
        assert attempt.parent.span_id == exchange.context.span_id
    assert first.end_time == second.start_time == round(1000.6e9)
    assert second.end_time == exchange.end_time == round(1002e9)
    said = dict(exchange.attributes or {})
    assert said["gen_ai.usage.cache_read.input_tokens"] == 4
    assert said["extproc.cost_usd"] == 0.002
    assert said["enduser.id"] == "[redacted:email]"
    failed = dict(first.attributes or {})
    assert failed["error.type"] == "503"
    assert failed["extproc.retry_after"] == "7"
    assert first.status.status_code is StatusCode.ERROR
    assert [event.name for event in exchange.events] == [
        "extproc.target_skipped", "extproc.first_chunk", "extproc.last_chunk",
    ]  # fmt: skip


def test_every_genai_attribute_is_one_of_the_conventions() -> None:
    names = {name for one in spans.of(RECORD, 1.0) for name in one.attributes or {}}
    ours = {name for name in names if name.startswith("gen_ai.")}
    assert len(ours) >= 8
    assert ours <= THEIRS


def test_the_same_record_is_the_same_spans() -> None:
    first, second = ([s.context for s in spans.of(RECORD, 1.0)] for _ in range(2))
    assert first == second
    assert len({context.span_id for context in first}) == 3


def test_a_client_decides() -> None:
    unsampled = changed(traceparent=f"00-{TRACE}-{SPAN}-00")
    assert spans.of(unsampled, 1.0) == []
    assert spans.of(RECORD, 0.0) != []


@pytest.mark.parametrize(
    ("outcome", "status", "code", "kind"),
    [
        ("upstream_error", 503, StatusCode.ERROR, "503"),
        ("gateway_error", 503, StatusCode.ERROR, "gateway_unavailable"),
        ("client_error", 400, StatusCode.UNSET, "gateway_unavailable"),
        ("canceled", 200, StatusCode.UNSET, "gateway_unavailable"),
    ],
)
def test_how_it_ended(outcome, status, code, kind) -> None:
    one = changed(outcome=outcome, status=status, error="gateway_unavailable")
    exchange = spans.of(one, 1.0)[0]
    assert exchange.status.status_code is code
    assert (exchange.attributes or {})["error.type"] == kind


def test_no_text_of_a_span_has_a_secret() -> None:
    key, who = "sk-0123456789abcdef0123", "bob@example.com"
    one = changed(
        outcome="gateway_error", error=f"no {key}", virtual_model=f"m-{who}",
        end_user=who, tags=(who, "blue"), dropped=(f"a.{who}",), response_model=key,
    )  # fmt: skip
    for langfuse in (False, True):
        told = Spans(Resource({}), Redactor(), langfuse=langfuse).of(one, 1.0)
        said = "".join(span.to_json() for span in told)
        assert "blue" in said
        assert "[redacted:email]" in said
        assert key not in said
        assert who not in said


def test_attempts_that_nobody_timed_are_still_in_order() -> None:
    assert attempt_times(changed(attempts=0)) == []
    times = attempt_times(changed(attempts=3, attempts_at=(0.0, 1001.0)))
    assert times == [(1000.0, 1001.0), (1001.0, 1001.0), (1001.0, 1002.0)]
    # Of more attempts than are known only the last has a provider.
    *_, lost, last = spans.of(changed(attempts=3), 1.0)
    assert "gen_ai.provider.name" not in (lost.attributes or {})
    assert (last.attributes or {})["gen_ai.provider.name"] == "anthropic"


@pytest.mark.parametrize("operation", ["models", "health", "local_reply"])
def test_what_asks_nobody_has_no_span(operation) -> None:
    assert spans.of(changed(operation=operation), 1.0) == []
