"""Whole answers and errors of Bedrock, as botocore's own parser reads them too."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from botocore.parsers import RestJSONParser

from extproc import canonical as c
from extproc.errors import ProtocolViolation
from extproc.formats import anthropic, openai_chat
from extproc.formats.base import Overview, WriterContext
from extproc.formats.converse import PROVIDER
from extproc.formats.converse.answer import FINISH
from extproc.formats.converse.errors import STATUSES, kind_of
from extproc.usage import Usage

COUNTS = {"inputTokens": 10, "outputTokens": 15, "totalTokens": 25}


def answer(*blocks: Any, reason: str = "end_turn", **more: Any) -> bytes:
    said = {
        "output": {"message": {"role": "assistant", "content": list(blocks)}},
        "stopReason": reason,
        "usage": COUNTS,
        "metrics": {"latencyMs": 5},
        **more,
    }
    return msgspec.json.encode(said)


CITED = {
    "content": [{"text": "a "}, {"text": "fact"}],
    "citations": [{"title": "t", "location": {"web": {"url": "u"}}}],
}
BLOCKS: list[tuple[Any, c.AnswerPart | None]] = [
    ({"text": "one"}, c.Text("one")),
    (
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}},
        c.Reasoning("hm", "c2ln"),
    ),
    ({"reasoningContent": {"reasoningText": {"text": "x"}}}, c.Reasoning("x")),
    ({"reasoningContent": {"redactedContent": "c2Vh"}}, c.Reasoning(encrypted="c2Vh")),
    ({"text": "two"}, c.Text("two")),
    (
        {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "é"}}},
        c.ToolCall("t1", "weather", '{"city":"é"}'),
    ),
    (
        {"toolUse": {"toolUseId": "t2", "name": "clock", "input": {}}},
        c.ToolCall("t2", "clock", "{}"),
    ),
    (
        {
            "toolUse": {
                "toolUseId": "t3", "name": "search", "input": {},
                "type": "server_tool_use",
            }
        },
        None,
    ),
    ({"toolResult": {"toolUseId": "t3", "content": [{"text": "x"}]}}, None),
    ({"image": {"format": "png", "source": {"bytes": "AA=="}}}, None),
    (
        {"citationsContent": CITED},
        c.Text("a fact", citations=(c.Citation("u", "t"),)),
    ),
    ({"citationsContent": {"content": [{"text": "b"}]}}, c.Text("b")),
    ({"reasoningContent": {}}, None),
]  # fmt: skip


def test_every_block_is_kept_in_its_order_or_skipped():
    read = PROVIDER.read_answer(answer(*(block for block, _ in BLOCKS)))
    assert read.choices[0].parts == tuple(part for _, part in BLOCKS if part)
    assert (read.id, read.model, read.created) == ("", "", None)


@pytest.mark.parametrize("reason", FINISH)
def test_every_stop_reason_is_read(reason):
    read = PROVIDER.read_answer(answer({"text": "a"}, reason=reason))
    assert read.choices[0].finish == FINISH[reason]


def test_a_strange_stop_reason_is_a_stop():
    read = PROVIDER.read_answer(answer(reason="tired"))
    assert read.choices == (c.Choice((), "stop"),)


def test_the_stop_sequence_the_tier_and_the_caches_tokens_are_read():
    usage = {**COUNTS, "cacheReadInputTokens": 100, "cacheWriteInputTokens": 20}
    read = PROVIDER.read_answer(
        answer(
            reason="stop_sequence",
            usage=usage,
            serviceTier={"type": "flex"},
            additionalModelResponseFields={"stop_sequence": "X"},
        )
    )
    assert read.choices[0] == c.Choice((), "stop_sequence", "X")
    assert read.usage == Usage(130, 15, 100, 20)
    assert read.service_tier == "flex"


def test_botocore_sees_the_same_answer(service):
    # The last block is one that botocore refuses.
    body = answer(*(block for block, _ in BLOCKS[:-1]))
    response = {"status_code": 200, "headers": {}, "body": body}
    shape = service.operation_model("Converse").output_shape
    parsed = RestJSONParser().parse(response, shape)
    content = parsed["output"]["message"]["content"]
    texts = [block["text"] for block in content if "text" in block]
    read = PROVIDER.read_answer(body).choices[0].parts
    ours = [p.text for p in read if isinstance(p, c.Text) and not p.citations]
    assert ours == [*texts, "b"]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"{}", b"\xff",
        b'{"output":{},"stopReason":"end_turn"}',
        b'{"output":null,"stopReason":"end_turn"}',
        b'{"output":{"message":{"content":[]}}}',
        b'{"output":{"message":{"content":[{"text":5}]}},"stopReason":"end_turn"}',
        b'{"output":{"message":{"content":[]}},"stopReason":"x","y":"\xff"}',
        b'{"output":' + b"[" * 100_000,
    ],
    ids=lambda body: body[:40],
)  # fmt: skip
def test_what_cannot_be_read_is_a_violation(body):
    with pytest.raises(ProtocolViolation):
        PROVIDER.read_answer(body)
    assert PROVIDER.overview(body) == Overview()


def test_an_overview_tells_usage_and_why_it_stopped():
    seen = PROVIDER.overview(answer({"text": "a"}, reason="max_tokens"))
    assert seen == Overview(None, Usage(10, 15), "max_tokens")


@pytest.mark.parametrize("client", [openai_chat.CLIENT, anthropic.CLIENT])
def test_a_client_sees_the_exchanges_id_and_model(client):
    context = WriterContext("exchange-1", 1_700_000_000, "asked-model", False)
    read = PROVIDER.read_answer(answer({"text": "a"}))
    written = msgspec.json.decode(client.write_answer(read, context))
    assert written["model"] == "asked-model"
    assert "exchange-1" in written["id"]


def test_the_same_message_over_anthropic_is_the_same():
    ours = PROVIDER.read_answer(
        answer(*(block for block, _ in BLOCKS[:7]), reason="tool_use")
    )
    theirs = anthropic.PROVIDER.read_answer(
        msgspec.json.encode(
            {
                "id": "", "type": "message", "model": "", "stop_reason": "tool_use",
                "content": [
                    {"type": "text", "text": "one"},
                    {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                    {"type": "thinking", "thinking": "x", "signature": ""},
                    {"type": "redacted_thinking", "data": "c2Vh"},
                    {"type": "text", "text": "two"},
                    {
                        "type": "tool_use", "id": "t1", "name": "weather",
                        "input": {"city": "é"},
                    },
                    {"type": "tool_use", "id": "t2", "name": "clock", "input": {}},
                ],
                "usage": {"input_tokens": 10, "output_tokens": 15},
            }
        )
    )  # fmt: skip
    assert ours.choices == theirs.choices
    assert ours.usage == theirs.usage


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("status", "body", "kept", "kind", "code", "message"),
    [
        (400, b'{"message":"Too long"}', 400, "invalid_request_error", None, "Too long"),
        (404, b'{"Message":"gone"}', 404, "not_found_error", "upstream_not_found", "gone"),
        (408, b'{"message":"slow"}', 504, "timeout_error", "upstream_timeout", "slow"),
        (413, b"{}", 413, "request_too_large", "request_too_large", None),
        (424, b'{"message":"model"}', 502, "api_error", None, "model"),
        (429, b'{"message":"wait"}', 429, "rate_limit_error", "rate_limit_exceeded",
         "wait"),
        (500, b"<html>", 500, "api_error", None, None),
        (503, b'{"message":"busy"}', 503, "overloaded_error", "overloaded", "busy"),
        (418, b'{"message":null}', 418, "invalid_request_error", None, None),
        (302, b"", 502, "api_error", "bad_upstream_answer", None),
        (400, b'{"message":"no arn:aws:bedrock:x:123456789012:y"}', 400,
         "invalid_request_error", None, "no arn:aws:bedrock:x:\u2026:y"),
        (400, b'{"message":"' + b"a" * 5000 + b'"}', 400, "invalid_request_error", None,
         "a" * 4000),
        (400, b'{"message":"' + b"a" * 70_000 + b'"}', 400, "invalid_request_error",
         None, None),
        (400, b"[" * 100_000, 400, "invalid_request_error", None, None),
        (400, b'{"message":"\xff"}', 400, "invalid_request_error", None, None),
    ],
    ids=str,
)  # fmt: skip
def test_errors_keep_their_status_and_words(status, body, kept, kind, code, message):
    error = PROVIDER.read_error(status, body)
    assert (error.status, error.type, error.code) == (kept, kind, code)
    if message is None:
        message = (
            f"The provider answered with status {status} and said nothing that can be "
            "read."
        )
    assert error.message == message


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b"{}"),
        (403, b'{"message":"User arn:aws:iam::1:user/me is not authorized"}'),
        (403, b'{"Message":"The security token included in the request is invalid"}'),
        (400, b'{"__type":"com.amazon.coral.service#IncompleteSignatureException"}'),
        (400, b'{"__type":"x#ExpiredTokenException:http://y/","message":"AKIAX"}'),
    ],
)
def test_what_the_gateways_account_caused_says_nothing_of_it(status, body):
    error = PROVIDER.read_error(status, body)
    assert (error.status, error.code) == (502, "upstream_auth_error")
    assert error.message == "The provider does not accept the gateway's account."


def test_the_exceptions_and_their_statuses_are_those_of_the_service(service):
    told = {
        kind_of(name): shape.metadata["error"]["httpStatusCode"]
        for name in service.shape_names
        if (shape := service.shape_for(name)).metadata.get("exception")
    }
    assert {kind: told[kind] for kind in STATUSES if kind in told} == {
        kind: STATUSES[kind] for kind in STATUSES if kind in told
    }
    for operation in ("Converse", "ConverseStream"):
        shapes = service.operation_model(operation).error_shapes
        assert {kind_of(shape.name) for shape in shapes} <= set(STATUSES)
