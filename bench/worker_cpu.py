"""What one request costs the worker: its own code, from the bytes of a read to a write.

    .venv/bin/python bench/worker_cpu.py [--rounds 60] [--profile CASE] [--json PATH]

In one process, the real `LeanServer`, codec, exchange, routing, till and link, fed with the
reads that Envoy's connections made of such requests when they were recorded: HEADERS and
the client's headers in one read, the body and its empty end in the next, the provider's
answer in a third, the RST_STREAM that answers ours in a last one. What is said is taken
from a transport that keeps it. So no system call and no event loop is in the figures;
``--socket`` has both, over a socketpair, and the client's share of the same process.

A figure is the least of many short rounds: other work on the machine only ever adds.
Beside it stand the calls of Python functions that the profiler counts, which do not
depend on the machine at all.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import functools
import gc
import hashlib
import mmap
import os
import platform
import pstats
import random
import socket
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import hpack
import msgspec
import uvloop
import yaml

sys.path.insert(0, str(Path(__file__).parent))

import stage
import upstream

from extproc._pb import ext_proc_pb2 as pb
from extproc.config import load
from extproc.config.build import build
from extproc.deployment import RoutingNumbers
from extproc.routing.state import RoutingState
from extproc.runtime import Grant, Runtime
from extproc.server.call import Call, Office
from extproc.server.h2 import frames
from extproc.server.h2.frames import ACK, END_HEADERS, FrameType, Setting
from extproc.server.h2.messages import wrap
from extproc.server.journal import SLOTS, Journal, size_of
from extproc.server.lean import LeanServer
from extproc.server.lean_connection import PROCESS, LeanConnection
from extproc.server.link import WorkerLink
from extproc.server.notes import Notes
from extproc.server.service import make_id_factory
from extproc.server.till import make_till

CHUNKS = 100
"""Of a stream, each in a read of its own, as a model speaks."""
FIND = "~", 0, "<method 'find' of 'bytes' objects>"
"""As the profiler names it."""
NO_PLACES = RoutingNumbers(max_in_flight=0)
LIMITED = {
    "rate_limits": {"requests_per_minute": 10**9, "tokens_per_minute": 10**12},
    "budgets": [{"usd": 10**6, "period": "month"}],
}
PLAIN, LIMITS = "sk-bench-plain", "sk-bench-limits"


class Case(msgspec.Struct, frozen=True):
    """One kind of request."""

    name: str
    model: str
    stream: bool = False
    key: str = PLAIN
    refused: bool = False
    """Whether no place is left for it."""


REFUSED = Case("refused", "gpt-4o", refused=True)
CASES = (
    Case("pass-through", "gpt-4o"),
    Case("translated", "claude-sonnet-4-5"),
    Case("pass-through, limits and budget", "gpt-4o", key=LIMITS),
    Case("translated, limits and budget", "claude-sonnet-4-5", key=LIMITS),
    Case("pass-through stream", "gpt-4o", stream=True),
    Case("translated stream", "claude-sonnet-4-5", stream=True),
)


# ------------------------------------------------------------------ Envoy's messages


def _fields(target: Any, fields: dict[str, str]) -> None:
    for key, value in fields.items():
        header = target.headers.headers.add()
        header.key, header.raw_value = key, value.encode()


def _noted(message: Any) -> bytes:
    """Serialize a message of the response half: each carries what Lua noted."""
    message.metadata_context.filter_metadata["gw.att"].fields["n"].string_value = "1"
    return bytes(message.SerializeToString())


def _body(data: bytes = b"", *, end: bool = False) -> bytes:
    message = pb.ProcessingRequest()
    message.request_body.body = data
    message.request_body.end_of_stream = end
    message.metadata_context.SetInParent()
    return bytes(message.SerializeToString())


def _answer(data: bytes = b"", *, end: bool = False) -> bytes:
    message = pb.ProcessingRequest()
    message.response_body.body = data
    message.response_body.end_of_stream = end
    return _noted(message)


def conversation(case: Case) -> list[list[bytes]]:
    """Return Envoy's messages for a request, those of one read together.

    Of a small request all come in one, however much else is going on: of 49,000 seen under
    load all but a hundred.
    """
    body = stage.body(case.model, **({"stream": True} if case.stream else {}))
    anthropic = case.model.startswith("claude")
    asked, answered = pb.ProcessingRequest(), pb.ProcessingRequest()
    _fields(
        asked.request_headers,
        {
            ":authority": "127.0.0.1:8080",
            ":path": "/v1/chat/completions",
            ":method": "POST",
            ":scheme": "http",
            "content-length": str(len(body)),
            "user-agent": "OpenAI/Python 3.54.0",
            "accept": "application/json",
            "accept-encoding": "gzip, deflate",
            "authorization": f"Bearer {case.key}",
            "content-type": "application/json",
            "x-forwarded-for": "192.0.2.2",
            "x-forwarded-proto": "http",
            "x-request-id": "756a4220-4ac4-449d-ba98-382999bdf557",
            "x-stainless-lang": "python",
            "x-stainless-retry-count": "0",
        },
    )
    asked.metadata_context.SetInParent()
    kind = "text/event-stream; charset=utf-8" if case.stream else "application/json"
    _fields(
        answered.response_headers,
        {
            ":status": "200",
            "content-type": kind,
            "x-extproc-provider": "anthropic" if anthropic else "openai",
        },
    )
    said = answered.attributes["envoy.filters.http.ext_proc"].fields
    said["upstream.request_attempt_count"].number_value = 1
    said["response.code_details"].string_value = "via_upstream"
    reads = [[asked.SerializeToString(), _body(body.encode()), _body(end=True)]]
    if case.refused:
        return reads
    if not case.stream:
        raw = upstream.ANTHROPIC if anthropic else upstream.OPENAI
        whole = raw.partition(b"\r\n\r\n")[2]
        return [*reads, [_noted(answered), _answer(whole), _answer(end=True)]]
    events = upstream.anthropic_stream() if anthropic else upstream.openai_stream()
    kept = (*events[:2], *events[2 : 2 + CHUNKS], *events[-3:])
    chunks = [[_answer(one)] for one in kept]
    return [*reads, [_noted(answered)], *chunks, [_answer(end=True)]]


class Peer:
    """Envoy's end of one connection: makes the bytes of its reads."""

    def __init__(self) -> None:
        self._encoder = hpack.Encoder()
        self._encoder.header_table_size = 0
        self._next = 1
        wide = 1 << 28
        settings = {Setting.INITIAL_WINDOW_SIZE: wide, Setting.HEADER_TABLE_SIZE: 0}
        self.greeting = b"".join(
            (
                frames.PREFACE,
                frames.settings(settings),
                frames.window_update(0, wide),
                frames.frame(FrameType.SETTINGS, ACK, 0),
            )
        )

    def _block(self) -> bytes:
        return bytes(
            self._encoder.encode(
                [
                    (":method", "POST"),
                    (":scheme", "http"),
                    (":path", PROCESS),
                    (":authority", "sidecar"),
                    ("te", "trailers"),
                    ("content-type", "application/grpc"),
                    ("x-envoy-internal", "true"),
                    ("x-forwarded-for", "192.0.2.2"),
                ]
            )
        )

    def reads(self, messages: list[list[bytes]]) -> list[bytes]:
        """Return the reads of one stream, and the last one's RST_STREAM."""
        number, self._next = self._next, self._next + 2
        made = [
            b"".join(
                frames.frame(FrameType.DATA, 0, number, wrap([one])) for one in some
            )
            for some in messages
        ]
        made[0] = (
            frames.frame(FrameType.HEADERS, END_HEADERS, number, self._block())
            + made[0]
        )
        return [*made, frames.rst_stream(number, 0)]


