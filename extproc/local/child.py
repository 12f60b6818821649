"""A child process of the supervisor: in a group of its own, never without a parent.

`Child` is one run of a program, `Kept` a program that is started again when it dies: at
once the first time, then after a growing pause.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

TETHER: Final = Path(__file__).with_name("tether.py")
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
HEALTHY_SECONDS: Final = 10.0
"""A child that lived for longer starts over with its pauses."""


def our_log(log: Path, *, anew: bool = False) -> IO[bytes]:
    """Open a log, from its first moment ours alone: Envoy's own lines are not redacted."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    if anew:
        flags |= os.O_TRUNC
    handle = os.open(log, flags, 0o600)
    os.fchmod(handle, 0o600)
    return os.fdopen(handle, "ab")


class Child:
    """One run of a program.

    Attributes:
        code: the exit code, negative for a signal; None while it runs.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environ: Mapping[str, str],
        log: Path | None = None,
    ) -> None:
        """Start `command`; its output goes to our standard error, or behind `log`."""
        self.code: int | None = None
        self._exited = asyncio.Event()
        tether = (sys.executable, "-I", "-S", str(TETHER), str(os.getpid()))
        with contextlib.ExitStack() as files:
            out = 2 if log is None else files.enter_context(our_log(log))
            self._process = subprocess.Popen(  # noqa: S603  our own programs, no shell
                [*tether, *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=dict(environ),
                # Ctrl-C in a terminal is for the supervisor, which knows the order.
                process_group=0,
            )
        # A file descriptor that is readable when the process ends: no thread, no SIGCHLD.
        self._watch = os.pidfd_open(self._process.pid)
        asyncio.get_running_loop().add_reader(self._watch, self._reap)

    @property
    def pid(self) -> int:
        """The process' id, which is its group's too."""
        return self._process.pid

    async def wait(self) -> int:
        """Return the exit code when it has ended."""
        await self._exited.wait()
        assert self.code is not None  # noqa: S101  set before the event
        return self.code

    def terminate(self) -> None:
        """Ask it to end."""
        if self.code is None:
            self._process.terminate()

    async def stop(self, seconds: float) -> None:
        """Ask it to end, and end it and all that it started after `seconds`."""
        self.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.wait()
        self.kill()
        await self.wait()

    def kill(self) -> None:
        """End it and all that it started, now."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._watch)
        os.close(self._watch)
        self.code = self._process.wait()
        self._exited.set()


class Kept:
    """A child that is started again whenever it dies."""

    def __init__(
        self, name: str, start: Callable[[], Child], *, log: Path | None = None
    ) -> None:
        self.name = name
        self.child: Child | None = None
        self.deaths = 0
        self._leaving: Child | None = None
        """One that has a successor,"""
        self._coming: Child | None = None
        """and one that is to become it."""
        self._handed_over = asyncio.Event()
        self._start = start
        self._log = log
        self._stopping = asyncio.Event()

    async def keep(self, on_death: Callable[[Kept, int], None]) -> None:
        """Start the child, and again, until `stop`."""
        in_a_row = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            self.child = self._start()
            code = await self._end()
            self.child.kill()  # what it may have left in its group
            if self._stopping.is_set():
                return
            self.deaths += 1
            on_death(self, code)
            if time.monotonic() - started > HEALTHY_SECONDS:
                in_a_row = 0
            if in_a_row:
                pause = FIRST_PAUSE * 2.0 ** min(in_a_row - 1, 10)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(pause, LONGEST_PAUSE)):
                        await self._stopping.wait()
            in_a_row += 1

    async def hand_over(
        self, start: Callable[[], Child], serves: Callable[[], Awaitable[bool]]
    ) -> bool:
        """Start a successor of the child, and keep that one from when it `serves`.

        The child is left to end by itself. Returns False, and changes nothing, if the
        successor ends before it serves or does not come to it, and if the child ends first:
        it is started again, and what was to follow it would be in the way.
        """
        old = self.child
        if old is None or old.code is not None or self._stopping.is_set():
            return False
        new = self._coming = start()
        ended = {asyncio.ensure_future(one.wait()) for one in (old, new)}
        serving = asyncio.ensure_future(serves())
        try:
            await asyncio.wait({*ended, serving}, return_when=asyncio.FIRST_COMPLETED)
            good = serving.done() and serving.result() and new.code is old.code is None
            if good and not self._stopping.is_set():
                self._leaving, self.child = old, new
                self._handed_over.set()
                return True
        finally:
            self._coming = None
            for one in (*ended, serving):
                one.cancel()
            if self.child is not new:
                new.kill()
        await new.wait()
        return False

    async def _end(self) -> int:
        """Wait for the end of the child, or of the last that took over from it."""
        while True:
            child = self.child
            assert child is not None  # noqa: S101  `keep` has started it
            self._handed_over.clear()
            first = {
                asyncio.ensure_future(child.wait()),
                asyncio.ensure_future(self._handed_over.wait()),
            }
            try:
                await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in first:
                    one.cancel()
            if self.child is child:
                return await child.wait()

    async def stop(self, seconds: float) -> None:
        """End the child within `seconds`, and start it no more."""
        self._stopping.set()
        async with asyncio.TaskGroup() as tasks:
            for child in self._children():
                tasks.create_task(child.stop(seconds))

    def kill(self) -> None:
        """End the child now, and start it no more."""
        self._stopping.set()
        for child in self._children():
            child.kill()

    def _children(self) -> list[Child]:
        # The number of a process that left long ago may be somebody else's by now.
        if self._leaving is not None and self._leaving.code is not None:
            self._leaving = None
        here = (self._leaving, self.child, self._coming)
        return [one for one in here if one is not None]

    def last_words(self) -> str:
        """Return the last line of its log, if it has one."""
        if self._log is None or not self._log.is_file():
            return ""
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return f": {lines[-1][:500]}" if lines else ""


def exit_cause(code: int) -> str:
    """Say how a process ended, such as ``exit code 1`` or ``signal SIGKILL``."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"
