"""The short way that readers have for the pieces of open parts leads where the long one does."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterable, Iterator

import pytest

from extproc import canonical as c
from extproc.errors import GatewayError
from extproc.formats.base import TableStream
from extproc.framing.sse import Frame
from tests.casebook import PROVIDER_FORMATS, cases
from tests.fuzz.shapes import change_json
from tests.streams import stream_of

VARIANTS = 20
"""Of each recorded stream."""


def readers(provider: str) -> tuple[TableStream[object], TableStream[object]]:
    """Return a reader, and one that takes every frame the long way."""
    short = PROVIDER_FORMATS[provider].format.stream_reader()
    assert isinstance(short, TableStream)
    long = type("Long", (type(short),), {"take": TableStream.take})()
    return short, long


def frames(provider: str, pieces: Iterable[bytes]) -> list[Frame]:
    decoder = PROVIDER_FORMATS[provider].framing.decoder()
    return [frame for piece in pieces for frame in decoder.feed(piece)]


def recorded(provider: str) -> Iterator[list[Frame]]:
    """Yield the streams of the cases, and one of each kind of piece."""
    for case in cases():
        stream = case.upstreams(provider).get("stream")
        if stream is not None:
            yield frames(provider, stream.pieces)
    for arguments in (False, provider != "gemini"):
        yield frames(
            provider, stream_of(provider, "é\n", arguments=arguments).pieces(3)
        )


def read(reader: TableStream[object], stream: Iterable[Frame]) -> list[object]:
    """Return what comes of a stream: its events, and the error that ends them."""
    seen: list[object] = []
    try:
        for frame in stream:
            seen += reader.feed(frame)
        seen += reader.close()
    except GatewayError as error:
        seen.append((type(error), str(error)))
    return [
        (type(one.error), str(one.error)) if isinstance(one, c.Failed) else one
        for one in seen
    ]


def changed(stream: list[Frame], chance: random.Random) -> list[Frame]:
    """Return the stream with something else in one of its frames."""
    at = chance.randrange(len(stream))
    try:
        said = json.loads(stream[at].data)
    except ValueError:
        return stream
    try:
        data = json.dumps(change_json(change_json(said, chance), chance)).encode()
    except TypeError:
        return stream  # raw bytes, for which JSON has no word
    return [*stream[:at], Frame(stream[at].name, data), *stream[at + 1 :]]


@pytest.mark.parametrize("provider", PROVIDER_FORMATS)
def test_both_ways_lead_to_the_same_events(provider):
    pieces = 0
    for stream in recorded(provider):
        short, long = readers(provider)
        assert read(short, stream) == read(long, stream)
        short, _ = readers(provider)
        pieces += sum(isinstance(took(short, one), c.Delta) for one in stream)
    assert pieces >= 9


def took(reader: TableStream[object], frame: Frame) -> object:
    try:
        return reader.take(frame)
    except GatewayError as error:
        return error


@pytest.mark.parametrize("provider", PROVIDER_FORMATS)
def test_both_ways_lead_to_the_same_events_of_frames_that_nobody_has_sent(provider):
    chance = random.Random(provider)
    streams = list(recorded(provider))
    for stream, _ in itertools.product(streams, range(VARIANTS)):
        other = changed(stream, chance)
        short, long = readers(provider)
        assert read(short, other) == read(long, other), other
