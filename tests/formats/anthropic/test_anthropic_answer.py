"""Anthropic's whole answers and errors, and the mapping's known traps one by one."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from anthropic.types import Message, StopReason
from anthropic.types.shared import ErrorType
from hypothesis import given, strategies as st

from extproc import canonical as c
from extproc.errors import ProtocolViolation
from extproc.formats.anthropic import PROVIDER
from extproc.formats.anthropic.citations import write_citation
from extproc.formats.anthropic.errors import MAX_BODY, STATUSES, TYPES
from extproc.formats.base import Overview
from extproc.usage import Usage

USAGE = {"input_tokens": 10, "output_tokens": 5}


def answer(*blocks: Any, **fields: Any) -> bytes:
    body = {
        "id": "msg_1", "type": "message", "role": "assistant",
        "model": "claude-sonnet-4-5-20250929", "content": list(blocks),
        "stop_reason": "end_turn", "stop_sequence": None, "usage": USAGE, **fields,
    }  # fmt: skip
    if fields.get("stop_reason", "end_turn") in get_args(StopReason):
        Message.model_validate(body)
    return msgspec.json.encode(body)


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def parts(body: bytes) -> tuple[Any, ...]:
    return PROVIDER.read_answer(body).choices[0].parts


def test_an_answer_says_who_what_and_why():
    usage = {
        **USAGE, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 20,
        "output_tokens_details": {"thinking_tokens": 3}, "service_tier": "standard",
    }  # fmt: skip
    body = answer(
        text("a"), stop_reason="stop_sequence", stop_sequence="X", usage=usage
    )
    assert PROVIDER.read_answer(body) == c.Answer(
        "msg_1",
        "claude-sonnet-4-5-20250929",
        (c.Choice((c.Text("a"),), "stop_sequence", "X"),),
        Usage(130, 5, 100, 20, 3),
        service_tier="default",
    )
    assert PROVIDER.overview(body) == Overview(
        "claude-sonnet-4-5-20250929", Usage(130, 5, 100, 20, 3), "stop_sequence"
    )


def test_every_text_of_an_answer_is_kept():
    assert parts(answer(text("a"), text(""), text("b"))) == (
        c.Text("a"), c.Text(""), c.Text("b"),
    )  # fmt: skip


def test_every_thought_of_an_answer_is_kept_with_its_proof():
    body = answer(
        {"type": "thinking", "thinking": "a", "signature": "s1"},
        {"type": "redacted_thinking", "data": "r"},
        {"type": "thinking", "thinking": "b", "signature": "s2"},
        text("c"),
    )
    assert parts(body) == (
        c.Reasoning("a", "s1"), c.Reasoning(encrypted="r"), c.Reasoning("b", "s2"),
        c.Text("c"),
    )  # fmt: skip


def test_tool_calls_keep_the_arguments_as_they_are_spelled():
    raw = (
        b'{"type":"message","id":"m","model":"x","usage":{},"stop_reason":"tool_use",'
        b'"content":[{"type":"tool_use","id":"t","name":"n","input":{"a": 1.0, "b":"\xc3\xa9"}},'
        b'{"type":"tool_use","id":"u","name":"m","input":{}}]}'
    )
    assert parts(raw) == (
        c.ToolCall("t", "n", '{"a": 1.0, "b":"é"}'),
        c.ToolCall("u", "m", "{}"),
    )
    assert PROVIDER.read_answer(raw).choices[0].finish == "tool_calls"


def test_citations_and_searches_are_kept_and_other_server_tools_named():
    citation = {
        "type": "char_location", "cited_text": "a", "document_index": 0,
        "document_title": None, "start_char_index": 0, "end_char_index": 1,
        "file_id": None,
    }  # fmt: skip
    body = answer(
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
        {"type": "container_upload", "file_id": "f"},
        {**text("a"), "citations": [citation]},
        {**text("b"), "citations": None},
    )
    search, cited, plain = parts(body)
    assert search == c.Search("s")
    assert cited.citations == (c.Citation(quote="a", last=1),)
    assert plain == c.Text("b")
    unsaid = PROVIDER.read_answer(body).unsaid
    assert unsaid == ("container_upload",)
    written = msgspec.json.decode(write_citation(cited.citations[0]))
    assert written == citation


@pytest.mark.parametrize("reason", [*get_args(StopReason), "compaction", None])
def test_no_stop_reason_is_an_error(reason):
    finish = PROVIDER.read_answer(answer(stop_reason=reason)).choices[0].finish
    assert finish in get_args(c.Finish)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"<html>", b'{"type":"message"}', b"\xff",
        b'{"type":"error","error":{"type":"a","message":"b"}}',
        answer()[:-1], answer().replace(b"msg_1", b"\xff"),
        b'{"type":"message","content":' + b"[" * 100_000,
        answer({"type": "tool_use", "id": "x"}, stop_reason="odd"),
        answer(1, stop_reason="odd"),
    ],
    ids=lambda body: body[:30],
)  # fmt: skip
def test_what_is_no_answer_is_a_violation(body):
    with pytest.raises(ProtocolViolation):
        PROVIDER.read_answer(body)


@given(st.binary(max_size=64))
def test_an_overview_never_raises(body):
    assert PROVIDER.overview(body) == Overview()


# ---------------------------------------------------------------- errors


def failure(kind: str, message: str = 'say "no"') -> bytes:
    error = {"type": kind, "message": message}
    return msgspec.json.encode({"type": "error", "error": error, "request_id": "req_1"})


@pytest.mark.parametrize(
    ("status", "kind", "shown", "code"),
    [
        (400, "invalid_request_error", 400, None),
        (404, "not_found_error", 404, "upstream_not_found"),
        (409, "conflict_error", 409, None),
        (413, "request_too_large", 413, "request_too_large"),
        (429, "rate_limit_error", 429, "rate_limit_exceeded"),
        (500, "api_error", 500, None),
        (504, "timeout_error", 504, None),
        (529, "overloaded_error", 529, "overloaded"),
        (503, "overloaded_error", 503, "overloaded"),
        (302, "api_error", 502, "bad_upstream_answer"),
    ],
)
def test_an_error_keeps_its_status_and_words(status, kind, shown, code):
    error = PROVIDER.read_error(status, failure(kind))
    assert (error.status, error.code, error.message) == (shown, code, 'say "no"')
    if shown != 502:
        assert error.type == kind


@pytest.mark.parametrize("status", [401, 402, 403])
def test_the_gateways_own_account_is_not_the_clients_fault(status):
    error = PROVIDER.read_error(
        status, failure("authentication_error", "sk-ant-secret")
    )
    assert (error.status, error.code) == (502, "upstream_auth_error")
    assert "sk-ant" not in error.message


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>no</html>", b"\xff\xfe", b"null", b'{"error":"text"}',
        b'{"type":"error","error":{"type":"a","message":"\xff"}}',
        b'{"type":"error","x":' + b"[" * 60_000, b"[" * 9_999,
        failure("api_error", "x" * MAX_BODY), b"x" * 10_000_000,
    ],
    ids=lambda body: body[:30],
)  # fmt: skip
@pytest.mark.parametrize("status", [400, 404, 418, 429, 500, 502, 529])
def test_an_error_of_any_shape_is_told_in_neutral_words(status, body):
    error = PROVIDER.read_error(status, body)
    assert error.status == status
    assert str(status) in error.message
    assert len(error.message) < 100


def test_every_error_type_of_the_sdk_has_its_status():
    beta = {"memory_precondition_failed_error", "memory_path_conflict_error"}
    assert set(get_args(ErrorType)) - beta <= set(STATUSES)
    assert set(TYPES.values()) <= set(get_args(ErrorType))
