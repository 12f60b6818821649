"""What several commands share: options, how a configuration is read, how a command fails."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from extproc.config.schema import Config

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="gateway.yaml", metavar="FILE")
]
ConfigArgument = Annotated[
    Path | None, typer.Argument(help="gateway.yaml; else the environment's keys")
]
ListenOption = Annotated[
    str | None, typer.Option(help="where applications connect", metavar="IP:PORT")
]
StateOption = Annotated[
    Path | None,
    typer.Option(
        help="folder of what outlives the process (default .extproc/PORT)",
        metavar="DIR",
        envvar="EXTPROC_STATE",
    ),
]


def load_config(file: Path | None) -> Config:
    """Read a file, or the environment; exit where that is wrong."""
    from extproc.config.load import ConfigError, autoconfig, load  # noqa: PLC0415

    try:
        if file is None:
            return autoconfig(os.environ, mock_url=None)
        return load(file, os.environ)
    except ConfigError as error:
        fail("\n".join(map(str, error.problems)))


def fail(message: str) -> NoReturn:
    """Say why, and exit with 2."""
    if message:
        print(message, file=sys.stderr)
    raise typer.Exit(2)


def print_json(content: object) -> None:
    """Print a value for programs, indented for people."""
    import msgspec  # noqa: PLC0415

    print(msgspec.json.format(msgspec.json.encode(content)).decode())
