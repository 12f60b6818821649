"""What is older than it is to be kept goes, and nothing else."""

from __future__ import annotations

import asyncio

import sqlalchemy as sa

from extproc.db import usage
from extproc.db.tables import UsageRecord
from extproc.server import retention
from extproc.server.retention import Retention
from tests.databases import database, postgres
from tests.db.test_usage import DAY, row

__all__ = ["database", "postgres"]
NOW = 100.0 * DAY


def left(database):
    with database.read() as session:
        return list(session.scalars(sa.select(UsageRecord.id).order_by(UsageRecord.id)))


def test_old_exchanges_go_in_pieces(database, monkeypatch):
    monkeypatch.setattr(retention, "PIECE", 3)
    monkeypatch.setattr(retention, "PIECE_SECONDS", 0.0)
    with database.write() as session:
        rows = [row(f"r{n:02}", started_at=n * 10.0 * DAY) for n in range(11)]
        usage.add(session, rows)
    keep: list[float | None] = [None, 30.0, 30.0, 0.5]
    found = Retention(database, days=lambda: keep.pop(0), clock=lambda: NOW)
    assert asyncio.run(found.look()) == 0
    assert asyncio.run(found.look()) == 7
    assert left(database) == ["r07", "r08", "r09", "r10"]
    assert asyncio.run(found.look()) == 0
    assert asyncio.run(found.look()) == 3
    assert left(database) == ["r10"]


def test_a_database_that_is_away_is_asked_again(database, monkeypatch, caplog):
    monkeypatch.setattr(retention, "PAUSE_SECONDS", 0.01)
    with database.write() as session:
        usage.add(session, [row("old", started_at=1.0)])
    asked = 0

    def days():
        nonlocal asked
        asked += 1
        if asked == 1:
            raise OSError("away")
        return 1.0

    async def play():
        running = asyncio.ensure_future(
            Retention(database, days=days, clock=lambda: NOW).run()
        )
        async with asyncio.timeout(10):
            while await asyncio.to_thread(left, database):
                await asyncio.sleep(0.01)
        running.cancel()

    asyncio.run(play())
    assert "old usage cannot be deleted now: OSError" in caplog.text
