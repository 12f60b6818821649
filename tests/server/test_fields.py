"""Fields that we write are those that protobuf writes."""

from __future__ import annotations

import pytest

from extproc._pb.ext_proc_pb2 import ProcessingRequest, ProcessingResponse
from extproc.server.fields import Nest, around, field, flag, level, varint

SIZES = [0, 1, 110, 119, 125, 127, 128, 300, 4000, 4096, 16_383, 16_384, 70_000]


@pytest.mark.parametrize("size", SIZES)
def test_fields_and_flags_are_protobufs(size):
    message = ProcessingRequest()
    message.request_body.body = bytes(size)
    message.request_body.end_of_stream = True
    body = field(1, bytes(size)) if size else b""
    assert field(4, body, flag(2)) == message.SerializeToString()


@pytest.mark.parametrize("size", SIZES)
def test_heads_around_a_content_are_protobufs(size):
    message = ProcessingResponse()
    streamed = message.response_body.response.body_mutation.streamed_response
    streamed.body = bytes(size)
    before = b"\x0a" + varint(size)
    levels = level(b"\x1a", before), level(b"\x1a"), level(b"\x0a"), level(b"\x22")
    head = around(size, levels)
    assert Nest(levels).around(size) == head
    written = head + bytes(size)
    assert ProcessingResponse.FromString(written) == message
    if size:
        assert written == message.SerializeToString()
