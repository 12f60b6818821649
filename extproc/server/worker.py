"""The worker process: what serves (`Service`), its journals, and its link to control.

    python -m extproc.server.worker --socket w0.sock --control control.sock

It begins to listen when it has a snapshot: from a file that an earlier control wrote, so
that serving does not wait, else from the link. SIGTERM drains: GOAWAY, open calls end,
their records reach control, exit. Exit codes: 0 drained, 2 cannot start.
"""

from __future__ import annotations

import gc

if __name__ == "__main__":
    # What is imported stays: looking for garbage in it took a fifth of a start.
    gc.disable()

import argparse
import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import uvloop

from extproc.identity import GrantBook, grant_book
from extproc.runtime import Runtime, Snapshot
from extproc.server.grants import GrantsPart, take
from extproc.server.journals import Journals
from extproc.server.ledger import LEDGER_FILE, read_balances
from extproc.server.link import WorkerLink
from extproc.server.link_frames import Live, Others
from extproc.server.pulse import Pulse
from extproc.server.service import Service
from extproc.server.upkeep import kept
from extproc.server.worker_options import parse
from extproc.state.base import Balance
from extproc.telemetry import logs

log = logging.getLogger(__name__)


class Worker:
    """One worker process: until control has told it what to serve, it has no service."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._service: Service | None = None
        self._ready = asyncio.Event()
        self._id = os.urandom(8).hex()
        self._grants: GrantBook = {}
        self._pulse = Pulse(self._levels, self._counts)
        self._journals = Journals(options.journals, self._id, now=time.time())  # noqa: TID251
        self._inherited = 0
        self._link = WorkerLink(
            options.control,
            self._apply,
            name=Path(options.socket or "tcp").stem,
            id=self._id,
            live=self._live,
            on_others=self._learn_near,
            on_grants=self._take_grants,
            on_balances=self._seed,
            on_broke=self._note_broken,
            pulse=self._pulse,
            notes=self._journals.notes,
        )
        self._link.inherit(self._journals.records, self._note_inherited)
        self._balances = (
            read_balances(options.snapshot.with_name(LEDGER_FILE))
            if options.snapshot is not None
            else {}
        )

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

        Raises:
            OSError: the address cannot be listened on.
        """
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        snapshot = read_snapshot(self._options.snapshot)
        if snapshot is not None:
            self._apply(snapshot)
        async with asyncio.TaskGroup() as tasks:
            link = tasks.create_task(kept("link", self._link.run))
            stopped = tasks.create_task(stop.wait())
            ready = tasks.create_task(self._ready.wait())
            await asyncio.wait({stopped, ready}, return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            if self._service is not None and not stop.is_set():
                await self._service.run(self._options, stop)
            link.cancel()
        self._journals.close()

    def _apply(self, snapshot: Snapshot) -> None:
        """Serve new exchanges by `snapshot`; those under way keep what they began with.

        Raises:
            KeyError: it names a provider type that this version does not have.
        """
        if snapshot.grants:
            self._grants = grant_book(snapshot.grants)
        # A copy: what comes next changes nothing of what serves.
        runtime = Runtime.of(snapshot, dict(self._grants))
        logs.apply(snapshot.logs)
        if self._service is not None:
            self._service.apply(runtime)
            return
        self._service = Service(
            runtime,
            id=self._id,
            link=self._link,
            pulse=self._pulse,
            notes=self._journals.notes,
        )
        self._seed(self._balances)
        self._service.office.till.inherit(self._journals.settlements)
        self._note_inherited()
        self._ready.set()

    def _note_inherited(self) -> None:
        """Note that control, or the till, has what other workers have left."""
        self._inherited += 1
        if self._inherited == 2:
            self._journals.forget_left()

    def _take_grants(self, part: GrantsPart) -> None:
        """Take in what has changed of the grants; the snapshot behind it serves them."""
        take(self._grants, part)

    def _seed(self, balances: Mapping[str, Balance]) -> None:
        """Let no restart make a budget whole again."""
        if self._service is None:
            self._balances.update(balances)
        else:
            self._service.office.till.seed(balances)

    def _live(self) -> Live:
        return Live() if self._service is None else self._service.live()

    def _counts(self) -> Iterator[tuple[tuple[str, ...], float]]:
        """Yield what was counted elsewhere since the last time."""
        contents = self._link.contents
        lost, contents.lost = contents.lost, 0
        yield ("extproc_content_lost",), lost
        if self._service is not None:
            yield from self._service.counts()

    def _levels(self) -> dict[str, float]:
        """Return how things stand."""
        levels: dict[str, float] = {
            "extproc_worker_unacknowledged_records": self._link.unacknowledged,
            "extproc_worker_unwritten_records": self._journals.notes.unwritten,
            "extproc_worker_tasks": len(asyncio.all_tasks()),
        }
        return levels if self._service is None else levels | self._service.levels()

    def _note_broken(self, deployments: Sequence[str]) -> None:
        if self._service is not None:
            self._service.note_broken(deployments)

    def _learn_near(self, others: Others) -> None:
        if self._service is not None:
            self._service.learn_near(others)


def read_snapshot(path: Path | None) -> Snapshot | None:
    """Return the snapshot that control left at `path`, or None when there is no use in it.

    A file of another version is as good as none: control sends a new one.
    """
    if path is None:
        return None
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Snapshot)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as exc:
        log.warning("ignoring the snapshot file: %s", type(exc).__name__)
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one worker; return the exit code."""
    logs.configure("worker")
    options = parse(sys.argv[1:] if arguments is None else arguments)
    code = 0
    try:
        uvloop.run(Worker(options).run())
    except* OSError as group:
        code = 2
        for error in group.exceptions:
            log.error("%s", error)  # noqa: TRY400  a sentence, not a trace
    return code


if __name__ == "__main__":
    sys.exit(main())
