"""What translating a stream costs the worker, a chunk, for every client and provider format.

    .venv/bin/python bench/stream_cpu.py [--chunks 300] [--streams 32] [--json PATH]
    .venv/bin/python bench/stream_cpu.py --flat [--pieces 100000]

The server is a process of its own with everything that a worker runs for a stream: the lean
edge on uvloop and a unix socket, the codec, the exchange, the formats. The client replays
ext_proc messages whose bytes are made beforehand, one chunk a message, the streams in turn;
a PING behind each round tells when all of it has been worked off. Counted is the CPU time of
all threads of the server, from ``/proc/PID/task/*/schedstat``; the client's is not.

``--flat`` sends one stream of 100,000 pieces for each pair, as text and as 10 MB of tool
arguments, and compares what the last tenth of them cost with the first. What a stream holds
is no matter of time: `tests/exchange/test_streams.py` bounds it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

import hpack
import msgspec
import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from extproc._pb import ext_proc_pb2 as pb
from extproc.identity import Accounting
from extproc.routing.state import RoutingState, Still
from extproc.server.call import Call, Office
from extproc.server.h2 import frames
from extproc.server.h2.frames import ACK, END_HEADERS, FrameType, Setting
from extproc.server.h2.messages import wrap
from extproc.server.lean import LeanServer
from extproc.server.lean_connection import PROCESS
from extproc.server.till import make_till
from tests.casebook import CLIENTS, PROVIDER_FORMATS, runtime_of_all
from tests.streams import Stream, stream_of

KEY = "sk-bench"
TARGET_US = 25.0
WARM_UP = 50
BATCH = 50
"""Pieces of one stream that are in one read: less than the window that Envoy gives."""

ASKED = {
    "openai_chat": {"messages": [{"role": "user", "content": "Hi"}]},
    "openai_completions": {"prompt": "Hi"},
    "openai_responses": {"input": "Hi"},
    "anthropic": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9},
}


async def serve(path: str) -> None:
    """Serve until killed."""
    office = Office(
        runtime=runtime_of_all(KEY),
        new_id=lambda: "gw-1",
        wall_clock=time.time,
        record=lambda _: None,
        routing=RoutingState(Still()),
        till=make_till(Accounting(), clock=time.time),
    )
    await LeanServer().start(path, lambda: Call(office))
    await asyncio.Event().wait()


def opening(client: str, provider: str, stream: Stream) -> list[bytes]:
    """Return the messages of a stream up to its first piece."""
    head, body, answer = (pb.ProcessingRequest() for _ in range(3))
    sent = {
        ":method": "POST",
        ":path": CLIENTS[client],
        "authorization": f"Bearer {KEY}",
        "content-type": "application/json",
    }
    for key, value in sent.items():
        header = head.request_headers.headers.headers.add()
        header.key, header.raw_value = key, value.encode()
    asked = {"model": provider, "stream": True, **ASKED[client]}
    body.request_body.body = msgspec.json.encode(asked)
    body.request_body.end_of_stream = True
    for key, value in {":status": "200", "content-type": stream.content_type}.items():
        header = answer.response_headers.headers.headers.add()
        header.key, header.raw_value = key, value.encode()
    said = answer.attributes["envoy.filters.http.ext_proc"].fields
    said["upstream.request_attempt_count"].number_value = 1
    said["response.code_details"].string_value = "via_upstream"
    messages = [one.SerializeToString() for one in (head, body, answer)]
    return [*messages, *map(chunk, stream.start)]


def chunk(data: bytes) -> bytes:
    message = pb.ProcessingRequest()
    message.response_body.body = data
    return bytes(message.SerializeToString())


class Connection:
    """Envoy's side of one connection to a worker."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._unread = b""
        self._next = 1
        wide = 1 << 30
        settings = {Setting.INITIAL_WINDOW_SIZE: wide, Setting.HEADER_TABLE_SIZE: 0}
        self._send(
            frames.PREFACE, frames.settings(settings), frames.window_update(0, wide)
        )
        self._encoder = hpack.Encoder()
        self._encoder.header_table_size = 0
        self.received = 0
        """Bytes of messages that came."""

    def open(self, messages: list[bytes]) -> int:
        """Begin a stream."""
        number, self._next = self._next, self._next + 2
        block = self._encoder.encode(
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", PROCESS),
                (":authority", "worker"),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
            ]
        )
        self._send(frames.frame(FrameType.HEADERS, END_HEADERS, number, block))
        for message in messages:
            self._send(self.data(number, message))
            self.settle()
        return number

    def data(self, number: int, message: bytes) -> bytes:
        """Return the frame of one message."""
        return frames.frame(FrameType.DATA, 0, number, wrap([message]))

    def push(self, batch: bytes) -> None:
        """Send frames; return when they have been worked off."""
        self._send(batch)
        self.settle()

    def settle(self) -> None:
        """Wait until the server has read everything."""
        self._send(frames.frame(FrameType.PING, 0, 0, b"settled?"))
        while not self._read():
            pass

    def _send(self, *pieces: bytes) -> None:
        self._socket.sendall(b"".join(pieces))

    def _read(self) -> bool:
        data, position, settled = self._unread + self._socket.recv(1 << 18), 0, False
        while len(data) - position >= frames.HEAD_SIZE:
            word, flags, _ = frames.HEAD.unpack_from(data, position)
            stop = position + frames.HEAD_SIZE + (word >> 8)
            if stop > len(data):
                break
            payload = data[position + frames.HEAD_SIZE : stop]
            position, kind = stop, word & 0xFF
            if kind == FrameType.SETTINGS and not flags & ACK:
                self._send(frames.frame(FrameType.SETTINGS, ACK, 0, b""))
            elif kind == FrameType.PING and flags & ACK:
                settled = True
            elif kind == FrameType.DATA:
                self.received += len(payload)
            elif kind in (FrameType.GOAWAY, FrameType.RST_STREAM):
                raise SystemExit(f"the server gave up: {payload!r}")
        self._unread = data[position:]
        return settled


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of all threads of a process."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


