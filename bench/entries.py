"""What a change of one key costs where a database has many.

    .venv/bin/python bench/entries.py [--keys 100000] [--zones]

Control reads what has changed, makes a snapshot and sends it, in parts; a worker takes
them. Once each, a worker in a process of its own: the first snapshot, one after a change
of one key, and one after a change of the team that all of them have. A worker turns to its
streams between two parts; its memory is that of the bench's own imports and what it took.
Seconds of CPU: what else the machine does is not in them.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

import psutil
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
from extproc.identity import GrantBook
from extproc.runtime import Runtime, Snapshot
from extproc.server.grants import Edition, GrantsPart, take
from extproc.server.link_frames import SnapshotMessage, encoder, from_control

T = TypeVar("T")

FILE = """
providers: {openai: {type: openai, api_key: sk-bench}}
models: {gpt-4o: {targets: [{provider: openai}]}}
"""


def timed(name: str, work: Callable[[], T]) -> T:
    begin = time.process_time()
    made = work()
    print(f"  {name:32} {time.process_time() - begin:8.3f} s")
    return made


def worker(pipe: Connection) -> None:
    """Take parts and snapshots as a worker does; say how long, and how large one is."""
    book: GrantBook = {}
    runtime: Runtime | None = None
    total = part = 0.0
    while True:
        content = pipe.recv_bytes()
        if not content:
            return
        begin = time.process_time()
        said = from_control(content)
        if isinstance(said, GrantsPart):
            take(book, said)
        elif isinstance(said, SnapshotMessage):
            runtime = Runtime.of(said.snapshot, dict(book))
        step = time.process_time() - begin
        total += step
        if isinstance(said, GrantsPart):
            part = max(part, step)
        if isinstance(said, SnapshotMessage):
            assert runtime is not None
            memory = psutil.Process().memory_info().rss
            pipe.send((total, part, step, memory, len(book)))
            total = part = 0.0


class Bench:
    """Control's side, with one worker."""

    def __init__(self, database: Database, config: Config) -> None:
        self.database, self.config = database, config
        self.entries = Entries()
        self.readings, self.granted = Readings(), Granted()
        self.edition: Edition | None = None
        self.pipe, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(target=worker, args=(theirs,))
        self.process.start()
        self.send(GrantsPart(fresh=True))
        self.send(SnapshotMessage(Snapshot(1)))
        print(f"a worker without keys holds {self.pipe.recv()[3] / 1e6:.0f} MB")

    def send(self, what: GrantsPart | SnapshotMessage) -> int:
        data = encoder.encode(what)
        self.pipe.send_bytes(data)
        return len(data)

    def turn(self, name: str) -> None:
        """Go from the database to a worker's index."""
        print(name)
        begin = time.process_time()
        self.entries = timed("control reads what has changed", self._read)
        full = timed("reads the entries", self._full)
        snapshot = timed("builds the snapshot", lambda: self._build(full))
        sent = timed("sends it", lambda: self._send(snapshot))
        control = time.process_time() - begin
        total, part, rest, memory, number = self.pipe.recv()
        print(f"  {'a worker takes it':32} {total:8.3f} s")
        print(f"  {'of that the longest part':32} {part:8.3f} s")
        print(f"  {'and the snapshot itself':32} {rest:8.3f} s")
        print(f"  {'from the change to its use':32} {control + total:8.3f} s")
        print(
            f"  {sent / 1e6:.3f} MB sent; a worker of {number} keys has {memory / 1e6:.0f} MB"
        )

    def _read(self) -> Entries:
        with self.database.read() as session:
            return read_changes(session, self.entries)

    def _full(self) -> Config:
        return with_entries(self.config, self.entries, now=1.0, readings=self.readings)

    def _build(self, full: Config) -> Snapshot:
        return build(full, grants=(), generation=1, created=1, granted=self.granted)

    def _send(self, snapshot: Snapshot) -> int:
        edition = Edition(snapshot)
        sent = sum(map(self.send, edition.parts(self.edition)))
        self.edition = edition
        return sent + self.send(SnapshotMessage(edition.rest))

    def close(self) -> None:
        self.pipe.send_bytes(b"")
        self.process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--zones", action="store_true", help="budgets in a time zone")
    asked = parser.parse_args()
    config = loads(FILE, {}, source="gateway.yaml", folder=Path())
    with tempfile.TemporaryDirectory() as folder:
        database = Database.in_folder(Path(folder))
        database.migrate()
        directory = Directory(
            database, config=lambda: config, clock=lambda: 1.0, changed=lambda: None
        )
        directory.create("teams", {}, MACHINE, id_="all")
        zone = {"zone": "Europe/Berlin"} if asked.zones else {}
        settings = {
            "models": ["gpt-*"],
            "rate_limits": {"requests_per_minute": 60},
            "budgets": [{"usd": 5, **zone}],
        }
        rows = [
            {
                "id": f"key-{n:06}", "settings": settings, "created_at": 1.0,
                "updated_at": 1.0, "prefix": "sk-benc", "team": "all",
                "sha256": hashlib.sha256(str(n).encode()).hexdigest(),
            }
            for n in range(asked.keys)
        ]  # fmt: skip
        with database.write() as session:
            session.execute(sa.insert(Key), rows)
        bench = Bench(database, config)
        bench.turn(f"{asked.keys} keys, the first time")
        directory.update("keys", "key-000007", {"blocked": True}, MACHINE)
        bench.turn("after a change of one key")
        directory.update("teams", "all", {"models": ["gpt-4o"]}, MACHINE)
        bench.turn("after a change of the team of all of them")
        bench.close()
        database.close()
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"control held {most / 1e3:.0f} MB at most")


if __name__ == "__main__":
    main()
