"""What workers record, where a test stands in control's place."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path
from typing import Self

from extproc.exchange.completion import Completion
from extproc.runtime import Snapshot
from extproc.server.control_link import ControlLink
from tests.harness import wait_for


class Records:
    """Listens where the workers of a `Gateway` look for control."""

    def __init__(self, folder: Path) -> None:
        self._link = ControlLink(folder / "control.sock", self._take)
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.all: list[Completion] = []

    def _take(self, completions: object) -> None:
        assert isinstance(completions, list | tuple)
        self.all += completions

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self._link.run(self._listening.set))
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)
        self._loop.close()

    def of(self, request_id: str) -> Completion:
        """Return the record of the request with this id, as soon as it is there."""

        def found() -> Completion | None:
            return next((one for one in self.all if one.request_id == request_id), None)

        record = wait_for(found, lambda: f"{len(self.all)} others")
        assert isinstance(record, Completion)
        return record

    def latest(self, operation: str) -> Completion:
        """Return the next record of this kind that has a usage, and forget it."""

        def found() -> Completion | None:
            wanted = (one for one in self.all if one.operation == operation)
            return next((one for one in wanted if one.usage is not None), None)

        record = wait_for(found, lambda: f"{len(self.all)} others")
        assert isinstance(record, Completion)
        self.all.remove(record)
        return record

    def publish(self, snapshot: Snapshot) -> None:
        """Have all workers serve `snapshot`."""
        self._loop.call_soon_threadsafe(self._link.publish, snapshot)
        wait = asyncio.run_coroutine_threadsafe(
            self._link.applied(snapshot.generation), self._loop
        )
        wait.result(10)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(10)
