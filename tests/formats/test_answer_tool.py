"""A JSON answer by way of a call: asked for, judged by the mocks, and unwrapped."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from extproc import canonical as c
from extproc.errors import BadRequest
from extproc.formats import anthropic, converse
from extproc.formats.answer_tool import NAME, Unwrapping, unwrap
from extproc.formats.base import AnyProviderFormat, Taken, Unsupported
from extproc.framing.base import SSE
from extproc.framing.eventstream import EVENT_STREAM
from extproc.framing.sse import Frame
from extproc.local.mock.anthropic.api import Anthropic
from extproc.local.mock.bedrock.api import Bedrock
from extproc.local.mock.connection import event_bytes
from extproc.local.mock.reply import Reply, Request, Stream
from extproc.local.mock.state import Memory

SONNET = "claude-sonnet-4-5"
HAIKU_3_5 = "anthropic.claude-3-5-haiku-20241022-v1:0"
NOVA = "amazon.nova-pro-v1:0"
MISTRAL = "mistral.mistral-large-2407-v1:0"
LLAMA = "us.meta.llama4-maverick-17b-instruct-v1:0"
NO_FORCE = "claude-opus-5-5"

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "celsius": {"type": "number"}},
    "required": ["city", "celsius"],
}


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


SCHEMA = c.OutputFormat("json_schema", "city", "a city", raw(CITY), strict=True)
OBJECT = c.OutputFormat("json_object")
WEATHER = c.Tool("weather", None, raw({"type": "object", "properties": {"city": {}}}))
HELLO = (c.Message("user", (c.Text("Hello"),), where="messages[0]"),)


def request(**asks: Any) -> c.Request:
    return c.Request(**{"model": "asked", "messages": HELLO, **asks})


def body_of(form: AnyProviderFormat, model: str, **asks: Any) -> tuple[Any, str]:
    rendered = form.write_request(request(**asks), model, 4096)
    return json.loads(rendered.body), rendered.answer_tool


# ---------------------------------------------------------------- what is asked


@pytest.mark.parametrize(
    ("asks", "choice", "names", "answer_tool"),
    [
        (
            {"output_format": OBJECT},
            {"type": "tool", "name": NAME, "disable_parallel_tool_use": True},
            [NAME], NAME,
        ),
        (
            {"output_format": OBJECT, "tools": (WEATHER,)},
            {"type": "any"}, ["weather", NAME], NAME,
        ),
        (
            {
                "output_format": OBJECT, "tools": (WEATHER,),
                "tool_choice": c.ToolChoice("none"),
            },
            {"type": "tool", "name": NAME, "disable_parallel_tool_use": True},
            ["weather", NAME], NAME,
        ),
        (
            {
                "output_format": OBJECT, "tools": (WEATHER, c.Tool("clock")),
                "tool_choice": c.ToolChoice("auto", ("clock",)),
            },
            {"type": "any"}, ["clock", NAME], NAME,
        ),
        (
            {
                "output_format": OBJECT, "tools": (WEATHER,),
                "tool_choice": c.ToolChoice("required"),
            },
            {"type": "any"}, ["weather"], "",
        ),
        (
            {"output_format": OBJECT, "tools": (c.Tool(NAME),)},
            {"type": "any"}, [NAME, f"{NAME}_"], f"{NAME}_",
        ),
    ],
    ids=["alone", "with tools", "tools forbidden", "some tools", "a call demanded", "taken"],
)  # fmt: skip
def test_the_model_is_made_to_call(asks, choice, names, answer_tool):
    body, tool = body_of(anthropic.PROVIDER, SONNET, **asks)
    assert body["tool_choice"] == choice
    assert [one["name"] for one in body["tools"]] == names
    assert tool == answer_tool
    assert "output_config" not in body


def test_a_model_that_takes_a_schema_is_given_it():
    body, tool = body_of(anthropic.PROVIDER, SONNET, output_format=SCHEMA)
    closed = {**CITY, "additionalProperties": False}
    assert body["output_config"]["format"]["schema"] == closed
    assert (tool, "tools" in body) == ("", False)


def test_the_schema_stands_as_the_client_wrote_it():
    body, tool = body_of(
        anthropic.PROVIDER, "claude-3-5-haiku-20241022", output_format=SCHEMA
    )
    (written,) = body["tools"]
    assert written["input_schema"] == CITY
    assert written["description"].endswith("a city.")
    assert tool == written["name"]


@pytest.mark.parametrize(
    ("model", "choice"),
    [
        (HAIKU_3_5, None),  # told in Anthropic's own words
        (NOVA, {"tool": {"name": NAME}}),
        (MISTRAL, {"any": {}}),
    ],
)
def test_on_bedrock_too(model, choice):
    body, tool = body_of(converse.PROVIDER, model, output_format=OBJECT)
    assert tool == NAME
    assert body["toolConfig"].get("toolChoice") == choice
    if choice is None:
        said = body["additionalModelRequestFields"]["tool_choice"]
        assert said == {
            "type": "tool", "name": NAME, "disable_parallel_tool_use": True,
        }  # fmt: skip


def test_an_effort_gives_way_and_is_reported():
    asks = request(
        output_format=OBJECT, thinking=c.Thinking("high"),
        names={"thinking": "reasoning_effort"},
    )  # fmt: skip
    rendered = anthropic.PROVIDER.write_request(asks, SONNET, 4096)
    assert rendered.dropped == ("reasoning_effort",)
    assert "thinking" not in json.loads(rendered.body)


@pytest.mark.parametrize(
    ("form", "model", "asks"),
    [
        (
            anthropic.PROVIDER, SONNET,
            {"output_format": OBJECT, "thinking": c.Thinking(enabled=True)},
        ),
        (anthropic.PROVIDER, NO_FORCE, {"output_format": OBJECT}),
        (converse.PROVIDER, LLAMA, {"output_format": SCHEMA}),
        (
            anthropic.PROVIDER, "claude-3-haiku-20240307",
            {"output_format": c.OutputFormat("json_schema", schema=raw({"type": "array"}))},
        ),
    ],
    ids=["it thinks", "it cannot be forced", "nor this", "no object"],
)  # fmt: skip
def test_a_format_that_cannot_be_kept_is_refused_by_its_name(form, model, asks):
    asked = request(**asks, names={"output_format": "response_format"})
    with pytest.raises(Unsupported) as caught:
        form.write_request(asked, model, 4096)
    assert caught.value.param == "response_format"


@pytest.mark.parametrize("schema", [None, raw([1]), raw(1)])
def test_a_schema_that_is_none_is_the_clients_error(schema):
    asked = request(output_format=c.OutputFormat("json_schema", schema=schema))
    with pytest.raises(BadRequest):
        anthropic.PROVIDER.write_request(asked, "claude-3-haiku-20240307", 4096)


# ---------------------------------------------------------------- what comes back


def post(
    form: AnyProviderFormat, model: str, **asks: Any
) -> tuple[Reply | Stream, str]:
    rendered = form.write_request(request(**asks), model, 4096)
    memory = Memory(lambda: 1.7e9)
    kind = ("content-type", "application/json")
    headers: tuple[tuple[str, str], ...]
    if form is anthropic.PROVIDER:
        headers = (kind, ("x-api-key", "sk-ant-1"), ("anthropic-version", "2023-06-01"))
        sent = Request("POST", "/v1/messages", headers, rendered.body)
        return Anthropic(memory, ("sk-ant-*",)).respond(sent), rendered.answer_tool
    way = "converse-stream" if asks.get("stream") else "converse"
    headers = (kind, ("authorization", "Bearer sk-mock-1"))
    sent = Request("POST", f"/model/{model}/{way}", headers, rendered.body)
    return Bedrock(memory, ("sk-mock*",)).respond(sent), rendered.answer_tool


PLACES = [
    (anthropic.PROVIDER, "claude-sonnet-4-5"),
    (converse.PROVIDER, HAIKU_3_5),
    (converse.PROVIDER, NOVA),
]


@pytest.mark.parametrize(("form", "model"), PLACES)
@pytest.mark.parametrize("tools", [(), (WEATHER,)], ids=["alone", "beside tools"])
def test_the_call_is_the_answers_text(form, model, tools):
    shape = SCHEMA if model != "claude-sonnet-4-5" else OBJECT
    reply, tool = post(form, model, output_format=shape, tools=tools)
    assert isinstance(reply, Reply)
    assert reply.status == 200, reply.body
    (choice,) = unwrap(form.read_answer(reply.body), tool).choices
    texts = [part.text for part in choice.parts if isinstance(part, c.Text)]
    if tools:  # the mock calls the first tool that it may
        assert choice.finish in {"stop", "tool_calls"}
    else:
        assert json.loads("".join(texts)).keys() == (
            {"city", "celsius"} if shape is SCHEMA else set()
        )
        assert choice.finish == "stop"


def frames_of(form: AnyProviderFormat, stream: Stream) -> list[Frame]:
    body = b"".join(event_bytes(event, "\n") for event in stream.events)
    framing = EVENT_STREAM if form is converse.PROVIDER else SSE
    return list(framing.decoder().feed(body))


@pytest.mark.parametrize(("form", "model"), PLACES)
def test_a_streamed_call_is_streamed_text(form, model):
    shape = SCHEMA if model != "claude-sonnet-4-5" else OBJECT
    stream, tool = post(form, model, output_format=shape, stream=True)
    assert isinstance(stream, Stream)
    reader = Unwrapping(form.stream_reader(), tool)
    events = [
        event for frame in frames_of(form, stream) for event in reader.feed(frame)
    ]
    events += reader.close()
    text = "".join(event.text for event in events if isinstance(event, c.Delta))
    assert isinstance(json.loads(text), dict)
    assert [e.kind for e in events if isinstance(e, c.PartStarted)] == ["text"]
    assert [e.finish for e in events if isinstance(e, c.Finished)] == ["stop"]


class Script:
    """A reader that reads what it is told."""

    def __init__(self, *events: c.Event) -> None:
        self._events = list(events)

    def take(self, frame: Frame) -> Taken:
        del frame
        event = self._events.pop(0)
        return event if isinstance(event, c.Delta) else [event]

    def feed(self, frame: Frame) -> list[c.Event]:
        seen = self.take(frame)
        return [seen] if isinstance(seen, c.Delta) else seen

    def close(self) -> list[c.Event]:
        events, self._events = self._events, []
        return events


def unwrapped(*events: c.Event, fed: int = 0) -> list[c.Event]:
    reader = Unwrapping(Script(*events), NAME)
    return [
        *(event for _ in range(fed) for event in reader.feed(Frame("", b""))),
        *reader.close(),
    ]


CALLED = (
    c.PartStarted(0, "tool_call", "t1", NAME), c.Delta(0, '{"a":'), c.Delta(0, "1}"),
    c.PartEnded(0),
)  # fmt: skip
OTHER = (
    c.PartStarted(1, "tool_call", "t2", "weather"), c.Delta(1, "{}"), c.PartEnded(1),
)  # fmt: skip
SAID = [
    c.PartStarted(0, "text"), c.Delta(0, '{"a":'), c.Delta(0, "1}"), c.PartEnded(0),
]  # fmt: skip


@given(fed=st.integers(0, 7))
def test_only_the_answers_call_is_unwrapped(fed):
    made = unwrapped(*CALLED, *OTHER, c.Finished("tool_calls"), fed=fed)
    assert made == [*SAID, *OTHER, c.Finished("tool_calls")]


def test_an_answer_cut_off_stays_cut_off():
    assert unwrapped(*CALLED[:2], c.PartEnded(0), c.Finished("length")) == [
        *SAID[:2], c.PartEnded(0), c.Finished("length"),
    ]  # fmt: skip


def test_a_call_without_arguments_is_an_empty_object():
    made = unwrapped(CALLED[0], c.PartEnded(0), c.Finished("tool_calls"))
    assert made == [
        c.PartStarted(0, "text"), c.Delta(0, "{}"), c.PartEnded(0), c.Finished("stop"),
    ]  # fmt: skip


def test_of_two_answers_the_first_counts():
    second = (
        c.PartStarted(1, "tool_call", "t2", NAME), c.Delta(1, "{}"),
        c.SignatureDelta(1, "c2ln"), c.PartEnded(1),
    )  # fmt: skip
    assert unwrapped(*CALLED, *second, c.Finished("tool_calls")) == [
        *SAID, c.Finished("stop"),
    ]  # fmt: skip
    twice = c.Choice(
        (
            c.ToolCall("t1", NAME, '{"a":1}'), c.ToolCall("t2", NAME, "{}"),
            c.ToolCall("t3", "weather", "{}"),
        ),
        "tool_calls",
    )  # fmt: skip
    (choice,) = unwrap(c.Answer("", "", (twice,)), NAME).choices
    assert choice.parts == (c.Text('{"a":1}'), c.ToolCall("t3", "weather", "{}"))
    assert choice.finish == "tool_calls"
