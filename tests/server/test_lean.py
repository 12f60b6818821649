"""The lean edge on a real unix socket, with grpcio as the client; and its life and end."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import shutil
import socket
import stat
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
import uvloop

from extproc.server import lean, lean_connection
from extproc.server.bodies import FREE
from extproc.server.h2 import frames
from extproc.server.h2.frames import FrameType
from extproc.server.h2.messages import wrap
from extproc.server.lean import HEALTH_CHECK, LeanServer
from extproc.server.lean_connection import PROCESS, LeanConnection

METHOD = PROCESS.encode()
UNLIMITED = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
]


def new_call() -> Any:
    return FakeCall()


class FakeCall:
    """Answers as its messages say; `ended` has what `close` was told."""

    def __init__(self):
        self.known_as = {"gw_id": "gw-1", "request_id": "r-1"}
        self.finished = False
        self.deadline = math.inf
        self.ended = []
        self.received = 0
        self.work = None
        self.worked = 0
        self.turn = None
        self.parting = False
        self.parted = 0

    def part(self):
        self.parting = False
        self.parted += 1

    def begin(self, loop):
        return loop.run_in_executor(None, self.work)

    def _work(self):
        self.worked += 1
        time.sleep(0.2)
        return b"worked"

    def resume(self, result, now):
        assert now > 0
        self.work = None
        return [result]

    def hear(self, messages, now, replies):
        for message in messages:
            if not self.finished:
                replies += self.receive(message, now)

    def receive(self, message, now):
        self.received += 1
        assert now > 0
        match message:
            case b"finish":
                self.finished = True
                return [b"last"]
            case b"leave":
                self.finished = True
                return []
            case b"silence":
                return []
            case b"work":
                self.work = self._work
                return []
            case b"work that fails":
                self.work = lambda: 1 // 0
                return []
            case b"too much":
                self.turn = asyncio.get_running_loop().create_future()
                return []
            case b"large":
                self.parting = True
                return [bytes(3 << 20)]
            case b"twice":
                return [b"one", b"two"]
            case b"deadline":
                self.deadline = now + 0.01
                return []
            case _ if message.startswith(b"raise"):
                raise ValueError(message)
            case _:
                return [message]

    def expire(self, now):
        assert now >= self.deadline
        self.deadline = math.inf
        self.finished = True
        return [b"expired"]

    def close(self, now, *, clean):
        assert now > 0
        self.ended.append(clean)
        if self.received == 7:
            raise KeyError("seven messages are too many")


class Bench:
    """A server, the calls that it made, and a grpcio client."""

    def __init__(self, path, **options):
        self.path = path
        self.calls = []
        self.server = LeanServer(**options)

    async def __aenter__(self):
        await self.server.start(str(self.path), self._new_call)
        self.channel = grpc.insecure_channel(f"unix:{self.path}", UNLIMITED)
        self.process = self.channel.stream_stream(PROCESS)
        return self

    async def __aexit__(self, *_):
        await asyncio.to_thread(self.channel.close)
        await self.server.stop()

    def _new_call(self):
        self.calls.append(FakeCall())
        return self.calls[-1]

    async def ask(self, *messages):
        """Return the answers and the status of one call that half-closes at once."""
        return await asyncio.to_thread(self.collect, self.process(iter(messages)))

    async def unary(self, path, request=b""):
        def ask():
            try:
                return self.channel.unary_unary(path)(request)
            except grpc.RpcError as error:
                return error.code(), error.details()

        return await asyncio.to_thread(ask)

    @staticmethod
    def collect(call):
        answers = []
        try:
            answers.extend(call)
        except grpc.RpcError as error:
            return answers, error.code()
        return answers, call.code()


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


class Held:
    """Messages that are sent when the test says so."""

    def __init__(self, *messages):
        self._messages = list(messages)
        self._more = threading.Semaphore(len(messages))
        self._over = False

    def __iter__(self):
        return self

    def __next__(self):
        self._more.acquire()
        if self._over:
            raise StopIteration
        return self._messages.pop(0)

    def send(self, message):
        self._messages.append(message)
        self._more.release()

    def end(self):
        self._over = True
        self._more.release()


@pytest.fixture
def path():
    # Not tmp_path: a socket's path may have 107 bytes.
    folder = tempfile.mkdtemp()
    yield Path(folder) / "lean.sock"
    shutil.rmtree(folder)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    factory = uvloop.new_event_loop if request.param == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        yield runner.run


def test_messages_are_answered_in_order(run, path):
    async def main():
        async with Bench(path) as bench:
            answers = await bench.ask(b"a", b"twice", b"silence", b"b")
            assert answers == ([b"a", b"one", b"two", b"b"], grpc.StatusCode.OK)
            assert bench.calls[0].ended == [True]
            assert await bench.ask() == ([], grpc.StatusCode.OK)
            assert await bench.ask(b"leave") == ([], grpc.StatusCode.OK)

    run(main())


def test_work_is_done_in_a_thread_while_others_are_answered(run, path):
    async def main():
        async with Bench(path) as bench:
            held = Held(b"work")
            slow = bench.process(held)
            await until(lambda: bench.calls and bench.calls[0].work)
            began = time.monotonic()
            assert await bench.ask(b"a") == ([b"a"], grpc.StatusCode.OK)
            assert time.monotonic() - began < 0.2
            assert await asyncio.to_thread(next, slow) == b"worked"
            held.send(b"finish")
            assert await asyncio.to_thread(next, slow) == b"last"
            held.end()
            # The half-close is here before the work is done, and waits for it.
            assert await bench.ask(b"work", b"a", b"silence") == (
                [b"a", b"worked"],
                grpc.StatusCode.OK,
            )
            assert bench.calls[-1].worked == 1
            assert bench.calls[-1].ended == [True]
            answers = await bench.ask(b"work that fails")
            assert answers == ([], grpc.StatusCode.INTERNAL)
            assert bench.calls[-1].ended == [False]
            assert bench.calls[-1].work is None
            held = Held(b"work that fails")
            with pytest.raises(grpc.RpcError) as caught:
                await asyncio.to_thread(next, bench.process(held))
            assert caught.value.code() == grpc.StatusCode.INTERNAL
            held.end()

    run(main())


def test_a_finished_call_ends_without_waiting_for_the_client(run, path):
    async def main():
        async with Bench(path) as bench:
            held = Held(b"a", b"finish")
            call = bench.process(held)
            answers = await asyncio.to_thread(bench.collect, call)
            assert answers == ([b"a", b"last"], grpc.StatusCode.OK)
            assert bench.calls[0].ended == [True]
            held.end()

    run(main())


def test_20_mb_go_both_ways(run, path):
    async def main():
        async with Bench(path) as bench:
            body = os.urandom(1 << 20) * 20
            answers, code = await bench.ask(body, b"", body[:100_000])
            assert code is grpc.StatusCode.OK
            assert answers == [body, b"", body[:100_000]]

    run(main())


def test_many_calls_at_once(run, path):
    async def main():
        async with Bench(path) as bench:
            calls = [
                bench.ask(*(b"%d" % number * size for size in (1, 10, 20_000)))
                for number in range(60)
            ]
            for number, (answers, code) in enumerate(await asyncio.gather(*calls)):
                assert code is grpc.StatusCode.OK
                assert answers == [b"%d" % number * size for size in (1, 10, 20_000)]
            assert [call.ended for call in bench.calls] == [[True]] * 60

    run(main())


def test_cancel_closes_the_call_uncleanly(run, path):
    async def main():
        async with Bench(path) as bench:
            held = Held(b"a")
            call = bench.process(held)
            assert await asyncio.to_thread(next, call) == b"a"
            call.cancel()
            await until(lambda: bench.calls[0].ended)
            assert bench.calls[0].ended == [False]
            held.end()
            assert await bench.ask(b"b") == ([b"b"], grpc.StatusCode.OK)

    run(main())


def test_a_lost_connection_closes_its_calls_uncleanly(run, path):
    async def main():
        async with Bench(path) as bench:
            held = Held(b"a")
            call = bench.process(held)
            await asyncio.to_thread(next, call)
            for connection in bench.server.connections.values():
                connection.abort()
            await until(lambda: bench.calls[0].ended)
            assert bench.calls[0].ended == [False]
            held.end()

    run(main())


def test_a_bug_ends_its_call_only_and_tells_no_secret(run, path, caplog):
    async def main():
        async with Bench(path) as bench:
            held = Held(b"a")
            other = bench.process(held)
            await asyncio.to_thread(next, other)
            # What was said before goes out, whether both come in one read or not.
            answers = await bench.ask(b"b", b"raise over a secret")
            assert answers == ([b"b"], grpc.StatusCode.INTERNAL)
            assert bench.calls[1].ended == [False]
            held.send(b"finish")
            assert await asyncio.to_thread(next, other) == b"last"
            held.end()

    with caplog.at_level(logging.ERROR):
        run(main())
    assert [r.getMessage() for r in caplog.records] == ["call 1/3 failed: ValueError"]
    assert [r.gw_id for r in caplog.records] == ["gw-1"]
    assert "secret" not in caplog.text


def test_a_bug_in_close_is_logged(run, path, caplog):
    async def main():
        async with Bench(path) as bench:
            answers = await bench.ask(*[b"x"] * 7)
            assert answers == ([b"x"] * 7, grpc.StatusCode.OK)

    run(main())
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["call 1/1 failed to close: KeyError"]


@pytest.mark.parametrize("when", ["at once", "when it is told so"])
def test_who_expires_may_leave_more_time_to_the_next(run, path, monkeypatch, when):
    monkeypatch.setattr(lean, "SWEEP", 0.02)

    async def main():
        async with Bench(path) as bench:
            helds, asked = [Held(b"x"), Held(b"x")], []
            for held in helds:  # one behind the other: they come in any order else
                asked.append(bench.process(held))
                assert await asyncio.to_thread(next, asked[-1]) == b"x"
            first, second = bench.calls
            expire, part = first.expire, first.part

            def leave_room(now):
                if when == "at once":
                    second.deadline = math.inf
                first.parting = True
                return expire(now)

            def parted():
                second.deadline = math.inf
                part()

            first.expire, first.part = leave_room, parted
            # The edge looks once at whose time is up, and tells one after the other.
            first.deadline = second.deadline = 0.0
            answers = await asyncio.to_thread(bench.collect, asked[0])
            assert answers == ([b"expired"], grpc.StatusCode.OK)
            assert not second.finished
            helds[1].send(b"finish")
            assert await asyncio.to_thread(next, asked[1]) == b"last"
            for held in helds:
                held.end()

    run(main())


def test_a_deadline_is_met_by_the_sweep(run, path, monkeypatch):
    monkeypatch.setattr(lean, "SWEEP", 0.02)

    async def main():
        async with Bench(path) as bench:
            held = Held(b"deadline")
            call = bench.process(held)
            answers = await asyncio.to_thread(bench.collect, call)
            assert answers == ([b"expired"], grpc.StatusCode.OK)
            held.end()

    run(main())


def test_health_and_other_unary_methods(run, path):
    healthy = True

    def broken(_request):
        raise ValueError("of no interest to the client")

    unary = {"/a.B/Reverse": lambda request: request[::-1], "/a.B/Broken": broken}

    async def main():
        async with Bench(path, health=lambda: healthy, unary=unary) as bench:
            nonlocal healthy
            assert await bench.unary(HEALTH_CHECK, b"\x0a\x01x") == lean.SERVING
            healthy = False
            assert await bench.unary(HEALTH_CHECK) == lean.NOT_SERVING
            assert await bench.unary("/a.B/Reverse", b"abc") == b"cba"
            internal = (grpc.StatusCode.INTERNAL, "internal error")
            assert await bench.unary("/a.B/Broken") == internal
            unknown = (grpc.StatusCode.UNIMPLEMENTED, "unknown method")
            assert await bench.unary("/grpc.health.v1.Health/Watch") == unknown
            assert await bench.unary("/a.B/Reverse", b"still") == b"llits"

    run(main())


def test_drain_lets_open_calls_end_and_then_closes(run, path):
    async def main():
        async with Bench(path) as bench:
            held = Held(b"a")
            call = bench.process(held)
            await asyncio.to_thread(next, call)
            draining = asyncio.ensure_future(bench.server.drain(5))
            await asyncio.sleep(0.05)
            assert not path.exists()
            assert not draining.done()
            # The connection is refused to new calls, and there is no other.
            _, code = await bench.ask(b"b")
            assert code is grpc.StatusCode.UNAVAILABLE
            held.send(b"b")
            assert await asyncio.to_thread(next, call) == b"b"
            held.send(b"finish")
            answers = await asyncio.to_thread(bench.collect, call)
            assert answers == ([b"last"], grpc.StatusCode.OK)
            async with asyncio.timeout(1):
                await draining
            assert len(bench.calls) == 1
            held.end()

    run(main())


def test_a_call_that_outlasts_the_grace_is_cut(run, path, caplog):
    async def main():
        async with Bench(path) as bench:
            held = Held(b"a")
            call = bench.process(held)
            await asyncio.to_thread(next, call)
            await bench.server.drain(0.05)
            assert bench.calls[0].ended == []
            await bench.server.stop()
            assert bench.calls[0].ended == [False]
            answers = await asyncio.to_thread(bench.collect, call)
            assert answers == ([], grpc.StatusCode.UNAVAILABLE)
            held.end()

    run(main())
    assert "still open after the grace" in caplog.text


def test_stop_does_not_wait_for_a_peer_that_reads_nothing(run, path, monkeypatch):
    monkeypatch.setattr(lean, "LINGER", 0.05)

    async def main():
        server = LeanServer(unary={"/a.B/Large": lambda _: bytes(30 << 20)})
        await server.start(str(path), new_call)
        peer = RawSocket(path)
        peer.send(
            frames.settings({frames.Setting.INITIAL_WINDOW_SIZE: 1 << 30}),
            frames.window_update(0, 1 << 30),
            peer.request(1, b"/a.B/Large"),
            frames.frame(FrameType.DATA, frames.END_STREAM, 1, wrap([b""])),
        )
        await until(lambda: server.connections)
        await asyncio.sleep(0.1)
        async with asyncio.timeout(2):
            await server.stop()
        peer.socket.close()

    run(main())


class RawSocket:
    """A client that writes frames by hand."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(2)
        self.socket.connect(str(path))
        self.socket.sendall(frames.PREFACE)

    def send(self, *data):
        self.socket.sendall(b"".join(data))

    def request(self, stream_id, method=METHOD):
        return request(stream_id, method)

    def read_all(self):
        data = b""
        while piece := self.socket.recv(65_536):
            data += piece
        self.socket.close()
        return data


