"""A budget that has reached a part of itself is told once."""

from __future__ import annotations

import json

from extproc.identity import NANOS, Allowance, Budget, Grant, Subject
from extproc.redact import Redactor
from extproc.runtime import Snapshot
from extproc.server.alert_book import Alert, AlertBook, Reached
from extproc.server.alerts import Alerts
from extproc.server.webhooks import encode
from extproc.state.base import Balance

NOW, ENDS = 1_800_000_000, 2_000_000_000
BUDGETS = Allowance(budgets=(Budget(10 * NANOS, "month", alerts=(50, 80, 100)),))
SNAPSHOT = Snapshot(
    1,
    grants=(Grant("app", "ab" * 32, allowance=BUDGETS),),
    subjects=(Subject("end_user", "*", BUDGETS), Subject("team", "search", BUDGETS)),
)
TEAM = "team/search/month/UTC/1798761600"


def told(steps, *, meter=TEAM, start=0.0):
    """Charge dollars one after the other; return what is told."""
    heard: list[Alert] = []
    balances = {meter: Balance(int(start * NANOS), ENDS)}
    alerts = Alerts(heard.append, clock=lambda: NOW)
    alerts.configure(SNAPSHOT, balances)
    for step in steps:
        nanos = balances[meter].nanos + int(step * NANOS)
        balances[meter] = Balance(nanos, ENDS)
        alerts.look([meter], balances)
    return heard


def test_each_threshold_is_told_once():
    sent = told([4, 1, 1, 1, 1, 1, 1, 1])
    assert [(one.details["percent"], one.details["spent_usd"]) for one in sent] == [
        (50, "5"),
        (80, "8"),
        (100, "10"),
    ]
    assert json.loads(encode("id-1", sent[0], "json", Redactor())) == {
        "type": "budget_alert", "id": "id-1", "at": NOW, "state": "firing",
        "key": f"budget/{TEAM}/50",
        "summary": "team 'search' has reached 50 % of its budget for the month: 5 of 10 dollars",
        "subject": "team 'search'", "percent": 50,
        "spent_usd": "5", "budget_usd": "10", "period": "month", "ends": ENDS,
    }  # fmt: skip


def test_a_leap_is_told_by_its_highest():
    assert [one.details["percent"] for one in told([9])] == [80]


def test_what_was_reached_before_the_start_is_told_already():
    assert [one.details["percent"] for one in told([0.1, 3], start=6)] == [80]


def test_a_control_that_is_started_again_tells_what_is_new_and_nothing_twice():
    """Of what it was killed at, too: the ledger had it, and nobody had told."""
    heard: list[Alert] = []
    book = AlertBook()
    for spent in (6, 6, 9):
        alerts = Alerts(heard.append, clock=lambda: NOW, book=book)
        alerts.configure(SNAPSHOT, {TEAM: Balance(spent * NANOS, ENDS)})
        book.fresh = False
        alerts.look([TEAM], {TEAM: Balance(spent * NANOS, ENDS)})
    assert [one.details["percent"] for one in heard] == [80]
    assert book.page.budgets == {TEAM: Reached(80, ENDS)}


def test_keys_and_end_users_by_glob_have_alerts_too():
    (one,) = told([6], meter="end_user/ann/x/month/UTC/1798761600")
    assert one.details["subject"] == "end user 'ann/x'"
    (one,) = told([6], meter="key/app/month/UTC/1798761600")
    assert one.details["subject"] == "key 'app'"
    assert told([6], meter="key/other/month/UTC/1798761600") == []
