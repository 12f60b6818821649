"""Where Envoy finds things: every path and number that is the machine's, not the user's."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Self

from extproc.config.file_names import (
    ADMIN_SOCKET,
    LOG_SOCKET,
    XDS_FOLDER,
    worker_socket,
)

MAX_SOCKET_PATH = 107
"""``sun_path`` is 108 bytes with its final zero (unix(7)); a longer path fails in Envoy
with a message that does not name it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Paths as Envoy sees them, which in a container need not be ours."""

    xds: Path
    """The folder of ``rds.json``, ``cds.json``, ``ecds.json`` and ``sds-*.json``; Envoy watches it."""
    admin: Path
    """The unix socket of Envoy's admin interface."""
    workers: tuple[Path, ...]
    """The unix socket of each worker."""
    log_service: Path
    """The unix socket at which control takes Envoy's access log."""
    ca_bundle: Path
    """The public certificate authorities, in PEM."""
    concurrency: int = 2
    """Envoy's worker threads."""
    node_id: str = "extproc"
    """Names this Envoy in its own logs and statistics; SDS does not work without one."""
    access_log: Path | None = None
    """Where a JSON line is written for each request, such as ``/dev/stdout``."""

    def __post_init__(self) -> None:
        if not self.workers:
            raise ValueError("a layout needs at least one worker socket")
        for path in (self.admin, *self.workers, self.log_service):
            length = len(str(path).encode())
            if length > MAX_SOCKET_PATH:
                raise ValueError(
                    f"the socket path {str(path)!r} has {length} bytes and may have "
                    f"{MAX_SOCKET_PATH}: choose a shorter state directory"
                )

    @classmethod
    def under(
        cls,
        state: Path,
        *,
        run: Path | None = None,
        ca_bundle: Path,
        workers: int = 1,
        concurrency: int = 2,
        access_log: Path | None = None,
    ) -> Self:
        """Lay everything out in a state folder, and the sockets in `run` if there is one."""
        sockets = state if run is None else run
        return cls(
            xds=state / XDS_FOLDER,
            admin=sockets / ADMIN_SOCKET,
            workers=tuple(worker_socket(sockets, i) for i in range(workers)),
            log_service=sockets / LOG_SOCKET,
            ca_bundle=ca_bundle,
            concurrency=concurrency,
            access_log=access_log,
        )
