"""What one ext_proc call costs in CPU on either edge, with the same messages.

    .venv/bin/python bench/edge_cpu.py [--calls 3000] [--concurrency 8] [--json PATH]

The server is a process of its own that parses each ProcessingRequest and serializes a
ProcessingResponse, on uvloop, over a unix socket. The client replays frames whose bytes
are made beforehand, sends the next message of a call when the one before is answered, and
half-closes with the last one. Counted is the CPU time of all threads of the server, from
``/proc/PID/task/*/schedstat`` (nanoseconds); the client costs nothing that is counted.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import hpack
import msgspec
import uvloop

from extproc._pb import ext_proc_pb2 as pb
from extproc.server.h2 import frames
from extproc.server.h2.frames import ACK, END_HEADERS, END_STREAM, FrameType, Setting
from extproc.server.h2.messages import wrap
from extproc.server.lean import LeanServer
from extproc.server.lean_connection import PROCESS

EDGES = ("grpc.aio", "lean")
MESSAGES = (1, 4)
WARM_UP = 300


class Answerer:
    """A call that answers a given number of messages with real protobuf work."""

    deadline = math.inf
    work = None

    def __init__(self, messages: int) -> None:
        self._left = messages
        self.finished = False

    def receive(self, message: bytes, _now: float) -> list[bytes]:
        request = pb.ProcessingRequest.FromString(message)
        headers = request.request_headers.headers.headers
        answer = pb.ProcessingResponse()
        mutation = answer.request_headers.response.header_mutation
        option = mutation.set_headers.add()
        option.header.key = "x-gateway-cluster"
        option.header.raw_value = headers[0].raw_value
        self._left -= 1
        self.finished = not self._left
        return [answer.SerializeToString()]

    def expire(self, _now: float) -> list[bytes]:
        return []

    def close(self, _now: float, *, clean: bool) -> None:
        pass


def a_request() -> bytes:
    """Return the message of an ordinary chat's request headers, about 700 bytes."""
    request = pb.ProcessingRequest()
    fields = {
        ":method": "POST",
        ":path": "/v1/chat/completions",
        ":authority": "127.0.0.1:8080",
        ":scheme": "http",
        "accept": "application/json",
        "accept-encoding": "gzip, deflate, br, zstd",
        "authorization": "Bearer sk-" + "x" * 48,
        "content-length": "1432",
        "content-type": "application/json",
        "user-agent": "OpenAI/Python 3.54.0",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "http",
        "x-request-id": "5b1a5c1e-3a58-4f43-9bbd-7f7d3c8e1f52",
        "x-stainless-lang": "python",
        "x-stainless-os": "Linux",
        "x-stainless-runtime": "CPython",
    }
    for key, value in fields.items():
        header = request.request_headers.headers.headers.add()
        header.key = key
        header.raw_value = value.encode()
    return bytes(request.SerializeToString())


async def serve(edge: str, path: str, messages: int) -> None:
    """Serve until killed."""

    def new_call() -> Any:
        return Answerer(messages)

    if edge == "lean":
        await LeanServer().start(path, new_call)
    else:
        # Here, so that the lean server's process is without grpcio's threads.
        from extproc.server.grpcio import GrpcServer  # noqa: PLC0415

        await GrpcServer(new_call).start(f"unix:{path}")
    await asyncio.Event().wait()


