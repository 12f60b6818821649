"""What the files and sockets are called that processes find each other by.

Two folders: *state* outlives a machine's restart, *run* need not; they may be one. Light to
import, for what compiles Envoy's files is not: the supervisor and the workers know the names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

XDS_FOLDER: Final = "xds"
"""In the state folder: Envoy's files."""
BOOTSTRAP_FILE: Final = "bootstrap.json"
"""In that folder: what Envoy was started with."""
WAITING_FILE: Final = "bootstrap.next.json"
"""Beside it, where the configuration asks for another: what the next Envoy is started with."""
CLUSTERS_FILE: Final = "cds.json"
FILTERS_FILE: Final = "ecds.json"
ROUTES_FILE: Final = "rds.json"

ADMIN_SOCKET: Final = "admin.sock"
"""In the run folder: Envoy's admin interface."""
CONTROL_SOCKET: Final = "control.sock"
"""Where control talks with the workers."""
LOG_SOCKET: Final = "log.sock"
"""Where control is told by Envoy what it has served."""


def worker_socket(run: Path, number: int) -> Path:
    """Return where Envoy finds a worker, by its number from 0."""
    return run / f"w{number}.sock"
