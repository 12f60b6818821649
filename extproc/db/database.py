"""One database, by its URL: opened, brought up to date, asked in sessions.

Everything here blocks: control calls it in threads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Final

import msgspec
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.orm import Session, sessionmaker

FILE: Final = "extproc.db"
"""The SQLite file's name in the state folder."""
BUSY_SECONDS: Final = 10
"""How long a write waits for another's (the CLI may write beside control), and a
connection for an answer."""


class DatabaseIsNewer(sa.exc.SQLAlchemyError):
    """A later version has brought it up to date; this one does not know its tables."""


class Database:
    """Opened on first use.

    Args:
        url: ``sqlite:///PATH`` or ``postgresql+psycopg://…``.
    """

    def __init__(self, url: str) -> None:
        made = sa.make_url(url)
        if made.drivername in {"postgres", "postgresql"}:
            made = made.set(drivername="postgresql+psycopg")
        lite = made.get_backend_name() == "sqlite"
        self.url = made
        self.engine = sa.create_engine(
            made,
            connect_args={"timeout" if lite else "connect_timeout": BUSY_SECONDS},
            pool_pre_ping=not lite,
            json_serializer=_to_json,
            json_deserializer=msgspec.json.decode,
        )
        if lite:
            sa.event.listen(self.engine, "connect", _set_up_sqlite)
            sa.event.listen(self.engine, "begin", _begin_sqlite)
        self._writing = self.engine.execution_options(writes=True)
        self._readers = sessionmaker(self.engine, expire_on_commit=False)
        self._writers = sessionmaker(self._writing, expire_on_commit=False)

    @classmethod
    def in_folder(cls, state: Path) -> Database:
        """Return the SQLite database of the state folder `state`."""
        return cls(f"sqlite:///{state / FILE}")

    def migrate(self) -> None:
        """Create the tables, or bring them up to date; two at once wait for each other.

        Raises:
            sqlalchemy.exc.OperationalError: the database cannot be reached.
            DatabaseIsNewer: there is no way back from what it is.
        """
        if self.url.get_backend_name() == "sqlite" and self.url.database:
            # Made with its mode, not changed to it afterwards.
            path = Path(self.url.database)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
        with self._writing.begin() as connection:
            _wait_for(connection, _MIGRATION)
            try:
                command.upgrade(alembic_of(connection), "head")
            except CommandError as error:
                raise DatabaseIsNewer(str(error)) from None

    @contextlib.contextmanager
    def read(self) -> Iterator[Session]:
        """Give a transaction that sees one state and changes nothing."""
        with self._readers() as session:
            yield session

    @contextlib.contextmanager
    def write(self) -> Iterator[Session]:
        """Give a transaction: committed at the end, rolled back by an exception."""
        with self._writers.begin() as session:
            yield session

    @contextlib.contextmanager
    def write_alone(self) -> Iterator[Session]:
        """Give a transaction that no other of these overlaps.

        Ids that it draws are then seen in their order: whoever reads up to one has missed
        none before it.
        """
        with self.write() as session:
            _wait_for(session.connection(), _CHANGE)
            yield session

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


_MIGRATION: Final = 0x657874_70726F63
_CHANGE: Final = _MIGRATION + 1
"""Any numbers that nobody else of the same database takes: ``extproc``."""


def _wait_for(connection: sa.Connection, lock: int) -> None:
    """Hold `lock` until the transaction ends; SQLite has one writer at a time anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))


def _to_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def alembic_of(connection: sa.Connection) -> Config:
    """Return what Alembic's commands need to work over `connection`."""
    config = Config()
    folder = resources.files("extproc.db") / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("file_template", "r%%(rev)s_%%(slug)s")
    config.attributes["connection"] = connection
    return config


def _set_up_sqlite(connection: object, record: object) -> None:  # noqa: ARG001
    # No transactions of the driver's own: they begin late and end early.
    connection.isolation_level = None  # type: ignore[attr-defined]
    cursor = connection.cursor()  # type: ignore[attr-defined]
    # Readers do not wait for the writer, nor it for them.
    cursor.execute("PRAGMA journal_mode = WAL")
    # After a power cut the last transactions may be missing, the file is whole.
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # A reader that wants to write later is refused at once when another has written in
    # the meantime; a writer from the beginning waits for its turn.
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
