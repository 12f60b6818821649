"""Everybody's account of the same requests is the same, to the token.

150 of them in `make test`, 2,000 in `make agreement` (``EXTPROC_AGREEMENT=2000``).
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from extproc.db.tables import UsageRecord
from extproc.telemetry.instruments import INSTRUMENTS
from tests.agreement.accounts import accounts_of, table_of
from tests.agreement.conftest import NUMBER
from tests.agreement.world import KINDS, Kind, World, body_of
from tests.budgets.world import key_of
from tests.harness import wait_for
from tests.otlp import attributes

pytestmark = pytest.mark.envoy

TOKENS = {"extproc_token_refresh_failures", "extproc_token_valid_seconds"}
"""Shown by `tests/envoy/test_tokens.py`, where there is an identity provider."""


def cut_rows(here: World) -> list[UsageRecord]:
    """Return the rows of streams that a provider reset.

    Envoy tells a worker no more than that it was over, and its log who did it. A client has
    a whole error if Envoy had passed nothing on, so statuses are not compared.
    """
    marks = {one.mark for one in here.seen if one.kind.end == "cut"}
    rows = [row for row in here.rows() if row.end_user in marks]
    assert len(rows) == len(marks)
    assert {row.outcome for row in rows} == {"upstream_error"}
    return rows


def canceled(here: World) -> int:
    left = sum(one.kind.end == "left" for one in here.seen)
    return left + sum(row.outcome == "canceled" for row in cut_rows(here))


def keyed(here: World):
    """What clients saw of requests that a worker knew the key of."""
    return [
        one for one in here.seen if one.kind.end != "local" and one.kind.key != "nobody"
    ]


def test_all_accounts_come_to_the_same(here: World) -> None:
    """`make agreement` ends with the table."""
    lines = list(accounts_of(here))
    table = table_of(lines)
    here.told.append(table)
    assert all(line.agrees for line in lines), f"\n{table}"
    assert len(lines) > 15


def test_the_mix_is_what_it_says(here: World) -> None:
    assert len(here.seen) == NUMBER
    for one in here.seen:
        if one.kind.end == "whole":
            assert (one.status, one.usage is None) == (200, False), one
        elif one.kind.end == "refused" and one.kind.key != "slow":
            assert 400 <= one.status < 430, one
        elif one.kind.end in {"local", "failed"}:
            assert one.status >= 400, one
        elif one.kind.end == "broken":
            assert one.status == 200, one


def test_every_request_counts_once(here: World) -> None:
    counted = here.counted("operation")
    local = sum(one.kind.end == "local" for one in here.seen)
    assert counted["local_reply",] == local
    assert counted.total() == NUMBER


def test_clients_and_metrics_agree_on_every_status(here: World) -> None:
    seen = Counter(
        str(one.status) for one in here.seen if one.kind.end not in {"cut", "left"}
    )
    counted: Counter[str] = Counter()
    broke_off = 0
    for (outcome, status), number in here.counted("outcome", "status").items():
        if outcome == "canceled":
            broke_off += number
        else:
            counted[status] += number
    for row in cut_rows(here):
        counted[str(row.status)] -= row.outcome != "canceled"
    assert +counted == seen
    assert broke_off == canceled(here)


def test_the_database_has_a_row_for_each_request_with_a_key(here: World) -> None:
    rows = here.rows()
    assert len(rows) == len(keyed(here))
    marks = Counter(row.end_user for row in rows if row.end_user)
    assert set(marks.values()) == {1}
    outcomes = Counter(row.outcome for row in rows)
    whole = sum(one.usage is not None for one in here.seen)
    assert outcomes["ok"] == whole + _slow_ones(here)
    assert outcomes["canceled"] == canceled(here)


def _slow_ones(here: World) -> int:
    """Of the key that may ask once an hour, the first may have been served."""
    return sum(one.kind.key == "slow" and one.status == 200 for one in here.seen)


def test_tokens_agree_from_the_provider_to_the_client(here: World) -> None:
    """Of each answer that came whole: what the client was told is what is in the row."""
    rows = {row.end_user: row for row in here.rows()}
    books = {
        line["mark"]: line
        for line in here.books()
        if line["status"] == 200 and line["whole"]
    }
    compared = 0
    for one in here.seen:
        if one.usage is None:
            continue
        row, line = rows[one.mark], books[one.mark]
        told = {
            "input": row.input_tokens,
            "cached": row.cache_read_input_tokens,
            "output": row.output_tokens,
        }
        assert told == one.usage, one
        assert told == {name: line[name] or 0 for name in told}, one
        assert not row.estimated
        compared += 1
    assert compared > NUMBER / 3


def test_rows_and_metrics_agree_on_every_token_and_cent(here: World) -> None:
    rows = here.rows()
    sums = {
        "input": sum(row.input_tokens for row in rows),
        "output": sum(row.output_tokens for row in rows),
        "cache_read": sum(row.cache_read_input_tokens for row in rows),
        "cache_creation": sum(row.cache_creation_input_tokens for row in rows),
        "reasoning": sum(row.reasoning_output_tokens for row in rows),
    }
    assert sums["cache_read"] > 0
    assert here.by("extproc_tokens_total", "kind") == +Counter(sums)
    by_type = here.by("gen_ai_client_token_usage_sum", "gen_ai_token_type")
    assert by_type == {"input": sums["input"], "output": sums["output"]}
    cost = sum(row.cost or 0 for row in rows) / 1e9
    assert sum(here.by("extproc_cost_usd_total").values()) == pytest.approx(cost)


def test_providers_and_metrics_agree_on_every_attempt(here: World) -> None:
    """The provider's books have a line for each time that it was asked."""
    # Who leaves before there is an answer leaves before anybody knows who was asked.
    gone = {one.mark for one in here.seen if one.kind.leave_after == 0}
    served = sum(line["mark"] not in gone for line in here.books())
    attempts = here.by("extproc_attempts_total", "result")
    assert sum(attempts.values()) == served
    fallbacks = here.by("extproc_fallbacks_total", "reason")
    again = sum(one.kind.name.startswith("fallback") for one in here.seen)
    after_reset = sum(one.kind.model == "both" for one in here.seen) - again
    assert again <= sum(fallbacks.values()) <= again + after_reset
    assert set(fallbacks) == {"server_error", "no_answer"}


