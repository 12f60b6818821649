"""Control's side of the database: what it has, known here also while it is away.

The entries are read when control starts, after every change, and whenever another
process has changed something (the command line, another gateway on the same Postgres).
The last ones read are kept in a file beside the snapshot, so that a control that starts
while the database is away serves the keys that it had.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from extproc.admin.bearers import Bearers
from extproc.admin.directory import Directory
from extproc.admin.entries import Entries, read_changes, version
from extproc.admin.errors import NotReady
from extproc.admin.http import Admin
from extproc.config.schema import Config
from extproc.db.database import Database
from extproc.runtime import Runtime
from extproc.server.books import Books
from extproc.server.keys import write_private
from extproc.server.retention import Retention

log = logging.getLogger(__name__)

ENTRIES_FILE: Final = "entries.msgpack"
POLL_SECONDS: Final = 0.25
"""Between looks for changes of others: with the link's own time a key that is revoked
anywhere is refused everywhere within a second."""


DATABASE_VARIABLE: Final = "EXTPROC_DATABASE_URL"
"""From the environment and not from ``gateway.yaml``: it has a password in it, and a
database cannot be changed under way."""


def open_database(state: Path, environ: Mapping[str, str]) -> Database:
    """Return the database that the environment names, else the file in `state`."""
    url = environ.get(DATABASE_VARIABLE)
    return Database(url) if url else Database.in_folder(state)


class Registry:
    """The entries of a database.

    Args:
        database: where they are.
        state: the folder in which the last ones are remembered.

    Attributes:
        books: where completion records go.
        entries: the last ones that were read.
        problem: why the database cannot be used now; None when it can.
        looked_at: when the entries were last those of the database, by the loop's clock.
    """

    def __init__(self, database: Database, state: Path) -> None:
        self.database = database
        self.books = Books(database, state)
        self.entries = Entries()
        self.problem: str | None = None
        self.looked_at: float | None = None
        self._file = state / ENTRIES_FILE
        self._migrated = False
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    async def open(self) -> None:
        """Bring the database up to date and read it; remember what it had, if it is away."""
        self._loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            self.entries = msgspec.msgpack.decode(self._file.read_bytes(), type=Entries)
        await self._look()

    def admin(
        self,
        *,
        config: Callable[[], Config | None],
        runtime: Callable[[], Runtime | None],
        clock: Callable[[], float],
    ) -> Admin:
        """Return what the admin API asks of this database.

        Args:
            config: returns ``gateway.yaml`` as it is served now.
            runtime: returns what the data path serves now.
            clock: Unix seconds.
        """

        def served() -> Config:
            found = config()
            if found is None:
                raise NotReady("gateway.yaml cannot be read now; see /health/ready.")
            return found

        directory = Directory(
            self.database, config=served, clock=clock, changed=self.poke
        )
        bearers = Bearers(lambda: served().jwt, clock=clock)
        return Admin(
            directory, self.database, runtime=runtime, clock=clock, bearers=bearers
        )

    async def run(
        self, on_change: Callable[[], Awaitable[None]], retention: Retention
    ) -> None:
        """Call `on_change` whenever there are other entries than before; keep the books."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.books.run())
            tasks.create_task(retention.run())
            tasks.create_task(self._follow(on_change))

    async def _follow(self, on_change: Callable[[], Awaitable[None]]) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._changed.wait()
            self._changed.clear()
            if await self._look():
                await on_change()

    def poke(self) -> None:
        """Say that something has changed; from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._changed.set)

    async def _look(self) -> bool:
        """Read the entries if they are others, and say if they are."""
        try:
            new = await asyncio.to_thread(self._read)
        except (SQLAlchemyError, OSError) as error:
            # Its text may have the address and the user in it.
            reason = type(getattr(error, "orig", None) or error).__name__
            if self.problem is None:
                log.warning("the database cannot be used: %s", reason)
            self.problem = reason
            return False
        if self.problem is not None:
            log.info("the database can be used again")
        self.problem = None
        self.looked_at = asyncio.get_running_loop().time()
        if new is None:
            return False
        self.entries = new
        return True

    def _read(self) -> Entries | None:
        with self._lock:
            if not self._migrated:
                self.database.migrate()
                self._migrated = True
            with self.database.read() as session:
                if version(session) == self.entries.version:
                    return None
                entries = read_changes(session, self.entries)
            write_private(self._file, msgspec.msgpack.encode(entries))
            return entries
