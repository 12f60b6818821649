"""What we write, judged by the mock of Anthropic, and what it answers, read by us.

The mock refuses what the real API refuses, in what the types cannot say: order of turns,
tools that were not answered, thoughts that were tampered with.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc import canonical as c
from extproc.formats.anthropic import PROVIDER
from extproc.framing.sse import SSEDecoder, encode_frame
from extproc.local.mock.anthropic.api import Anthropic
from extproc.local.mock.anthropic.models import MODELS
from extproc.local.mock.reply import Reply, Request, Stream
from extproc.local.mock.state import Memory

HEADERS = (
    ("content-type", "application/json"),
    ("x-api-key", "sk-ant-test"),
    ("anthropic-version", "2023-06-01"),
)
PNG = "iVBORw0KGgoAAAANSUhEUg=="
TOOL = c.Tool(
    "weather", "Tells the weather.", msgspec.Raw(b'{"properties":{"city":{}}}')
)


def say(*messages: tuple[Any, Any]) -> tuple[c.Message, ...]:
    return tuple(
        c.Message(role, parts if isinstance(parts, tuple) else (c.Text(parts),))
        for role, parts in messages
    )


def post(model: str, **asks: Any) -> Reply | Stream:
    request = c.Request(model="asked", **asks)
    body = PROVIDER.write_request(request, model, 4096).body
    mock = Anthropic(Memory(lambda: 1.7e9), ("sk-ant-*",))
    return mock.respond(Request("POST", "/v1/messages", HEADERS, body))


def ask(model: str, **asks: Any) -> c.Answer:
    reply = post(model, **asks)
    assert isinstance(reply, Reply)
    assert reply.status == 200, reply.body
    return PROVIDER.read_answer(reply.body)


def ask_streamed(model: str, **asks: Any) -> list[c.Event]:
    stream = post(model, stream=True, **asks)
    assert isinstance(stream, Stream)
    reader = PROVIDER.stream_reader()
    body = b"".join(encode_frame(e.payload, e.name or "") for e in stream.events)
    events = [e for frame in SSEDecoder().feed(body) for e in reader.feed(frame)]
    return events + reader.close()


def parts_of(events: list[c.Event]) -> list[tuple[str, str, str | None]]:
    """Return kind, text and proof of the streamed parts."""
    parts: list[tuple[str, str, str | None]] = []
    for event in events:
        match event:
            case c.PartStarted(kind=begun, encrypted=encrypted):
                parts.append((begun, "", encrypted))
            case c.Delta(text=text):
                kind, before, proof = parts[-1]
                parts[-1] = (kind, before + text, proof)
            case c.SignatureDelta(signature=signature):
                parts[-1] = (*parts[-1][:2], signature)
            case _:
                pass
    return parts


CALL = c.ToolCall("call_1", "weather", "{}")
ASKS: dict[str, dict[str, Any]] = {
    "plain": {"messages": say(("user", "hello"))},
    "system everywhere": {
        "messages": say(
            ("system", "a"), ("user", "hello"), ("developer", "b"), ("user", "c"),
            ("system", "d"),
        )
    },
    "empty messages": {
        "messages": say(("user", "hello"), ("assistant", ""), ("user", " "))
    },
    "pictures and files": {
        "messages": say(
            (
                "user",
                (
                    c.Text("see"), c.Image(c.Inline("", PNG)),
                    c.Document(c.Inline("", "JVBERi0xLjQK"), "a.pdf"),
                    c.Document(c.Inline("text/plain", "YQ==")),
                    c.Image(c.Remote("https://x.test/a.png")),
                ),
            )
        )
    },
    "a tool loop": {
        "messages": say(
            ("user", "weather?"),
            ("assistant", (c.Text("let me"), CALL, c.ToolCall("a.b:2", "weather", ""))),
            ("tool", (c.ToolResult("call_1", (c.Text("sunny"),)),)),
            ("user", "hurry"),
            ("tool", (c.ToolResult("a.b:2", (), is_error=True),)),
        ),
        "tools": (TOOL,),
        "parallel_tool_calls": False,
    },
    "a tool": {"messages": say(("user", "weather in Rome?")), "tools": (TOOL,)},
    "defaults of sampling": {
        "messages": say(("user", "hello")), "temperature": 1.0, "top_p": 1.0,
        "stop": ("END",), "end_user": "u", "service_tier": "default",
    },
    "an effort": {
        "messages": say(("user", "hello")), "thinking": c.Thinking("high"),
        "temperature": 1.0,
    },
    "no effort": {
        "messages": say(("user", "hello")), "thinking": c.Thinking("none"),
    },
}  # fmt: skip


@pytest.mark.parametrize("asks", ASKS.values(), ids=ASKS)
@pytest.mark.parametrize("model", MODELS)
def test_the_mock_accepts_what_we_write_and_we_read_its_answers(model, asks):
    answer = ask(model, **asks)
    events = ask_streamed(model, **asks)
    (choice,) = answer.choices
    streamed = parts_of(events)
    assert [words for kind, words, _ in streamed if kind == "text"] == [
        part.text for part in choice.parts if isinstance(part, c.Text)
    ]
    assert [kind for kind, _, _ in streamed if kind == "tool_call"] == [
        "tool_call" for part in choice.parts if isinstance(part, c.ToolCall)
    ]
    finished = [e.finish for e in events if isinstance(e, c.Finished)]
    assert finished == [choice.finish]
    reported = [e.usage for e in events if isinstance(e, c.Reported)]
    assert reported[-1] == answer.usage
    assert isinstance(events[-1], c.Ended)


@pytest.mark.parametrize("model", MODELS)
def test_signed_thoughts_go_around_a_tool_loop(model):
    """The proofs that came out go back in unharmed: the mock checks each of them."""
    asks: dict[str, Any] = {
        "tools": (TOOL,), "thinking": c.Thinking("high"),
        "messages": say(("user", "weather in Rome?")),
    }  # fmt: skip
    (choice,) = ask(model, **asks).choices
    thoughts = [part for part in choice.parts if isinstance(part, c.Reasoning)]
    (call,) = [part for part in choice.parts if isinstance(part, c.ToolCall)]
    assert thoughts
    loop = (
        *asks["messages"],
        c.Message("assistant", choice.parts),
        c.Message("tool", (c.ToolResult(call.id, (c.Text("sunny"),)),)),
    )
    assert ask(model, **{**asks, "messages": loop}).choices[0].finish == "stop"


def test_an_error_in_the_middle_of_a_stream_is_told():
    message = say(("user", "hello [[mock:error-mid-stream type=overloaded_error]]"))
    events = ask_streamed("claude-sonnet-4-5", messages=message)
    assert isinstance(events[-1], c.Failed)
    assert events[-1].error.code == "overloaded"


@pytest.mark.parametrize(
    ("status", "shown"), [(400, 400), (429, 429), (401, 502), (529, 529)]
)
def test_a_refusal_is_read(status, shown):
    message = say(("user", f"hello [[mock:status={status}]]"))
    reply = post("claude-sonnet-4-5", messages=message)
    assert isinstance(reply, Reply)
    assert reply.status == status
    assert PROVIDER.read_error(reply.status, reply.body).status == shown
