"""The frames of the link between workers and control: a length, and msgpack.

A 4-byte big-endian length and that many bytes: one of the structs below, told apart by
its tag.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final, TypeVar

import msgspec

from extproc.exchange.completion import Completion
from extproc.exchange.content import Content
from extproc.routing.state import LiveBench, LiveDeployment
from extproc.runtime import Snapshot
from extproc.server.grants import GrantsPart
from extproc.server.pulse import Beat, BeatKept
from extproc.state.base import Balance

MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
"""More than any message has; a longer length is a stray client's bytes read as a number
(``GET `` would be 1.2 GB)."""


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """A worker's first frame."""

    pid: int
    name: str
    id: str = ""
    """No other worker's, on any node; by it the others are told of this one, and every
    ``gw.id`` of its has it: ``gw-<id>-…``."""


class Applied(msgspec.Struct, frozen=True, tag="applied"):
    """The worker serves new requests from this generation on."""

    generation: int


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The worker cannot use a snapshot, and serves on with what it had."""

    generation: int
    reason: str


class Records(msgspec.Struct, frozen=True, tag="records"):
    """Completions in order, the first of them the worker's ``first_sequence``-th."""

    first_sequence: int
    completions: tuple[Completion, ...]
    lost: int = 0
    """How many this worker has dropped since it started."""
    contents: tuple[Content, ...] = ()
    """What was said in some of them, where that is kept."""
    inherited: int = 0
    """How many, the first of them, are of workers that have died."""


class RawRecords(msgspec.Struct, frozen=True, tag="records"):
    """`Records` as a worker writes it: each completion was encoded when it was made."""

    first_sequence: int
    completions: tuple[msgspec.Raw, ...]
    lost: int
    contents: tuple[msgspec.Raw, ...] = ()
    inherited: int = 0


class Live(msgspec.Struct, frozen=True, tag="live"):
    """How a worker's deployments do now; what it does not name is idle and well."""

    deployments: tuple[LiveDeployment, ...] = ()
    benches: tuple[LiveBench, ...] = ()
    open: int = 0
    """Requests that it serves."""
    retries_left: float = 0.0
    """Fruitless retries before its chains are cut short."""
    held: dict[str, int] = {}
    """What its requests reserve of budgets (nano-dollars by meter), where no store has
    it."""


class Others(msgspec.Struct, frozen=True, tag="others"):
    """What another worker has said in `Live`, passed on; empty when it is gone."""

    peer: str
    live: Live = Live()


class SnapshotMessage(msgspec.Struct, frozen=True, tag="snapshot"):
    """The configuration to serve from now on, with the grants that came before it."""

    snapshot: Snapshot


class Balances(msgspec.Struct, frozen=True, tag="balances"):
    """What has been charged to each budget, by meter; before the first snapshot."""

    balances: dict[str, Balance]


class Broke(msgspec.Struct, frozen=True, tag="broke"):
    """Answers that a provider broke off, whose clients the worker took to have left."""

    deployments: tuple[str, ...]
    """One for each answer."""


class RecordsKept(msgspec.Struct, frozen=True, tag="kept"):
    """Control has the records before this sequence: the worker may forget them."""

    up_to: int


M = TypeVar("M")
FromWorker = Hello | Applied | Refused | Records | Live | Beat
FromControl = (
    GrantsPart | SnapshotMessage | RecordsKept | Others | Balances | Broke | BeatKept
)

encoder = msgspec.msgpack.Encoder()
_from_worker: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)
_from_control: msgspec.msgpack.Decoder[FromControl] = msgspec.msgpack.Decoder(
    FromControl
)


def from_worker(body: bytes) -> FromWorker:
    """Read what a worker says.

    Raises:
        msgspec.DecodeError: it is none of that.
    """
    return _read(_from_worker, body)


def from_control(body: bytes) -> FromControl:
    """Read what control says.

    Raises:
        msgspec.DecodeError: it is none of that.
    """
    return _read(_from_control, body)


def _read(decoder: msgspec.msgpack.Decoder[M], body: bytes) -> M:
    try:
        return decoder.decode(body)
    except (UnicodeDecodeError, RecursionError) as exc:
        raise msgspec.DecodeError(str(exc)) from exc


def frame(message: FromWorker | FromControl | RawRecords) -> bytes:
    """Encode one message with its length.

    Raises:
        ValueError: the message is longer than any peer accepts.
    """
    body = encoder.encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"{type(message).__name__} of {len(body)} bytes is too long")
    return len(body).to_bytes(4, "big") + body


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Return the next frame's body.

    Raises:
        asyncio.IncompleteReadError: the peer closed.
        msgspec.DecodeError: the length is beyond `MAX_FRAME_BYTES`.
    """
    length = int.from_bytes(await reader.readexactly(4), "big")
    if length > MAX_FRAME_BYTES:
        raise msgspec.DecodeError(f"a frame of {length} bytes is too long")
    return await reader.readexactly(length)


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close it, and wait until it is; that the peer is gone already is no error."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
