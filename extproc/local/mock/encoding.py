"""Compressing answers: gzip, br and zstd, each able to flush after an event."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final, Protocol

import brotli
import zstandard


class Encoder(Protocol):
    """One body's compressor."""

    def event(self, chunk: bytes) -> bytes:
        """Compress a chunk so that the client can read all of it now."""
        ...

    def end(self) -> bytes:
        """Return the last bytes."""
        ...


class Gzip:
    """`content-encoding: gzip`."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(6, zlib.DEFLATED, 31)

    def event(self, chunk: bytes) -> bytes:
        """Compress and sync."""
        start = self._compressor.compress(chunk)
        return start + self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        """Write the trailer."""
        return self._compressor.flush(zlib.Z_FINISH)


class Brotli:
    """`content-encoding: br`."""

    def __init__(self) -> None:
        self._compressor = brotli.Compressor(quality=4)

    def event(self, chunk: bytes) -> bytes:
        """Compress and flush."""
        start: bytes = self._compressor.process(chunk)
        return start + bytes(self._compressor.flush())

    def end(self) -> bytes:
        """Finish the stream."""
        return bytes(self._compressor.finish())


class Zstd:
    """`content-encoding: zstd`."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor().compressobj()

    def event(self, chunk: bytes) -> bytes:
        """Compress and end the block."""
        start = self._compressor.compress(chunk)
        return start + self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def end(self) -> bytes:
        """End the frame."""
        return self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH)


ENCODERS: Final[dict[str, Callable[[], Encoder]]] = {
    "gzip": Gzip,
    "br": Brotli,
    "zstd": Zstd,
}


def chosen(accept_encoding: str | None) -> str | None:
    """Return the coding that the client likes best of ours; None: identity.

    Equal weights go to the one named first.
    """
    best, best_weight = None, 0.0
    for item in (accept_encoding or "").lower().split(","):
        name, _, parameter = item.partition(";")
        weight = _weight(parameter)
        name = name.strip()
        if name in (*ENCODERS, "identity") and weight > best_weight:
            best, best_weight = name, weight
    return None if best == "identity" else best


def _weight(parameter: str) -> float:
    key, _, value = parameter.strip().partition("=")
    if key != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