def request(stream_id, method=METHOD):
    fields = {b":path": method, b"content-type": b"application/grpc"}
    block = b"\x20\x83\x86" + b"".join(
        b"\0%c%b%c%b" % (len(name), name, len(value), value)
        for name, value in fields.items()
    )
    return frames.frame(FrameType.HEADERS, frames.END_HEADERS, stream_id, block)


def test_garbage_ends_its_connection_and_no_other(run, path, caplog):
    async def main():
        async with Bench(path) as bench:
            assert await bench.ask(b"a") == ([b"a"], grpc.StatusCode.OK)
            peer = RawSocket(path)
            peer.send(frames.settings({}), request(1), bytes(9))
            answer = await asyncio.to_thread(peer.read_all)
            assert b"DATA in state CONNECTION" in answer
            assert bench.calls[1].ended == [False]
            assert await bench.ask(b"b") == ([b"b"], grpc.StatusCode.OK)

    run(main())
    assert "PROTOCOL_ERROR: DATA in state CONNECTION" in caplog.text


def test_the_socket_file_is_ours_alone(run, path):
    async def main():
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(str(path))
        stale.close()
        async with Bench(path) as bench:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert await bench.ask(b"a") == ([b"a"], grpc.StatusCode.OK)
        assert not path.exists()

    run(main())


