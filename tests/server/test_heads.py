"""What is read of headers, and remembered of them, is what protobuf reads of them."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, strategies as st

from extproc._pb.ext_proc_pb2 import ProcessingRequest
from extproc.exchange import events
from extproc.exchange.events import FailedAttempt
from extproc.server import heads
from extproc.server.codec import decode
from extproc.server.fields import field

KNOWN = [
    "content-type",
    "user-agent",
    ":path",
    "authorization",
    "x-request-id",
    "x" * 140,
]
NAMES = st.sampled_from(KNOWN) | st.text("abcxyz-0123456789:", min_size=1, max_size=200)
VALUES = st.binary(max_size=400) | st.sampled_from(
    [b"", b"application/json", b"/v1?key=sk-1", "bücher".encode(), b"\x1a", b"v" * 126]
)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=12)


def told_of(message: bytes) -> Any:
    return decode(message)


def begun(kind, headers, *, end=False, attributes=None, noted=None):
    """Return the message as Envoy writes it."""
    request = ProcessingRequest()
    head = getattr(request, kind)
    head.SetInParent()
    for name, value in headers:
        head.headers.headers.add(key=name, raw_value=value)
    head.end_of_stream = end
    request.metadata_context.SetInParent()
    for name, said in (noted or {}).items():
        fields = request.metadata_context.filter_metadata[heads.ATTEMPTS].fields
        if isinstance(said, str):
            fields[name].string_value = said
        else:
            fields[name].number_value = said
    for name, said in (attributes or {}).items():
        value = request.attributes[heads.ATTRIBUTES].fields[name]
        if isinstance(said, str):
            value.string_value = said
        else:
            value.number_value = said
    return request.SerializeToString()


def told(headers):
    return {name: value.decode("utf-8", "surrogateescape") for name, value in headers}


@given(HEADERS, st.booleans())
def test_headers_are_what_protobuf_reads_the_first_time_and_the_next(headers, end):
    message = begun("request_headers", headers, end=end)
    for _ in range(2):
        assert decode(message) == events.RequestHeaders(told(headers), end)


@given(
    HEADERS,
    st.booleans(),
    st.integers(0, 4),
    st.text(max_size=200),
    st.lists(st.floats(0, 1e13), min_size=4, max_size=4),
    st.lists(st.sampled_from(["", "429 20", "500 ", "x"]), min_size=4, max_size=4),
)
def test_an_answer_is_what_protobuf_reads(headers, end, tried, details, times, failed):
    noted = {
        "n": str(tried),
        **{f"t{n}": at for n, at in enumerate(times[:tried], 1)},
        **{f"a{n}": said for n, said in enumerate(failed[:tried], 1) if said},
    }
    attributes = {
        "response.code_details": details,
        "upstream.request_attempt_count": tried,
    }
    message = begun(
        "response_headers",
        [(":status", b"200"), *headers],
        end=end, attributes=attributes, noted=noted,
    )  # fmt: skip
    # Fields that we do not know stand at the end.
    for behind in (b"", field(11, b"\x08\x04")):
        event = told_of(message + behind)
        assert isinstance(event, events.ResponseHeaders)
        assert event.headers == {":status": "200", **told(headers)}
        assert (event.end, event.attempts, event.details) == (end, tried, details)
        assert event.attempts_at == tuple(at / 1000 for at in times[:tried])
        statuses = [one.status for one in event.failed]
        expected = {"": 0, "429 20": 429, "500 ": 500, "x": 0}
        assert statuses == [expected[said] for said in failed[: max(0, tried - 1)]]
        wait = failed[tried - 1] if tried else ""
        waits = {"": None, "429 20": "20", "500 ": "", "x": ""}
        assert event.retry_after == waits[wait]


def test_an_answer_without_anything_else_says_nothing_of_attempts():
    message = begun("response_headers", [(":status", b"abc")])
    assert decode(message) == events.ResponseHeaders(
        0, {":status": "abc"}, end=False, details="", attempts=0
    )


def test_a_failed_attempt_is_told_with_its_wait():
    message = begun(
        "response_headers",
        [],
        attributes={"upstream.request_attempt_count": 9},
        noted={"a1": "429 7", "t4": 5000},
    )
    event = told_of(message)
    assert event.failed == (
        FailedAttempt(1, 429, "7"), FailedAttempt(2, 0, None), FailedAttempt(3, 0, None),
    )  # fmt: skip
    assert event.attempts_at == (0, 0, 0, 5)


@pytest.mark.parametrize("kind", ["request_body", "response_body"])
@pytest.mark.parametrize("data", [b"", b"x", b"x" * 300])
def test_the_last_of_a_body_says_so(kind, data):
    request = ProcessingRequest()
    getattr(request, kind).body = data
    getattr(request, kind).end_of_stream = True
    request.metadata_context.SetInParent()
    event = told_of(request.SerializeToString())
    assert (event.data, event.end) == (data, True)
    assert type(event).__name__ == kind.title().replace("_", "")


@given(HEADERS, st.data())
def test_what_is_cut_short_is_refused(headers, data):
    message = begun("request_headers", headers, end=True)[:-2]  # without the metadata
    cut = message[: data.draw(st.integers(1, len(message) - 1))]
    with pytest.raises(DecodeError):
        decode(cut)


def test_nothing_is_remembered_of_a_caller_and_of_others_not_too_much(monkeypatch):
    known = heads._KnownHeaders()
    monkeypatch.setattr(heads, "_header", known.__getitem__)
    monkeypatch.setattr(heads, "REMEMBERED", 8)
    secret = [
        ("authorization", b"Bearer sk-secret"),
        ("x-api-key", b"sk-secret"),
        (":path", b"/v1beta/models?key=sk-secret"),
        ("cookie", b"session=sk-secret"),
        ("sec-websocket-protocol", b"openai-insecure-api-key.sk-secret"),
        ("accept", b"x" * 300),
    ]
    decode(begun("request_headers", secret))
    assert not known
    for number in range(100):
        decode(begun("request_headers", [("user-agent", b"program/%d" % number)]))
    assert 0 < len(known) <= 8