class Replay:
    """One client connection."""

    def __init__(self, path: str, messages: int) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._messages = messages
        self._next = 1
        self._unread = b""
        self._answered: dict[int, int] = {}
        self._out: list[bytes] = []
        wide = 1 << 30
        settings = {Setting.INITIAL_WINDOW_SIZE: wide, Setting.HEADER_TABLE_SIZE: 0}
        self._out += [
            frames.PREFACE,
            frames.settings(settings),
            frames.window_update(0, wide),
        ]
        encoder = hpack.Encoder()
        encoder.header_table_size = 0
        encode = lambda: encoder.encode(  # noqa: E731
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", PROCESS),
                (":authority", "worker"),
                ("te", "trailers"),
                ("grpc-timeout", "5S"),
                ("content-type", "application/grpc"),
            ]
        )
        self._first_block, self._block = encode(), encode()
        self._body = wrap([a_request()])

    def run(self, calls: int, concurrency: int) -> float:
        """Make calls; return the seconds that they took."""
        began = time.perf_counter()
        for _ in range(concurrency):
            self._start()
        started, ended = concurrency, 0
        while ended < calls:
            for kind, flags, stream_id, payload in self._exchange():
                if kind == FrameType.DATA and stream_id in self._answered:
                    self._advance(stream_id, payload)
                if kind in (FrameType.DATA, FrameType.HEADERS) and flags & END_STREAM:
                    if self._answered.pop(stream_id) != self._messages:
                        raise SystemExit("a call ended without all its answers")
                    ended += 1
                    if started < calls:
                        started += 1
                        self._start()
        return time.perf_counter() - began

    def close(self) -> None:
        self._socket.close()

    def _start(self) -> None:
        block, self._first_block = self._first_block or self._block, b""
        self._answered[self._next] = 0
        head = frames.frame(FrameType.HEADERS, END_HEADERS, self._next, block)
        self._out += [head, self._message(self._next, 0)]
        self._next += 2

    def _message(self, stream_id: int, number: int) -> bytes:
        flags = END_STREAM if number == self._messages - 1 else 0
        return frames.frame(FrameType.DATA, flags, stream_id, self._body)

    def _advance(self, stream_id: int, payload: bytes) -> None:
        """Count answers, which either edge may put into one frame or several."""
        if not payload:
            return
        self._answered[stream_id] += 1
        if self._answered[stream_id] < self._messages:
            self._out.append(self._message(stream_id, self._answered[stream_id]))

    def _exchange(self) -> list[tuple[int, int, int, bytes]]:
        if self._out:
            self._socket.sendall(b"".join(self._out))
            self._out.clear()
        data, found = self._unread + self._socket.recv(1 << 18), []
        position = 0
        while len(data) - position >= frames.HEAD_SIZE:
            word, flags, stream_id = frames.HEAD.unpack_from(data, position)
            stop = position + frames.HEAD_SIZE + (word >> 8)
            if stop > len(data):
                break
            payload = data[position + frames.HEAD_SIZE : stop]
            position, kind = stop, word & 0xFF
            found.append((kind, flags, stream_id, payload))
            if kind in (FrameType.SETTINGS, FrameType.PING) and not flags & ACK:
                answer = payload if kind == FrameType.PING else b""
                self._out.append(frames.frame(FrameType(kind), ACK, 0, answer))
            elif kind == FrameType.GOAWAY:
                raise SystemExit(f"the server went away: {payload!r}")
        self._unread = data[position:]
        return found


class Cost(msgspec.Struct):
    """What one edge made of one kind of call."""

    edge: str
    messages: int
    cpu_us_per_call: float
    calls_per_second: float


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of all threads of a process."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def measure(edge: str, messages: int, calls: int, concurrency: int) -> Cost:
    """Measure one edge with one kind of call."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "edge.sock")
        command = [sys.executable, __file__, "--serve", edge, path, str(messages)]
        with subprocess.Popen(command) as server:
            try:
                client = connect(path, messages)
                client.run(WARM_UP, concurrency)
                before = cpu_seconds(server.pid)
                took = client.run(calls, concurrency)
                cpu = cpu_seconds(server.pid) - before
                client.close()
            finally:
                server.kill()
    return Cost(edge, messages, round(cpu / calls * 1e6, 1), round(calls / took))


def connect(path: str, messages: int) -> Replay:
    """Connect to a server that is just starting."""
    for _ in range(200):
        try:
            return Replay(path, messages)
        except (FileNotFoundError, ConnectionRefusedError):
            time.sleep(0.05)
    raise SystemExit("the server did not start within 10 s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        edge, path, messages = arguments.serve
        uvloop.run(serve(edge, path, int(messages)))
        return
    costs = []
    print(f"{'messages':>8}  {'edge':<8}  {'CPU µs/call':>11}  {'calls/s':>8}")
    for messages in MESSAGES:
        of_edges = []
        for edge in EDGES:
            # The least of some rounds: other work on the machine only ever adds.
            rounds = [
                measure(edge, messages, arguments.calls, arguments.concurrency)
                for _ in range(arguments.rounds)
            ]
            of_edges.append(min(rounds, key=lambda cost: cost.cpu_us_per_call))
            cost = of_edges[-1]
            print(
                f"{messages:>8}  {edge:<8}  {cost.cpu_us_per_call:>11}"
                f"  {cost.calls_per_second:>8.0f}"
            )
        ratio = of_edges[1].cpu_us_per_call / of_edges[0].cpu_us_per_call
        print(f"{'':>8}  lean / grpc.aio = {ratio:.3f}")
        costs += of_edges
    if arguments.json:
        result = {
            "calls": arguments.calls,
            "concurrency": arguments.concurrency,
            "python": platform.python_version(),
            "cpus": os.cpu_count(),
            "costs": costs,
        }
        arguments.json.write_bytes(
            msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n"
        )


if __name__ == "__main__":
    main()
