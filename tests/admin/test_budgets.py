"""Where budgets stand: by what is counted, and by what the database has."""

from __future__ import annotations

from decimal import Decimal

from extproc.admin.budgets import Booked, Counted, budgets
from extproc.db import usage
from extproc.identity import NANOS, Allowance, Budget, Grant, Subject
from extproc.policy.budget import NEVER
from extproc.runtime import Snapshot
from tests.db.test_usage import DAY, row

MONTH = Budget(10 * NANOS, "month")
TOTAL = Budget(5 * NANOS, "total", hard=False)
NOW = 10.5 * DAY
SNAPSHOT = Snapshot(
    1,
    grants=(
        Grant("k1", "00", allowance=Allowance(budgets=(MONTH, TOTAL))),
        Grant("k1", "01", allowance=Allowance(budgets=(MONTH, TOTAL))),
        Grant("free", "02"),
    ),
    subjects=(
        Subject("global", "", Allowance(budgets=(MONTH,))),
        Subject("team", "core", Allowance(budgets=(MONTH,))),
        Subject("end_user", "bot-*", Allowance(budgets=(Budget(NANOS, "day"),))),
        Subject("deployment", "openai/gpt-4o", Allowance(budgets=(MONTH,))),
    ),
)


def shown(purses, **narrow):
    return {
        (one["kind"], one["id"], one["period"]): (
            one["spent_usd"],
            one["reserved_usd"],
            one["left_usd"],
        )
        for one in budgets(SNAPSHOT, purses, now=NOW, **narrow)
    }


def test_what_is_counted_is_shown_once_for_each_budget():
    day = int(10 * DAY)
    spent = {
        "key/k1/month/UTC/0": 3 * NANOS,
        "key/k1/total/UTC/0": 6 * NANOS,
        f"end_user/bot-7/day/UTC/{day}": NANOS // 4,
        f"end_user/ann/day/UTC/{day}": NANOS,
    }
    held = {"key/k1/month/UTC/0": NANOS, f"end_user/bot-8/day/UTC/{day}": 1}
    found = shown(Counted(spent, held))
    assert found == {
        ("global", "", "month"): (0, 0, 10),
        ("team", "core", "month"): (0, 0, 10),
        ("end_user", "bot-7", "day"): (Decimal("0.25"), 0, Decimal("0.75")),
        ("end_user", "bot-8", "day"): (0, Decimal("1e-9"), 1 - Decimal("1e-9")),
        ("deployment", "openai/gpt-4o", "month"): (0, 0, 10),
        ("key", "k1", "month"): (3, 1, 6),
        ("key", "k1", "total"): (6, 0, 0),
    }
    assert shown(Counted(spent, None), kind="key")["key", "k1", "month"] == (3, None, 7)


def test_a_period_says_when_it_begins_and_ends():
    [month, total] = budgets(SNAPSHOT, Counted({}, None), now=NOW, kind="key")
    assert (month["starts"], month["ends"], month["mode"]) == (0, 31 * DAY, "hard")
    assert (total["starts"], total["ends"], total["mode"]) == (None, None, "soft")
    assert NEVER > 31 * DAY


def test_the_database_knows_what_was_spent_in_the_period(database):
    with database.write() as session:
        usage.add(
            session,
            [
                row("a", key="k1", team="core", cost=2 * NANOS, end_user="bot-7"),
                row("b", key="k1", cost=None),
                row("c", key="k1", cost=NANOS, started_at=-1.0, end_user="bot-9"),
                row("d", key="other", cost=NANOS, end_user="ann"),
            ],
        )
    found = shown(Booked(database))
    assert found == {
        ("global", "", "month"): (3, None, 7),
        ("team", "core", "month"): (2, None, 8),
        ("end_user", "bot-7", "day"): (2, None, 0),
        ("deployment", "openai/gpt-4o", "month"): (None, None, None),
        ("key", "k1", "month"): (2, None, 8),
        ("key", "k1", "total"): (2, None, 3),
    }