class FakeTransport(asyncio.Transport):
    def __init__(self):
        super().__init__()
        self.written = []
        self.reading = True
        self.closing = False

    def write(self, data):
        self.written.append(data)

    def set_write_buffer_limits(self, high=None, low=None):
        self.limits = high, low

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    def is_closing(self):
        return self.closing

    def close(self):
        self.closing = True


@pytest.fixture
def connection():
    """A connection of no loop, its transport, and the calls that it makes."""
    loop = asyncio.new_event_loop()
    calls = []

    def make_call():
        calls.append(FakeCall())
        return calls[-1]

    made = LeanConnection(LeanServer(), 1, loop, make_call)
    transport = FakeTransport()
    made.connection_made(transport)
    made.data_received(frames.PREFACE + frames.settings({}))
    transport.written.clear()
    yield made, transport, calls
    made.connection_lost(None)
    loop.close()


def test_all_answers_to_one_read_leave_in_one_write(connection):
    made, transport, _ = connection
    messages = frames.frame(FrameType.DATA, 0, 1, wrap([b"a", b"twice", b"finish"]))
    made.data_received(request(1) + request(3) + messages)
    (written,) = transport.written
    kinds = []
    while written:
        word, _flags, stream_id = frames.HEAD.unpack_from(written)
        kinds.append((FrameType(word & 0xFF).name, stream_id))
        written = written[9 + (word >> 8) :]
    assert [kind for kind, stream_id in kinds if stream_id == 1] == [
        "HEADERS",
        "DATA",
        "HEADERS",
        "RST_STREAM",
    ]


