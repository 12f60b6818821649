"""The folder of the workers' journals: each worker's own, and what others have left.

    <state>/journals/lock         held by whoever looks, for a moment
    <state>/journals/<id>.journal held by its worker for as long as that lives

A journal whose worker has died can be locked; who does so first has it. It stays until
control has what is in it, so that who inherits may die as well. A folder that is on no disk
but the container's is lost with that.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from extproc.exchange.commands import Settlement
from extproc.exchange.completion import Completion
from extproc.server import estate
from extproc.server.journal import SLOTS, Journal, read, size_of
from extproc.server.notes import Notes

log = logging.getLogger(__name__)

FOLDER: Final = "journals"
"""In the state folder."""
SUFFIX: Final = ".journal"
MOST_LEFT: Final = 16
"""Of workers that have died one after the other while control was away: 512 MiB. Past that
a worker has no journal of its own."""


class Journals:
    """What one worker has of the folder.

    Attributes:
        notes: its own; in memory alone where there can be no file.
        records: of workers that have died, for control.
        settlements: theirs for the store.
    """

    def __init__(self, folder: Path | None, id: str, *, now: float) -> None:  # noqa: A002  the worker's
        """Take what is left in `folder`, and begin a journal; `now` is in Unix seconds."""
        self.notes = Notes()
        self.records: list[Completion] = []
        self.settlements: list[Settlement] = []
        self._left: list[tuple[Path, int]] = []
        self._own: tuple[Path, int] | None = None
        if folder is None:
            return
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            with _locked(folder):
                self._take_over(folder, now)
                if len(self._left) < MOST_LEFT:
                    self._begin(folder / f"{id}{SUFFIX}")
                else:
                    log.warning(
                        "records are in memory only: %d journals wait for control",
                        len(self._left),
                    )
        except OSError as error:
            log.warning("records are in memory only: %s", error.strerror)

    def forget_left(self) -> None:
        """Remove what was left: it is where it belongs."""
        for path, handle in self._left:
            _remove(path, handle)
        self._left.clear()

    def close(self) -> None:
        """Remove our own if nothing is in it; else the next worker takes it."""
        if self._own is not None and self.notes.empty:
            _remove(*self._own)
            self._own = None

    def _begin(self, path: Path) -> None:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # All of it now: a disk that is full later must not end the process.
            os.posix_fallocate(handle, 0, size_of(SLOTS))
            memory = mmap.mmap(handle, size_of(SLOTS))
        except OSError:
            _remove(path, handle)
            raise
        self._own = path, handle
        self.notes = Notes(Journal(memory, SLOTS))

    def _take_over(self, folder: Path, now: float) -> None:
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            with contextlib.suppress(OSError):
                handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
                if not _lock(handle):
                    os.close(handle)  # its worker lives, or another has it
                    continue
                found = _settled(handle, now)
                self.records += found.records
                self.settlements += found.settlements
                if found.unread:
                    log.warning(
                        "%d notes of a dead worker cannot be read", found.unread
                    )
                self._left.append((path, handle))
        if self.records or self.settlements:
            log.info(
                "took over %d records and %d bills", len(self.records),
                len(self.settlements),
            )  # fmt: skip


def is_left(folder: Path, id: str) -> bool:  # noqa: A002  gw.id
    """Say whether the journal is there in which the exchange would be."""
    parts = id.split("-")
    return len(parts) > 1 and (folder / f"{parts[1]}{SUFFIX}").exists()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep others from looking: a file that was just made is not locked yet."""
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _settled(handle: int, now: float) -> estate.Estate:
    size = os.fstat(handle).st_size
    if not size:
        return estate.Estate()
    with mmap.mmap(handle, size, access=mmap.ACCESS_READ) as memory:
        entries, torn = read(memory)
    found = estate.settle(entries, now=now)
    return found._replace(unread=found.unread + torn)


def _remove(path: Path, handle: int) -> None:
    # Before the lock is let go: nobody finds it unlocked.
    path.unlink(missing_ok=True)
    os.close(handle)
