"""What OpenAI's further endpoints say of their cost, and how little of them is held."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from extproc.errors import UpstreamError
from extproc.formats import openai_endpoints
from extproc.formats.base import Unsupported
from extproc.formats.openai_endpoints import TAIL_BYTES, TailPassage
from extproc.usage import Usage

IMAGE = {
    "type": "image_generation.completed",
    "b64_json": "A" * 100_000,
    "usage": {
        "total_tokens": 100,
        "input_tokens": 50,
        "output_tokens": 50,
        "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
    },
}


@pytest.mark.parametrize(
    ("said", "usage"),
    [
        ({"usage": {"input_tokens": 3, "output_tokens": 4}}, Usage(3, 4)),
        ({"usage": {"prompt_tokens": 3, "total_tokens": 3}}, Usage(3)),
        ({"usage": {"prompt_tokens": 3, "completion_tokens": 4}}, Usage(3, 4)),
        ({"usage": {"type": "duration", "seconds": 12}}, Usage(audio_seconds=12)),
        ({"usage": {"type": "duration", "seconds": 1.2}}, Usage(audio_seconds=2)),
        ({"usage": {}}, None),
        ({"usage": None}, None),
        ({"usage": 5}, None),
        ({"data": []}, None),
    ],
)
def test_each_spelling_of_usage_is_read(said, usage):
    seen = openai_endpoints.overview(json.dumps({"model": "m", **said}).encode())
    assert (seen.model, seen.usage) == ("m", usage)


def test_what_cannot_be_read_says_nothing():
    assert openai_endpoints.overview(b"\xff\xfb").usage is None
    assert openai_endpoints.overview(b"Hello there").usage is None


@given(st.data())
def test_a_stream_passes_byte_for_byte_and_its_end_is_counted(data):
    stream = b"".join(
        b"data: " + json.dumps(event).encode() + b"\n\n"
        for event in ({"type": "image_generation.partial_image"}, IMAGE)
    )
    points = data.draw(st.lists(st.integers(0, len(stream)), max_size=5))
    passage, out = TailPassage(), b""
    edges = [0, *sorted(points), len(stream)]
    for start, end in zip(edges, edges[1:], strict=False):  # noqa: RUF007
        out += passage.feed(stream[start:end])
        assert len(passage._tail) <= TAIL_BYTES
    assert out + passage.close() == stream
    assert passage.usage == Usage(50, 50)


def test_a_stream_without_usage_is_not_counted():
    passage = TailPassage()
    passage.feed(b'data: {"type":"transcript.text.done","text":"x"}\n\n')
    assert passage.usage is None


def test_an_error_ends_a_stream_as_openai_ends_it():
    event = openai_endpoints.write_error_event(UpstreamError("gone"))
    assert event.startswith(b'data: {"error":{"message":"gone"')
    assert event.endswith(b"\n\n")


def test_nothing_is_translated():
    for endpoint in openai_endpoints.WITH_A_MODEL:
        with pytest.raises(Unsupported):
            endpoint.client.read_request(b"{}", {})
        with pytest.raises(Unsupported):
            endpoint.provider.write_request(None, "m", 1)
        assert endpoint.client.name == endpoint.provider.name
