"""`extproc run`: control, the workers, Envoy and the mock providers, as one program.

It holds no state. When the state folder has what an earlier control compiled from the
same inputs, the workers and Envoy start from that at once and control catches up; else
they wait for control's first compile.

SIGUSR2 lets another Envoy take the place of the one that serves (`succession`).

Stopping: Envoy tells clients to go and finishes what is open, then the workers hand their
last records to control, then control and the mocks end. A second signal ends all at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import shlex
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from extproc.config.endpoint import split_address
from extproc.config.file_names import ADMIN_SOCKET, XDS_FOLDER, worker_socket
from extproc.local.child import Child, Kept, exit_cause
from extproc.local.greeting import Greeting, KeySource
from extproc.local.launch import (
    Launch,
    Options,
    has_provider,
    provider_variables,
    reachable,
    threads,
    worker_environ,
)
from extproc.local.place import (
    CannotRun,
    check_free,
    free_port,
    locked,
    raise_file_limit,
    socket_folder,
    state_folder,
)
from extproc.server import compiled
from extproc.server.compiled import Compiled
from extproc.server.keys import KEYS_FILE, MASTER_VARIABLE, has_key, make_key
from extproc.telemetry import logs

if TYPE_CHECKING:  # It brings an HTTP client.
    from extproc.local.succession import Succession

log = logging.getLogger(__name__)

START_SECONDS: Final = 60.0
"""For the first compile and all children; a cold disk reads 120 MB of Envoy first."""
POLL_SECONDS: Final = 0.02
MAX_EARLY_DEATHS: Final = 3
"""Before the gateway has served once: then it says so and gives up."""
WORKER_SECONDS: Final = 5.0
"""To drain: Envoy has let go of them before, so there is nothing but records left."""
CONTROL_SECONDS: Final = 3.0
ENVOY_SECONDS: Final = 2.0


class Supervisor:
    """One run of one gateway."""

    def __init__(self, launch: Launch, environ: Mapping[str, str]) -> None:
        self._launch = launch
        self._state = launch.state
        self._environ = dict(environ)
        self._finish = asyncio.Event()
        self._now = asyncio.Event()
        self._renew = asyncio.Event()
        self._failure: str | None = None
        self._serving = False
        self._succession: Succession | None = None
        self._control: Kept | None = None
        self._workers: list[Kept] = []
        self._mock: Kept | None = None

    async def serve(self) -> None:
        """Run the gateway until a signal.

        Raises:
            CannotRun: it cannot start.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        loop.add_signal_handler(signal.SIGUSR2, self._renew.set)
        given = self._launch.overrides
        for address, option in (
            (given.listen, "--listen"),
            (given.control, "--control"),
        ):
            if address is not None:
                check_free(address, option)
        key = self._new_key()
        async with asyncio.TaskGroup() as tasks:
            starting = tasks.create_task(self._start(tasks, key))
            try:
                await self._finish.wait()
            finally:
                if not self._serving:
                    starting.cancel()
                    if key is not None:
                        # Nobody has seen it: the next start makes and shows another.
                        (self._state / KEYS_FILE).unlink(missing_ok=True)
                await self._end()
                starting.cancel()
        if self._failure is not None:
            raise CannotRun(self._failure)

    # Starting -----------------------------------------------------------------------

    async def _start(self, tasks: asyncio.TaskGroup, key: str | None) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                summary = await self._start_children(tasks)
                greeting = await self._greet(summary, key)
        except TimeoutError:
            self._fail(f"The gateway did not serve within {START_SECONDS:g} s.")
        except CannotRun as error:
            self._fail(str(error))
        else:
            self._serving = True
            sys.stdout.write(greeting.text() + "\n")
            sys.stdout.flush()
            await self._renew_envoy()

    async def _renew_envoy(self) -> None:
        """Let another Envoy take over whenever it is asked for."""
        while self._succession is not None:
            await self._renew.wait()
            self._renew.clear()
            summary = compiled.read_compiled(self._state)
            if summary is not None:
                self._succession.drain_seconds = summary.drain_seconds
            await self._succession.renew()

    async def _start_children(self, tasks: asyncio.TaskGroup) -> Compiled:
        """Start every child as soon as what it needs is there."""
        before = compiled.read_compiled(self._state)
        self._start_mock(tasks, before)
        digest = self._digest()
        if before is None or before.digest != digest:
            # Its presence is how control says that the first compile is done.
            (self._state / compiled.COMPILED_FILE).unlink(missing_ok=True)
        (self._state / compiled.ADDRESS_FILE).unlink(missing_ok=True)
        self._control = self._keep(tasks, "control", self._start_control)
        summary = await self._compiled()
        if self._launch.overrides.listen is None:
            check_free(
                summary.listen, "--listen or listen.address in the configuration"
            )
        for i in range(summary.workers):
            kept = self._keep(tasks, f"worker w{i}", self._worker_starter(i))
            self._workers.append(kept)
        self._start_envoy(tasks, summary)
        return summary

    def _start_mock(self, tasks: asyncio.TaskGroup, before: Compiled | None) -> None:
        options = self._launch.options
        live = has_provider(self._environ)
        if not options.mock and (options.config is not None or live):
            return
        # The port of the last start, so that what was compiled then is still right.
        last = before.mock_url if before else None
        port = free_port(int(last.rpartition(":")[2]) if last else None)
        self._launch = dataclasses.replace(
            self._launch, mock_url=f"http://127.0.0.1:{port}"
        )
        command, log = self._launch.mock(port), self._state / "mock.log"

        def start() -> Child:
            return Child(command, environ=self._environ, log=log)

        self._mock = self._keep(tasks, "the mock provider", start, log)

    def _digest(self) -> str:
        try:
            return self._launch.digest(self._environ)
        except OSError as error:
            path = self._launch.options.config
            raise CannotRun(f"{path}: cannot be read: {error.strerror}") from error

    def _start_control(self) -> Child:
        # What it finds compiled is being served: by us since its last run, or from now.
        resume = compiled.read_compiled(self._state) is not None
        return Child(self._launch.control(resume=resume), environ=self._environ)

    async def _compiled(self) -> Compiled:
        while True:
            summary = compiled.read_compiled(self._state)
            if summary is not None:
                return summary
            await asyncio.sleep(POLL_SECONDS)

    def _worker_starter(self, i: int) -> Callable[[], Child]:
        socket = worker_socket(self._launch.run, i)

        def start() -> Child:
            socket.unlink(missing_ok=True)  # of one that was killed
            environ = worker_environ(self._environ)
            return Child(self._launch.worker(socket), environ=environ)

        return start

    def _start_envoy(self, tasks: asyncio.TaskGroup, summary: Compiled) -> None:
        # Here, while the workers start: it brings an HTTP client.
        from extproc.local import envoy  # noqa: PLC0415
        from extproc.local.succession import Succession  # noqa: PLC0415

        try:
            binary = envoy.find_envoy()
        except envoy.EnvoyMissing as error:
            raise CannotRun(str(error)) from error
        self._succession = Succession(
            binary,
            state=self._state,
            run=self._launch.run,
            xds=self._state / XDS_FOLDER,
            concurrency=threads(),
            environ=self._environ,
            drain_seconds=summary.drain_seconds,
        )
        tasks.create_task(self._succession.kept.keep(self._on_death))

    def _keep(
        self,
        tasks: asyncio.TaskGroup,
        name: str,
        start: Callable[[], Child],
        log: Path | None = None,
    ) -> Kept:
        kept = Kept(name, start, log=log)
        tasks.create_task(kept.keep(self._on_death))
        return kept

    def _on_death(self, kept: Kept, code: int) -> None:
        # Of Envoy, too, nothing is told on that should not be.
        cause = exit_cause(code) + logs.redactor().text(kept.last_words())
        if self._serving:
            log.warning("%s died (%s); starting it again", kept.name, cause)
        elif kept is self._control and code == 2:
            self._fail("")  # it has said why, a line each
        elif kept.deaths >= MAX_EARLY_DEATHS:
            self._fail(f"{kept.name} dies as soon as it is started ({cause}).")

    def _fail(self, sentence: str) -> None:
        if self._failure is None:
            self._failure = sentence
        self._finish.set()

    async def _greet(self, summary: Compiled, key: str | None) -> Greeting:
        """Wait until a request is served, and return what is to be printed."""
        host, port = await self._until_serving(summary)
        scheme = "https" if summary.tls else "http"
        source: KeySource = "new" if key else "earlier"
        if self._environ.get(MASTER_VARIABLE):
            source = "master"
        mocked = summary.mock_url is not None
        return Greeting(
            url=f"{scheme}://{host}:{port}",
            control_url=f"http://{reachable(await self._control_address(summary))}",
            providers=summary.providers,
            models=summary.models,
            mocked=mocked,
            wanted_variables=provider_variables() if mocked else (),
            key=key,
            key_source=source,
            reset_command=f"extproc keys reset --state {shlex.quote(str(self._state))}",
        )

    async def _until_serving(self, summary: Compiled) -> tuple[str, int]:
        """Return host and port when the gateway's own ``/health/ready`` says yes."""
        import httpx  # noqa: PLC0415

        from extproc.local.envoy import Admin  # noqa: PLC0415

        host, port = reachable(summary.listen).rsplit(":", 1)
        async with Admin(self._launch.run / ADMIN_SOCKET) as admin:
            await admin.wait_ready(seconds=START_SECONDS)
            if port == "0":
                port = str(await admin.listener_port("gateway"))
        scheme = "https" if summary.tls else "http"
        # Whether it serves, not who it is: the certificate is for another name.
        async with httpx.AsyncClient(verify=False) as client:  # noqa: S501  ours, on loopback
            while True:
                with contextlib.suppress(httpx.TransportError):
                    url = f"{scheme}://{host}:{port}/health/ready"
                    if (await client.get(url)).status_code == 200:
                        return host, int(port)
                await asyncio.sleep(POLL_SECONDS)

    async def _control_address(self, summary: Compiled) -> str:
        """Return where control listens; only a port 0 has to be waited for."""
        if not summary.control.endswith(":0"):
            return summary.control
        while True:
            with contextlib.suppress(OSError):
                return (self._state / compiled.ADDRESS_FILE).read_text()
            await asyncio.sleep(POLL_SECONDS)

    def _new_key(self) -> str | None:
        if self._environ.get(MASTER_VARIABLE) or has_key(self._state):
            return None
        return make_key(self._state)

    # Stopping -----------------------------------------------------------------------

    def _on_signal(self) -> None:
        if self._finish.is_set():
            self._now.set()
        self._finish.set()

    async def _end(self) -> None:
        envoy = None if self._succession is None else self._succession.kept
        everyone = [envoy, *self._workers, self._control, self._mock]
        kept = [child for child in everyone if child is not None]
        async with asyncio.TaskGroup() as tasks:
            ending = tasks.create_task(self._end_in_order())
            now = tasks.create_task(self._now.wait())
            await asyncio.wait({ending, now}, return_when=asyncio.FIRST_COMPLETED)
            ending.cancel()
            now.cancel()
        for child in kept:
            child.kill()
        if self._succession is not None:
            self._succession.clear()

    async def _end_in_order(self) -> None:
        if self._succession is not None:
            if self._serving:
                await self._drain_envoy(self._succession)
            await self._succession.kept.stop(ENVOY_SECONDS)
        async with asyncio.TaskGroup() as tasks:
            for worker in self._workers:
                tasks.create_task(worker.stop(WORKER_SECONDS))
        if self._control is not None:
            await self._control.stop(CONTROL_SECONDS)
        if self._mock is not None:
            await self._mock.stop(CONTROL_SECONDS)

    async def _drain_envoy(self, succession: Succession) -> None:
        summary = compiled.read_compiled(self._state)
        grace = summary.drain_seconds if summary else 0
        log.info("stopping; again to stop now")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await succession.drain()


def run(options: Options, environ: Mapping[str, str]) -> None:
    """Run the gateway that `options` describe until a signal.

    Raises:
        CannotRun: it cannot start; an empty message means that a child said why.
    """
    for address in (options.listen, options.control):
        if address is not None:
            try:
                split_address(address)
            except ValueError as error:
                raise CannotRun(f"{address!r} {error}.") from error
    state = state_folder(
        state=options.state,
        listen=options.listen,
        config=options.config,
        environ=environ.get("EXTPROC_STATE"),
    )
    raise_file_limit()
    logs.configure("extproc", secrets=logs.secrets_of(environ))
    with locked(state), socket_folder(state) as sockets:
        launch = Launch(options=options, state=state, run=sockets)
        asyncio.run(_serve(launch, environ))


async def _serve(launch: Launch, environ: Mapping[str, str]) -> None:
    await Supervisor(launch, environ).serve()
