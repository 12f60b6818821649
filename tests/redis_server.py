"""A real Redis or Valkey on a unix socket."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path


def find_server() -> str:
    """Return the server's binary."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    assert found, "redis-server is missing; Debian package: redis-server"
    return found


class RedisServer:
    """A redis-server that keeps nothing on disk, unless told to."""

    def __init__(self, *, keep: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rd-"))
        """What it writes."""
        self.socket = self.folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._keep = keep
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        command = [
            find_server(), "--port", "0",
            "--unixsocket", str(self.socket), "--dir", str(self.folder),
            "--save", "", "--appendonly", "yes" if self._keep else "no",
            "--appendfsync", "always", "--loglevel", "warning",
        ]  # fmt: skip
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        patience = time.monotonic() + 20
        while time.monotonic() < patience:
            if self._answers():
                return process
            time.sleep(0.02)
        raise AssertionError("redis-server did not start")

    def _answers(self) -> bool:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
            if probe.connect_ex(str(self.socket)):
                return False
            probe.sendall(b"PING\r\n")
            return probe.recv(16).startswith(b"+PONG")

    def kill(self) -> None:
        """As in a crash; `restart` brings it back, with its data if it keeps any."""
        self.process.kill()
        self.process.wait()
        self.socket.unlink(missing_ok=True)

    def restart(self) -> None:
        self.process = self.start()

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
