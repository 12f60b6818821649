"""One line for a request that has ended, and for those only that are wanted."""

from __future__ import annotations

import logging

import msgspec
import pytest

from extproc.exchange.completion import Completion, FailedAttempt
from extproc.telemetry.access import Entry
from extproc.telemetry.confirm import Ended
from extproc.telemetry.request_lines import RequestLines, line_of, trace_id
from extproc.usage import Usage

OK = Completion(
    id="gw-1",
    request_id="r-1",
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    operation="chat",
    started=1_764_000_000.0,
    duration=1.23456,
    outcome="ok",
    status=200,
    key="ci",
    virtual_model="gpt-4o",
    provider="openai",
    attempts=2,
    failed_attempts=(FailedAttempt("anthropic", "a", "claude"),),
    usage=Usage(10, 20),
    cost=1_500_000,
)
FAILED = msgspec.structs.replace(
    OK, id="gw-2", outcome="upstream_error", status=502, error="bad_upstream_answer"
)
HEALTH = Completion(
    id="gw-3", operation="health", started=0, duration=0, outcome="ok", status=200
)
LOCAL_REPLY = msgspec.structs.replace(HEALTH, operation="local_reply")
LEFT = msgspec.structs.replace(OK, id="gw-4", outcome="canceled")


def test_a_line_is_flat_and_says_only_what_is_known() -> None:
    assert line_of(OK) == {
        "request_id": "r-1",
        "gw_id": "gw-1",
        "operation": "chat",
        "outcome": "ok",
        "status": 200,
        "seconds": 1.2346,
        "key": "ci",
        "model": "gpt-4o",
        "provider": "openai",
        "attempts": 2,
        "failed_attempts": ["anthropic:no answer"],
        "streamed": False,
        "input_tokens": 10,
        "output_tokens": 20,
        "cost_usd": 0.0015,
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
    }
    assert set(line_of(HEALTH)) == {
        "gw_id", "operation", "outcome", "status", "seconds", "streamed",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("which", "told"),
    [("none", []), ("failed", ["gw-2"]), ("all", ["gw-1", "gw-2", "gw-4"])],
)
def test_only_those_are_told_that_are_wanted(which, told, caplog) -> None:
    lines = RequestLines()
    lines.which = which
    with caplog.at_level(logging.INFO):
        lines.tell(map(Ended, [OK, FAILED, HEALTH, LEFT]))
    assert [record.fields["gw_id"] for record in caplog.records] == told
    assert all(
        (record.levelname == "WARNING") == (record.fields["gw_id"] == "gw-2")
        for record in caplog.records
    )


def test_a_failure_is_told_where_only_warnings_are(caplog) -> None:
    lines = RequestLines()
    lines.which = "all"
    with caplog.at_level(logging.WARNING):
        lines.tell(map(Ended, [OK, FAILED]))
    assert [record.fields["gw_id"] for record in caplog.records] == ["gw-2"]


@pytest.mark.parametrize("text", [None, "", "00-1-1-01", "nonsense", "00-abc-b-c"])
def test_what_is_no_traceparent_has_no_trace(text) -> None:
    assert trace_id(text) is None


@pytest.mark.parametrize(
    ("told", "entry"),
    [
        (True, Entry(status=503, flags="UF,URX", details="upstream_reset_before{x}")),
        (True, Entry(status=500, details="ext_proc_error_gRPC_error_14")),
        (True, Entry(status=200, details="ext_proc_error_gRPC_error_13{reset}")),
        (False, Entry(status=503, route="ready", details="ext_proc_error_gRPC_14")),
        (True, Entry(status=200, flags="UPE", details="via_upstream")),
        (False, Entry(status=200, flags="DC", details="downstream_remote_disconnect")),
        (False, Entry(status=200, details="via_upstream")),
        (False, Entry(status=500, flags="URX", details="via_upstream")),
        (False, Entry(status=503, details="gw_overloaded")),
        (False, Entry(status=404, flags="NR", details="route_not_found")),
        (False, Entry(status=0, flags="DC")),
    ],
)
def test_what_envoy_has_ended_is_told_with_its_own_reasons(told, entry, caplog) -> None:
    """In one line, whatever the worker thought of it; nothing else of that is wanted."""
    lines = RequestLines()
    lines.tell([Ended(one, entry) for one in (OK, LEFT, LOCAL_REPLY)])
    assert [record.fields["envoy_details"] for record in caplog.records] == [
        entry.details
    ] * (3 * told)
    assert {record.levelname for record in caplog.records} <= {"WARNING"}
    caplog.clear()
    lines.tell([Ended(FAILED, entry)])
    [record] = caplog.records
    assert ("envoy_details" in record.fields) == told
    caplog.clear()
    lines.which = "none"
    lines.tell([Ended(FAILED, entry)])
    assert not caplog.records
