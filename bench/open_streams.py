"""Thousands of open streams at once: none may be lost, and each may hold little.

    python bench/open_streams.py [--streams 10000] [--seconds 20]

Each says one word and then stays. While they are open an ordinary question is asked, and
at the end every one of them is looked at again. Exit code 1: one was lost, or the worker
holds more than `MOST_KB` for each.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import socket
import sys
import time
from pathlib import Path

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, StreamEnded, StreamReset

sys.path.insert(0, str(Path(__file__).parent))

import stage
from stage import KEY, body, processes, rss, wait_for_answer

MOST_KB = 20.0
EACH = 1000
"""Streams of a connection: as many as the gateway's listener lets it have."""


class Application:
    """One application server: a connection with a thousand streams, over HTTP/2.

    Over HTTP/1.1 each stream would take Envoy a descriptor more, of which there are 20,000
    on many machines, and half of them go to the provider.
    """

    def __init__(self, url: str) -> None:
        self.heard: set[int] = set()
        self.ended: set[int] = set()
        self._authority = url.removeprefix("http://")
        host, port = self._authority.split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=60)
        self._h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(1 << 24)
        self._socket.sendall(self._h2.data_to_send())
        # Its windows are wider than the protocol's own.
        self.read()

    def ask(self, count: int) -> None:
        """Ask `count` times."""
        text = body("hold", stream=True).encode()
        head = [
            (":method", "POST"), (":scheme", "http"), (":authority", self._authority),
            (":path", "/v1/chat/completions"), ("authorization", f"Bearer {KEY}"),
            ("content-type", "application/json"), ("content-length", str(len(text))),
        ]  # fmt: skip
        for _ in range(count):
            stream = self._h2.get_next_available_stream_id()
            self._h2.send_headers(stream, head)
            self._h2.send_data(stream, text, end_stream=True)
            self._socket.sendall(self._h2.data_to_send())

    def read(self) -> None:
        """Take what is there; waits if that is nothing."""
        for event in self._h2.receive_data(self._socket.recv(65536)):
            if isinstance(event, DataReceived):
                self.heard.add(event.stream_id)
                if b"[DONE]" in event.data or b'"error"' in event.data:
                    self.ended.add(event.stream_id)
            elif isinstance(event, StreamEnded | StreamReset):
                self.ended.add(event.stream_id)
            elif isinstance(event, ConnectionTerminated):
                raise SystemExit("a connection is lost")
        self._socket.sendall(self._h2.data_to_send())

    def read_all(self) -> None:
        """Take what is there, and wait for nothing."""
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.read()

    def close(self) -> None:
        self._socket.close()


def open_streams(url: str, count: int) -> list[Application]:
    """Open so many, all before any answer is waited for; one that is lost ends the run."""
    applications = [Application(url) for _ in range(-(-count // EACH))]
    for number, one in enumerate(applications):
        one.ask(min(EACH, count - number * EACH))
    for number, one in enumerate(applications):
        while len(one.heard | one.ended) < min(EACH, count - number * EACH):
            one.read()
    lost = sum(len(one.ended) for one in applications)
    if lost:
        raise SystemExit(f"{lost} of {count} streams are lost")
    return applications


def measure(url: str, gateway: int, count: int, seconds: float) -> bool:
    """Open them, wait, look again; return whether all is well."""
    pids = processes(gateway)
    before = {name: rss(pid) for name, pid in pids.items()}
    began = time.monotonic()
    streams = open_streams(url, count)
    opened = time.monotonic() - began
    held = {
        name: 1000 * (rss(pid) - before[name]) / count for name, pid in pids.items()
    }
    time.sleep(seconds)
    began = time.monotonic()
    wait_for_answer(url)
    took = 1000 * (time.monotonic() - began)
    for one in streams:
        one.read_all()
        one.close()
    gone = sum(len(one.ended) for one in streams)
    print(
        f"{count} streams open after {opened:.0f} s, {gone} lost after {seconds:.0f} s more;"
    )
    print(
        f"an answer beside them in {took:.0f} ms; load of the machine {os.getloadavg()[0]:.1f}"
    )
    print("KB a stream: " + ", ".join(f"{name} {kb:.1f}" for name, kb in held.items()))
    return not gone and held["worker"] <= MOST_KB


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with stage.gateway_alone() as (url, gateway):
        return 0 if measure(url, gateway, options.streams, options.seconds) else 1


if __name__ == "__main__":
    sys.exit(main())
