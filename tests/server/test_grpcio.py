"""The gRPC edge over every transport it has: unix, TCP, TLS and mTLS."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path

import grpc
import msgspec
import pytest
from grpc import aio

from extproc._pb.ext_proc_pb2 import ProcessingRequest, ProcessingResponse
from extproc.exchange.completion import Completion
from extproc.server import bodies, call as calls
from extproc.server.call import Call
from extproc.server.grpcio import GrpcServer, Tls
from extproc.server.lean import HEALTH_CHECK, NOT_SERVING, SERVING
from extproc.server.lean_connection import PROCESS
from tests.exchange.test_exchange import RUNTIME
from tests.harness import temporary_folder
from tests.pki import Authority
from tests.server.test_call import (
    LONG,
    ROOMY,
    body_piece,
    crowded,
    kinds,
    office,
    request_body,
    request_headers,
)


@pytest.fixture
def folder():
    with temporary_folder() as found:
        yield found


def serve(
    client, address, *, tls=None, records=None, health=lambda: True, runtime=RUNTIME
):
    """Run `client` in a thread against a server; return what it returns."""

    async def main():
        shared = office([] if records is None else records)
        shared.runtime = runtime
        server = GrpcServer(lambda: Call(shared), health=health)
        port = await server.start(address, tls)
        try:
            return await asyncio.to_thread(client, port)
        finally:
            await server.drain(1)

    return asyncio.run(main())


def converse(channel):
    """Play a request half and leave."""
    method = channel.stream_stream(PROCESS)
    stream = method(iter([request_headers(), request_body()]))
    return kinds(stream)


ROUTED = ["request_headers", "request_body"]


def test_a_unix_socket(folder):
    def client(_):
        with grpc.insecure_channel(f"unix:{folder}/s") as channel:
            health = channel.unary_unary(HEALTH_CHECK)
            return converse(channel), health(b"")

    assert serve(client, f"unix:{folder}/s") == (ROUTED, SERVING)


def test_tcp():
    def client(port):
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            return converse(channel)

    assert serve(client, "127.0.0.1:0") == ROUTED


def test_health_says_when_it_drains():
    def client(port):
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            return channel.unary_unary(HEALTH_CHECK)(b"")

    assert serve(client, "127.0.0.1:0", health=lambda: False) == NOT_SERVING


def tls_client(authority, certificate=None):
    def client(port):
        read = {"root_certificates": authority.bundle.read_bytes()}
        if certificate is not None:
            read["private_key"] = Path(certificate.key).read_bytes()
            read["certificate_chain"] = Path(certificate.chain).read_bytes()
        credentials = grpc.ssl_channel_credentials(**read)
        with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
            return converse(channel)

    return client


def test_tls(folder):
    authority = Authority(folder)
    mine = authority.issue("localhost")
    tls = Tls(folder / mine.chain, folder / mine.key)
    assert serve(tls_client(authority), "localhost:0", tls=tls) == ROUTED
    with pytest.raises(grpc.RpcError) as caught:
        serve(tls_client(Authority(folder, "another")), "localhost:0", tls=tls)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def test_mtls(folder):
    authority, clients = Authority(folder), Authority(folder, "clients")
    mine, theirs = authority.issue("localhost"), clients.issue("envoy")
    tls = Tls(folder / mine.chain, folder / mine.key, clients.bundle)
    assert serve(tls_client(authority, theirs), "localhost:0", tls=tls) == ROUTED
    for stranger in (None, authority.issue("envoy")):
        with pytest.raises(grpc.RpcError) as caught:
            serve(tls_client(authority, stranger), "localhost:0", tls=tls)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def test_an_address_in_use_is_an_os_error():
    def client(port):
        with pytest.raises(OSError, match=str(port)):
            serve(lambda _: None, f"127.0.0.1:{port}")
        return True

    assert serve(client, "127.0.0.1:0")


def test_heavy_work_is_done_in_a_thread(folder, monkeypatch):
    monkeypatch.setattr(calls, "HEAVY_BYTES", 10)
    monkeypatch.setattr(calls, "LIGHT_BYTES", 10)

    def client(_):
        with grpc.insecure_channel(f"unix:{folder}/s") as channel:
            return converse(channel)

    records: list[Completion] = []
    assert serve(client, f"unix:{folder}/s", records=records) == ROUTED
    assert [record.outcome for record in records] == ["canceled"]


def test_a_deadline_is_met_while_nothing_comes(folder):
    stop = threading.Event()

    def slowly():
        yield request_headers()
        stop.wait(10)

    def client(_):
        with grpc.insecure_channel(f"unix:{folder}/s") as channel:
            return kinds(channel.stream_stream(PROCESS)(slowly()))

    limits = msgspec.structs.replace(RUNTIME.limits, request_seconds=0.2)
    records: list[Completion] = []
    hasty = msgspec.structs.replace(RUNTIME, limits=limits)
    try:
        answers = serve(client, f"unix:{folder}/s", records=records, runtime=hasty)
    finally:
        stop.set()
    assert answers == ["immediate_response"]
    assert [record.status for record in records] == [408]


BEGUN, REST = b"{" + b" " * LONG, b'"model":"gpt","messages":[]}'


async def slow(size, *, rest, over):
    """Send the beginning of a body of so many bytes, what is left after `rest`."""
    yield request_headers(**{"content-length": str(size)})
    yield body_piece(BEGUN)
    await rest.wait()
    yield body_piece(REST, end=True)
    await over.wait()


@contextlib.asynccontextmanager
async def in_a_crowd(monkeypatch):
    """Serve where there is room for 20 times `LONG`, and each has eight seconds."""
    monkeypatch.setattr(bodies, "AHEAD_SECONDS", 0.1)
    limits = msgspec.structs.replace(ROOMY.limits, request_seconds=8)
    shared = crowded(20 * LONG)
    shared.runtime = msgspec.structs.replace(ROOMY, limits=limits)
    server = GrpcServer(lambda: Call(shared))
    port = await server.start("127.0.0.1:0")
    try:
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel.stream_stream(PROCESS), shared.bodies
    finally:
        await server.drain(1)


async def until_held(room, size):
    async with asyncio.timeout(5):
        while room.held < size:
            await asyncio.sleep(0.01)


def test_a_body_that_stands_still_keeps_no_room_that_others_wait_for(monkeypatch):
    async def main():
        never, now, over = (asyncio.Event() for _ in range(3))
        now.set()
        async with in_a_crowd(monkeypatch) as (process, room):
            first = process(slow(20 * LONG, rest=never, over=over))
            await until_held(room, 1)
            second = process(slow(LONG + 64, rest=now, over=over))
            [refused] = [one async for one in first]
            said = await second.read()
            over.set()
            return refused, said

    refused, said = asyncio.run(main())
    answer = ProcessingResponse.FromString(refused).immediate_response
    assert answer.status.code == 408
    # It would have been refused after half its time.
    assert kinds([said]) == ["request_headers"]


def test_of_two_that_stand_still_one_makes_room_for_who_waits(monkeypatch):
    size = 8 * LONG

    async def main():
        later, now, over = (asyncio.Event() for _ in range(3))
        now.set()
        async with in_a_crowd(monkeypatch) as (process, room):
            there = [process(slow(size, rest=later, over=over)) for _ in range(2)]
            await until_held(room, 2 * size)
            said = [await process(slow(size, rest=now, over=over)).read()]
            later.set()
            said += await asyncio.gather(*[one.read() for one in there])
            over.set()
            return sorted(kind for one in said for kind in kinds([one]))

    assert asyncio.run(main()) == [
        "immediate_response", "request_headers", "request_headers",
    ]  # fmt: skip


def test_a_message_that_is_none_ends_its_call_only(folder):
    def client(_):
        with grpc.insecure_channel(f"unix:{folder}/s") as channel:
            with pytest.raises(grpc.RpcError):
                list(channel.stream_stream(PROCESS)(iter([b"\xff\xff"])))
            empty = ProcessingRequest().SerializeToString()
            with pytest.raises(grpc.RpcError):
                list(channel.stream_stream(PROCESS)(iter([empty])))
            return converse(channel)

    assert serve(client, f"unix:{folder}/s") == ROUTED
