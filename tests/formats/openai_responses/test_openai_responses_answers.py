"""Whole answers, errors, and streams that pass, of Responses."""

from __future__ import annotations

import itertools
import json
from typing import Any, get_args

import httpx2
import msgspec
import openai
import pytest
from hypothesis import given, strategies as st
from openai.types.responses import (
    Response,
    ResponseFailedEvent,
    response as sdk_response,
)

from extproc import canonical as c
from extproc.errors import (
    Overloaded,
    ProtocolViolation,
    TruncatedStream,
    UpstreamError,
)
from extproc.formats import proofs
from extproc.formats.base import Overview, WriterContext
from extproc.formats.held_event import MOST_HELD
from extproc.formats.openai_responses import CLIENT, PROVIDER
from extproc.formats.openai_responses.answer_reader import INCOMPLETE
from extproc.framing import sse
from extproc.framing.members import read_members
from extproc.usage import Usage

CONTEXT = WriterContext(id="gw1", created=1700, model="asked", include_usage=False)
PROOF = proofs.mark_openai("rs_1", "gAAA")
USAGE = {
    "input_tokens": 9, "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
    "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 3}, "total_tokens": 14,
}  # fmt: skip


def write(
    *parts: c.AnswerPart, finish: c.Finish = "stop", **members: Any
) -> dict[str, Any]:
    answer = c.Answer("a", "m", (c.Choice(parts, finish, **members),))
    said: dict[str, Any] = json.loads(CLIENT.write_answer(answer, CONTEXT))
    Response.model_validate(said, strict=True)
    return said


def read(**members: Any) -> c.Answer:
    body = {
        "id": "resp_1",
        "object": "response",
        "created_at": 5,
        "model": "m",
        "status": "completed",
    }
    return PROVIDER.read_answer(json.dumps({**body, "output": [], **members}).encode())


def said_parts(*output: dict[str, Any]) -> tuple[c.AnswerPart, ...]:
    return read(output=list(output)).choices[0].parts


# ---------------------------------------------------------------- writing


def test_what_the_provider_did_not_say_comes_from_the_exchange():
    said = json.loads(CLIENT.write_answer(c.Answer("", "", ()), CONTEXT))
    Response.model_validate(said, strict=True)
    assert (said["id"], said["model"], said["created_at"]) == (
        "resp_gw1",
        "asked",
        1700,
    )
    assert (said["output"], said["usage"], said["status"]) == ([], None, "completed")


def test_the_service_tier_is_told_in_openais_words():
    answer = c.Answer("a", "m", (), service_tier="standard")
    assert json.loads(CLIENT.write_answer(answer, CONTEXT))["service_tier"] == "default"
    unknown = c.Answer("a", "m", (), service_tier="batch")
    assert "service_tier" not in json.loads(CLIENT.write_answer(unknown, CONTEXT))


def test_text_in_a_row_is_one_message_and_sound_is_left_out():
    said = write(
        c.Text("a"), c.Refusal("b"), c.Audio(c.Inline("", "YQ==")), c.Text("c")
    )
    first, second = said["output"]
    assert [part["type"] for part in first["content"]] == ["output_text", "refusal"]
    assert second["content"][0]["text"] == "c"


def test_log_probabilities_have_bytes():
    token = {
        "token": "ü",
        "logprob": -0.5,
        "bytes": None,
        "top_logprobs": [{"token": "u", "logprob": -1, "bytes": [117]}],
    }
    logprobs = json.dumps({"content": [token], "refusal": None}).encode()
    said = write(c.Text("ü"), c.Text("b"), logprobs=msgspec.Raw(logprobs))
    first, second = said["output"][0]["content"]
    assert first["logprobs"] == [
        {"token": "ü", "logprob": -0.5, "bytes": [195, 188], "top_logprobs": [{"token": "u", "logprob": -1.0, "bytes": [117]}]}
    ]  # fmt: skip
    assert second["logprobs"] == []
    assert (
        write(c.Text("a"), logprobs=msgspec.Raw(b"[]"))["output"][0]["content"][0][
            "logprobs"
        ]
        == []
    )


def test_openai_python_reads_the_answer():
    body = CLIENT.write_answer(
        c.Answer("a", "m", (c.Choice((c.Text("hi"),), "stop"),)), CONTEXT
    )
    transport = httpx2.MockTransport(
        lambda _: httpx2.Response(
            200, content=body, headers={"content-type": "application/json"}
        )
    )
    with openai.OpenAI(
        api_key="k", base_url="http://gateway.test/v1", max_retries=0,
        http_client=httpx2.Client(transport=transport), _strict_response_validation=True,
    ) as client:  # fmt: skip
        assert client.responses.create(model="m", input="x").output_text == "hi"