def test_nothing_to_say_is_no_write(connection):
    made, transport, calls = connection
    silence = frames.frame(FrameType.DATA, 0, 1, wrap([b"silence"]))
    made.data_received(request(1) + silence)
    assert transport.written == []
    assert calls[0].received == 1


def test_a_peer_that_does_not_read_is_not_read_from(connection):
    made, transport, _ = connection
    assert transport.limits == (lean_connection.WRITE_LIMIT, None)
    made.pause_writing()
    assert not transport.reading
    made.resume_writing()
    assert transport.reading
    transport.closing = True
    made.pause_writing()
    assert transport.reading


def test_a_call_is_closed_once_however_often_its_end_comes(connection):
    made, _, calls = connection
    sent = request(1) + frames.frame(FrameType.DATA, 1, 1, wrap([b"finish", b"more"]))
    made.data_received(sent)
    made.data_received(frames.rst_stream(1, 8))
    made.data_received(request(3) + frames.rst_stream(3, 8))
    made.connection_lost(None)
    assert [call.ended for call in calls] == [[True], [False]]
    assert calls[0].received == 1


PING = frames.frame(FrameType.PING, 0, 0, b"12345678")
SILENCE = wrap([b"silence"])


def started(first, count):
    ids = range(first, first + 2 * count, 2)
    return b"".join(
        request(one) + frames.frame(FrameType.DATA, 0, one, SILENCE) for one in ids
    )