# ------------------------------------------------------------------------ the worker


class Taken:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def close(self) -> None:
        raise SystemExit("the worker closed the connection")


def office() -> Office:
    """Return what the calls of a worker share, as `Worker` makes it."""
    config = yaml.safe_load(stage.gateway_config(1, 2))
    config["keys"] = [{"id": "limits", "key": LIMITS, **LIMITED}]
    loaded = load.loads(
        yaml.safe_dump(config), {}, source="gateway.yaml", folder=Path.cwd()
    )
    grant = Grant("plain", hashlib.sha256(PLAIN.encode()).hexdigest())
    runtime = Runtime.of(
        build(loaded, grants=[grant], generation=1, created=int(time.time()))
    )
    # In memory: a worker's is a file's, and costs it as much.
    notes = Notes(Journal(mmap.mmap(-1, size_of(SLOTS)), SLOTS))
    link = WorkerLink(Path("nowhere"), lambda _: None, max_kept=100, notes=notes)
    return Office(
        runtime=runtime,
        new_id=make_id_factory("bench"),
        wall_clock=time.time,
        record=link.record,
        routing=RoutingState(random.Random(1), runtime.routing),
        till=make_till(runtime.accounting, clock=time.time, notes=notes),
        notes=notes,
    )


class Worker:
    """One connection of a worker, without a loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.office = office()
        self._numbers = self.office.routing.numbers
        self.taken = Taken()
        self._peer = Peer()
        server = LeanServer()
        self.connection = LeanConnection(server, 1, loop, lambda: Call(self.office))
        self.connection.connection_made(cast("asyncio.Transport", self.taken))
        self.connection.data_received(self._peer.greeting)

    def prepare(self, case: Case, requests: int) -> list[list[bytes]]:
        """Return the reads of as many requests."""
        self.office.routing.numbers = NO_PLACES if case.refused else self._numbers
        messages = conversation(case)
        return [self._peer.reads(messages) for _ in range(requests)]

    def run(self, prepared: Iterable[Iterable[bytes]]) -> None:
        """Do all the work of these requests."""
        receive, sweep = self.connection.data_received, self.connection.sweep
        for reads in prepared:
            for data in reads:
                receive(data)
        sweep(0.0)  # new allowances, as twice a second

    def check(self, case: Case) -> bytes:
        """Raise if a request is not answered as it should be; return all that is said."""
        self.taken.written.clear()
        self.run(self.prepare(case, 1))
        said = b"".join(self.taken.written)
        led_to = b"gw_gateway_unavailable" if case.refused else b"gw.t1"
        if led_to not in said or b"grpc-status" not in said:
            raise SystemExit(f"{case.name}: not routed, or not ended: {said[:2000]!r}")
        if case.stream and said.count(b" word") < CHUNKS:
            raise SystemExit(f"{case.name}: less was told than was said")
        return said


class Cost(msgspec.Struct):
    """What one case costs."""

    case: str
    us: float
    """Microseconds of the least round, a request."""
    us_per_chunk: float | None
    calls: int
    """Of functions, by the profiler: the same on every machine."""
    said: int
    """Bytes that are written to Envoy."""


def measure(worker: Worker, case: Case, rounds: int) -> Cost:
    """Measure one case."""
    said = len(worker.check(case))
    per_round = 1 if case.stream else 20
    worker.run(worker.prepare(case, 2 * per_round))
    gc.collect()
    gc.freeze()  # as a worker does when it begins
    best = float("inf")
    for _ in range(rounds):
        prepared = worker.prepare(case, per_round)
        worker.taken.written.clear()
        began = time.thread_time()
        worker.run(prepared)
        best = min(best, time.thread_time() - began)
    us = best / per_round * 1e6
    profile = cProfile.Profile()
    prepared = worker.prepare(case, 20)
    profile.runcall(worker.run, prepared)
    stats = pstats.Stats(profile)
    # `find` on bytes stands for `in`, which is slower, and no call.
    finds = stats.stats.get(FIND, (0,))[0]  # type: ignore[attr-defined]
    calls = (stats.total_calls - finds) // 20  # type: ignore[attr-defined]
    return Cost(
        case.name,
        round(us, 1),
        round(us / CHUNKS, 2) if case.stream else None,
        calls,
        said,
    )


class Flat(msgspec.Struct):
    """What a chunk of one long stream costs at its beginning and at its end."""

    case: str
    chunks: int
    first_tenth_us: float
    last_tenth_us: float


def flatness(worker: Worker, case: Case, chunks: int) -> Flat:
    """Measure one stream of as many chunks, in slices: of each tenth the least counts."""
    *opening, piece = worker.prepare(case, 1)[0][:10]
    for data in opening:
        worker.connection.data_received(data)
    tenths = []
    slice_of = max(1, min(200, chunks // 100))
    for _ in range(10):
        best = float("inf")
        for _ in range(chunks // 10 // slice_of):
            worker.taken.written.clear()
            began = time.thread_time()
            for _ in range(slice_of):
                worker.connection.data_received(piece)
            best = min(best, time.thread_time() - began)
        tenths.append(best / slice_of * 1e6)
    return Flat(case.name, chunks, round(tenths[0], 2), round(tenths[-1], 2))


def on_a_socket(case: Case, rounds: int) -> float:
    """Return the microseconds of CPU a request, loop, system calls and client included."""

    async def run() -> float:
        loop = asyncio.get_running_loop()
        worker = Worker(loop)
        theirs, ours = socket.socketpair()
        theirs.setblocking(False)
        peer, server = Peer(), LeanServer()
        make = functools.partial(
            LeanConnection, server, 2, loop, lambda: Call(worker.office)
        )
        transport, _ = await loop.create_connection(make, sock=ours)
        await loop.sock_sendall(theirs, peer.greeting)
        messages, best = conversation(case), float("inf")
        per_round = 2 if case.stream else 25
        for _ in range(rounds):
            prepared = [peer.reads(messages) for _ in range(per_round)]
            began = time.process_time()
            for reads in prepared:
                for data in reads[:-1]:
                    await loop.sock_sendall(theirs, data)
                    if data is not reads[0]:
                        await loop.sock_recv(theirs, 1 << 20)
                await loop.sock_sendall(theirs, reads[-1])
            best = min(best, time.process_time() - began)
        transport.abort()
        theirs.close()
        return best / per_round * 1e6

    return uvloop.run(run())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--only", help="cases whose name begins so")
    parser.add_argument("--profile", metavar="CASE", help="print where the time goes")
    parser.add_argument("--sort", default="tottime")
    parser.add_argument(
        "--socket", action="store_true", help="loop and system calls too"
    )
    parser.add_argument("--flat", type=int, metavar="CHUNKS", help="a long stream too")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    loop = asyncio.new_event_loop()
    worker = Worker(loop)
    if arguments.profile:
        case = next(one for one in (*CASES, REFUSED) if one.name == arguments.profile)
        prepared = worker.prepare(case, 40 if case.stream else 1000)
        worker.run(prepared[:10])
        profile = cProfile.Profile()
        profile.runcall(worker.run, prepared[10:])
        pstats.Stats(profile).sort_stats(arguments.sort).print_stats(60)
        return
    found = []
    print(f"{'':34}{'µs':>8}{'µs/chunk':>10}{'calls':>7}{'bytes':>8}")
    for case in (*CASES, REFUSED):
        if arguments.only and not case.name.startswith(arguments.only):
            continue
        cost = measure(worker, case, arguments.rounds)
        found.append(cost)
        chunk = "" if cost.us_per_chunk is None else f"{cost.us_per_chunk:.2f}"
        line = f"{cost.case:34}{cost.us:8.1f}{chunk:>10}{cost.calls:7}{cost.said:8}"
        if arguments.socket and not case.refused:
            line += f"   on a socket {on_a_socket(case, arguments.rounds):.1f}"
        print(line)
    long = []
    for case in CASES if arguments.flat else ():
        if case.stream:
            long.append(flatness(worker, case, arguments.flat))
            print(
                f"{case.name}, {arguments.flat} chunks: first tenth "
                f"{long[-1].first_tenth_us} µs, last {long[-1].last_tenth_us} µs"
            )
    if arguments.json:
        made = {
            "flat": long,
            "python": platform.python_version(),
            "cpus": os.cpu_count(),
            "costs": found,
        }
        arguments.json.write_bytes(
            msgspec.json.format(msgspec.json.encode(made)) + b"\n"
        )


if __name__ == "__main__":
    main()
