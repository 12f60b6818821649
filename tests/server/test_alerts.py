"""A budget that has reached a part of itself is told once."""

from __future__ import annotations

import asyncio
import json

import httpx

from extproc.identity import NANOS, Allowance, Budget, Grant, Subject
from extproc.runtime import Snapshot
from extproc.server import alerts as module
from extproc.server.alerts import Alerts
from extproc.state.base import Balance

URL, ENDS = "http://hook.test/secret", 2_000_000_000
BUDGETS = Allowance(budgets=(Budget(10 * NANOS, "month", alerts=(50, 80, 100)),))
SNAPSHOT = Snapshot(
    1,
    grants=(Grant("app", "ab" * 32, allowance=BUDGETS),),
    subjects=(Subject("end_user", "*", BUDGETS), Subject("team", "search", BUDGETS)),
)
TEAM = "team/search/month/UTC/1798761600"


def told(steps, *, meter=TEAM, start=0.0, fail=0):
    """Charge dollars one after the other; return what the webhook is told."""
    sent: list[dict[str, object]] = []
    left = [fail]

    async def post(url, body):
        assert url == URL
        if left[0]:
            left[0] -= 1
            raise httpx.ConnectError("no")
        sent.append(json.loads(body))

    async def play():
        balances = {meter: Balance(int(start * NANOS), ENDS)}
        alerts = Alerts(post)
        alerts.configure(SNAPSHOT, URL, balances)
        running = asyncio.ensure_future(alerts.run())
        for step in steps:
            nanos = balances[meter].nanos + int(step * NANOS)
            balances[meter] = Balance(nanos, ENDS)
            alerts.look([meter], balances)
            await asyncio.sleep(0.01)
        running.cancel()

    asyncio.run(play())
    return sent


def test_each_threshold_is_told_once():
    sent = told([4, 1, 1, 1, 1, 1, 1, 1])
    assert [(one["percent"], one["spent_usd"]) for one in sent] == [
        (50, "5"),
        (80, "8"),
        (100, "10"),
    ]
    assert sent[0] == {
        "type": "budget_alert", "subject": "team 'search'", "percent": 50,
        "spent_usd": "5", "budget_usd": "10", "period": "month", "ends": ENDS,
    }  # fmt: skip


def test_a_leap_is_told_by_its_highest():
    assert [one["percent"] for one in told([9])] == [80]


def test_what_was_reached_before_the_start_is_told_already():
    assert [one["percent"] for one in told([0.1, 3], start=6)] == [80]


def test_keys_and_end_users_by_glob_have_alerts_too():
    (one,) = told([6], meter="end_user/ann/x/month/UTC/1798761600")
    assert one["subject"] == "end user 'ann/x'"
    (one,) = told([6], meter="key/app/month/UTC/1798761600")
    assert one["subject"] == "key 'app'"
    assert told([6], meter="key/other/month/UTC/1798761600") == []


def test_a_webhook_that_fails_is_asked_again(monkeypatch):
    monkeypatch.setattr(module, "PAUSES", (0.0, 0.0))
    assert [one["percent"] for one in told([5, 0, 0], fail=2)] == [50]
    assert told([5, 0, 0], fail=3) == []
