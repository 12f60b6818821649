"""The database's entries are known in time, and also while it is away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from extproc.admin.access import MACHINE
from extproc.admin.directory import Directory
from extproc.config.load import loads
from extproc.db.database import Database
from extproc.server.registry import DATABASE_VARIABLE, Registry, open_database
from extproc.server.retention import Retention

FILE = """
providers: {openai: {type: openai, api_key: sk-x}}
models: {gpt-4o: {targets: [{provider: openai}]}}
"""


@pytest.fixture
def closing() -> Iterator[Callable[[Database], Database]]:
    """Give what is given, closed in the end."""
    with contextlib.ExitStack() as stack:

        def note(database: Database) -> Database:
            stack.callback(database.close)
            return database

        yield note


def directory(database: Database) -> Directory:
    """As another process opens the same database."""
    config = loads(FILE, {}, source="gateway.yaml", folder=Path())
    return Directory(
        database,
        config=lambda: config,
        clock=lambda: 1_000.0,
        changed=lambda: None,
    )


@contextlib.asynccontextmanager
async def running(registry: Registry) -> AsyncIterator[asyncio.Queue[int]]:
    """Yield a queue that has the version of every change."""
    changes: asyncio.Queue[int] = asyncio.Queue()

    async def changed() -> None:
        changes.put_nowait(registry.entries.version)

    await registry.open()
    kept = Retention(registry.database, days=lambda: None, clock=lambda: 1_000.0)
    task = asyncio.ensure_future(registry.run(changed, kept))
    try:
        yield changes
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def ids(registry: Registry) -> list[str]:
    return [stored.id for stored in registry.entries.sections.get("keys", ())]


def test_a_change_of_another_process_is_seen_within_a_second(closing, tmp_path):
    async def play() -> None:
        registry = Registry(closing(Database.in_folder(tmp_path)), tmp_path)
        async with running(registry) as changes:
            other = directory(closing(Database.in_folder(tmp_path)))
            await asyncio.to_thread(other.create, "keys", {}, MACHINE, id_="k")
            async with asyncio.timeout(10):
                await changes.get()
            assert ids(registry) == ["k"]
            await asyncio.to_thread(other.delete, "keys", "k", MACHINE)
            async with asyncio.timeout(10):
                await changes.get()
            assert ids(registry) == []
        assert changes.empty()

    asyncio.run(play())


def test_a_poke_from_another_thread_is_heard(closing, tmp_path, monkeypatch):
    monkeypatch.setattr("extproc.server.registry.POLL_SECONDS", 3600)

    async def play() -> None:
        registry = Registry(closing(Database.in_folder(tmp_path)), tmp_path)
        async with running(registry) as changes:
            other = directory(closing(Database.in_folder(tmp_path)))
            await asyncio.to_thread(other.create, "keys", {}, MACHINE, id_="k")
            await asyncio.to_thread(registry.poke)
            async with asyncio.timeout(10):
                await changes.get()
            assert ids(registry) == ["k"]

    asyncio.run(play())


def test_what_the_database_had_is_known_while_it_is_away(closing, tmp_path):
    async def play() -> None:
        first = Registry(closing(Database.in_folder(tmp_path)), tmp_path)
        await first.open()
        directory(closing(Database.in_folder(tmp_path))).create(
            "keys", {"tags": ["a"]}, MACHINE, id_="k"
        )
        again = Registry(closing(Database.in_folder(tmp_path)), tmp_path)
        await again.open()
        away = Registry(
            closing(Database(f"postgresql://x@/x?host={tmp_path}")), tmp_path
        )
        await away.open()
        assert away.problem == "OperationalError"
        assert away.entries == again.entries
        assert ids(away) == ["k"]
        assert (tmp_path / "entries.msgpack").stat().st_mode & 0o777 == 0o600

    asyncio.run(play())


def test_a_database_that_comes_back_is_read(closing, tmp_path, monkeypatch):
    monkeypatch.setattr("extproc.server.registry.POLL_SECONDS", 0.02)

    async def play() -> None:
        folder = tmp_path / "later"
        folder.write_text("in the way")
        registry = Registry(closing(Database.in_folder(folder)), tmp_path)
        async with running(registry) as changes:
            assert _is_away(registry)
            folder.unlink()
            directory_ = Directory(
                registry.database,
                config=lambda: loads(FILE, {}, source="x", folder=Path()),
                clock=lambda: 1.0,
                changed=registry.poke,
            )
            async with asyncio.timeout(10):
                while _is_away(registry):
                    await asyncio.sleep(0.01)
            await asyncio.to_thread(directory_.create, "keys", {}, MACHINE, id_="k")
            async with asyncio.timeout(10):
                await changes.get()
            assert ids(registry) == ["k"]

    asyncio.run(play())


def _is_away(registry: Registry) -> bool:
    return registry.problem is not None


@pytest.mark.parametrize(
    ("environ", "backend"),
    [({}, "sqlite"), ({DATABASE_VARIABLE: "postgres://db/x"}, "postgresql")],
)
def test_the_environment_says_which_database(tmp_path, environ, backend):
    assert open_database(tmp_path, environ).url.get_backend_name() == backend
