"""The codec against the generated classes: what we write, they read, and the reverse."""

from __future__ import annotations

import msgspec
import pytest
from google.protobuf import json_format, struct_pb2
from hypothesis import given, strategies as st

from extproc._pb import core_pb2
from extproc._pb.ext_proc_pb2 import ProcessingRequest, ProcessingResponse
from extproc.exchange import events
from extproc.exchange.commands import (
    AnswerBody,
    AnswerHeaders,
    AnswerTrailers,
    Attempt,
    Complete,
    Leave,
    Respond,
    Route,
)
from extproc.exchange.completion import Completion
from extproc.server.codec import decode, encode, write_piece
from extproc.target import Heading

OVERWRITE = core_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD


def only(*commands):
    """Encode one command to one message and let protobuf read it."""
    (message,) = encode(commands)
    return ProcessingResponse.FromString(message)


def mutation(headers):
    """Return what a ``HeaderMutation`` sets and deletes."""
    for option in headers.set_headers:
        assert option.append_action == OVERWRITE
    return (
        {o.header.key: o.header.raw_value.decode() for o in headers.set_headers},
        list(headers.remove_headers),
    )


def attempt(n, body=b"{}"):
    return Attempt(
        cluster=f"c{n}",
        heading=Heading(
            path=f"/v{n}",
            authority=f"h{n}.example",
            set_headers=(("a", "1"), ("b", f"é{n}")),
            delete_headers=("x", "y"),
        ),
        body=body,
    )


