"""Converse against the mocks: Bedrock's takes what we write, and says what Anthropic's says."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from extproc import canonical as c
from extproc.formats import anthropic, converse
from extproc.formats.base import ProviderFormat
from extproc.framing.base import SSE, Framing
from extproc.framing.eventstream import EVENT_STREAM
from extproc.local.mock.anthropic.api import Anthropic
from extproc.local.mock.bedrock.api import Bedrock
from extproc.local.mock.connection import event_bytes
from extproc.local.mock.reply import Reply, Request, Stream
from extproc.local.mock.state import Memory
from extproc.providers import bedrock
from extproc.providers.base import fill_path

CLAUDE = "claude-sonnet-4-5"
SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
OPUS = "global.anthropic.claude-opus-4-6-v1"
NOVA = "us.amazon.nova-pro-v1:0"
NOVA_2 = "us.amazon.nova-2-lite-v1:0"
OSS = "openai.gpt-oss-120b-1:0"
LLAMA = "us.meta.llama3-3-70b-instruct-v1:0"
ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"
PNG = c.Inline("image/png", "iVBORw0KGgoAAAANSUhEUg==")
PDF = c.Inline("application/pdf", "JVBERi0xLjQK")


def schema(**properties: Any) -> msgspec.Raw:
    return msgspec.Raw(
        msgspec.json.encode(
            {
                "type": "object",
                "properties": properties,
                "required": list(properties),
                "additionalProperties": False,
            }
        )
    )


WEATHER = c.Tool("weather", "Tells it.", schema(city={"type": "string"}))
ChatFormat = ProviderFormat[c.Request, c.Answer]
CLOCK = c.Tool("clock")


def user(*parts: Any) -> c.Message:
    said = (c.Text(part) if isinstance(part, str) else part for part in parts)
    return c.Message("user", tuple(said), where="messages[?]")


def to_bedrock(request: c.Request, model: str) -> tuple[Any, ChatFormat, Framing]:
    body = converse.PROVIDER.write_request(request, model, 4096).body
    provider = bedrock.PROVIDER
    path = provider.stream_path if request.stream else provider.chat_path
    headers = (
        ("content-type", "application/json"),
        ("authorization", f"{provider.credential_prefix}sk-mock-1"),
    )
    asked = Request("POST", fill_path(path or "", model), headers, body)
    answer = Bedrock(Memory(lambda: 0.0), ("sk-mock*",)).respond(asked)
    return answer, converse.PROVIDER, EVENT_STREAM


def to_anthropic(request: c.Request, model: str) -> tuple[Any, ChatFormat, Framing]:
    body = anthropic.PROVIDER.write_request(request, model, 4096).body
    headers = (
        ("content-type", "application/json"),
        ("x-api-key", "sk-mock-1"),
        ("anthropic-version", "2023-06-01"),
    )
    asked = Request("POST", "/v1/messages", headers, body)
    answer = Anthropic(Memory(lambda: 0.0), ("sk-mock*",)).respond(asked)
    return answer, anthropic.PROVIDER, SSE


def answer_of(sent: tuple[Any, ChatFormat, Framing]) -> c.Answer:
    reply, form, _ = sent
    assert isinstance(reply, Reply)
    assert reply.status == 200, reply.body
    return form.read_answer(reply.body)


def events_of(sent: tuple[Any, ChatFormat, Framing]) -> list[c.Event]:
    stream, form, framing = sent
    assert isinstance(stream, Stream), stream
    assert stream.content_type.startswith(framing.content_type)
    decoder, reader = framing.decoder(), form.stream_reader()
    sent_bytes = [event_bytes(event) for event in stream.events]
    frames = [frame for piece in sent_bytes for frame in decoder.feed(piece)]
    frames += decoder.close()
    return [e for frame in frames for e in reader.feed(frame)] + reader.close()


def folded(events: list[c.Event]) -> tuple[list[tuple[Any, ...]], Any]:
    """Put a stream together: its parts, in order, and why it ended."""
    parts: dict[int, list[Any]] = {}
    finish = None
    for event in events:
        match event:
            case c.PartStarted():
                parts[event.index] = [event.kind, event.name, event.encrypted, "", ""]
            case c.Delta(index, text):
                parts[index][3] += text
            case c.SignatureDelta(index, signature):
                parts[index][4] += signature
            case c.Finished():
                finish = (event.finish, event.stop_sequence)
            case _:
                pass
    return [tuple(part) for part in parts.values()], finish


def parts_of(answer: c.Answer) -> tuple[list[tuple[Any, ...]], Any]:
    """Return an answer as `folded` would."""
    (choice,) = answer.choices
    parts: list[tuple[Any, ...]] = []
    for part in choice.parts:
        match part:
            case c.Text(text):
                parts.append(("text", "", None, text, ""))
            case c.Reasoning(text, signature, encrypted):
                parts.append(("reasoning", "", encrypted, text, signature or ""))
            case c.ToolCall():
                said = "" if part.arguments == "{}" else part.arguments
                parts.append(("tool_call", part.name, None, said, ""))
            case _:
                raise AssertionError(part)
    return parts, (choice.finish, choice.stop_sequence)


ASKED: dict[str, dict[str, Any]] = {
    "plain": {"messages": (user("hello there"),)},
    "calls": {
        "messages": (user("weather and clock, text before"),),
        "tools": (WEATHER, CLOCK),
    },
    "one call": {
        "messages": (user("weather and clock"),),
        "tools": (WEATHER, CLOCK),
        "parallel_tool_calls": False,
    },
    "forced": {
        "messages": (user("hello"),),
        "tools": (WEATHER, CLOCK),
        "tool_choice": c.ToolChoice("named", ("weather",)),
    },
    "none": {
        "messages": (user("weather"),),
        "tools": (WEATHER,),
        "tool_choice": c.ToolChoice("none"),
    },
    "thoughts": {
        "messages": (user("redacted, please"),),
        "thinking": c.Thinking(budget_tokens=1024, enabled=True),
    },
    "limit": {"messages": (user("a b c d"),), "max_output_tokens": 3},
    "stop": {"messages": (user("stop now please"),), "stop": ("now",)},
    "shape": {
        "messages": (user("fill it"),),
        "output_format": c.OutputFormat(
            "json_schema", "x", None, schema(a={"type": "integer"}), True
        ),
    },
    "a loop, none the less": {
        "messages": (
            user("w?"),
            c.Message("assistant", (c.ToolCall("t1", "weather", "{}"),)),
            c.Message("tool", (c.ToolResult("t1", (c.Text("sunny"),), True),)),
        ),
        "tools": (WEATHER,),
        "tool_choice": c.ToolChoice("none"),
    },
    "pictures and files": {
        "messages": (
            c.Message("system", (c.Text("Be kind.", c.CacheControl()),)),
            user("what is", c.Image(PNG), c.Document(PDF, "a b.pdf"), c.Document(PDF)),
        ),
        "temperature": 0.5,
    },
}


@pytest.mark.parametrize("name", ASKED)
def test_the_same_conversation_has_the_same_answer_at_anthropic(name):
    asked = c.Request(model="asked", **ASKED[name])
    ours = parts_of(answer_of(to_bedrock(asked, SONNET)))
    assert ours == parts_of(answer_of(to_anthropic(asked, CLAUDE)))
    streamed = msgspec.structs.replace(asked, stream=True)
    assert folded(events_of(to_bedrock(streamed, SONNET))) == ours
    assert folded(events_of(to_anthropic(streamed, CLAUDE))) == ours


@pytest.mark.parametrize(
    ("name", "model"),
    [
        *itertools.product(["plain", "limit", "stop"], [NOVA, NOVA_2, OSS, LLAMA, ARN]),
        *itertools.product(["calls", "none"], [NOVA, OSS, LLAMA, OPUS, ARN]),
        *itertools.product(["forced"], [NOVA, OSS, OPUS]),
        *itertools.product(["shape"], [OSS, OPUS]),
        *itertools.product(["a loop, none the less"], [NOVA, OSS, LLAMA, OPUS]),
        *itertools.product(["pictures and files"], [NOVA, NOVA_2, OPUS]),
    ],
)
def test_every_family_takes_what_is_written_for_it(name, model):
    asked = c.Request(model="asked", **ASKED[name])
    whole = parts_of(answer_of(to_bedrock(asked, model)))
    streamed = msgspec.structs.replace(asked, stream=True)
    assert folded(events_of(to_bedrock(streamed, model))) == whole


@pytest.mark.parametrize("model", [SONNET, OPUS, NOVA_2, OSS])
def test_an_effort_makes_every_thinking_family_think(model):
    asked = c.Request(
        model="asked", messages=(user("why?"),), thinking=c.Thinking(effort="low")
    )
    parts, _ = parts_of(answer_of(to_bedrock(asked, model)))
    assert parts[0][0] == "reasoning"


def test_thoughts_and_calls_go_round_and_round():
    """Signed and sealed thoughts survive a tool loop, answers given back as they came."""
    messages: tuple[c.Message, ...] = (user("weather, redacted"),)
    for turn in range(3):
        asked = c.Request(
            model="asked",
            messages=messages,
            tools=(WEATHER,),
            thinking=c.Thinking(budget_tokens=1024, enabled=True),
        )
        (choice,) = answer_of(to_bedrock(asked, SONNET)).choices
        kinds = [type(part).__name__ for part in choice.parts]
        if choice.finish != "tool_calls":
            assert turn > 0
            break
        assert kinds[0] == "Reasoning"
        calls = [part for part in choice.parts if isinstance(part, c.ToolCall)]
        messages += (
            c.Message("assistant", choice.parts, where="messages[?]"),
            *(
                c.Message("tool", (c.ToolResult(one.id, (c.Text("sunny"),)),))
                for one in calls
            ),
        )
    else:
        pytest.fail("the loop does not end")


def test_the_error_of_a_refusal_is_read():
    asked = c.Request(model="asked", messages=(user("[[mock: status=429]]"),))
    reply, form, _ = to_bedrock(asked, SONNET)
    error = form.read_error(reply.status, reply.body)
    assert (error.status, error.code) == (429, "rate_limit_exceeded")
    asked = c.Request(model="asked", messages=(user("[[mock: status=403]]"),))
    reply, form, _ = to_bedrock(asked, SONNET)
    assert form.read_error(reply.status, reply.body).status == 502


def test_an_exception_in_the_mocks_stream_is_a_failure():
    asked = c.Request(
        model="asked",
        messages=(user("[[mock: error-mid-stream after=2]]"),),
        stream=True,
    )
    failed = events_of(to_bedrock(asked, SONNET))[-1]
    assert isinstance(failed, c.Failed)
    assert failed.error.status == 429
