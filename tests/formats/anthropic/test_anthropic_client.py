"""Anthropic's side of a client: its requests read, its SDK fed with what we write."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

import anthropic
import httpx2
import msgspec
import pytest
from anthropic.types import Message, RawMessageStreamEvent, StopReason
from anthropic.types.shared import ErrorResponse
from hypothesis import given, strategies as st
from pydantic import TypeAdapter

from extproc import canonical as c
from extproc.errors import (
    BadRequest,
    BodyTooLarge,
    Forbidden,
    GatewayError,
    NotFound,
    Overloaded,
    ProtocolViolation,
    Unauthenticated,
    UpstreamError,
    UpstreamTimeout,
)
from extproc.formats.anthropic import CLIENT, PROVIDER
from extproc.formats.anthropic.answer_writer import STOP_REASONS
from extproc.formats.base import Unsupported, WriterContext
from extproc.framing.sse import SSEDecoder
from extproc.usage import Usage

CONTEXT = WriterContext(id="x-1", created=0, model="gpt-4o", include_usage=True)
HELLO = {"role": "user", "content": "hello"}
EPHEMERAL = {"type": "ephemeral", "ttl": "1h"}
EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def read(**fields: Any) -> c.Request:
    body = msgspec.json.encode(
        {"model": "m", "max_tokens": 9, "messages": [HELLO], **fields}
    )
    return CLIENT.read_request(
        body, msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    )


def content(*blocks: Any, role: str = "user") -> dict[str, Any]:
    return {"messages": [{"role": role, "content": list(blocks)}]}


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def say(role: Any, *parts: Any) -> c.Message:
    places = tuple(f"messages[0].content[{i}]" for i in range(len(parts)))
    return c.Message(
        role, parts, where="messages[0]", places=places if role == "assistant" else ()
    )


def ephemeral(block: dict[str, Any]) -> dict[str, Any]:
    return {**block, "cache_control": EPHEMERAL}


TEXT = {"type": "text", "text": "a"}
CACHE = c.CacheControl("1h")
USE = {"type": "tool_use", "id": "t", "name": "n", "input": {"a": 1}}

BLOCKS: list[tuple[str, dict[str, Any], c.Part]] = [
    ("user", TEXT, c.Text("a")),
    ("user", ephemeral(TEXT), c.Text("a", CACHE)),
    (
        "user",
        ephemeral(
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": "AA=="},
            }
        ),
        c.Image(c.Inline("image/png", "AA=="), cache=CACHE),
    ),
    (
        "user",
        {"type": "image", "source": {"type": "url", "url": "https://x.test"}},
        c.Image(c.Remote("https://x.test")),
    ),
    (
        "user",
        {
            "type": "document", "title": "t", "citations": {"enabled": False},
            "source": {"type": "text", "media_type": "text/plain", "data": "é"},
        },
        c.Document(c.Inline("text/plain", "w6k="), "t"),
    ),
    (
        "user",
        {"type": "document", "source": {"type": "file", "file_id": "f"}},
        c.Document(c.FileReference("f")),
    ),
    (
        "user",
        ephemeral(
            {
                "type": "tool_result", "tool_use_id": "t", "is_error": True,
                "content": [TEXT],
            }
        ),
        c.ToolResult("t", (c.Text("a"),), is_error=True, cache=CACHE),
    ),
    (
        "user",
        {"type": "tool_result", "tool_use_id": "t", "content": "a"},
        c.ToolResult("t", (c.Text("a"),)),
    ),
    ("user", {"type": "tool_result", "tool_use_id": "t"}, c.ToolResult("t", ())),
    ("assistant", USE, c.ToolCall("t", "n", '{"a":1}')),
    (
        "assistant",
        {**USE, "caller": {"type": "direct"}, "toolset_name": None},
        c.ToolCall("t", "n", '{"a":1}'),
    ),
    (
        "assistant",
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        c.Reasoning("hm", "s"),
    ),
    (
        "assistant",
        {"type": "thinking", "thinking": "hm", "signature": ""},
        c.Reasoning("hm"),
    ),
    ("assistant", {"type": "redacted_thinking", "data": "d"}, c.Reasoning(encrypted="d")),
    ("system", TEXT, c.Text("a")),
]  # fmt: skip


@pytest.mark.parametrize(("role", "block", "part"), BLOCKS, ids=lambda x: str(x)[:40])
def test_every_block_is_read(role, block, part):
    assert read(**content(block, role=role)).messages == (say(role, part),)


def test_arguments_keep_the_clients_spelling():
    body = (
        b'{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":'
        b'[{"type":"tool_use","id":"t","name":"n","input":{"a" : 1.0}}]}]}'
    )
    (message,) = CLIENT.read_request(body, {}).messages
    assert message.parts == (c.ToolCall("t", "n", '{"a" : 1.0}'),)


FIELDS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"model": "m", "max_output_tokens": 9, "stream": False, "include_usage": True}),
    (
        {"system": "s"},
        {
            "messages": (
                c.Message("system", (c.Text("s"),), where="system"),
                say("user", c.Text("hello")),
            )
        },
    ),
    (
        {"system": [ephemeral(TEXT)]},
        {
            "messages": (
                c.Message("system", (c.Text("a", CACHE),), where="system", places=("system[0]",)),
                say("user", c.Text("hello")),
            )
        },
    ),
    (
        {"stream": True, "temperature": 1, "top_p": 0.5, "top_k": 3},
        {"stream": True, "temperature": 1.0, "top_p": 0.5, "top_k": 3},
    ),
    (
        {"stop_sequences": ["a"], "metadata": {"user_id": "u"}},
        {"stop": ("a",), "end_user": "u"},
    ),
    ({"service_tier": "standard_only"}, {"service_tier": "default"}),
    (
        {
            "tools": [
                ephemeral(
                    {
                        "name": "n", "description": "d", "input_schema": {},
                        "strict": True, "eager_input_streaming": True,
                    }
                ),
                {"type": "custom", "name": "o", "input_schema": {}},
            ]
        },
        {
            "tools": (
                c.Tool("n", "d", raw({}), strict=True, cache=CACHE),
                c.Tool("o", None, raw({})),
            )
        },
    ),
    (
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {
            "tools": (
                c.WebSearch("tools[0]"),
            )
        },
    ),
    *(
        (
            {"tool_choice": said},
            {"tool_choice": choice, "parallel_tool_calls": parallel},
        )
        for said, choice, parallel in [
            ({"type": "auto"}, c.ToolChoice("auto"), None),
            (
                {"type": "any", "disable_parallel_tool_use": True},
                c.ToolChoice("required"), False,
            ),
            ({"type": "none"}, c.ToolChoice("none"), None),
            ({"type": "tool", "name": "n"}, c.ToolChoice("named", ("n",)), None),
        ]
    ),
    *(
        ({"thinking": said}, {"thinking": thinking})
        for said, thinking in [
            (
                {"type": "enabled", "budget_tokens": 2000, "display": "omitted"},
                c.Thinking(None, 2000, enabled=True, display="omitted"),
            ),
            ({"type": "adaptive"}, c.Thinking(enabled=True, adaptive=True)),
            ({"type": "disabled"}, c.Thinking(enabled=False)),
            ({"type": "between_tools"}, c.Thinking(enabled=False)),
        ]
    ),
    ({"output_config": {"effort": "high"}}, {"thinking": c.Thinking("high")}),
    (
        {"output_config": {"format": {"type": "json_schema", "schema": {"a": 1}}}},
        {
            "output_format": c.OutputFormat(
                "json_schema", schema=raw({"a": 1}), strict=True
            ),
            "thinking": None,
        },
    ),
    (
        {"container": "c", "speed": None, "unheard_of": 1},
        {"extras": {"container": raw("c"), "unheard_of": raw(1)}},
    ),
]  # fmt: skip


def plain(value: Any) -> Any:
    """Return what compares by value: a `Raw` compares by identity."""
    if isinstance(value, msgspec.Raw):
        return bytes(value)
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, msgspec.Struct):
        return type(value), plain(msgspec.structs.asdict(value))
    return value


@pytest.mark.parametrize(
    ("said", "fields"), [pytest.param(*case, id=str(case[0])) for case in FIELDS]
)
def test_every_field_is_read(said, fields):
    request = read(**said)
    assert {n: plain(getattr(request, n)) for n in fields} == plain(fields)


def test_what_only_anthropics_servers_need_is_left_out_and_told():
    tool = {"name": "n", "input_schema": {"type": "object"}}
    request = read(
        context_management={"edits": []},
        speed="fast",
        container="c",
        tools=[
            tool,
            {**tool, "name": "d", "defer_loading": True},
            {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"},
            {"type": "web_search_20250305", "name": "web_search"},
        ],
        system=[
            {
                "type": "text",
                "text": "a",
                "cache_control": {"type": "ephemeral", "scope": "global"},
            }
        ],
    )
    assert set(request.left_out) == {
        "context_management", "speed", "tools[1].defer_loading", "tools[2]",
    }  # fmt: skip
    # What may change an answer is for the provider's format to judge.
    assert list(request.extras) == ["container"]
    assert [type(tool) for tool in request.tools] == [c.Tool, c.Tool, c.WebSearch]


def test_errors_will_name_the_clients_own_fields():
    names = read(output_config={"effort": "low"}).names
    assert names["thinking"] == "output_config.effort"
    assert names["stop"] == "stop_sequences"
    assert read(thinking={"type": "disabled"}).names["thinking"] == "thinking"


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].role"),
        ({"messages": [HELLO, {"role": "user"}]}, "messages[1].content"),
        ({"messages": [{**HELLO, "name": "x"}]}, "messages[0].name"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"system": 1}, "system"),
        ({"stream": 1}, "stream"),
        ({"tools": [{"name": "n"}]}, "tools[0].input_schema"),
        ({"tools": [{"name": "n", "input_schema": {}, "input_examples": []}]},
         "tools[0].input_examples"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"thinking": {"type": "deep"}}, "thinking.type"),
        (content({"type": "text"}), "messages[0].content[0].text"),
        (content(TEXT, 1), "messages[0].content[1]"),
        (content({"type": "search_result"}), "messages[0].content[0].source"),
        (content({"type": "container_upload"}), "messages[0].content[0]"),
        (content({"type": "server_tool_use"}), "messages[0].content[0].id"),
        (content({**USE, "input": []}), "messages[0].content[0].input"),
        (content({"type": "image", "source": {"type": "ftp"}}),
         "messages[0].content[0].source.type"),
        (content({"type": "document", "source": {"type": "url", "url": "x"},
                  "citations": {"enabled": 1}}),
         "messages[0].content[0].citations.enabled"),
        (content({"type": "tool_result", "tool_use_id": "t", "content": [USE]}),
         "messages[0].content[0].content[0]"),
        (content({"type": "tool_result", "tool_use_id": "t",
                  "content": [{"type": "text"}]}),
         "messages[0].content[0].content[0].text"),
        *((content({"type": "image", "source": {
            "type": "base64", "media_type": "image/png", "data": data}}),
           "messages[0].content[0].source.base64.data")
          for data in ("", "/tmp/cat.png", "A", "AA_-", "ü" * 4, "A" * 9001)),
        (content({"type": "tool_result", "tool_use_id": "t", "content": [
            {"type": "document", "source": {
                "type": "base64", "media_type": "application/pdf", "data": "a b"}}]}),
         "messages[0].content[0].content[0].source.base64.data"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_request_is_told_by_its_field(said, param):
    with pytest.raises(BadRequest) as caught:
        read(**said)
    assert caught.value.param == param


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"a":' + b"[" * 99_999])
def test_what_is_no_request_is_a_bad_request(body):
    with pytest.raises(BadRequest):
        CLIENT.read_request(body, {})


BROKEN = [
    (
        b'"tools":[{"name":"n","input_schema":{"a":"\xff"}}],"messages":[]',
        "messages",
    ),
    (
        (
            b'"messages":[{"role":"user","content":"a"}],'
            b'"tools":[{"name":"n","input_schema":{"a":"\xff"}}]'
        ),
        "tools[0].input_schema",
    ),
    (
        (
            b'"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t",'
            b'"name":"n","input":{"a":"\xff"}}]}]'
        ),
        "messages[0].content[0].input",
    ),
    (b'"messages":[{"role":"user","content":[{"type":"text","text":"\xff"}]}]', None),
]


@pytest.mark.parametrize(("members", "param"), BROKEN)
def test_what_is_not_utf8_is_a_bad_request(members, param):
    with pytest.raises(BadRequest) as caught:
        CLIENT.read_request(b'{"model":"m","max_tokens":1,' + members + b"}", {})
    assert caught.value.param == param


def test_blocks_of_anthropics_own_have_their_own_code():
    with pytest.raises(Unsupported):
        read(**content({"type": "code_execution_tool_result"}))


# ---------------------------------------------------------------- whole answers


def sdk(body: bytes, status: int = 200, kind: str = "application/json") -> Any:
    def answer(_: httpx2.Request) -> httpx2.Response:
        headers = {"content-type": kind}
        return httpx2.Response(status, content=body, headers=headers)

    transport = httpx2.MockTransport(answer)
    client = httpx2.Client(transport=transport)
    return anthropic.Anthropic(
        api_key="sk-test", base_url="http://x.test", http_client=client, max_retries=0
    ).messages


def ask(messages: Any, **more: Any) -> Any:
    return messages.create(model="m", max_tokens=1, messages=[HELLO], **more)


def test_the_sdk_reads_our_answers():
    parts = (
        c.Reasoning("hm", "s"), c.Reasoning("own"), c.Reasoning(encrypted="e"),
        c.Text("a"), c.Text(""), c.ToolCall("t", "n", '{"a": 1}'), c.Refusal("no"),
        c.Audio(c.Inline("audio/wav", "")),
    )  # fmt: skip
    usage = Usage(130, 5, 100, 20, 3)
    body = CLIENT.write_answer(
        c.Answer("id", "gpt", (c.Choice(parts, "stop_sequence", "X"),), usage), CONTEXT
    )
    Message.model_validate_json(body, strict=True)
    message = ask(sdk(body))
    assert [block.to_dict() for block in message.content] == [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "thinking", "thinking": "own", "signature": ""},
        {"type": "redacted_thinking", "data": "e"},
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "t", "name": "n", "input": {"a": 1}},
        {"type": "text", "text": "no"},
    ]
    assert (message.id, message.model, message.role) == ("id", "gpt", "assistant")
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "X")
    assert message.usage.input_tokens == 10
    assert message.usage.cache_read_input_tokens == 100
    assert message.usage.cache_creation_input_tokens == 20
    assert message.usage.output_tokens == 5
    assert message.usage.output_tokens_details.thinking_tokens == 3


def test_an_answer_without_names_has_the_exchanges():
    message = ask(sdk(CLIENT.write_answer(c.Answer("", "", ()), CONTEXT)))
    assert (message.id, message.model, message.content) == ("x-1", "gpt-4o", [])


def test_every_finish_has_a_stop_reason_of_the_sdk():
    assert set(STOP_REASONS) == set(get_args(c.Finish))
    assert set(STOP_REASONS.values()) == set(get_args(StopReason))


def test_a_call_that_is_no_json_is_the_models_fault_unless_it_was_cut_off():
    def write(finish: c.Finish, arguments: str) -> Any:
        choice = c.Choice((c.ToolCall("t", "n", arguments),), finish)
        return ask(sdk(CLIENT.write_answer(c.Answer("", "", (choice,)), CONTEXT)))

    assert write("length", '{"a": ').content[0].input == {}
    assert write("tool_calls", "").content[0].input == {}
    with pytest.raises(ProtocolViolation):
        write("tool_calls", '{"a": ')


# ---------------------------------------------------------------- streams

STARTED = c.Started("id", "gpt", Usage(130, 0, 100, 20))


def stream_bytes(events: list[c.Event]) -> bytes:
    return CLIENT.stream_writer(CONTEXT).write(events)


def sdk_stream(body: bytes) -> Any:
    messages = sdk(body, kind="text/event-stream")
    with messages.stream(model="m", max_tokens=1, messages=[HELLO]) as stream:
        return stream.get_final_message()


@dataclasses.dataclass(frozen=True)
class Streamed:
    """A canonical stream, and what the SDK accumulates from it."""

    name: str
    events: list[c.Event]
    blocks: list[dict[str, Any]]
    stop_reason: str = "end_turn"


STREAMS = [
    Streamed(
        "text",
        [
            c.KeepAlive(), c.PartStarted(0, "text"), c.Delta(0, "a"), c.KeepAlive(),
            c.Delta(0, "é\n"), c.PartEnded(0), c.Finished("length"),
        ],
        [{"type": "text", "text": "aé\n"}],
        "max_tokens",
    ),
    Streamed(
        "thoughts and refusal",
        [
            c.PartStarted(0, "reasoning"), c.Delta(0, "h"), c.Delta(0, "m"),
            c.SignatureDelta(0, "s"), c.PartEnded(0),
            c.PartStarted(1, "reasoning", encrypted="e"), c.PartEnded(1),
            c.PartStarted(2, "refusal"), c.Delta(2, "no"), c.PartEnded(2),
            c.Finished("content_filter"),
        ],
        [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "redacted_thinking", "data": "e"},
            {"type": "text", "text": "no"},
        ],
        "refusal",
    ),
    Streamed(
        "parts that interleave are written one behind the other",
        [
            c.PartStarted(0, "tool_call", "t0", "f"), c.Delta(0, '{"a"'),
            c.PartStarted(1, "tool_call", "t1", "g"), c.Delta(1, "{}"),
            c.Delta(0, ":1}"), c.PartStarted(2, "text"), c.SignatureDelta(0, "s"),
            c.PartEnded(1), c.Delta(2, "b"), c.PartEnded(0), c.Delta(2, "c"),
            c.PartEnded(2), c.PartStarted(3, "tool_call", "t3", "h"), c.PartEnded(3),
            c.PartStarted(0, "text", choice=1), c.Delta(0, "other", choice=1),
            c.PartEnded(0, choice=1), c.Finished("stop", choice=1),
            c.Finished("tool_calls"),
        ],
        [
            {"type": "tool_use", "id": "t0", "name": "f", "input": {"a": 1}},
            {"type": "tool_use", "id": "t1", "name": "g", "input": {}},
            {"type": "text", "text": "bc"},
            {"type": "tool_use", "id": "t3", "name": "h", "input": {}},
        ],
        "tool_use",
    ),
    Streamed("nothing", [], []),
]  # fmt: skip


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.name)
def test_the_sdk_accumulates_our_streams(case):
    ending: list[c.Event] = [c.Reported(Usage(130, 7, 100, 20, 3)), c.Ended()]
    body = stream_bytes([STARTED, *case.events, *ending])
    message = sdk_stream(body)
    assert [block.to_dict() for block in message.content] == case.blocks
    assert message.stop_reason == case.stop_reason
    assert (message.id, message.model) == ("id", "gpt")
    assert message.usage.output_tokens == 7
    assert message.usage.input_tokens == 10
    assert message.usage.cache_read_input_tokens == 100


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.name)
def test_our_frames_are_named_and_in_anthropics_order(case):
    body = stream_bytes([STARTED, *case.events, c.Reported(Usage()), c.Ended()])
    frames = SSEDecoder().feed(body)
    open_block = None
    for frame in frames:
        event = msgspec.json.decode(frame.data)
        assert frame.name == event["type"]
        if frame.name == "ping":
            continue
        EVENT.validate_python(event)
        if frame.name == "content_block_start":
            assert open_block is None
            open_block = event["index"]
        elif frame.name.startswith("content_block"):
            assert event["index"] == open_block
        if frame.name == "content_block_stop":
            open_block = None
    names = [frame.name for frame in frames if frame.name != "ping"]
    assert names[0] == "message_start"
    assert names[-2:] == ["message_delta", "message_stop"]


def test_an_error_in_our_stream_is_raised_by_the_sdk():
    error = UpstreamError("Overloaded", status=503, code="overloaded")
    body = stream_bytes([STARTED, c.PartStarted(0, "text"), c.Failed(error)])
    with pytest.raises(anthropic.APIStatusError) as caught:
        sdk_stream(body)
    assert "Overloaded" in str(caught.value)
    assert body.endswith(CLIENT.write_error_event(error))


KINDS: st.SearchStrategy[c.PartKind] = st.sampled_from(
    ["text", "reasoning", "tool_call"]
)


@given(st.data())
def test_any_interleaving_is_put_in_order(data):
    kinds = data.draw(st.lists(KINDS, max_size=4))
    said = [data.draw(st.lists(st.sampled_from("abc"), max_size=3)) for _ in kinds]
    left: list[list[c.Event]] = [
        [
            c.PartStarted(i, kind, f"t{i}" * (kind == "tool_call"), "n"),
            *(c.Delta(i, words) for words in said[i]),
            c.PartEnded(i),
        ]
        for i, kind in enumerate(kinds)
    ]
    events: list[c.Event] = [STARTED]
    begun = 0
    while any(left):
        # A part may begin only behind the one before it.
        ready = [i for i in range(min(begun + 1, len(left))) if left[i]]
        i = data.draw(st.sampled_from(ready))
        begun = max(begun, i + 1)
        events.append(left[i].pop(0))
    writer = CLIENT.stream_writer(CONTEXT)
    body = b"".join(
        writer.write([event]) for event in [*events, c.Finished("stop"), c.Ended()]
    )
    reader = PROVIDER.stream_reader()
    back = [e for frame in SSEDecoder().feed(body) for e in reader.feed(frame)]
    reader.close()
    started = [e for e in back if isinstance(e, c.PartStarted)]
    assert [(e.index, e.kind) for e in started] == list(enumerate(kinds))
    for i, words in enumerate(said):
        deltas = [e.text for e in back if isinstance(e, c.Delta) and e.index == i]
        assert deltas == words


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("error", "kind", "raised"),
    [
        (BadRequest('say "no"'), "invalid_request_error", anthropic.BadRequestError),
        (Unauthenticated("a"), "authentication_error", anthropic.AuthenticationError),
        (Forbidden("a"), "permission_error", anthropic.PermissionDeniedError),
        (NotFound("a"), "not_found_error", anthropic.NotFoundError),
        (BodyTooLarge("a"), "invalid_request_error", anthropic.APIStatusError),
        (UpstreamError("a", status=429), "rate_limit_error", anthropic.RateLimitError),
        (
            UpstreamError("a", status=422),
            "invalid_request_error",
            anthropic.APIStatusError,
        ),
        (UpstreamError("a"), "api_error", anthropic.InternalServerError),
        (Overloaded("a"), "overloaded_error", anthropic.InternalServerError),
        (UpstreamTimeout("a"), "timeout_error", anthropic.InternalServerError),
        (GatewayError("a"), "api_error", anthropic.InternalServerError),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_the_sdk_knows_our_errors(error, kind, raised):
    body = CLIENT.write_error(error)
    seen = ErrorResponse.model_validate_json(body, strict=True)
    assert (seen.error.type, seen.error.message) == (kind, error.message)
    with pytest.raises(raised) as caught:
        ask(sdk(body, error.status))
    assert caught.value.status_code == error.status
    assert caught.value.body == msgspec.json.decode(body)


def test_who_wants_a_thread_where_there_is_none_goes_on_without_one():
    refused = Unsupported("`thread` cannot be kept.", param="thread")
    with pytest.raises(anthropic.BadRequestError) as caught:
        ask(sdk(CLIENT.write_error(refused), 400))
    # https://platform.claude.com/docs/en/api/errors; the newer SDKs look for it.
    details = {"error_code": "thread_unsupported_request"}
    body: Any = caught.value.body
    assert body["error"]["details"] == details


def test_an_error_event_is_one_named_frame():
    (frame,) = SSEDecoder().feed(CLIENT.write_error_event(BadRequest("a\nb")))
    assert frame.name == "error"
    assert frame.data == CLIENT.write_error(BadRequest("a\nb"))