PARTS = st.lists(
    st.one_of(
        st.builds(c.Text, st.text(min_size=1)),
        st.builds(c.Refusal, st.text(min_size=1)),
        st.builds(c.Reasoning, st.text(), st.text(min_size=1)),
        st.builds(
            lambda s: c.Reasoning(encrypted=s),
            st.text(min_size=1).filter(lambda s: not s.startswith("openai.")),
        ),
        st.just(c.Reasoning(encrypted=PROOF, id="rs_1")),
        st.builds(
            lambda n, s: c.ToolCall(f"c{n}", "f", "{}", signature=s),
            st.uuids(),
            st.none() | st.text(min_size=1),
        ),
        st.builds(lambda s: c.ToolCall("x", "g", s, custom=True), st.text()),
    ),
    min_size=1,
    max_size=6,
).map(tuple)


@given(PARTS)
def test_an_answer_comes_back_as_a_turn_with_all_its_proofs(parts):
    """What every provider has said and proven survives a turn through a client."""
    said = write(*parts)
    body = json.dumps({"model": "m", "input": said["output"]}).encode()
    (message,) = CLIENT.read_request(body, read_members(body)).messages
    assert message.parts == parts


@given(PARTS)
def test_no_two_items_share_an_id(parts):
    own = [
        part for part in parts if not isinstance(part, c.Reasoning) or part.id is None
    ]
    ids = [item["id"] for item in write(*own)["output"]]
    assert len(ids) == len(set(ids))


# ---------------------------------------------------------------- reading


def test_an_answer_is_read():
    answer = read(
        usage=USAGE,
        service_tier="flex",
        output=[{"type": "message", "content": [{"type": "output_text", "text": "a"}]}],
    )
    assert answer == c.Answer(
        "resp_1", "m", (c.Choice((c.Text("a"),), "stop"),), Usage(9, 5, 4, 2, 3), 5, "flex",
    )  # fmt: skip