class Server:
    """The process that is measured."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()
        self._path = str(Path(self._folder.name) / "worker.sock")
        command = [sys.executable, __file__, "--serve", self._path]
        self._process = subprocess.Popen(command)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def connect(self) -> Connection:
        for _ in range(400):
            try:
                return Connection(self._path)
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.05)
        raise SystemExit("the server did not start within 20 s")

    def cpu(self) -> float:
        return cpu_seconds(self._process.pid)


class Cost(msgspec.Struct):
    """What a chunk of one pair costs."""

    provider_format: str
    client_format: str
    cpu_us_per_chunk: float


class Flat(msgspec.Struct):
    """Whether a piece costs at the end of a long stream what it did at the beginning."""

    provider_format: str
    client_format: str
    kind: str
    first_tenth_us: float
    last_tenth_us: float
    ratio: float


def cost(server: Server, client: str, provider: str, streams: int, chunks: int) -> Cost:
    """Measure one pair."""
    stream = stream_of(provider, "word ")
    connection = server.connect()
    begun = opening(client, provider, stream)
    numbers = [connection.open(begun) for _ in range(streams)]
    piece = chunk(stream.piece)
    batch = b"".join(connection.data(number, piece) for number in numbers)
    for _ in range(WARM_UP):
        connection.push(batch)
    heard, before = connection.received, server.cpu()
    for _ in range(chunks):
        connection.push(batch)
    spent = server.cpu() - before
    if connection.received - heard < streams * chunks * len("word "):
        raise SystemExit(f"{client} of {provider} was told less than was said")
    return Cost(provider, client, round(spent / (streams * chunks) * 1e6, 1))


def flat(
    server: Server, client: str, provider: str, pieces: int, *, arguments: bool
) -> Flat:
    """Measure a long stream of one pair."""
    stream = stream_of(provider, "x" * 100, arguments=arguments)
    connection = server.connect()
    number = connection.open(opening(client, provider, stream))
    piece = chunk(stream.piece)
    batch = connection.data(number, piece) * BATCH
    for _ in range(WARM_UP):
        connection.push(batch)
    tenths = []
    for _ in range(10):
        before = server.cpu()
        for _ in range(pieces // 10 // BATCH):
            connection.push(batch)
            time.sleep(
                0.001
            )  # the worker answers 1,000 PINGs a second, and gives up then
        tenths.append((server.cpu() - before) / (pieces // 10) * 1e6)
    first, last = tenths[0], tenths[-1]
    return Flat(
        provider, client, "arguments" if arguments else "text",
        round(first, 1), round(last, 1), round(last / first, 2),
    )  # fmt: skip


def measure_costs(arguments: argparse.Namespace) -> list[Cost]:
    """Print and return what a chunk costs, the least of some rounds."""
    found = []
    print("CPU µs a chunk".ljust(18), *(name.rjust(18) for name in CLIENTS))
    for provider in PROVIDER_FORMATS:
        row = []
        for client in CLIENTS:
            rounds = []
            for _ in range(arguments.rounds):
                with Server() as server:
                    rounds.append(
                        cost(
                            server,
                            client,
                            provider,
                            arguments.streams,
                            arguments.chunks,
                        )
                    )
            # Other work on the machine only ever adds.
            row.append(min(rounds, key=lambda one: one.cpu_us_per_chunk))
        print(provider.ljust(18), *(f"{one.cpu_us_per_chunk:18}" for one in row))
        found += row
    worst = max(found, key=lambda one: one.cpu_us_per_chunk)
    print(f"the most: {worst.cpu_us_per_chunk} µs, aimed at {TARGET_US}")
    return found


def measure_flatness(arguments: argparse.Namespace) -> list[Flat]:
    """Print and return how much more a piece costs in the end."""
    found = []
    print("first and last tenth, µs a piece; their ratio")
    for provider in PROVIDER_FORMATS:
        for client in CLIENTS:
            for calls in (False, True):
                if calls and (provider == "gemini" or client == "openai_completions"):
                    continue  # calls come whole; there are none
                with Server() as server:
                    one = flat(
                        server, client, provider, arguments.pieces, arguments=calls
                    )
                found.append(one)
                print(
                    f"{provider:18}{client:20}{one.kind:10}"
                    f"{one.first_tenth_us:8}{one.last_tenth_us:8}{one.ratio:7}"
                )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chunks", type=int, default=300)
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pieces", type=int, default=100_000)
    parser.add_argument("--flat", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        uvloop.run(serve(arguments.serve))
        return
    found = (measure_flatness if arguments.flat else measure_costs)(arguments)
    if arguments.json:
        result = {
            "python": platform.python_version(),
            "cpus": os.cpu_count(),
            "chunks": arguments.chunks,
            "streams": arguments.streams,
            "pieces": arguments.pieces,
            "found": found,
        }
        arguments.json.write_bytes(
            msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n"
        )


if __name__ == "__main__":
    main()
