"""What we write, judged by the mock of OpenAI, and what it answers, read by us.

The mock refuses what the real API refuses, in what the types cannot say: outputs without
calls, reasoning that was tampered with, wishes that a model does not know.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from openai.types.responses import Response

from extproc import canonical as c
from extproc.formats import anthropic, openai_chat
from extproc.formats.base import WriterContext
from extproc.formats.openai_responses import CLIENT, PROVIDER
from extproc.framing.members import read_members
from extproc.framing.sse import SSEDecoder, encode_frame
from extproc.local.mock.anthropic.api import Anthropic
from extproc.local.mock.openai.api import OpenAI
from extproc.local.mock.reply import Reply, Request, Stream
from extproc.local.mock.state import Memory

HEADERS = (("content-type", "application/json"), ("authorization", "Bearer sk-mock"))
TOOL = c.Tool("weather", "Tells it.", msgspec.Raw(b'{"type":"object","properties":{}}'))
CONTEXT = WriterContext(id="gw1", created=1, model="m", include_usage=True)
PNG = "iVBORw0KGgoAAAANSUhEUg=="


def say(*messages: tuple[Any, Any]) -> tuple[c.Message, ...]:
    return tuple(
        c.Message(role, parts if isinstance(parts, tuple) else (c.Text(parts),))
        for role, parts in messages
    )


def post(body: bytes) -> Reply | Stream:
    mock = OpenAI(Memory(lambda: 1.7e9), ("sk-mock*",))
    return mock.respond(Request("POST", "/v1/responses", HEADERS, body))


def ask(model: str, **asks: Any) -> c.Answer:
    body = PROVIDER.write_request(c.Request(model="asked", **asks), model, 100).body
    reply = post(body)
    assert isinstance(reply, Reply)
    assert reply.status == 200, reply.body
    return PROVIDER.read_answer(reply.body)


def ask_streamed(model: str, **asks: Any) -> list[c.Event]:
    request = c.Request(model="asked", stream=True, **asks)
    stream = post(PROVIDER.write_request(request, model, 100).body)
    assert isinstance(stream, Stream)
    reader = PROVIDER.stream_reader()
    body = b"".join(encode_frame(e.payload, e.name or "") for e in stream.events)
    events = [e for frame in SSEDecoder().feed(body) for e in reader.feed(frame)]
    return events + reader.close()


CALL = c.ToolCall("call_1", "weather", "{}")
CUSTOM = c.ToolCall("call_2", "run", "ls", custom=True)
ASKS: dict[str, dict[str, Any]] = {
    "plain": {"messages": say(("user", "hello"))},
    "everyone": {
        "messages": say(("system", "a"), ("user", "b"), ("developer", "c"), ("assistant", "d"), ("user", "e"))
    },
    "pictures and files": {
        "messages": say(
            ("user", (
                c.Text("see"), c.Image(c.Inline("", PNG)), c.Image(c.Remote("https://x.test/a.png"), "low"),
                c.Document(c.Inline("", "JVBERi0xLjQK")), c.Document(c.FileReference("file-1"), "a.pdf"),
            ))
        )
    },
    "a tool": {"messages": say(("user", "weather in Rome?")), "tools": (TOOL,)},
    "a custom tool": {"messages": say(("user", "run it")), "tools": (c.CustomTool("run"),)},
    "a tool loop": {
        "messages": say(
            ("user", "weather?"), ("assistant", (c.Text("let me"), c.Refusal("no"), CALL, CUSTOM)),
            ("tool", (c.ToolResult("call_1", (c.Text("sunny"),)),)),
            ("tool", (c.ToolResult("call_2", ()),)),
        ),
        "tools": (TOOL, c.CustomTool("run")),
        "tool_choice": c.ToolChoice("auto", ("weather", "run")),
    },
    "a forced tool": {
        "messages": say(("user", "hello")), "tools": (TOOL,), "tool_choice": c.ToolChoice("named", ("weather",)),
    },
    "a shape": {
        "messages": say(("user", "hello")),
        "output_format": c.OutputFormat(
            "json_schema", schema=msgspec.Raw(b'{"type":"object","properties":{},"additionalProperties":false}'), strict=True,
        ),
    },
    "a refusal": {"messages": say(("user", "please refuse"))},
    "wishes": {"messages": say(("user", "hello")), "end_user": "u", "service_tier": "default", "parallel_tool_calls": True},
}  # fmt: skip


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5"])
@pytest.mark.parametrize("name", ASKS)
def test_the_mock_takes_what_we_write_and_a_stream_says_the_same(name, model):
    answer = ask(model, **ASKS[name])
    (choice,) = answer.choices
    events = ask_streamed(model, **ASKS[name])
    (finished,) = [e for e in events if isinstance(e, c.Finished)]
    (reported,) = [e for e in events if isinstance(e, c.Reported)]
    assert (finished.finish, reported.usage) == (choice.finish, answer.usage)
    begun = [e for e in events if isinstance(e, c.PartStarted)]
    said = [
        "".join(e.text for e in events if isinstance(e, c.Delta) and e.index == b.index)
        for b in begun
    ]
    whole = [
        getattr(part, "arguments", None) or getattr(part, "text", "")
        for part in choice.parts
    ]
    assert [text or "{}" for text in said] == [text or "{}" for text in whole]
    assert len(begun) == len(choice.parts)


@pytest.mark.parametrize("client", [openai_chat.CLIENT, anthropic.CLIENT])
def test_thoughts_go_through_another_format_and_are_believed(client):
    """Both of the others carry OpenAI's encrypted reasoning back to it, item id and all."""
    asks = {"messages": say(("user", "weather?")), "tools": (TOOL,)}
    thinking = c.Thinking("low", display="auto")
    first = ask("gpt-5", **asks, thinking=thinking)
    shown, proven, call = first.choices[0].parts
    assert isinstance(shown, c.Reasoning)
    assert isinstance(proven, c.Reasoning)
    assert shown.text
    assert proven.encrypted
    assert isinstance(call, c.ToolCall)
    said = msgspec.json.decode(client.write_answer(first, CONTEXT))
    turn = (
        said["choices"][0]["message"]
        if "choices" in said
        else {"role": "assistant", "content": said["content"]}
    )
    body = msgspec.json.encode(
        {
            "model": "m",
            "max_tokens": 9,
            "messages": [{"role": "user", "content": "weather?"}, turn],
        }
    )
    _, back = client.read_request(body, read_members(body)).messages
    assert any(
        isinstance(p, c.Reasoning) and p.encrypted == proven.encrypted
        for p in back.parts
    )
    result = c.Message("tool", (c.ToolResult(call.id, (c.Text("sunny"),)),))
    again = ask(
        "gpt-5",
        messages=(*asks["messages"], back, result),
        tools=(TOOL,),
        thinking=thinking,
    )
    assert any(
        isinstance(p, c.Text) and "sunny" in p.text for p in again.choices[0].parts
    )


