"""A provider that takes a body of any size and says what it was, and holds none of it."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Sink

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _pieces(self) -> Iterator[bytes]:
        """Yield the body, whatever its framing."""
        if "chunked" in self.headers.get("transfer-encoding", ""):
            while (size := int(self.rfile.readline().split(b";")[0], 16)) > 0:
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("content-length") or 0)
        while left > 0:
            piece = self.rfile.read(min(left, 65536))
            if not piece:
                return
            left -= len(piece)
            yield piece

    def _serve(self) -> None:
        digest, size, head = hashlib.sha256(), 0, b""
        self.server.begun.set()
        for piece in self._pieces():
            digest.update(piece)
            size += len(piece)
            if len(head) < 4096:
                head += piece
            if self.server.pause:
                time.sleep(self.server.pause)
        seen = {
            "method": self.command,
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "size": size,
            "sha256": digest.hexdigest(),
            "head": head[:4096].decode("latin-1"),
        }
        self.server.seen.append(seen)
        status, kind, body = self.server.answer(seen)
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("x-request-id", "req-1")
        if isinstance(body, bytes):
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in body:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST = do_DELETE = do_PUT = _serve  # noqa: N815  the library's


class Sink(ThreadingHTTPServer):
    """Listens on a free port while it is used as a context."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[dict[str, Any]] = []
        self.pause = 0.0
        """Seconds between two reads."""
        self.begun = threading.Event()
        """A request's headers are here."""
        self.answer: Any = self.echo
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @staticmethod
    def echo(seen: dict[str, Any]) -> tuple[int, str, bytes]:
        return 200, "application/json", json.dumps({"seen": seen}).encode()

    def forget(self) -> None:
        self.seen.clear()
        self.pause = 0.0
        self.answer = self.echo
        self.begun.clear()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join(5)
