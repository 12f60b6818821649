"""What people have been told, and what they are still to be told: on disk.

A control that is started again tells nothing twice, and loses nothing that waits for a
webhook. The file is written anew within a fifth of a second of a change; of one that is
killed before that, what was new is found out again, and may be told twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from extproc.server.keys import write_private

log = logging.getLogger(__name__)

ALERTS_FILE: Final = "alerts.json"
GATHER_SECONDS: Final = 0.2

Kind = Literal["budget", "health", "errors"]
KINDS: Final[tuple[Kind, ...]] = ("budget", "health", "errors")
State = Literal["firing", "resolved"]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Something that people should know."""

    kind: Kind
    key: str
    """What it is about: the same for as long as that is so."""
    summary: str
    at: int
    """Unix seconds."""
    state: State = "firing"
    details: Mapping[str, object] = {}
    """Further members of the body."""


class Reached(msgspec.Struct, frozen=True):
    """What of a budget has been told."""

    percent: int
    ends: int
    """Of the period, in Unix seconds: then it is forgotten."""


class Standing(msgspec.Struct, frozen=True):
    """Something wrong that has been told, and is not over."""

    kind: Kind
    summary: str
    since: float
    """Unix seconds."""
    after: float
    details: Mapping[str, object] = {}


class Page(msgspec.Struct):
    """The file."""

    budgets: dict[str, Reached] = {}
    """By meter."""
    standing: dict[str, Standing] = {}
    """By key."""
    told_at: dict[str, float] = {}
    """When each key was told last."""
    waiting: dict[str, dict[str, Alert]] = {}
    """By webhook (`name_of`) and by id, what has not been taken, the oldest first."""


class AlertBook:
    """The page, and who writes it; `clock` gives Unix seconds.

    Attributes:
        page: change it, and say so (`changed`).
        fresh: there was none before.
    """

    def __init__(
        self, path: Path | None = None, *, clock: Callable[[], float] = lambda: 0.0
    ) -> None:
        """Read what is at `path`; without one nothing is kept."""
        self._path = path
        self._clock = clock
        self._changed = asyncio.Event()
        found = None if path is None else _read(path)
        self.fresh = found is None
        self.page = found or Page()

    def changed(self) -> None:
        """Have it written soon."""
        self._changed.set()

    async def run(self) -> None:
        """Write until canceled, and then once more."""
        self.write()  # from now on there is one before
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                self.write()
                await asyncio.sleep(GATHER_SECONDS)
        finally:
            self.write()

    def write(self) -> None:
        """Write it now; a disk that has no room is told of, and tried again."""
        if self._path is None:
            return
        now = self._clock()
        budgets = self.page.budgets
        for meter in [m for m, one in budgets.items() if one.ends < now]:
            del budgets[meter]
        try:
            write_private(self._path, msgspec.json.encode(self.page))
        except OSError as error:
            log.warning("what alerts were told cannot be written: %s", error.strerror)


def name_of(url: str) -> str:
    """Return what a webhook is called in the file: its address may be a secret."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def _read(path: Path) -> Page | None:
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(path.read_bytes(), type=Page)
    return None