def test_a_ping_is_answered_before_the_work_in_front_of_it(connection, monkeypatch):
    """Else whoever sends many requests at once would be the end of all streams."""
    monkeypatch.setattr(lean_connection, "SLICE_SECONDS", 0.0)
    made, transport, calls = connection

    async def come() -> None:
        made.data_received(started(1, 200))
        made.data_received(started(401, 20) + PING)
        assert len(calls) < 5
        assert frames.frame(FrameType.PING, frames.ACK, 0, b"12345678") in b"".join(
            transport.written
        )
        while sum(call.received for call in calls) < 220:
            await asyncio.sleep(0)

    made._loop.run_until_complete(asyncio.wait_for(come(), 20))
    assert len(calls) == 220
    assert transport.reading


def test_who_is_far_ahead_of_our_work_is_not_read_from(connection, monkeypatch):
    monkeypatch.setattr(lean_connection, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(lean_connection, "AHEAD_LIMIT", 1000)
    made, transport, calls = connection

    async def come() -> None:
        made.data_received(started(1, 20))
        assert transport.reading
        made.data_received(started(41, 50))
        assert not transport.reading
        made.pause_writing()
        made.resume_writing()
        assert not transport.reading
        while not transport.reading:
            await asyncio.sleep(0)

    made._loop.run_until_complete(asyncio.wait_for(come(), 20))
    assert len(calls) == 70


def test_connections_with_much_to_do_take_turns(monkeypatch):
    monkeypatch.setattr(lean_connection, "SLICE_SECONDS", 0.0)
    order = []

    async def come() -> None:
        server = LeanServer()
        for number in (1, 2):

            def make_call(number=number):
                order.append(number)
                return FakeCall()

            made = LeanConnection(server, number, asyncio.get_running_loop(), make_call)
            made.connection_made(FakeTransport())
            made.data_received(frames.PREFACE + frames.settings({}) + started(1, 20))
        while len(order) < 40:
            await asyncio.sleep(0)
        while server.turns:
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(come(), 20))
    assert order != sorted(order)
    assert all(order[:30].count(number) > 10 for number in (1, 2))


def test_what_waits_for_its_turn_ends_with_its_connection(connection, monkeypatch):
    monkeypatch.setattr(lean_connection, "SLICE_SECONDS", 0.0)
    made, _, calls = connection

    async def come() -> None:
        made.data_received(started(1, 20))
        made.connection_lost(None)
        for _ in range(50):
            await asyncio.sleep(0)

    made._loop.run_until_complete(come())
    assert 0 < len(calls) < 20
    assert all(call.ended == [False] for call in calls)
    assert not made._server.turns


def test_a_body_without_room_is_not_read_until_its_turn(run, path):
    async def main():
        async with Bench(path) as bench:
            held = Held(b"too much")
            call = bench.process(held)
            await until(lambda: bench.calls and bench.calls[0].turn)
            (one,) = bench.calls
            for _ in range(8):
                held.send(bytes(100 << 10))
            # What its window lets come unasked, and not a message more.
            most = FREE // (100 << 10) + 1
            assert await bench.ask(b"a") == ([b"a"], grpc.StatusCode.OK)
            assert one.received <= most
            turn, one.turn = one.turn, None
            turn.set_result(None)
            await until(lambda: one.received == 9)
            held.end()
            answers, code = await asyncio.to_thread(bench.collect, call)
            assert (len(answers), code) == (8, grpc.StatusCode.OK)

    run(main())


def test_a_large_answer_is_let_go_of_when_it_is_on_its_way(run, path):
    async def main():
        async with Bench(path) as bench:
            answers, code = await bench.ask(b"large", b"a")
            assert ([*map(len, answers)], code) == ([3 << 20, 1], grpc.StatusCode.OK)
            assert bench.calls[0].parted == 1

    run(main())
