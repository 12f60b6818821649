"""What a change of one key costs where a database has many.

    .venv/bin/python bench/entries.py [--keys 100000]

Control reads what has changed, makes a snapshot and sends it; a worker takes it. Seconds,
once each, in one process; the first snapshot and one after a change.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import sqlalchemy as sa

from extproc.admin.access import MACHINE
from extproc.admin.directory import Directory
from extproc.admin.entries import (
    Entries,
    Readings,
    read_changes,
    with_entries,
)
from extproc.config.build import build
from extproc.config.load import loads
from extproc.config.schema import Config
from extproc.config.subjects import Granted
from extproc.db.database import Database
from extproc.db.tables import Key
from extproc.runtime import Runtime, Snapshot

T = TypeVar("T")

FILE = """
providers: {openai: {type: openai, api_key: sk-bench}}
models: {gpt-4o: {targets: [{provider: openai}]}}
"""


def timed(name: str, work: Callable[[], T]) -> T:
    begin = time.perf_counter()
    made = work()
    print(f"  {name:24} {time.perf_counter() - begin:8.3f} s")
    return made


def once(
    database: Database,
    config: Config,
    known: Entries,
    readings: Readings,
    granted: Granted,
) -> Entries:
    """Go from the database to a worker's index."""

    def read() -> Entries:
        with database.read() as session:
            return read_changes(session, known)

    entries = timed("read the database", read)
    full = timed(
        "read the entries",
        lambda: with_entries(config, entries, now=1.0, readings=readings),
    )
    snapshot = timed(
        "build the snapshot",
        lambda: build(full, grants=(), generation=1, created=1, granted=granted),
    )
    data = timed("encode it", lambda: msgspec.msgpack.encode(snapshot))
    print(f"  {len(data) / 1e6:.1f} MB")
    taken = timed(
        "decode it, in a worker", lambda: msgspec.msgpack.decode(data, type=Snapshot)
    )
    timed("index it, in a worker", lambda: Runtime.of(taken))
    return entries


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=10_000)
    number = parser.parse_args().keys
    config = loads(FILE, {}, source="gateway.yaml", folder=Path())
    with tempfile.TemporaryDirectory() as folder:
        database = Database.in_folder(Path(folder))
        database.migrate()
        directory = Directory(
            database, config=lambda: config, clock=lambda: 1.0, changed=lambda: None
        )
        directory.create("keys", {"team": None}, MACHINE, id_="one")
        settings = {
            "models": ["gpt-*"],
            "rate_limits": {"requests_per_minute": 60},
            "budgets": [{"usd": 5}],
        }
        rows = [
            {
                "id": f"key-{n:06}", "settings": settings, "created_at": 1.0,
                "updated_at": 1.0, "prefix": "sk-benc",
                "sha256": hashlib.sha256(str(n).encode()).hexdigest(),
            }
            for n in range(number)
        ]  # fmt: skip
        with database.write() as session:
            session.execute(sa.insert(Key), rows)
        entries = Entries()
        readings, granted = Readings(), Granted()
        for turn in ("the first time", "after a change of one key"):
            print(f"{number} keys, {turn}")
            entries = once(database, config, entries, readings, granted)
            directory.update("keys", "key-000007", {"blocked": True}, MACHINE)
        database.close()


if __name__ == "__main__":
    main()