def test_envoys_log_confirms_every_record(here: World) -> None:
    results = here.by("extproc_confirmations_total", "result")
    counted = here.by("extproc_requests_total", "operation")
    local, ready = counted.pop("local_reply"), counted["ready"]
    assert set(results) <= {"confirmed", "local", "unconfirmed"}
    assert results["local"] == local
    # But for probes while control was on its way up.
    assert 0 <= sum(counted.values()) - results["confirmed"] <= ready
    assert results["confirmed"] >= NUMBER - sum(
        one.kind.end == "local" for one in here.seen
    )


def test_limits_and_money_are_counted(here: World) -> None:
    decisions = here.by("extproc_admissions_total", "decision", "limit")
    poor = sum(one.kind.key == "poor" for one in here.seen)
    assert decisions["denied", "key usd"] == poor
    slow = sum(one.kind.key == "slow" and one.status == 429 for one in here.seen)
    assert decisions["denied", "key requests"] == slow
    rows = [row for row in here.rows() if row.key in {"app", "soft"}]
    settled = sum(here.by("extproc_settled_usd_total").values())
    assert settled == pytest.approx(sum(row.cost or 0 for row in rows) / 1e9)
    spent = here.by("extproc_budget_spent_usd", "subject")
    assert sum(spent.values()) == pytest.approx(settled)


def test_a_collector_is_told_the_same(here: World) -> None:
    requests = {
        tuple(sorted(labels)): value
        for labels, value in here.metrics()["extproc_requests_total"].items()
        if dict(labels)["operation"] != "ready"
    }

    told = {
        tuple(sorted(said.items())): point.as_double
        for point in here.pushed["extproc_requests"].sum.data_points
        if (said := attributes(point.attributes))["operation"] != "ready"
    }
    assert told == requests
    assert here.receiver.refused == []


def spans_of(here: World, kind: int) -> list[tuple[Span, dict[str, Any]]]:
    return [
        (span, attributes(span.attributes)) for span in here.spans if span.kind == kind
    ]


def test_every_request_is_one_trace_that_says_what_its_row_says(here: World) -> None:
    exchanges = {
        said["extproc.gw_id"]: (span, said)
        for span, said in spans_of(here, Span.SPAN_KIND_INTERNAL)
    }
    local = sum(one.kind.end == "local" for one in here.seen)
    assert len(exchanges) == NUMBER - local
    assert len({span.trace_id for span, _ in exchanges.values()}) == len(exchanges)
    rows = here.rows()
    for row in rows:
        _, said = exchanges[row.id]
        assert said["extproc.outcome"] == row.outcome
        assert said.get("http.response.status_code", 0) == row.status
        assert said["extproc.attempts"] == row.attempts
        assert said.get("gen_ai.usage.input_tokens", 0) == row.input_tokens
        assert said.get("gen_ai.usage.output_tokens", 0) == row.output_tokens
        cached = said.get("gen_ai.usage.cache_read.input_tokens", 0)
        assert cached == row.cache_read_input_tokens
        assert said.get("extproc.cost_usd", 0) == pytest.approx((row.cost or 0) / 1e9)
        assert ("error.type" in said) == (row.outcome != "ok")