@pytest.mark.parametrize("size", [0, 1, 127, 128, 20_000, 3_000_000])
@pytest.mark.parametrize("length", [1, 4])
def test_a_route_is_a_headers_reply_with_the_chain_and_a_placeholder_body(size, length):
    body = ("ü" * (size // 2)).encode()
    chain = tuple(attempt(n, body) for n in range(1, length + 1))
    headers, placeholder = (
        ProcessingResponse.FromString(m)
        for m in encode([Route("id-1", chain, slip="[1]")])
    )

    common = headers.request_headers.response
    assert common.clear_route_cache
    assert mutation(common.header_mutation) == (
        {"x-envoy-max-retries": str(length - 1)},
        [],
    )
    metadata = json_format.MessageToDict(headers.dynamic_metadata)
    assert metadata == {
        "gw": {"id": "id-1", "slip": "[1]"},
        "gw.pg": {
            "priority_groups": [
                {
                    "name": str(n),
                    "clusters": [{"cluster_name": f"c{n}", "weight": 1.0}],
                }
                for n in range(1, length + 1)
            ]
        },
        **{
            f"gw.t{n}": {
                "path": f"/v{n}",
                "host": f"h{n}.example",
                "set": {"a": "1", "b": f"é{n}"},
                "del": ["x", "y"],
                "body": body.decode(),
            }
            for n in range(1, length + 1)
        },
    }
    streamed = placeholder.request_body.response.body_mutation.streamed_response
    assert (streamed.body, streamed.end_of_stream) == (b"{}", True)


@pytest.mark.parametrize("size", [0, 1, 120, 5000])
def test_a_route_says_what_the_client_is_told_of_its_limits(size):
    limits = {"x-ratelimit-limit-requests": "60", "x-é": "é" * size, "z": ""}
    route = Route("id-1", (attempt(1),), limits=tuple(limits.items()))
    headers = ProcessingResponse.FromString(encode([route])[0])
    metadata = json_format.MessageToDict(headers.dynamic_metadata)
    assert metadata["gw.rl"] == limits
    assert metadata["gw"] == {"id": "id-1", "slip": ""}


@given(data=st.binary(max_size=70_000), end=st.booleans())
def test_an_answer_body_carries_its_bytes_and_its_end(data, end):
    message = only(AnswerBody(data, end=end))
    streamed = message.response_body.response.body_mutation.streamed_response
    assert (streamed.body, streamed.end_of_stream) == (data, end)


def test_answer_headers_set_the_status_and_mutate():
    message = only(
        AnswerHeaders(502, (("content-type", "application/json"),), ("etag",))
    )
    assert mutation(message.response_headers.response.header_mutation) == (
        {":status": "502", "content-type": "application/json"},
        ["etag"],
    )


def test_answer_headers_may_change_nothing():
    message = only(AnswerHeaders())
    assert message.WhichOneof("response") == "response_headers"
    assert mutation(message.response_headers.response.header_mutation) == ({}, [])


def test_a_local_reply_has_status_headers_body_and_details():
    message = only(Respond(401, b'{"error":1}', (("retry-after", "1"),), "gw_x"))
    reply = message.immediate_response
    assert (reply.status.code, reply.body, reply.details) == (
        401,
        b'{"error":1}',
        "gw_x",
    )
    assert mutation(reply.headers) == ({"retry-after": "1"}, [])


def test_answer_trailers_pass_and_the_edges_own_commands_are_not_sent():
    assert only(AnswerTrailers()).WhichOneof("response") == "response_trailers"
    completion = Completion(
        id="1", operation="chat", started=0, duration=0, outcome="ok", status=200
    )
    assert encode([Leave(), Complete(completion)]) == []


def header_map(**headers):
    return core_pb2.HeaderMap(
        headers=[
            core_pb2.HeaderValue(key=k.replace("__", ":"), raw_value=v)
            for k, v in headers.items()
        ]
    )


@pytest.mark.parametrize("size", [0, 1, 127, 128, 5000])
def test_a_piece_is_written_as_any_body_of_an_answer(size):
    assert encode([AnswerBody(bytes(size), end=False)]) == [write_piece(bytes(size))]


def test_request_headers_keep_bytes_that_are_not_utf8():
    request = ProcessingRequest()
    request.request_headers.headers.CopyFrom(header_map(__path=b"/v1", odd=b"a\xffb"))
    request.request_headers.end_of_stream = True
    event = decode(request.SerializeToString())
    assert event == events.RequestHeaders({":path": "/v1", "odd": "a\udcffb"}, end=True)


@pytest.mark.parametrize("end", [False, True])
def test_bodies_and_trailers_come_as_events(end):
    request = ProcessingRequest()
    request.request_body.body = b"abc"
    request.request_body.end_of_stream = end
    assert decode(request.SerializeToString()) == events.RequestBody(b"abc", end)
    request = ProcessingRequest()
    request.response_body.body = b"abc"
    request.response_body.end_of_stream = end
    assert decode(request.SerializeToString()) == events.ResponseBody(b"abc", end)
    request = ProcessingRequest()
    request.request_trailers.trailers.SetInParent()
    assert decode(request.SerializeToString()) == events.RequestTrailers()
    request = ProcessingRequest()
    request.response_trailers.trailers.SetInParent()
    assert decode(request.SerializeToString()) == events.ResponseTrailers()


def test_response_headers_say_who_answered_and_what_failed_before():
    request = ProcessingRequest()
    request.response_headers.headers.CopyFrom(header_map(__status=b"200", a=b"b"))
    attributes = struct_pb2.Struct()
    attributes.update(
        {
            "upstream.request_attempt_count": 3,
            "response.code_details": "via_upstream",
        }
    )
    request.attributes["envoy.filters.http.ext_proc"].CopyFrom(attributes)
    noted = struct_pb2.Struct()
    noted.update({"n": "3", "t1": 1500, "a2": "429 17", "t3": 2750})
    request.metadata_context.filter_metadata["gw.att"].CopyFrom(noted)

    assert decode(request.SerializeToString()) == events.ResponseHeaders(
        status=200,
        headers={":status": "200", "a": "b"},
        end=False,
        details="via_upstream",
        attempts=3,
        failed=(
            events.FailedAttempt(1, 0, None),  # refused: it leaves no note
            events.FailedAttempt(2, 429, "17"),
        ),
        attempts_at=(1.5, 0.0, 2.75),
    )


def test_a_message_without_a_request_is_no_event():
    with pytest.raises(ValueError, match="without a request"):
        decode(b"")


def test_a_route_says_how_long_an_attempt_may_take_and_its_letters():
    flagged = msgspec.structs.replace(attempt(1), flags="kx")
    headers, _ = (
        ProcessingResponse.FromString(message)
        for message in encode([Route("gw-1", (flagged, attempt(2)), first_byte=1.5)])
    )
    sets, _ = mutation(headers.request_headers.response.header_mutation)
    assert sets["x-envoy-max-retries"] == "1"
    assert sets["x-envoy-upstream-rq-per-try-timeout-ms"] == "1500"
    metadata = json_format.MessageToDict(headers.dynamic_metadata)
    assert metadata["gw.t1"]["flags"] == "kx"
    assert "flags" not in metadata["gw.t2"]