def test_items_are_read_and_those_of_built_in_tools_are_not():
    cited = [{"type": "url_citation", "url": "u"}]
    parts = said_parts(
        {"type": "code_interpreter_call", "id": "ci", "content": "?"},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}], "encrypted_content": "gAAA"},
        {"type": "message", "content": [
            {"type": "output_text", "text": "a", "annotations": cited}, {"type": "refusal", "refusal": "b"},
        ]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": ""},
        {"type": "function_call", "call_id": "c2", "name": "f", "arguments": {"a": 1}},
        {"type": "custom_tool_call", "call_id": "c3", "name": "g", "input": "x"},
        {"type": "mcp_call", "id": "m", "arguments": {}},
    )  # fmt: skip
    assert parts[0:2] == (c.Reasoning("Hm"), c.Reasoning(encrypted=PROOF, id="rs_1"))
    assert isinstance(parts[2], c.Text)
    assert parts[2].citations == (c.Citation("u"),)
    assert parts[3:] == (
        c.Refusal("b"), c.ToolCall("c1", "f", "{}"), c.ToolCall("c2", "f", '{"a": 1}'),
        c.ToolCall("c3", "g", "x", custom=True),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("members", "finish"),
    [
        ({}, "stop"),
        ({"output": [{"type": "message", "content": [{"type": "refusal", "refusal": "x"}]}]}, "refusal"),
        ({"output": [{"type": "function_call", "call_id": "c", "name": "f"}]}, "tool_calls"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({"status": "incomplete"}, "length"),
    ],
)  # fmt: skip
def test_the_finish_is_read(members, finish):
    assert read(**members).choices[0].finish == finish


def test_every_reason_of_the_sdk_is_known():
    hint = sdk_response.IncompleteDetails.model_fields["reason"].annotation
    assert {name for member in get_args(hint) for name in get_args(member)} == set(
        INCOMPLETE
    )


def test_log_probabilities_are_read_as_a_completions():
    token = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
    part = {"type": "output_text", "text": "a", "logprobs": [token]}
    (choice,) = read(output=[{"type": "message", "content": [part]}]).choices
    assert json.loads(bytes(choice.logprobs or b"")) == {
        "content": [token],
        "refusal": None,
    }
    assert write(*choice.parts, logprobs=choice.logprobs)["output"][0]["content"][0][
        "logprobs"
    ] == [token]


@pytest.mark.parametrize(
    ("members", "status", "message"),
    [
        ({"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "slow"}}, 429, "slow"),
        ({"status": "failed", "error": {"code": "brand_new", "message": "odd"}}, 502, "odd"),
        ({"status": "failed", "error": {"code": 7, "message": "odd"}}, 502, "odd"),
        ({"status": "failed"}, 502, "The provider answered"),
        ({"status": "cancelled"}, 502, "The provider answered"),
        ({"output": None, "error": {"message": "broke"}}, 502, "broke"),
    ],
)  # fmt: skip
def test_a_response_that_failed_is_an_error(members, status, message):
    with pytest.raises(UpstreamError, match=message) as caught:
        read(**members)
    assert caught.value.status == status


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"\xff", b"{}", b"[]", b'{"output":7}', b'{"status":"queued","output":[]}',
        b'{"output":[{"type":"message","content":7}]}', b'{"output":[7]}',
        b'{"output":[{"type":"function_call"}]}',
    ],
)  # fmt: skip
def test_what_is_no_response_is_a_violation(body):
    with pytest.raises(ProtocolViolation):
        PROVIDER.read_answer(body)


def test_an_answer_that_passes_is_looked_at():
    said = {"model": "m", "status": "completed", "usage": USAGE}
    look = PROVIDER.overview
    assert look(json.dumps(said).encode()) == Overview(
        "m", Usage(9, 5, 4, 2, 3), "completed"
    )
    cut = {**said, "incomplete_details": {"reason": "max_output_tokens"}}
    assert look(json.dumps(cut).encode()).finish == "max_output_tokens"
    assert look(b"\xff{") == look(b"") == Overview()


@given(st.binary(max_size=40))
def test_no_body_breaks_the_looking(body):
    PROVIDER.overview(body)
    PROVIDER.read_error(500, body)


# ---------------------------------------------------------------- streams that pass


def frame(kind: str, **members: Any) -> bytes:
    said = json.dumps({"type": kind, "sequence_number": 0, **members})
    return f"event: {kind}\ndata: {said}\n\n".encode()


def resp(kind: str, **members: Any) -> bytes:
    return frame(
        f"response.{kind}", response={"id": "resp_1", "model": "gpt-5", **members}
    )


TRICKY = 'say "type":"response.completed","usage":{"input_tokens":99}'
PASSING = (
    resp("created", status="in_progress")
    + frame("response.output_text.delta", delta=TRICKY, output_index=0)
    + frame(
        "response.shell_call_output_content.delta",
        delta={"type": "error", "message": "not ours"},
    )
    + b": comment\n\n"
    + frame("brand.new", anything=[1])
    + resp("completed", status="completed", usage=USAGE, output=[{"type": "message"}])
)


def passed(data: bytes, cuts: list[int]) -> tuple[bytes, Any]:
    passage = PROVIDER.passage(False)
    bounds = [0, *sorted(cuts), len(data)]
    out = b"".join(passage.feed(data[i:j]) for i, j in itertools.pairwise(bounds))
    return out + passage.close(), passage


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_byte_passes_and_usage_and_model_are_seen(end):
    data = PASSING.replace(b"\n", end)
    for cuts in ([], list(range(len(data)))):
        out, passage = passed(data, cuts)
        assert out == data
        assert (passage.usage, passage.model) == (Usage(9, 5, 4, 2, 3), "gpt-5")
        assert passage.error is None


@given(st.lists(st.integers(0, len(PASSING)), max_size=20))
def test_no_split_changes_what_passes(cuts):
    out, passage = passed(PASSING, cuts)
    assert out == PASSING
    assert passage.usage == Usage(9, 5, 4, 2, 3)


@pytest.mark.parametrize("kind", ["completed", "incomplete", "failed"])
def test_each_end_is_an_end_and_tells_the_usage(kind):
    data = resp("created") + resp(
        kind, usage=USAGE, error={"message": "broke", "code": "server_error"}
    )
    out, passage = passed(data, [])
    assert out == data
    assert passage.usage == Usage(9, 5, 4, 2, 3)
    assert (passage.error is not None) == (kind == "failed")


@pytest.mark.parametrize(
    "last",
    [
        frame("error", message="broke", code="server_error"),
        frame("error", error={"message": "broke"}),
        b'data: {"error":{"message":"broke"}}\n\n',
    ],
)
def test_an_error_passes_and_is_noticed(last):
    out, passage = passed(resp("created") + last, [])
    assert out.endswith(last)
    assert passage.error.message == "broke"


def test_an_end_without_its_empty_line_is_an_end():
    for tail in (b"", b"\n"):
        data = PASSING.removesuffix(b"\n\n") + tail
        out, passage = passed(data, [])
        assert out == data
        assert passage.usage is not None


def test_any_truncation_is_noticed():
    ends = [i + 2 for i in range(len(PASSING)) if PASSING[i : i + 2] == b"\n\n"][:-1]
    for end in [0, 1, *ends, *(end - 3 for end in ends), *(end + 5 for end in ends)]:
        passage = PROVIDER.passage(False)
        out = passage.feed(PASSING[:end])
        with pytest.raises(TruncatedStream):
            passage.close()
        assert not out or out.endswith(b"\n\n")
        both = sse.SSEDecoder().feed(out + CLIENT.write_error_event(Overloaded("full")))
        assert both[-1].name == "error"


def numbered(kind: str, number: int, **members: Any) -> bytes:
    """Return an event as OpenAI sends it."""
    return frame(f"response.{kind}", sequence_number=number, **members)


@pytest.mark.parametrize("rest", [b"", b'event: x\ndata: {"sequence_number":7'])
def test_a_stream_that_breaks_off_ends_in_its_own_response_failed(rest):
    begun = {"id": "resp_9", "model": "gpt-5", "temperature": 0.5, "created_at": 3}
    long = {"instructions": "x" * 5000}  # a prompt
    passage: Any = PROVIDER.passage(False)
    out = passage.feed(
        numbered("created", 0, response={**begun, **long, "status": "in_progress"})
        + numbered("in_progress", 1, response=begun)
        + numbered("output_text.delta", 12, delta=TRICKY, output_index=0)
        + rest
    )
    assert sum(map(len, passage._begun.values())) < 1000
    with pytest.raises(TruncatedStream) as broken:
        passage.close()
    out += passage.fail(broken.value, CONTEXT)
    *_, error, failed = [json.loads(one.data) for one in sse.SSEDecoder().feed(out)]
    assert (error["type"], error["sequence_number"]) == ("error", 13)
    assert (failed["type"], failed["sequence_number"]) == ("response.failed", 14)
    response = ResponseFailedEvent.model_validate(failed, strict=True).response
    assert (response.id, response.temperature) == ("resp_9", 0.5)
    assert (response.status, response.output) == ("failed", [])
    assert response.error is not None
    assert response.error.code == "server_error"
    assert response.instructions is None


def test_a_stream_that_breaks_off_before_its_first_event_ends_in_one_too():
    passage: Any = PROVIDER.passage(False)
    frames = sse.SSEDecoder().feed(passage.fail(Overloaded("full"), CONTEXT))
    (error, failed) = [json.loads(one.data) for one in frames]
    assert (error["sequence_number"], failed["sequence_number"]) == (0, 1)
    assert (
        ResponseFailedEvent.model_validate(failed, strict=True).response.id
        == "resp_gw1"
    )


def test_a_long_event_passes_as_it_comes():
    long = resp("completed", usage=USAGE, output=[{"text": "x" * (3 * MOST_HELD)}])
    data = resp("created") + long
    passage = PROVIDER.passage(False)
    out = b""
    late = 0
    for i in range(0, len(data), 1000):
        out += passage.feed(data[i : i + 1000])
        late = max(late, i + 1000 - len(out))
    assert late <= MOST_HELD + 2000
    assert out + passage.close() == data
    assert passage.usage == Usage(9, 5, 4, 2, 3)


def test_an_endless_event_is_not_kept(monkeypatch):
    monkeypatch.setattr("extproc.formats.held_event.MAX_FRAME", 3 * MOST_HELD)
    for kind, over in [("completed", True), ("brand.new", False)]:
        long = resp(kind, output=[{"text": "x" * (9 * MOST_HELD)}])
        passage: Any = PROVIDER.passage(False)
        out = b""
        for i in range(0, len(long), 1000):
            out += passage.feed(long[i : i + 1000])
            assert sum(map(len, passage._held._pieces)) <= 3 * MOST_HELD
        assert out == long
        if over:
            assert passage.close() == b""
        else:
            with pytest.raises(TruncatedStream):
                passage.close()
