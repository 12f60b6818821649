"""Content codings: any split, any truncation, any bomb."""

from __future__ import annotations

import gzip
import random
import zlib

import brotli
import pytest
import zstandard

from extproc.errors import BadRequest, BodyTooLarge, UnsupportedMediaType
from extproc.framing.encoding import ENGINES, ContentDecoder

COMPRESS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
}
LIMIT = 1 << 20
NOISE = random.Random(1)
PLAIN = NOISE.randbytes(5000) + b"a" * 600_000 + b'{"json": "at the end"}'


def test_every_coding_is_tested():
    assert set(COMPRESS) == set(ENGINES)


@pytest.mark.parametrize("coding", COMPRESS)
@pytest.mark.parametrize("step", [1, 7, 4096, 1 << 20])
def test_a_body_comes_out_whole_however_it_is_split(coding, step):
    squeezed = COMPRESS[coding](PLAIN)
    decoder = ContentDecoder(f" {coding.upper()}", limit=LIMIT)
    pieces = [
        decoder.feed(squeezed[i : i + step]) for i in range(0, len(squeezed), step)
    ]
    decoder.close()
    assert b"".join(pieces) == PLAIN


@pytest.mark.parametrize("coding", COMPRESS)
def test_any_truncation_is_noticed(coding):
    squeezed = COMPRESS[coding](b"a few words, not many" * 3)
    for end in range(len(squeezed)):
        decoder = ContentDecoder(coding, limit=LIMIT)
        decoder.feed(squeezed[:end])
        with pytest.raises(BadRequest, match="ends too early"):
            decoder.close()


@pytest.mark.parametrize("coding", COMPRESS)
def test_a_bomb_is_stopped_at_the_limit(coding):
    bomb = COMPRESS[coding](b"\0" * (LIMIT + 1))
    with pytest.raises(BodyTooLarge):
        ContentDecoder(coding, limit=LIMIT).feed(bomb)
    exact = COMPRESS[coding](b"\0" * LIMIT)
    assert len(ContentDecoder(coding, limit=LIMIT).feed(exact)) == LIMIT


@pytest.mark.parametrize("coding", COMPRESS)
def test_what_has_no_end_may_grow_so_much_and_no_more(coding):
    squeezed = COMPRESS[coding](b"\0" * LIMIT)
    short = LIMIT - 100
    grown = ContentDecoder(coding, limit=short, growth=1 + 100 // len(squeezed))
    assert len(b"".join(grown.feed(bytes((byte,))) for byte in squeezed)) == LIMIT
    with pytest.raises(BodyTooLarge):
        ContentDecoder(coding, limit=short).feed(squeezed)


@pytest.mark.parametrize("coding", COMPRESS)
def test_other_bytes_are_refused(coding):
    decoder = ContentDecoder(coding, limit=LIMIT)
    with pytest.raises(BadRequest, match="is not valid"):
        decoder.feed(b"this is not compressed at all, is it?" * 50)


@pytest.mark.parametrize("coding", COMPRESS)
def test_what_follows_the_end_is_refused(coding):
    decoder = ContentDecoder(coding, limit=LIMIT)
    decoder.feed(COMPRESS[coding](b"{}"))
    with pytest.raises(BadRequest, match="follows the end"):
        decoder.feed(b"{}")


@pytest.mark.parametrize("coding", ["compress", "gzip, br", "", "aes128gcm"])
def test_an_unknown_coding_is_refused_by_name(coding):
    with pytest.raises(UnsupportedMediaType) as caught:
        ContentDecoder(coding, limit=LIMIT)
    assert repr(coding) in caught.value.message
