"""Canonical requests to the mock, whose answers come back: streamed, whole, in loops."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from extproc import canonical as c
from extproc.formats.anthropic import CLIENT as ANTHROPIC
from extproc.formats.base import ClientFormat, WriterContext
from extproc.formats.openai_chat import CLIENT as OPENAI
from extproc.framing.members import read_members
from extproc.framing.sse import SSEDecoder
from extproc.local.mock.connection import event_bytes
from extproc.local.mock.gemini.api import FINISH_REASONS, Gemini
from extproc.local.mock.gemini.models import MODELS
from extproc.local.mock.reply import Reply, Request, Stream
from extproc.local.mock.state import Memory
from extproc.providers.base import fill_path
from extproc.providers.gemini import PROVIDER

FORMAT = PROVIDER.format
NAMES = st.sampled_from(sorted(MODELS))
SCHEMA = msgspec.Raw(
    b'{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}'
)
TOOLS = (c.Tool("weather", "The weather.", SCHEMA), c.Tool("clock"))


def send(request: c.Request, model: str) -> Reply | Stream:
    """Send what the exchange would: the format's body to the provider's path."""
    template = PROVIDER.stream_path if request.stream else PROVIDER.chat_path
    assert template is not None
    sent = Request(
        "POST",
        "/v1beta" + fill_path(template, model),
        ((PROVIDER.credential_header, "k"), ("content-type", "application/json")),
        FORMAT.write_request(request, model, 4096).body,
    )
    return Gemini(Memory(lambda: 0.0), ["k"]).respond(sent)


def ask(request: c.Request, model: str) -> c.Answer:
    """Return the whole answer."""
    reply = send(request, model)
    assert isinstance(reply, Reply)
    assert reply.status == 200, reply.body
    answer: c.Answer = FORMAT.read_answer(reply.body)
    return answer


def stream(request: c.Request, model: str) -> list[c.Event]:
    """Return the events of the streamed answer, from the mock's own bytes."""
    asked = msgspec.structs.replace(request, stream=True)
    answer = send(asked, model)
    assert isinstance(answer, Stream)
    frames, reader = SSEDecoder(), FORMAT.stream_reader()
    out: list[c.Event] = []
    for event in answer.events:
        for frame in frames.feed(event_bytes(event, "\r\n")):
            out += reader.feed(frame)
    return out + reader.close()


def user(text: str, **fields: Any) -> c.Request:
    hello = c.Message("user", (c.Text(text),), where="messages[0]")
    return c.Request(**{"model": "m", "messages": (hello,), **fields})


def folded(events: list[c.Event], choice: int = 0) -> tuple[c.AnswerPart, ...]:
    """Return the parts that a stream amounts to."""
    parts: list[Any] = []
    for event in events:
        match event:
            case c.PartStarted(kind=kind, id=call_id, name=name) if (
                event.choice == choice
            ):
                parts.append([kind, "", None, call_id, name])
            case c.Delta(index=i, text=text) if event.choice == choice:
                parts[i][1] += text
            case c.SignatureDelta(index=i, signature=signature) if (
                event.choice == choice
            ):
                parts[i][2] = signature
            case _:
                pass
    made: list[c.AnswerPart] = []
    for kind, text, signature, call_id, name in parts:
        match kind:
            case "text":
                made.append(c.Text(text))
            case "reasoning":
                made.append(c.Reasoning(text, signature))
            case "refusal":
                made.append(c.Refusal(text))
            case _:
                made.append(c.ToolCall(call_id, name, text, signature=signature))
    return tuple(made)


REQUESTS = st.builds(
    user,
    st.sampled_from(
        ["Hello", "weather", "weather, then clock; text before", "please refuse", "é😀"]
    ),
    tools=st.sampled_from([(), TOOLS]),
    max_output_tokens=st.sampled_from([None, 3]),
    thinking=st.sampled_from([None, c.Thinking(effort="low")]),
    stop=st.sampled_from([(), ("mock",)]),
    n=st.sampled_from([None, 1, 2]),
)


def known(part: c.AnswerPart) -> c.AnswerPart:
    """Return `part` as any other request's: its proofs and ids are of one answer."""
    if isinstance(part, c.ToolCall):
        return c.ToolCall("", part.name, part.arguments)
    return c.Reasoning(part.text) if isinstance(part, c.Reasoning) else part


def joined(parts: tuple[c.AnswerPart, ...]) -> list[c.AnswerPart]:
    """Return the parts without the thoughts that only carry a proof."""
    return [one for part in parts if (one := known(part)) != c.Reasoning()]


