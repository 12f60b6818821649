"""The tables are those of the code, in both databases, however many open them."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from extproc.db import usage
from extproc.db.database import Database, DatabaseIsNewer, alembic_of
from extproc.db.tables import AuditEntry, Base, Key, UsageRecord
from tests.db.test_usage import row


def test_the_migrations_make_the_tables_of_the_code(database):
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "render_as_batch": True}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_migrating_again_changes_nothing(database):
    with database.write() as session:
        session.add(_entry("kept"))
    database.migrate()
    with database.read() as session:
        assert session.scalars(sa.select(AuditEntry.subject)).all() == ["kept"]


with sa.create_engine("sqlite://").connect() as _connection:
    _SCRIPTS = ScriptDirectory.from_config(alembic_of(_connection))
HEAD = _SCRIPTS.get_current_head()
OLDER = ["base", *sorted({s.revision for s in _SCRIPTS.walk_revisions()} - {HEAD})]


def step(database, where, revision):
    with database.engine.begin() as connection:
        where(alembic_of(connection), revision)


@pytest.mark.parametrize("revision", OLDER)
def test_a_database_of_an_older_version_is_brought_up_with_all_that_it_has(
    database, revision
):
    key = Key(
        id="k", settings={"models": ["gpt-*"]}, created_at=1.0, updated_at=2.0,
        sha256="ab" * 32, prefix="sk-abcd", team="t",
    )  # fmt: skip
    step(database, command.downgrade, revision)
    if revision != "base":
        with database.write() as session:
            session.add_all([key, _entry("k")])
            usage.add(session, [row("u", cost=7)])
    database.migrate()
    with database.read() as session:
        keys = [(k.id, k.settings, k.team) for k in session.scalars(sa.select(Key))]
        spent = session.scalar(sa.select(sa.func.sum(UsageRecord.cost)))
    kept = revision != "base"
    assert keys == ([("k", {"models": ["gpt-*"]}, "t")] if kept else [])
    assert spent == (7 if kept else None)
    test_the_migrations_make_the_tables_of_the_code(database)


def test_a_database_of_a_newer_version_is_left_alone(database):
    stamp = sa.text("UPDATE alembic_version SET version_num = :to")
    with database.write() as session:
        session.execute(stamp, {"to": "9999"})
    try:
        with pytest.raises(DatabaseIsNewer):
            database.migrate()
    finally:
        with database.write() as session:
            session.execute(stamp, {"to": HEAD})


def test_two_that_migrate_at_once_wait_for_each_other(tmp_path):
    failures: list[BaseException] = []

    def migrate() -> None:
        database = Database.in_folder(tmp_path)
        try:
            database.migrate()
        except BaseException as error:  # noqa: BLE001
            failures.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=migrate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_file_is_the_owners_alone(tmp_path):
    database = Database.in_folder(tmp_path / "state")
    database.migrate()
    database.close()
    for path in (tmp_path / "state").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


def test_what_fails_leaves_nothing(database):
    def fail() -> None:
        with database.write() as session:
            session.add(_entry("lost"))
            session.flush()
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    with database.read() as session:
        assert session.scalars(sa.select(AuditEntry)).all() == []


def test_writers_wait_for_each_other_and_none_is_refused(database):
    """Each reads what it is about to change, as every update does."""
    with database.write() as session:
        session.add(_entry("0"))

    def count() -> None:
        for _ in range(20):
            with database.write() as session:
                entry = session.scalars(sa.select(AuditEntry).with_for_update()).one()
                entry.subject = str(int(entry.subject) + 1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert session.scalars(sa.select(AuditEntry.subject)).one() == "80"


def test_changes_are_seen_in_the_order_of_their_ids(database):
    """One that commits late must not have drawn its id early: readers have passed it."""
    entered, leave, order = threading.Event(), threading.Event(), []

    def first() -> None:
        with database.write_alone():
            entered.set()
            leave.wait(5)
            order.append("first")

    def second() -> None:
        with database.write_alone():
            order.append("second")

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert entered.wait(5)
    threads[1].start()
    threads[1].join(0.3)
    assert order == []
    leave.set()
    for thread in threads:
        thread.join(5)
    assert order == ["first", "second"]


def test_plain_postgres_urls_take_the_driver_that_we_have():
    for scheme in ("postgres", "postgresql"):
        database = Database(f"{scheme}://u:p@db.example:5432/x")
        assert database.url.drivername == "postgresql+psycopg"
        assert database.url.host == "db.example"


def test_a_database_that_is_away_is_one_error(tmp_path: Path):
    database = Database(f"postgresql://x@/x?host={tmp_path}")
    with pytest.raises(sa.exc.OperationalError):
        database.migrate()
    database.close()


def _entry(subject: str) -> AuditEntry:
    return AuditEntry(
        at=1.5, actor="cli", action="create", kind="keys", subject=subject
    )
