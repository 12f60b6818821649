"""No record is lost between the workers and the database, and none is there twice."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from extproc.db.database import Database
from extproc.db.tables import UsageRecord
from extproc.exchange.completion import Completion
from extproc.server import books as module
from extproc.server.books import QUEUE_FILE, Books, row_of
from extproc.usage import Usage


def completion(id_: str, **changes: Any) -> Completion:
    plain = Completion(
        id=id_, operation="chat", started=1_000_000.5, duration=0.25, outcome="ok",
        status=200, key="ci", team="core", virtual_model="gpt-4o", provider="openai",
        usage=Usage(10, 5, 3, 2, 1), cost=123, tags=("a",),
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


@pytest.fixture
def database(tmp_path: Path):
    database = Database.in_folder(tmp_path / "db")
    yield database
    database.close()


def written(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(sa.select(UsageRecord.id).order_by(UsageRecord.id)))


@contextlib.asynccontextmanager
async def running(books: Books) -> AsyncIterator[None]:
    task = asyncio.ensure_future(books.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def flushed(books: Books) -> None:
    async with asyncio.timeout(10):
        await books.flush()


def test_records_reach_the_database_with_all_that_they_say(database, tmp_path):
    database.migrate()

    async def play() -> None:
        books = Books(database, tmp_path)
        async with running(books):
            books.note([completion("a")])
            await flushed(books)
        assert books.waiting == 0
        assert not (tmp_path / QUEUE_FILE).exists()

    asyncio.run(play())
    with database.read() as session:
        row = session.get(UsageRecord, "a")
    assert row is not None
    found = {c.name: getattr(row, c.name) for c in UsageRecord.__table__.columns}
    assert found == {**row_of(completion("a"))._asdict(), "tags": ["a"]}
    assert (found["day"], found["input_tokens"], found["cost"]) == (11, 10, 123)
    assert (found["cache_read_input_tokens"], found["reasoning_output_tokens"]) == (
        3,
        1,
    )


def test_a_database_that_is_away_loses_nothing(database, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)

    async def play() -> None:
        books = Books(database, tmp_path)  # has no tables yet
        async with running(books):
            books.note([completion("a"), completion("b")])
            await asyncio.sleep(0.05)
            books.note([completion("c")])
            assert books.waiting > 0
            await asyncio.to_thread(database.migrate)
            await flushed(books)

    asyncio.run(play())
    assert written(database) == ["a", "b", "c"]


def test_a_control_that_was_killed_goes_on_where_it_was(database, tmp_path):
    database.migrate()

    async def first() -> None:
        Books(database, tmp_path).note([completion("a"), completion("b")])

    async def second() -> None:
        books = Books(database, tmp_path)
        # The worker heard nothing, and sends again.
        books.note([completion("b"), completion("c")])
        async with running(books):
            await flushed(books)

    asyncio.run(first())
    asyncio.run(second())
    assert written(database) == ["a", "b", "c"]


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_record_spoils_neither_side_of_it(database, tmp_path, cut):
    database.migrate()

    async def play() -> None:
        Books(database, tmp_path).note([completion("a"), completion("torn")])
        file = tmp_path / QUEUE_FILE
        file.write_bytes(file.read_bytes()[:-cut])
        books = Books(database, tmp_path)
        books.note([completion("b")])
        async with running(books):
            await flushed(books)

    asyncio.run(play())
    assert written(database) == ["a", "b"]


def test_a_record_of_another_version_is_passed_over(database, tmp_path):
    database.migrate()

    async def play() -> None:
        books = Books(database, tmp_path)
        books.note([completion("a")])
        file = tmp_path / QUEUE_FILE
        strange = msgspec.msgpack.encode({"id": 5})
        file.write_bytes(
            module._LENGTH.pack(len(strange)) + strange + file.read_bytes()
        )
        books = Books(database, tmp_path)
        async with running(books):
            await flushed(books)

    asyncio.run(play())
    assert written(database) == ["a"]


def test_a_full_disk_loses_nothing(database, tmp_path, monkeypatch):
    database.migrate()
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    queue = tmp_path / QUEUE_FILE

    async def play() -> None:
        queue.symlink_to("/dev/full")
        books = Books(database, tmp_path)
        async with running(books):
            books.note([completion("a"), completion("b")])
            books.note([completion("c")])
            await asyncio.sleep(0.05)
            assert written(database) == []
            assert books.waiting > 0
            queue.unlink()  # somebody has made room
            await flushed(books)
        assert books.lost == 0

    asyncio.run(play())
    assert written(database) == ["a", "b", "c"]


def test_what_neither_disk_nor_memory_holds_is_counted(database, tmp_path, monkeypatch):
    database.migrate()

    async def play() -> None:
        books = Books(database, tmp_path)
        books.note([completion("a")])
        monkeypatch.setattr(module, "MAX_QUEUE_BYTES", 10)
        monkeypatch.setattr(module, "MAX_HELD_BYTES", 10)
        books.note([completion("lost"), completion("too")])
        monkeypatch.undo()
        assert books.lost == 2
        books.note([completion("b")])
        async with running(books):
            await flushed(books)

    asyncio.run(play())
    assert written(database) == ["a", "b"]


def test_many_records_in_random_pieces_are_each_there_once(
    database, tmp_path, monkeypatch
):
    database.migrate()
    monkeypatch.setattr(module, "BATCH", 50)
    dice = random.Random(3)
    ids = [f"r{n:04}" for n in range(1_000)]

    async def play() -> None:
        books = Books(database, tmp_path)
        async with running(books):
            at = 0
            while at < len(ids):
                step = dice.randrange(1, 60)
                books.note([completion(id_) for id_ in ids[at : at + step]])
                at += step
                await asyncio.sleep(0.001)
            await flushed(books)

    asyncio.run(play())
    assert written(database) == ids


def test_what_nobody_asked_for_by_a_key_is_no_usage(database, tmp_path):
    database.migrate()

    async def play() -> None:
        books = Books(database, tmp_path)
        async with running(books):
            books.note([completion("health", key=None), completion("a")])
            await flushed(books)

    asyncio.run(play())
    assert written(database) == ["a"]


def test_names_of_any_length_and_any_bytes_fit(database, tmp_path):
    database.migrate()
    long = completion("a", end_user="x" * 9_999, virtual_model="m\0n", error="e" * 999)

    async def play() -> None:
        books = Books(database, tmp_path)
        books.note([long])
        async with running(books):
            await flushed(books)

    asyncio.run(play())
    with database.read() as session:
        row = session.get(UsageRecord, "a")
    assert row is not None
    assert row.end_user == "x" * 256
    assert row.model == "mn"


@pytest.mark.parametrize(
    ("asked", "virtual", "told"),
    [
        ("gpt-4o", "gpt-4o", "gpt-4o"),
        ("fast", "gpt-4o", "gpt-4o"),
        ("gpt-5", "gpt-*", "gpt-5"),
        ("nobody's", None, "nobody's"),
    ],
)
def test_a_model_is_called_as_it_was_asked_for_where_a_glob_serves_it(
    asked, virtual, told
):
    one = completion("a", original_model=asked, virtual_model=virtual)
    assert row_of(one).model == told
