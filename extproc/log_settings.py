"""What every process is told of how to log: plain data, from ``telemetry.logs``."""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["debug", "info", "warning", "error", "critical"]


class LogSettings(msgspec.Struct, frozen=True):
    """Levels and the form of lines."""

    level: Level = "info"
    levels: dict[str, Level] = {}
    """Of single loggers and what is below them, such as ``extproc.server.till``."""
    format: Literal["auto", "json", "console"] = "auto"
    """``auto``: for people on a terminal, else JSON."""