def test_every_attempt_has_a_span_under_its_exchange(here: World) -> None:
    exchanges = {
        span.span_id: said for span, said in spans_of(here, Span.SPAN_KIND_INTERNAL)
    }
    attempts = spans_of(here, Span.SPAN_KIND_CLIENT)
    under = Counter(span.parent_span_id for span, _ in attempts)
    for span_id, said in exchanges.items():
        assert under[span_id] == said["extproc.attempts"]
    metrics = here.by("extproc_attempts_total", "result")
    assert len(attempts) == sum(metrics.values())
    # Tokens are the exchange's: told twice, they would count twice.
    assert not any("gen_ai.usage.input_tokens" in said for _, said in attempts)


def test_envoys_spans_are_above_and_as_many_as_there_were_requests(
    here: World,
) -> None:
    envoys = {
        said["extproc.request_id"]: (span, said)
        for span, said in spans_of(here, Span.SPAN_KIND_SERVER)
    }
    for span, said in spans_of(here, Span.SPAN_KIND_INTERNAL):
        above, _ = envoys[said["extproc.request_id"]]
        assert span.parent_span_id == above.span_id
        assert span.trace_id == above.trace_id
    for one in here.seen:
        if one.request_id:
            _, said = envoys[one.request_id]
            assert said["http.response.status_code"] == one.status, one


def test_a_provider_is_told_of_the_trace_where_that_is_configured(live: World) -> None:
    """As a child of Envoy's span; `tests/observed` shows that by default it is not."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    httpx.post(
        f"{live.url}/v1/chat/completions",
        content=body_of(Kind("traced", key="free"), "traced"),
        headers={
            "authorization": f"Bearer {key_of('free')}",
            "content-type": "application/json",
            "traceparent": f"00-{trace}-00f067aa0ba902b7-01",
            "tracestate": "congo=t61rcWkgMzE",
        },
        timeout=60,
    ).raise_for_status()
    told = [
        one["headers"]
        for one in live.mock.requests()
        if trace in one["headers"].get("traceparent", "")
    ]
    assert len(told) == 1
    assert told[0]["tracestate"] == "congo=t61rcWkgMzE"
    _, _, parent, flags = told[0]["traceparent"].split("-")
    assert flags == "01"

    def envoys() -> bool | None:
        spans = [s for s in live.receiver.spans if s.trace_id.hex() == trace]
        ours = {s.kind: s.span_id.hex() for s in spans}
        return ours.get(Span.SPAN_KIND_SERVER) == parent or None

    live.receiver.wait(envoys)


def test_every_metric_of_the_table_is_there(live: World) -> None:
    """What only a store that is away or a cloud's token brings about: the store is away."""
    # A control that was killed since then begins to count anew.
    before = live.kept.metrics()
    live.redis.kill()

    def missing() -> set[str]:
        found = before | live.metrics()
        return {
            one.prometheus
            for one in INSTRUMENTS
            if not any(name.startswith(one.prometheus) for name in found)
        }

    try:
        wait_for(lambda: True if missing() == TOKENS else None, lambda: str(missing()))
    finally:
        live.redis.restart()


def test_a_control_that_is_killed_costs_no_row_and_doubles_none(live: World) -> None:
    number = 2 * len(KINDS[:24])
    before = len(live.seen)
    asking = threading.Thread(target=live.ask, args=(number, KINDS[:24], "b"))
    asking.start()
    marks = {f"b-{n}" for n in range(number)}

    def rows() -> list[str]:
        return [row.end_user for row in live.rows() if row.end_user in marks]

    wait_for(lambda: len(live.seen) > before + 6 or None, live.process.output, 60)
    live.kill("extproc.local.control")
    assert len(live.seen) < before + number
    asking.join()

    def there() -> bool | None:
        found = rows()
        return True if len(found) == len(marks) == len(set(found)) else None

    wait_for(there, live.process.output, 60)


def test_a_worker_that_is_killed_leaves_no_request_uncounted(live: World) -> None:
    """Its exchanges are settled from its journal: estimated, and charged as reserved."""
    wait_for(
        lambda: len(live.by("extproc_worker_generation", "worker")) == 2 or None,
        str,
        60,
    )
    stalled = Kind("stalled", "left", stream=True, directive="stall-mid-stream after=3")
    asking = threading.Thread(target=live.ask, args=(8, (stalled,), "c"))
    asking.start()
    marks = {f"c-{n}" for n in range(8)}

    def under_way() -> bool | None:
        return live.by("extproc_worker_open_exchanges")[()] >= 8 or None

    wait_for(under_way, live.process.output, 60)
    live.kill("w0.sock")
    live.kill("w1.sock")
    asking.join()

    def settled() -> bool | None:
        rows = [row for row in live.rows() if row.end_user in marks]
        lost = [row for row in rows if row.error == "worker_lost" and row.estimated]
        return True if len(lost) == len(rows) == 8 else None

    wait_for(settled, live.process.output, 60)
    assert live.by("extproc_confirmations_total", "result").get("settled", 0) == 0


def test_every_kind_was_asked() -> None:
    assert len(KINDS) <= NUMBER