@given(request=REQUESTS, model=NAMES)
def test_a_stream_and_a_whole_answer_say_the_same(request, model):
    answer = ask(request, model)
    events = stream(request, model)
    assert events[-1] == c.Ended()
    finishes = {e.choice: e.finish for e in events if isinstance(e, c.Finished)}
    for i, choice in enumerate(answer.choices):
        assert joined(folded(events, i)) == joined(choice.parts)
        assert finishes[i] == choice.finish
    reported = [event.usage for event in events if isinstance(event, c.Reported)]
    assert reported[-1] == answer.usage


@pytest.mark.parametrize("reason", FINISH_REASONS)
def test_every_finish_reason_of_the_mock_is_read(reason):
    request = user(f"[[mock: finish={reason}]] x")
    (choice,) = ask(request, "gemini-2.5-flash").choices
    assert c.Finished(choice.finish) in stream(request, "gemini-2.5-flash")


def through_openai(answer: c.Answer) -> tuple[c.Message, ...]:
    """Return the answer as an OpenAI client gives it back, with results."""
    written = msgspec.json.decode(OPENAI.write_answer(answer, CONTEXT))
    message = written["choices"][0]["message"]
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": "sunny"}
        for call in message.get("tool_calls") or ()
    ]
    return read_back(
        OPENAI, {"messages": [{"role": "user", "content": "x"}, message, *results]}
    )


def through_anthropic(answer: c.Answer) -> tuple[c.Message, ...]:
    """Return the answer as an Anthropic client gives it back, with results."""
    content = msgspec.json.decode(ANTHROPIC.write_answer(answer, CONTEXT))["content"]
    results = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": "sunny"}
        for block in content
        if block["type"] == "tool_use"
    ]
    return read_back(
        ANTHROPIC,
        {
            "max_tokens": 9,
            "messages": [
                {"role": "user", "content": "x"},
                {"role": "assistant", "content": content},
                {"role": "user", "content": results},
            ],
        },
    )


def directly(answer: c.Answer) -> tuple[c.Message, ...]:
    """Return the answer as it is, with results."""
    parts = answer.choices[0].parts
    results = tuple(
        c.ToolResult(part.id, (c.Text("sunny"),))
        for part in parts
        if isinstance(part, c.ToolCall)
    )
    return (
        c.Message("user", (c.Text("x"),), where="messages[0]"),
        c.Message("assistant", parts, where="messages[1]"),
        c.Message("tool", results, where="messages[2]"),
    )


def read_back(
    form: ClientFormat[c.Request, c.Answer], said: dict[str, Any]
) -> tuple[c.Message, ...]:
    body = msgspec.json.encode({"model": "m", **said})
    return form.read_request(body, read_members(body)).messages


CONTEXT = WriterContext("x1", 0, "m", include_usage=True)


@pytest.mark.parametrize("model", sorted(MODELS))
@pytest.mark.parametrize("back", [directly, through_openai, through_anthropic])
def test_a_tool_loop_goes_round(model, back):
    """The mock refuses lost, altered and foreign signatures, names and ids."""
    thinking = None if model == "gemini-2.0-flash" else c.Thinking(effort="low")
    first = ask(user("weather and clock", tools=TOOLS, thinking=thinking), model)
    assert first.choices[0].finish == "tool_calls"
    again = c.Request(model="m", messages=back(first), tools=TOOLS)
    rendered = FORMAT.write_request(again, model, 1)
    assert rendered.dropped == ()
    assert b"skip_thought_signature" not in rendered.body
    (choice,) = ask(again, model).choices
    assert "sunny" in "".join(p.text for p in choice.parts if isinstance(p, c.Text))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
def test_the_mocks_errors_are_read(status):
    request = user(f"[[mock: status={status} retry-after=1.5]]")
    reply = send(request, "gemini-2.5-flash")
    assert isinstance(reply, Reply)
    error = FORMAT.read_error(reply.status, reply.body)
    assert error.status == (502 if status in {401, 403} else status)
    assert error.retry_after == (None if status in {401, 403} else "2")


def test_an_error_in_the_mocks_stream_is_read():
    events = []
    asked = user("[[mock: error-mid-stream after=2]] x", stream=True)
    answer = send(asked, "gemini-2.5-flash")
    assert isinstance(answer, Stream)
    frames, reader = SSEDecoder(), FORMAT.stream_reader()
    for event in answer.events:
        for frame in frames.feed(event_bytes(event)):
            events += reader.feed(frame)
    assert isinstance(events[-1], c.Failed)
    assert events[-1].error.status == 503


def test_a_models_name_stays_in_its_place():
    path = fill_path(PROVIDER.chat_path, "../x?key=y#z/é:w")
    assert path == "/models/..%2Fx%3Fkey%3Dy%23z%2F%C3%A9%3Aw:generateContent"
    assert fill_path("/messages", "m") == "/messages"
