"""The file of a unix socket: made for our own user alone, and removed again by its maker."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

Bound = tuple[Path, tuple[int, int]]
"""A socket file, and the device and inode that are ours."""


def bind(path: Path) -> tuple[socket.socket, Bound]:
    """Make the socket file, in place of one that a process before us left behind.

    Raises:
        OSError: the path cannot be bound, or is a file that is no socket.
    """
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(f"{path} is in the way, and is no socket")
        path.unlink()
    except FileNotFoundError:
        pass
    listener = socket.socket(socket.AF_UNIX)
    # By umask, not chmod: there is no moment in which others could connect.
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    listener.setblocking(False)
    status = path.stat()
    return listener, (path, (status.st_dev, status.st_ino))


def unbind(bound: Bound) -> None:
    """Remove the socket file, unless a successor has bound the same path already."""
    path, ours = bound
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if (status.st_dev, status.st_ino) == ours:
        path.unlink(missing_ok=True)
