"""Inputs that once came through, by target."""

from __future__ import annotations

import gzip

import zstandard

from extproc._pb.ext_proc_pb2 import ProcessingRequest
from extproc.framing.websocket import text_frame
from extproc.server.heads import ATTRIBUTES

DEEP = b"[" * 2000 + b"]" * 2000


def _attempts(count: float) -> bytes:
    message = ProcessingRequest()
    message.response_headers.end_of_stream = True
    message.attributes[ATTRIBUTES].update({"upstream.request_attempt_count": count})
    return message.SerializeToString()


def _tool(schema: bytes) -> bytes:
    closed = b'{"additionalProperties":false,' + schema[1:]
    return (
        b'{"model":"a","input":"a","tools":[{"type":"function","name":"f","strict":true,'
        b'"parameters":' + closed + b"}]}"
    )


FOUND: tuple[tuple[str, bytes], ...] = (
    # What follows the end of a coding was lost where it came in the same bytes.
    ("gzip", gzip.compress(b"{}", mtime=0) + b"more"),
    ("gzip", gzip.compress(b"{}", mtime=0) * 2),
    ("zstd", zstandard.compress(b"{}") * 2),
    # Lists in lists, of a provider.
    ("answer openai_chat", b'{"id":' + DEEP + b"}"),
    ("answer openai_responses", b'{"output":' + DEEP + b"}"),
    ("answer cohere", b'{"id":' + DEEP + b"}"),
    ("answer other", b'{"data":' + DEEP + b"}"),
    ("stream anthropic", b'data: {"type":"message_start","message":' + DEEP + b"}\n\n"),
    # An event of a realtime session that names what it is, and then is not UTF-8.
    ("websocket", text_frame(b'{"type":"\xee","not":"response.done"}')),
    # A schema whose properties, or what is required of them, are none.
    ("request openai_responses", _tool(b'{"type":"object","properties":0.5}')),
    ("request openai_responses", _tool(b'{"type":"object","required":true}')),
    ("request openai_responses", _tool(b'{"type":"object","required":[[]]}')),
    # What is not UTF-8 within what is read only later.
    ("answer openai_chat", b'{"error":"\xff"}'),
    ("answer openai_responses", b'{"error":"\xff"}'),
    ("answer openai_responses", b'{"output":[{"type":"message","id":"\xff"}]}'),
    ("answer openai_responses", b'{"error":{"message":1e999}}'),
    (
        "stream openai_responses",
        b'data: {"type":"response.output_item.done","item":{"type":"\xff"}}\n\n',
    ),
    ("link", b"\x82\xa4type\xa5hello\xa4name\xa2\xff\xff"),
    # A number of attempts that is none.
    *(("ext_proc", _attempts(count)) for count in (1e18, -1.0, 1e308, 2.5)),
    # A zone of three hundred digits in a provider's retry-after.
    ("times to wait", b"Fri, 15 Jan 2027 08:00:00 -0000" + b"9" * 300),
    # Lists in lists, of a token and of an operator.
    ("claims", b'{"iss":"https://idp.example/","sub":' + DEEP + b"}"),
    *(
        ("admin api", b'{"tags":' + said + b"}" + b" " * number)
        # Spaces choose the endpoint.
        for said in (DEEP, b'"\xff"')
        for number in range(4)
    ),
    *(
        ("admin api", said + b" " * number)
        for said in (
            b'{"keys":[1],"teams":0.5}',
            b'{"max_budget":1,"budget_duration":[]}',
            b'[{"create":{"id":[]}}]',
            b'{"keys":[{"id":"a","sha256":"%s"},{"id":"b","sha256":"%s"}]}'
            % (b"0" * 64, b"0" * 64),
        )
        for number in range(40)
    ),
    # A form without a content-type.
    (
        "headers",
        b":method: POST\n:path: /v1/audio/transcriptions\nx-api-key: sk-cases",
    ),
)