def test_thoughts_that_were_tampered_with_are_refused():
    said = ask("gpt-5", messages=say(("user", "hello")))
    proven = said.choices[0].parts[0]
    assert isinstance(proven, c.Reasoning)
    broken = c.Reasoning(encrypted=f"{proven.encrypted}AAAA")
    request = c.Request(
        model="m", messages=say(("user", "a"), ("assistant", (broken,)), ("user", "b"))
    )
    reply = post(PROVIDER.write_request(request, "gpt-5", 100).body)
    assert isinstance(reply, Reply)
    error = PROVIDER.read_error(reply.status, reply.body)
    assert (error.status, error.code) == (400, "invalid_encrypted_content")


def test_an_error_in_the_middle_is_read():
    *_, last = ask_streamed(
        "gpt-4o", messages=say(("user", "[[mock: error-mid-stream after=5]] a"))
    )
    assert isinstance(last, c.Failed)
    assert (last.error.status, last.error.code) == (500, "server_error")


@pytest.mark.parametrize(
    ("text", "finish"),
    [
        ("[[mock: finish=content_filter]] a", "content_filter"),
        ("[[mock: finish=max_output_tokens]] a", "length"),
        ("[[mock: finish=steered]] a", "pause"),
    ],
)
def test_an_incomplete_response_is_read(text, finish):
    (choice,) = ask("gpt-4o", messages=say(("user", text))).choices
    assert choice.finish == finish


FOREIGN: dict[str, tuple[Any, str, Any, str, tuple[tuple[str, str], ...]]] = {
    "anthropic": (
        anthropic.PROVIDER, "claude-sonnet-4-5", Anthropic, "/v1/messages",
        (HEADERS[0], ("x-api-key", "sk-mock"), ("anthropic-version", "2023-06-01")),
    ),
    "chat": (openai_chat.PROVIDER, "gpt-4o", OpenAI, "/v1/chat/completions", HEADERS),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_responses_client_has_a_tool_loop_with_a_foreign_provider(name, streamed):
    """All items go back as they came; the mock of Anthropic checks its signatures."""
    provider, model, mock, path, headers = FOREIGN[name]
    tool = {
        "type": "function",
        "name": "weather",
        "parameters": {"type": "object", "properties": {}},
        "strict": False,
    }
    items: list[Any] = [{"role": "user", "content": "text before weather"}]
    asks = {
        "model": "m",
        "tools": [tool],
        "stream": streamed,
        "max_output_tokens": 8000,
    }
    if name == "anthropic":
        asks["reasoning"] = {"effort": "low", "summary": "auto"}
    kinds = []
    for _ in range(2):
        body = msgspec.json.encode({**asks, "input": items})
        request = CLIENT.read_request(body, read_members(body))
        rendered = provider.write_request(request, model, 4096)
        assert rendered.dropped == ()
        reply = mock(Memory(lambda: 1.7e9), ("sk-mock",)).respond(
            Request("POST", path, headers, rendered.body)
        )
        said = _streamed(provider, reply) if streamed else _whole(provider, reply)
        Response.model_validate(said, strict=True)
        kinds.append([item["type"] for item in said["output"]])
        items += said["output"]
        items += [
            {
                "type": "function_call_output",
                "call_id": item["call_id"],
                "output": "sunny",
            }
            for item in said["output"]
            if item["type"] == "function_call"
        ]
    thought = ["reasoning"] if name == "anthropic" else []
    assert kinds == [[*thought, "message", "function_call"], [*thought, "message"]]


def _whole(provider: Any, reply: Any) -> dict[str, Any]:
    assert reply.status == 200, reply.body
    said: dict[str, Any] = msgspec.json.decode(
        CLIENT.write_answer(provider.read_answer(reply.body), CONTEXT)
    )
    return said


def _streamed(provider: Any, reply: Any) -> dict[str, Any]:
    assert isinstance(reply, Stream), reply.body
    reader, writer = provider.stream_reader(), CLIENT.stream_writer(CONTEXT)
    raw = b"".join(encode_frame(e.payload, e.name or "") for e in reply.events)
    out = b"".join(writer.write(reader.feed(frame)) for frame in SSEDecoder().feed(raw))
    *_, last = SSEDecoder().feed(out + writer.write(reader.close()))
    assert last.name == "response.completed"
    said: dict[str, Any] = msgspec.json.decode(last.data)["response"]
    return said
