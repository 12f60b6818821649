"""A trace from the client through Envoy and the exchange to each attempt."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.observed.gateway import CLIENT_SPAN, MASTER, PROVIDER_KEY, TRACE, Observed
from tests.otlp import attributes

pytestmark = pytest.mark.envoy


def tree(spans: list[Any]) -> tuple[Any, Any, list[Any]]:
    """Return Envoy's span, the exchange's, and the attempts in their order."""
    by_kind: dict[int, list[Any]] = {}
    for span in spans:
        by_kind.setdefault(span.kind, []).append(span)
    [envoy] = by_kind[Span.SPAN_KIND_SERVER]
    [exchange] = by_kind[Span.SPAN_KIND_INTERNAL]
    attempts = by_kind.get(Span.SPAN_KIND_CLIENT, [])
    attempts.sort(key=lambda span: attributes(span.attributes)["extproc.attempt"])
    return envoy, exchange, attempts


def test_client_envoy_exchange_and_attempts_are_one_tree(gateway: Observed) -> None:
    answer = gateway.ask(
        "flaky",
        stream=True,
        headers={
            "traceparent": f"00-{TRACE}-{CLIENT_SPAN}-01",
            "tracestate": "congo=t61rcWkgMzE",
        },
    )
    assert answer.status_code == 200, answer.text
    spans = gateway.whole(answer.headers["x-request-id"], 4)
    envoy, exchange, attempts = tree(spans)
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    assert envoy.parent_span_id.hex() == CLIENT_SPAN
    assert exchange.parent_span_id == envoy.span_id
    assert [span.parent_span_id for span in attempts] == [exchange.span_id] * 2
    assert exchange.trace_state == "congo=t61rcWkgMzE"
    # In time, too, each is within the one above it, but for Envoy's milliseconds.
    slack = 2_000_000
    for span in attempts:
        assert span.start_time_unix_nano >= exchange.start_time_unix_nano
        assert span.end_time_unix_nano <= exchange.end_time_unix_nano
    assert exchange.start_time_unix_nano >= envoy.start_time_unix_nano - slack
    first, second = attempts
    assert first.end_time_unix_nano <= second.start_time_unix_nano
    # What failed says so, and what answered says when.
    said = [attributes(span.attributes) for span in attempts]
    assert (said[0]["error.type"], said[0]["http.response.status_code"]) == ("503", 503)
    assert first.status.code == Status.STATUS_CODE_ERROR
    assert second.status.code == Status.STATUS_CODE_UNSET
    assert said[1]["gen_ai.provider.name"] == "anthropic"
    assert said[1]["http.request.resend_count"] == 1
    assert [event.name for event in second.events] == [
        "extproc.first_chunk", "extproc.last_chunk",
    ]  # fmt: skip
    top = attributes(exchange.attributes)
    assert exchange.name == "chat flaky"
    assert top["gen_ai.response.model"].startswith("claude-sonnet-4-5")
    assert 0 < top["gen_ai.response.time_to_first_chunk"] < 20
    assert top["gen_ai.usage.output_tokens"] > 0
    assert attributes(envoy.attributes)["http.request.method"] == "POST"


def test_a_trace_begins_at_envoy_where_the_client_has_none(gateway: Observed) -> None:
    answer = gateway.ask()
    envoy, exchange, attempts = tree(gateway.whole(answer.headers["x-request-id"], 3))
    assert envoy.parent_span_id == b""
    assert exchange.parent_span_id == envoy.span_id
    assert len(attempts) == 1


def test_what_the_client_does_not_sample_nobody_is_told(gateway: Observed) -> None:
    other = "1" * 32
    gateway.ask(headers={"traceparent": f"00-{other}-{CLIENT_SPAN}-00"})
    answer = gateway.ask()
    gateway.whole(answer.headers["x-request-id"], 3)
    assert gateway.spans(other) == []


def test_a_provider_is_not_told_of_the_trace_by_default(gateway: Observed) -> None:
    trace = "2" * 32
    answer = gateway.ask(
        text="untold",
        headers={"traceparent": f"00-{trace}-{CLIENT_SPAN}-01", "tracestate": "a=b"},
    )
    assert answer.status_code == 200
    [seen] = [one for one in gateway.mock_requests() if "untold" in one["text"]]
    names = {name.lower() for name, _ in seen["headers"]}
    assert "content-type" in names
    assert not names & {"traceparent", "tracestate", "x-gw-span"}


def test_a_broken_traceparent_begins_a_trace(gateway: Observed) -> None:
    """Envoy has no span then; the exchange's is the first."""
    answer = gateway.ask(headers={"traceparent": "00-1-1-01"})
    spans = gateway.whole(answer.headers["x-request-id"], 2)
    [exchange] = [one for one in spans if one.kind == Span.SPAN_KIND_INTERNAL]
    assert exchange.parent_span_id == b""


def test_an_error_is_told_and_no_secret_and_no_prompt_is(gateway: Observed) -> None:
    answer = gateway.ask("broken", text="my prompt is private")
    assert answer.status_code == 500
    envoy, exchange, _ = tree(gateway.whole(answer.headers["x-request-id"], 3))
    assert exchange.status.code == Status.STATUS_CODE_ERROR
    assert attributes(exchange.attributes)["error.type"] == "500"
    assert attributes(envoy.attributes)["http.response.status_code"] == 500
    told = "".join(str(request) for request in gateway.collector.requests["traces"])
    for secret in (MASTER, PROVIDER_KEY, "my prompt is private"):
        assert secret not in told
    assert gateway.collector.headers[-1]["x-tenant"] == "gateways"
