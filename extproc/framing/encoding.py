"""Content codings: gzip, zstd and br, decoded as the bytes come.

Requests are decoded here because Envoy's decompressor corrupts bodies in front of a
full-duplex ext_proc; answers because a provider may compress what it was asked not to.
https://www.rfc-editor.org/rfc/rfc9110.html#section-8.4
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

import brotli
import zstandard

from extproc.errors import BadRequest, BodyTooLarge, UnsupportedMediaType

_STEP = 256 * 1024
"""How much is decompressed at a time, so that a small bomb is found before it is large."""


class _Engine(Protocol):
    """One compression library, made to look like the others."""

    def step(self, data: bytes) -> bytes:
        """Return some of what `data`, and what came before, decompresses to."""

    @property
    def waiting(self) -> bool:
        """More can be had without more data."""

    @property
    def finished(self) -> bool:
        """The compressed stream came to its own end."""

    @property
    def followed(self) -> bool:
        """Something stood behind that end in what it was given."""


class _Zlib:
    def __init__(self, window: int) -> None:
        self._inflate = zlib.decompressobj(window)

    def step(self, data: bytes) -> bytes:
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, _STEP)

    @property
    def waiting(self) -> bool:
        return bool(self._inflate.unconsumed_tail)

    @property
    def finished(self) -> bool:
        return self._inflate.eof

    @property
    def followed(self) -> bool:
        return bool(self._inflate.unused_data)


class _Brotli:
    def __init__(self) -> None:
        self._brotli = brotli.Decompressor()
        self._more = False

    def step(self, data: bytes) -> bytes:
        out: bytes = self._brotli.process(data, output_buffer_limit=_STEP)
        # `can_accept_more_data` is true while output is still held back by the limit.
        self._more = bool(out)
        return out

    @property
    def waiting(self) -> bool:
        return self._more and not self._brotli.is_finished()

    @property
    def finished(self) -> bool:
        return bool(self._brotli.is_finished())

    @property
    def followed(self) -> bool:
        return False  # an error of the library's own


class _Zstd:
    # The library's incremental decoder has no limit of its own on what one call gives
    # out: a frame may hold 128 KiB a block, so we feed it little at a time.
    _SLICE = 1024

    def __init__(self) -> None:
        self._zstd = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        self._rest = b""

    def step(self, data: bytes) -> bytes:
        rest = self._rest + data
        out = []
        size = 0
        position = 0
        while position < len(rest) and size < _STEP and not self._zstd.eof:
            piece = self._zstd.decompress(rest[position : position + self._SLICE])
            position += self._SLICE
            size += len(piece)
            out.append(piece)
        self._rest = rest[position:]
        return b"".join(out)

    @property
    def waiting(self) -> bool:
        return bool(self._rest) and not self._zstd.eof

    @property
    def finished(self) -> bool:
        return bool(self._zstd.eof)

    @property
    def followed(self) -> bool:
        return self.finished and bool(self._rest or self._zstd.unused_data)


ENGINES: dict[str, Callable[[], _Engine]] = {
    "gzip": lambda: _Zlib(31),
    "x-gzip": lambda: _Zlib(31),
    "deflate": lambda: _Zlib(15),
    "br": _Brotli,
    "zstd": _Zstd,
}


class ContentDecoder:
    """Undo one content coding, up to a limit of what comes out."""

    __slots__ = ("_coding", "_engine", "_growth", "_left")

    def __init__(self, coding: str, *, limit: int, growth: int = 0) -> None:
        """Begin; `coding` is a value of ``content-encoding``, `limit` is in bytes.

        Each byte that comes in allows for `growth` more.

        Raises:
            UnsupportedMediaType: a coding that we do not know, or several.
        """
        make = ENGINES.get(coding.strip().lower())
        if make is None:
            raise UnsupportedMediaType(
                f"The content-encoding {coding!r} is not supported; "
                "send gzip, br, zstd or none.",
                code="unsupported_content_encoding",
            )
        self._engine = make()
        self._coding = coding.strip().lower()
        self._left = limit
        self._growth = growth

    def feed(self, data: bytes) -> bytes:
        """Return what `data` decompresses to.

        Raises:
            BadRequest: not of this coding, or something follows its end.
            BodyTooLarge: more than the limit came out.
        """
        out = []
        self._left += self._growth * len(data)
        try:
            while not self._engine.finished:
                piece = self._engine.step(data)
                data = b""
                self._left -= len(piece)
                if self._left < 0:
                    raise BodyTooLarge("The body decompresses to more than the limit.")
                out.append(piece)
                if not self._engine.waiting:
                    break
            # Also another member or frame: what it says would be lost in silence.
            if self._engine.finished and (data or self._engine.followed):
                raise BadRequest(
                    f"Something follows the end of the {self._coding} body.",
                    code="invalid_encoding",
                )
        except (zlib.error, brotli.error, zstandard.ZstdError):
            raise BadRequest(
                f"The body is not valid {self._coding}.", code="invalid_encoding"
            ) from None
        return b"".join(out)

    def close(self) -> None:
        """Say that no more comes.

        Raises:
            BadRequest: the compressed data ends too early.
        """
        if not self._engine.finished:
            raise BadRequest(
                f"The {self._coding} body ends too early.", code="invalid_encoding"
            )
