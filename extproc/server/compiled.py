"""What control leaves on disk, so that the next start need not wait for it.

    <state>/xds/              Envoy's files (`extproc.config.compile`)
    <state>/snapshot.msgpack  the workers' `Snapshot`
    <state>/compiled.json     the summary below, written last
    <state>/keys.json         the hash of the made key
    <state>/control.address   where control listens

The summary carries a digest over everything that the compile depends on. Whoever starts
the processes compares it with a digest of its own, and starts them from these files when
the two are the same. Light to import: the supervisor does.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from extproc import __version__
from extproc.server.keys import KEYS_FILE, MASTER_VARIABLE, write_private

SNAPSHOT_FILE: Final = "snapshot.msgpack"
COMPILED_FILE: Final = "compiled.json"
ADDRESS_FILE: Final = "control.address"
"""Where control listens, with its real port."""

_VARIABLE = re.compile(rb"\$\{([A-Za-z_][A-Za-z0-9_]*)")


class Overrides(msgspec.Struct, frozen=True):
    """What the command line says instead of the configuration; None: nothing."""

    listen: str | None = None
    control: str | None = None
    workers: int | None = None


class Compiled(msgspec.Struct, frozen=True, kw_only=True):
    """The summary of one compile."""

    digest: str
    """Of what it was made of; empty when these files must not be started from."""
    generation: int
    listen: str
    control: str
    workers: int
    drain_seconds: float
    tls: bool = False
    """Whether the gateway's listener speaks TLS."""
    providers: tuple[str, ...] = ()
    """The names of those configured."""
    models: tuple[str, ...] = ()
    """Names that clients may ask for, one of each provider first."""
    mock_url: str | None = None
    """Where the mock providers are, when they serve."""


def is_providers(variable: str) -> bool:
    """Say whether an environment variable may tell of a provider: where, who, with what."""
    return variable.startswith(("AZURE_", "AWS_", "GOOGLE_")) or variable.endswith(
        ("_KEY", "_TOKEN", "_URL", "_HOST", "_ENDPOINT", "_ID", "_API_VERSION")
    )


def read_compiled(state: Path) -> Compiled | None:
    """Return the summary in `state`; None when there is none that this version reads."""
    try:
        return msgspec.json.decode((state / COMPILED_FILE).read_bytes(), type=Compiled)
    except (OSError, msgspec.MsgspecError):
        return None


def write_compiled(state: Path, compiled: Compiled) -> None:
    """Write the summary.

    Raises:
        OSError: the folder cannot be written to.
    """
    write_private(state / COMPILED_FILE, msgspec.json.encode(compiled))


def digest(
    *,
    state: Path,
    run: Path,
    config: Path | None,
    overrides: Overrides,
    mock_url: str | None,
    concurrency: int,
    environ: Mapping[str, str],
) -> str:
    """Return the digest of everything that a compile depends on.

    Raises:
        OSError: the configuration cannot be read.
    """
    text = b"" if config is None else config.read_bytes()
    if config is None:
        variables = {name for name in environ if is_providers(name)}
    else:
        variables = {name.decode() for name in _VARIABLE.findall(text)}
    keys = state / KEYS_FILE
    parts = (
        __version__,
        sys.prefix,  # where the certificate bundle is
        str(state),
        str(run),
        str(config and config.absolute()),
        text,
        overrides,
        mock_url,
        concurrency,
        sorted((name, environ.get(name)) for name in variables | {MASTER_VARIABLE}),
        keys.read_bytes() if keys.is_file() else b"",
    )
    return hashlib.sha256(msgspec.msgpack.encode(parts)).hexdigest()
