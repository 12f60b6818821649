"""Whom a process of ours still serves, as Linux knows it: it may have nobody to ask.

https://docs.kernel.org/networking/proc_net_tcp.html
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path


def has_clients(pid: int, ports: Collection[int]) -> bool:
    """Return whether a process listens at one of `ports` or has a connection there.

    True also where that cannot be known.
    """
    folder = Path(f"/proc/{pid}")
    sockets, lines = set(), []
    try:
        for descriptor in (folder / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                sockets.add(str(descriptor.readlink()))
        for table in (folder / "net").glob("tcp*"):
            lines += table.read_text().splitlines()[1:]
    except OSError:
        return True
    for line in lines:
        _, local, _, _, _, _, _, _, _, inode, *_ = line.split()
        if f"socket:[{inode}]" in sockets and int(local[-4:], 16) in ports:
            return True
    return False
