"""An application server as the gateway sees it: one connection with many streams, over HTTP/2.

Over HTTP/1.1 each stream would take Envoy a descriptor more, of which there are 20,000 on
many machines, and half of them go to the provider.
"""

from __future__ import annotations

import contextlib
import socket
from collections import defaultdict
from collections.abc import Callable

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection


class Application:
    """What was said on each stream, by its id, and which are over, well or not.

    Attributes:
        broken: those of the ended ones that were reset.
    """

    def __init__(self, url: str, key: str) -> None:
        self.statuses: dict[int, str] = {}
        self.said: dict[int, bytes] = defaultdict(bytes)
        self.ended: set[int] = set()
        self.broken: set[int] = set()
        self._authority, self._key = url.removeprefix("http://"), key
        host, port = self._authority.split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=60)
        self._h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(1 << 24)
        self._socket.sendall(self._h2.data_to_send())
        # Its windows are wider than the protocol's own.
        self.read()

    def ask(self, body: bytes, times: int) -> None:
        """Ask for a chat as many times, each on a stream of its own."""
        head = [
            (":method", "POST"), (":scheme", "http"), (":authority", self._authority),
            (":path", "/v1/chat/completions"), ("authorization", f"Bearer {self._key}"),
            ("content-type", "application/json"), ("content-length", str(len(body))),
        ]  # fmt: skip
        for _ in range(times):
            stream = self._h2.get_next_available_stream_id()
            self._h2.send_headers(stream, head)
            self._h2.send_data(stream, body, end_stream=True)
            self._socket.sendall(self._h2.data_to_send())

    def read(self) -> None:
        """Take what is there; waits if that is nothing.

        Raises:
            ConnectionError: the connection is lost.
        """
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("the connection is lost")
        for event in self._h2.receive_data(data):
            match event:
                case events.ResponseReceived():
                    self.statuses[event.stream_id] = dict(event.headers)[":status"]
                case events.DataReceived():
                    self.said[event.stream_id] += event.data
                case events.StreamEnded():
                    self.ended.add(event.stream_id)
                case events.StreamReset():
                    self.ended.add(event.stream_id)
                    self.broken.add(event.stream_id)
                case events.ConnectionTerminated():
                    raise ConnectionError("the connection is lost")
                case _:
                    pass  # settings, windows
        self._socket.sendall(self._h2.data_to_send())

    def read_until(self, done: Callable[[Application], bool]) -> None:
        """Take what comes until `done` says that it is enough."""
        while not done(self):
            self.read()

    def read_all(self) -> None:
        """Take what is there, and wait for nothing."""
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.read()

    def close(self) -> None:
        """Leave."""
        self._socket.close()
