"""The load generator: raw HTTP/1.1 over kept connections, closed loop or at a fixed rate.

    python bench/load.py URL KEY BODY --connections 32 --seconds 5 [--rate 500]

Prints one line of JSON: requests, failures, seconds, latencies in ms (to the end of the
answer, and to the first byte of its body), bytes. A closed
loop asks again as soon as it is answered; a rate asks by the clock, so that waiting for a
slow answer counts against it. The clock is not the loop's: uvloop's counts milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import sys
import time
import urllib.parse

import uvloop

clock = time.perf_counter


class Connection(asyncio.Protocol):
    """One kept connection with at most one request under way."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._tail = b""
        self._began = 0.0
        self._left = -1
        self._heard = False
        self._asked = False
        self._status = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._load.idle(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.lost(self, asked=self._asked)

    def ask(self, due: float) -> None:
        self._load.under_way += 1
        self._asked = True
        self._began = due
        self._left = -1
        self._tail = b""
        self._heard = False
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        self._load.bytes += len(data)
        if self._left == -1:
            head, found, body = (self._tail + data).partition(b"\r\n\r\n")
            if not found:
                self._tail += data
                return
            self._status = head[9:12]
            position = head.find(b"content-length: ")
            chunked = position < 0
            self._left = (
                -2 if chunked else int(head[position + 16 :].split(b"\r", 1)[0])
            )
            data = body
            self._tail = b""
        if data and not self._heard:
            self._heard = self._load.heard(self._began)
        if self._left >= 0:
            self._left -= len(data)
            done = self._left == 0
        else:
            self._tail = (self._tail + data)[-5:]
            done = self._tail.endswith(b"0\r\n\r\n")
        if done:
            self._asked = False
            self._load.answered(self, self._status == b"200", self._began)


class Load:
    """All connections, and what they saw."""

    def __init__(self, options: argparse.Namespace) -> None:
        url = urllib.parse.urlsplit(options.url)
        body = options.body.encode()
        self.address = (url.hostname, url.port)
        self.request = (
            f"POST {url.path} HTTP/1.1\r\nhost: {url.netloc}\r\n"
            f"authorization: Bearer {options.key}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nuser-agent: bench\r\naccept: */*\r\n"
            + "".join(f"{header}\r\n" for header in options.header)
            + "\r\n"
        ).encode() + body
        self.failures = self.bytes = self.under_way = 0
        self.over = False
        self._options = options
        self._latencies: list[float] = []
        self._first: list[float] = []
        self._free: collections.deque[Connection] = collections.deque()
        self._due: collections.deque[float] = collections.deque()

    def idle(self, connection: Connection) -> None:
        if self.over:
            return
        if self._options.rate is None:
            connection.ask(clock())
        elif self._due:
            connection.ask(self._due.popleft())
        else:
            self._free.append(connection)

    def lost(self, connection: Connection, *, asked: bool) -> None:
        """Take note of a connection that is gone; with ``--may-close`` an idle one may."""
        if asked:
            self.under_way -= 1
        elif connection in self._free:
            self._free.remove(connection)
        if not self.over and (asked or not self._options.may_close):
            self.failures += 1

    def heard(self, began: float) -> bool:
        """Note that an answer's body begins."""
        if not self.over:
            self._first.append(clock() - began)
        return True

    def answered(self, connection: Connection, good: bool, began: float) -> None:
        self.under_way -= 1
        if not self.over:
            self._latencies.append(clock() - began)
            self.failures += not good
        self.idle(connection)

    async def run(self) -> dict[str, object]:
        options, loop = self._options, asyncio.get_running_loop()
        made = [
            await loop.create_connection(lambda: Connection(self), *self.address)
            for _ in range(options.connections)
        ]
        began = clock()
        if options.rate is None:
            await asyncio.sleep(options.seconds)
        else:
            for number in range(int(options.rate * options.seconds)):
                due = began + number / options.rate
                await asyncio.sleep(max(0.0, due - clock()))
                if self._free:
                    # Not since it was due: a timer of the loop may be a millisecond late.
                    self._free.popleft().ask(clock())
                else:
                    self._due.append(due)
        self.over = True
        seconds = clock() - began
        until = clock() + options.linger
        while self.under_way > 0 and clock() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for transport, _ in made:
            transport.abort()

        def percentile(times: list[float], share: float) -> float | None:
            if not times:
                return None
            return round(1000 * sorted(times)[int(share * (len(times) - 1))], 3)

        latencies, first = self._latencies, self._first
        return {
            "requests": len(latencies),
            "failures": self.failures,
            "seconds": seconds,
            "bytes": self.bytes,
            "p50": percentile(latencies, 0.5),
            "p99": percentile(latencies, 0.99),
            "first_p50": percentile(first, 0.5),
            "first_p99": percentile(first, 0.99),
        }


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("body")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--may-close", action="store_true", help="connections it keeps")
    parser.add_argument(
        "--linger",
        type=float,
        default=0,
        help="seconds for what is under way at the end",
    )
    parser.add_argument("--header", action="append", default=[], help="NAME:VALUE")
    print(json.dumps(await Load(parser.parse_args()).run()))


if __name__ == "__main__":
    sys.exit(uvloop.run(main()))
