"""What is read of a message at a glance is what protobuf reads of it."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, strategies as st

from extproc._pb.ext_proc_pb2 import ProcessingRequest
from extproc.exchange import events
from extproc.server.codec import decode
from extproc.server.pieces import read_piece

PIECES: dict[str, type[events.RequestBody | events.ResponseBody]] = {
    "request_body": events.RequestBody,
    "response_body": events.ResponseBody,
}


def piece_of(kind, data, *, end=False, noted=None):
    request = ProcessingRequest()
    body = getattr(request, kind)
    body.body = data
    body.end_of_stream = end
    if noted == "":
        request.metadata_context.SetInParent()
    elif noted is not None:
        metadata = request.metadata_context.filter_metadata["gw.att"]
        metadata.fields["n"].string_value = noted
    return request.SerializeToString()


@pytest.mark.parametrize("size", [1, 2, 119, 125, 126, 127, 128, 129, 300, 16_000])
@pytest.mark.parametrize("noted", [None, "", "1", "x" * 100, "x" * 105, "x" * 300])
@pytest.mark.parametrize("kind", PIECES)
def test_a_piece_of_a_body_is_read_without_protobuf(kind, size, noted):
    data = (bytes(range(256)) * 64)[:size]
    message = piece_of(kind, data, noted=noted)
    tiny = len(message) < 8  # Envoy notes something with each
    assert read_piece(message, PIECES[kind]) == (None if tiny else data)
    last = piece_of(kind, data, end=True, noted=noted)
    assert read_piece(last, PIECES[kind]) is None
    (other,) = {*PIECES.values()} - {PIECES[kind]}
    assert read_piece(message, other) is None


@given(
    st.sampled_from(sorted(PIECES)),
    st.binary(max_size=300),
    st.none() | st.integers(0, 200).map("x".__mul__),
    st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=3),
    st.integers(0, 20),
)
def test_what_is_read_at_a_glance_is_what_protobuf_reads(
    kind, data, noted, changes, cut
):
    message = bytearray(piece_of(kind, data, noted=noted))
    for position, value in changes:
        if position < len(message):
            message[position] = value
    del message[len(message) - cut :]
    piece = read_piece(bytes(message), PIECES[kind])
    if piece is not None:
        try:
            event = decode(bytes(message))
        except DecodeError:  # in the metadata, which nobody reads
            return
        assert event == PIECES[kind](piece, end=False)
