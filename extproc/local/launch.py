"""What the supervisor starts its children with: options, command lines, environments."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from extproc.config.endpoint import split_address
from extproc.config.file_names import CONTROL_SOCKET
from extproc.local.place import allowed_files
from extproc.server import compiled, journals
from extproc.server.compiled import Overrides

MOCK_VARIABLE: Final = "EXTPROC_MOCK_URL"
"""What a ``gateway.yaml`` may name the mock providers by."""
MAX_ENVOY_THREADS: Final = 4


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line of `extproc run`."""

    config: Path | None = None
    listen: str | None = None
    control: str | None = None
    workers: int | None = None
    mock: bool = False
    state: Path | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One gateway's command lines."""

    options: Options
    state: Path
    run: Path
    """The folder of the sockets."""
    mock_url: str | None = None

    @property
    def overrides(self) -> Overrides:
        """What the command line says instead of the configuration."""
        given = self.options
        return Overrides(given.listen, control_address(given), given.workers)

    @property
    def mock_only(self) -> bool:
        """Whether the mocks serve though the environment has keys."""
        return self.options.mock and self.options.config is None

    def digest(self, environ: Mapping[str, str]) -> str:
        """Return the digest that control gives to what it compiles from this.

        Raises:
            OSError: the configuration cannot be read.
        """
        return compiled.digest(
            state=self.state,
            run=self.run,
            config=self.options.config,
            overrides=self.overrides,
            mock_url=self.mock_url,
            concurrency=threads(),
            environ=visible(environ, mock_url=self.mock_url, mock_only=self.mock_only),
        )

    def mock(self, port: int) -> list[str]:
        """Return the command of the mock providers."""
        return _python("extproc.local.mock", "--port", str(port))

    def control(self, *, resume: bool) -> list[str]:
        """Return the command of control."""
        given = self.overrides
        return _python(
            "extproc.local.control",
            *("--state", str(self.state), "--run", str(self.run)),
            *_option("--config", self.options.config),
            *_option("--listen", given.listen),
            *_option("--control", given.control),
            *_option("--workers", given.workers),
            *_option("--mock-url", self.mock_url),
            *("--concurrency", str(threads())),
            *_option("--files", allowed_files()),
            *(("--mock-only",) if self.mock_only else ()),
            *(("--resume",) if resume else ()),
        )

    def worker(self, socket: Path) -> list[str]:
        """Return the command of the worker on `socket`."""
        return _python(
            "extproc.server.worker",
            *("--socket", str(socket), "--control", str(self.run / CONTROL_SOCKET)),
            *("--snapshot", str(self.state / compiled.SNAPSHOT_FILE)),
            *("--journals", str(self.state / journals.FOLDER)),
        )


def has_provider(environ: Mapping[str, str]) -> bool:
    """Say whether the environment has a provider's key, or a server's address."""
    from extproc.providers.environment import find_all  # noqa: PLC0415  the formats

    return bool(find_all(environ))


def provider_variables() -> tuple[str, ...]:
    """Return the best-known environment variables that hold providers' keys."""
    from extproc.providers.environment import best_known_variables  # noqa: PLC0415

    return best_known_variables()


def visible(
    environ: Mapping[str, str], *, mock_url: str | None, mock_only: bool
) -> dict[str, str]:
    """Return what control's configuration may read of the environment."""
    seen = without_credentials(environ) if mock_only else dict(environ)
    if mock_url is not None:
        seen[MOCK_VARIABLE] = mock_url
    return seen


ALLOCATOR: Final = {
    "MALLOC_MMAP_THRESHOLD_": str(4 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 20),
}
"""Bodies of many megabytes go back to the system as soon as nobody has them. By itself
glibc raises both, with the first such body, to as much as that, and keeps 80 MB of a
worker's memory after six of 30 MB; bodies of 1 MB cost no more
(https://man7.org/linux/man-pages/man3/mallopt.3.html)."""


def worker_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a worker sees of `environ`, and what its allocator is told."""
    return ALLOCATOR | without_credentials(environ)


def without_credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without what configures a provider: a worker has no use for it."""
    from extproc.providers.environment import variables  # noqa: PLC0415

    keys = variables()
    return {
        name: value
        for name, value in environ.items()
        if name not in keys
        and not name.endswith("_API_KEY")
        and not name.startswith(("AZURE_", "AWS_", "GOOGLE_"))
    }


def control_address(options: Options) -> str | None:
    """Return control's address: beside the gateway's, when only that one is given."""
    if options.control is not None or options.listen is None or options.config:
        return options.control
    host, port = split_address(options.listen)
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port + 1 if 0 < port < 65535 else 0}"


def reachable(address: str) -> str:
    """Return an address to connect to for one to listen on."""
    host, port = split_address(address)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  not bound to
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _option(name: str, value: object) -> tuple[str, ...]:
    return () if value is None else (name, str(value))


def threads() -> int:
    """Return how many worker threads Envoy gets: what this process may use, to a limit."""
    return max(1, min(MAX_ENVOY_THREADS, len(os.sched_getaffinity(0))))
