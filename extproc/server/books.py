"""From completion records to the database's books, by way of a queue on disk.

A record is in the queue before the worker hears that control has it, and leaves it when
the database does; so neither a database that is away nor a control that is killed loses
one. What is written twice is there once: the database knows it by its id.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from extproc.db import usage
from extproc.db.database import Database
from extproc.db.usage import Row
from extproc.exchange.completion import Completion
from extproc.usage import Usage

log = logging.getLogger(__name__)

QUEUE_FILE: Final = "usage.queue"
MAX_QUEUE_BYTES: Final = 4 << 30
"""Some 10 million requests: a database that is away for three hours at 1,000 requests/s.
Past that records are dropped and counted; budgets, which have their own ledger, are right
all the same."""
MAX_HELD_BYTES: Final = 64 << 20
"""In memory, while the disk is full: some 150,000 requests."""
BATCH: Final = 2_000
"""Records in one transaction: a fifth of a second on SQLite."""
RETRY_SECONDS: Final = 1.0
GATHER_SECONDS: Final = 0.5
"""Between batches: at 1,000 requests/s one transaction has 500 records, each of which costs
the database less than one of 200."""
READ_BYTES: Final = 256 << 10
"""Of the queue at once: a call of the system for some 500 records."""
DAY_SECONDS: Final = 86_400
MAX_NAME: Final = 256
"""Characters of a column for names."""

_NO_USAGE: Final = Usage(0, 0)
_LENGTH: Final = struct.Struct(">I")
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Completion)


class Books:
    """The queue, and who empties it.

    Args:
        database: migrated by somebody, sooner or later.
        state: the folder of the queue.

    Attributes:
        lost: records that fitted neither on the disk nor into memory.
    """

    def __init__(self, database: Database, state: Path) -> None:
        self.lost = 0
        self._database = database
        self._path = state / QUEUE_FILE
        self._size = _whole(self._path)
        self._done = 0  # bytes that the database has
        self._held = b""
        """Records that the disk has no room for."""
        self._file: int | None = None
        """The queue, open to write at its end."""
        self._arrived = asyncio.Event()
        self._empty = asyncio.Event()
        self._away = False

    @property
    def waiting(self) -> int:
        """How many bytes of records the database does not have yet."""
        return self._size - self._done + len(self._held)

    def note(self, completions: Iterable[Completion]) -> None:
        """Put `completions` into the queue; never waits for the database.

        What nobody has asked for by a key (health checks, wrong keys) is no usage: it
        would fill the books, and anybody could do it.
        """
        frames = [_frame(one) for one in completions if one.key is not None]
        data = self._held + b"".join(frames)
        if not data:
            return
        self._empty.clear()
        self._arrived.set()
        problem = self._append(data)
        if problem is None:
            self._size += len(data)
            self._held = b""
        elif len(data) <= MAX_HELD_BYTES:
            if not self._held:
                log.warning("usage records wait in memory: %s", problem)
            self._held = data
        else:
            if not self.lost:
                log.error("usage records are lost: %s", problem)
            self.lost += len(frames)

    async def run(self) -> None:
        """Empty the queue into the database until canceled."""
        while True:
            while self._size == self._done:
                await self._more()
            try:
                await asyncio.to_thread(self.write_batch)
            except (SQLAlchemyError, OSError) as error:
                if not self._away:
                    reason = type(getattr(error, "orig", None) or error).__name__
                    log.warning("usage records wait on disk: %s", reason)
                self._away = True
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._away = False
            if self._size == self._done:
                self._reset()
                if not self._held:
                    self._empty.set()
                await asyncio.sleep(GATHER_SECONDS)

    async def _more(self) -> None:
        """Wait for something to write, or try again to get it onto the disk."""
        if self._held:
            await asyncio.sleep(RETRY_SECONDS)
            self.note(())
            return
        self._empty.set()
        self._arrived.clear()
        await self._arrived.wait()

    async def flush(self) -> None:
        """Wait until the database has everything: for tests and the end of a drain."""
        await self._empty.wait()

    def _append(self, data: bytes) -> str | None:
        """Write `data` at the end of the queue; return why that cannot be done."""
        if self._size + len(data) > MAX_QUEUE_BYTES:
            return "the queue is full"
        try:
            if self._file is None:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
                self._file = os.open(self._path, flags, 0o600)
                # Away with what a full disk, or who was killed, left of the last one.
                os.ftruncate(self._file, self._size)
            if os.write(self._file, data) == len(data):
                return None
            problem = os.strerror(errno.ENOSPC)
        except OSError as error:
            problem = error.strerror or type(error).__name__
        self._close()
        return problem

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _reset(self) -> None:
        self._close()
        self._size = self._done = 0
        with contextlib.suppress(OSError):
            self._path.unlink()

    def write_batch(self) -> None:
        """Write the next `BATCH` records into the database."""
        rows = []
        at = self._done
        for completion, after in _read(self._path, at, self._size):
            at = after
            if completion is not None:
                rows.append(row_of(completion))
            if len(rows) == BATCH:
                break
        with self._database.write() as session:
            usage.add(session, rows)
        self._done = at


def row_of(completion: Completion) -> Row:
    """Return the row of the table ``usage`` for a completion record."""
    used = completion.usage or _NO_USAGE
    tags = completion.tags
    return Row(
        completion.id,
        completion.started,
        int(completion.started // DAY_SECONDS),
        completion.duration,
        completion.first_byte,
        completion.operation[:64],
        completion.outcome,
        completion.status,
        _cut(completion.error),
        _cut(completion.key),
        _cut(completion.user),
        _cut(completion.team),
        _cut(completion.organization),
        _cut(completion.end_user),
        _cut(_model(completion)),
        _cut(completion.request_model),
        _cut(completion.response_model),
        completion.provider,
        completion.cluster,
        completion.attempts,
        completion.streamed,
        used.input_tokens,
        used.output_tokens,
        used.cache_read_input_tokens,
        used.cache_creation_input_tokens,
        used.reasoning_output_tokens,
        completion.cost,
        completion.estimated,
        msgspec.json.encode(tags).decode() if tags else "[]",
    )


def _model(completion: Completion) -> str | None:
    """Return what was asked for: where a glob serves it, by the name that was asked."""
    virtual = completion.virtual_model
    return completion.original_model if virtual is None or "*" in virtual else virtual


def _cut(text: str | None) -> str | None:
    """Return what fits the column: names come from clients, of any length."""
    if text is None or (len(text) <= MAX_NAME and "\0" not in text):
        return text
    # Postgres takes no zero in a text.
    return text[:MAX_NAME].replace("\0", "")


def _frame(completion: Completion) -> bytes:
    data = _encoder.encode(completion)
    return _LENGTH.pack(len(data)) + data


def _whole(path: Path) -> int:
    """Return where the last whole record ends: control may have been killed writing it."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        size, at = path.stat().st_size, 0
        while len(head := file.read(_LENGTH.size)) == _LENGTH.size:
            after = at + _LENGTH.size + _LENGTH.unpack(head)[0]
            if after > size:
                break
            at = after
            file.seek(at)
        return at
    return 0


def _read(path: Path, start: int, end: int) -> Iterator[tuple[Completion | None, int]]:
    """Yield the records between two places, each with the place after it.

    None stands for one that this version cannot read: another wrote it.
    """
    with path.open("rb", buffering=READ_BYTES) as file:
        file.seek(start)
        while start < end:
            [length] = _LENGTH.unpack(file.read(_LENGTH.size))
            data = file.read(length)
            start += _LENGTH.size + length
            try:
                yield _decoder.decode(data), start
            except msgspec.MsgspecError:
                yield None, start
