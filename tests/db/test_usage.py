"""The books add up, in both databases, in every direction."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from extproc.db import usage
from extproc.db.database import Database
from extproc.db.tables import UsageRecord
from extproc.db.usage import CORRECTED, Filter, Row, Spend
from extproc.exchange.slip import WORKER_LOST
from extproc.telemetry.confirm import RESET

DAY = 86_400.0


def row(id_: str, tags: Sequence[str] = (), **changes: Any) -> Row:
    started = changes.pop("started_at", 10 * DAY)
    said = {
        "id": id_, "started_at": started, "day": int(started // DAY), "duration": 0.5,
        "first_byte": None, "operation": "chat", "outcome": "ok", "status": 200,
        "error": None, "key": "k1", "user": None, "team": None,
        "organization": None, "end_user": None, "model": "gpt-4o",
        "request_model": "gpt-4o", "response_model": "gpt-4o-2024-08-06",
        "provider": "openai", "cluster": "openai", "attempts": 1, "streamed": False,
        "input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0, "reasoning_output_tokens": 0, "cost": 100,
        "estimated": False, "tags": msgspec.json.encode(tags).decode(), **changes,
    }  # fmt: skip
    return Row(**said)


def write(database, *rows):
    with database.write() as session:
        usage.add(session, rows)


def test_a_row_has_the_columns_of_the_table_in_their_order():
    assert [c.name for c in UsageRecord.__table__.columns] == list(Row._fields)


def test_a_record_that_comes_twice_is_written_once(database):
    write(database, row("a"), row("b"))
    write(database, row("b", cost=999), row("c"), row("c", cost=999))
    write(database)
    with database.read() as session:
        assert usage.spend(session) == [Spend((), 3, 30, 15, 300, 0)]


def test_many_records_fit_in_one_call(database):
    write(database, *(row(str(n)) for n in range(1_201)))
    with database.read() as session:
        assert usage.spend(session)[0].requests == 1_201


def test_money_is_exact_beyond_what_a_float_holds(database):
    write(database, row("a", cost=2**53), row("b", cost=1), row("c", cost=1))
    with database.read() as session:
        assert usage.spend(session)[0].cost == 2**53 + 2


def test_what_has_no_price_costs_nothing_and_is_counted(database):
    write(database, row("a", cost=None), row("b"))
    with database.read() as session:
        assert usage.spend(session) == [Spend((), 2, 20, 10, 100, 1)]


def test_nothing_spent_is_a_row_of_zeros(database):
    with database.read() as session:
        assert usage.spend(session) == [Spend((), 0, 0, 0, 0, 0)]
        assert usage.spend(session, ["key"]) == []


@pytest.mark.parametrize("seed", range(3))
def test_every_split_adds_up_to_the_whole(database, seed):
    dice = random.Random(seed)
    rows = [
        row(
            f"r{n}",
            started_at=dice.randrange(5) * DAY + n,
            key=dice.choice(["k1", "k2", None]),
            team=dice.choice(["t1", None]),
            model=dice.choice(["gpt-4o", "claude"]),
            provider=dice.choice(["openai", "anthropic"]),
            cost=dice.choice([None, dice.randrange(10**12)]),
        )
        for n in range(200)
    ]
    write(database, *rows)
    total = sum(r.cost or 0 for r in rows)
    with database.read() as session:
        splits: list[list[usage.Dimension]] = [
            ["key"],
            ["day"],
            ["model", "provider"],
            ["team", "key", "day"],
        ]
        for by in splits:
            found = usage.spend(session, by)
            assert sum(group.cost for group in found) == total
            assert sum(group.requests for group in found) == len(rows)
            assert [group.cost for group in found] == sorted(
                (group.cost for group in found), reverse=True
            )
        keys: Counter[tuple[str | None]] = Counter()
        for r in rows:
            keys[r.key,] += r.cost or 0
        assert {g.group: g.cost for g in usage.spend(session, ["key"])} == dict(keys)


def test_an_exchange_counts_for_each_of_its_tags(database):
    write(
        database,
        row("a", cost=1, tags=["red", 'q"ü']),
        row("b", cost=20, tags=["red"], model="claude"),
        row("c", cost=300, tags=[]),
    )
    with database.read() as session:
        found = {g.group: (g.requests, g.cost) for g in usage.spend(session, ["tag"])}
        assert found == {
            (None,): (1, 300), ("red",): (2, 21), ('q"ü',): (1, 1),
        }  # fmt: skip
        split = usage.spend(session, ["model", "tag"], Filter(tag="red"))
        assert [(g.group, g.cost) for g in split] == [
            (("claude", "red"), 20), (("gpt-4o", 'q"ü'), 1), (("gpt-4o", "red"), 1),
        ]  # fmt: skip


FILTERS = [
    (Filter(since=11 * DAY), {"b", "c"}),
    (Filter(until=11 * DAY), {"a"}),
    (Filter(since=11 * DAY, until=12 * DAY), {"b"}),
    (Filter(key="k2"), {"b"}),
    (Filter(user="u"), {"a"}),
    (Filter(team="t"), {"a"}),
    (Filter(organization="o"), {"a"}),
    (Filter(end_user="e"), {"a"}),
    (Filter(model="claude"), {"c"}),
    (Filter(provider="anthropic"), {"c"}),
    (Filter(operation="embeddings"), {"c"}),
    (Filter(outcome="canceled"), {"b"}),
    (Filter(tag="blue"), {"a"}),
    (Filter(tag="50%_\\"), {"b"}),
    (Filter(tag='q"ü'), {"c"}),
    (Filter(tag="lu"), set()),
    (Filter(tag="%"), set()),
    (Filter(key="k1", model="claude"), {"c"}),
]


@pytest.mark.parametrize(("where", "expected"), FILTERS)
def test_a_filter_finds_what_it_says_and_no_more(database, where, expected):
    write(
        database,
        row("a", user="u", team="t", organization="o", end_user="e",
            tags=["red", "blue"]),
        row("b", started_at=11 * DAY, key="k2", outcome="canceled",
            tags=["50%_\\"]),
        row("c", started_at=12 * DAY, model="claude", provider="anthropic",
            operation="embeddings", tags=['q"ü']),
    )  # fmt: skip
    with database.read() as session:
        assert {found.id for found in usage.search(session, where)} == expected
        assert usage.spend(session, where=where)[0].requests == len(expected)


def test_pages_hold_every_record_once_also_when_more_come_in(database):
    write(database, *(row(f"r{n:03}", started_at=float(n // 3)) for n in range(50)))
    seen: list[str] = []
    before = None
    while True:
        with database.read() as session:
            page = usage.search(session, before=before, limit=7)
        if not page:
            break
        seen += [found.id for found in page]
        before = (page[-1].started_at, page[-1].id)
        write(database, row(f"new{len(seen)}", started_at=1000.0 + len(seen)))
    assert seen == sorted((f"r{n:03}" for n in range(50)), reverse=True)


def test_what_is_old_can_be_forgotten(database):
    write(database, row("old", started_at=1.0), row("new", started_at=2.0))
    with database.write() as session:
        assert usage.forget(session, 0.5) == 0
        assert usage.forget(session, 3.0, limit=1) == 1
    with database.read() as session:
        assert [found.id for found in usage.search(session)] == ["new"]


def test_an_end_that_envoy_knows_better_is_corrected_and_nothing_else(database):
    with database.write() as session:
        usage.add(session, [row("a", outcome="canceled", cost=5), row("b")])
        usage.add(
            session,
            [
                row("a", outcome="upstream_error", error=CORRECTED, cost=9),
                row("b", outcome="upstream_error", error="other"),
                # Both in one batch, as after an outage.
                row("c", outcome="canceled"),
                row("c", outcome="upstream_error", error=CORRECTED),
            ],
        )
    with database.read() as session:
        rows = {one.id: one for one in usage.search(session)}
    assert (rows["a"].outcome, rows["a"].error) == ("upstream_error", CORRECTED)
    assert rows["a"].cost == 5
    assert rows["b"].outcome == "ok"
    assert rows["c"].outcome == "upstream_error"


def test_how_an_exchange_ended_that_lost_its_worker_is_told_by_envoy(database):
    lost: dict[str, Any] = {"error": WORKER_LOST, "estimated": True}
    with database.write() as session:
        usage.add(session, [row("a", outcome="ok", cost=5), row("b", cost=5, **lost)])
        told: dict[str, Any] = {
            "status": 503,
            "duration": 9.0,
            "outcome": "canceled",
            "cost": 6,
        }
        usage.add(session, [row(name, **told, **lost) for name in "ab"])
        usage.add(session, [row("b", outcome="ok", cost=1)])
    with database.read() as session:
        rows = {one.id: one for one in usage.search(session)}
    assert (rows["a"].outcome, rows["a"].error, rows["a"].cost) == ("ok", None, 5)
    b = rows["b"]
    assert (b.error, b.outcome, b.status, b.duration, b.cost) == (
        WORKER_LOST, "canceled", 503, 9.0, 6,
    )  # fmt: skip


def test_the_books_and_the_join_call_it_alike():
    assert CORRECTED == RESET


@pytest.mark.parametrize("owner", ["user", "team", "organization", "end_user"])
def test_an_owner_is_found_by_an_index_that_has_no_rows_without_one(tmp_path, owner):
    database = Database.in_folder(tmp_path)
    database.migrate()
    question = sa.select(UsageRecord.id).where(getattr(UsageRecord, owner) == "x")
    with database.read() as session:
        plan = session.execute(
            sa.text(f"EXPLAIN QUERY PLAN {question}"), {f"{owner}_1": "x"}
        )
        assert f"ix_usage_{owner}_day" in str(plan.all())
        made = "SELECT sql FROM sqlite_master WHERE name = :name"
        index = session.scalar(sa.text(made), {"name": f"ix_usage_{owner}_day"})
    database.close()
    assert "IS NOT NULL" in str(index)
