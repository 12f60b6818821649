"""The mock of Cohere: what its SDK reads of it, and what it refuses as Cohere does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cohere.v2.types import V2ChatResponse, V2ChatStreamResponse
from pydantic import TypeAdapter

from extproc.local.mock.cohere.api import Cohere
from extproc.local.mock.reply import Reply, Request, Stream
from extproc.local.mock.state import Memory

Json = dict[str, Any]
EVENT: TypeAdapter[Any] = TypeAdapter(V2ChatStreamResponse)
HELLO = {"role": "user", "content": "Hello"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {}}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
IMAGE = {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}
KEY = ("authorization", "Bearer sk-mock")
JSON = ("content-type", "application/json")


def ask(
    body: Json, *headers: tuple[str, str], path: str = "/v2/chat"
) -> Reply | Stream:
    mock = Cohere(Memory(lambda: 0.0), ["sk-mock*"])
    raw = json.dumps({"model": "command-a-03-2025", "messages": [HELLO], **body})
    request = Request("POST", path, headers or (KEY, JSON), raw.encode())
    assert mock.owns(request) is path.endswith("/v2/chat")
    return mock.respond(request)


def whole(**body: Any) -> V2ChatResponse:
    reply = ask(body)
    assert isinstance(reply, Reply)
    assert reply.status == 200, reply.body
    return V2ChatResponse.model_validate_json(reply.body)


def streamed(**body: Any) -> list[Any]:
    stream = ask({**body, "stream": True})
    assert isinstance(stream, Stream)
    events = [(e.name, EVENT.validate_json(e.payload)) for e in stream.events]
    assert all(name == event.type for name, event in events)
    return [event for _, event in events]


def test_the_sdk_reads_an_answer_and_a_stream_of_the_same_words():
    answer = whole()
    assert answer.message.content is not None
    said = "".join(
        event.delta.message.content.text
        for event in streamed()
        if event.type == "content-delta"
    )
    assert getattr(answer.message.content[0], "text") == said  # noqa: B009
    assert answer.finish_reason == "COMPLETE"
    assert answer.usage is not None
    assert answer.usage.billed_units is not None


def test_it_plans_calls_and_thinks():
    model = "command-a-reasoning-08-2025"
    messages = [{"role": "user", "content": "text before the weather"}]
    answer = whole(model=model, messages=messages, tools=[TOOL])
    assert answer.finish_reason == "TOOL_CALL"
    assert answer.message.tool_plan == "Let me look that up."
    kinds = [
        event.type for event in streamed(model=model, messages=messages, tools=[TOOL])
    ]
    for kind in (
        "content-start",
        "tool-plan-delta",
        "tool-call-start",
        "tool-call-end",
    ):
        assert kind in kinds


def test_it_cites_documents():
    documents = [{"data": {"text": "Hello"}}]
    assert whole(documents=documents).message.citations
    assert "citation-start" in [event.type for event in streamed(documents=documents)]


REFUSED: list[tuple[int, Json]] = [
    (422, {"messages": []}),
    (422, {"messages": [{"role": "developer", "content": "a"}]}),
    (422, {"max_completion_tokens": 5}),
    (422, {"top_p": 0.5}),
    (422, {"p": 1.0}),
    (422, {"tool_choice": "auto"}),
    (422, {"stop_sequences": ["a"] * 6}),
    (422, {"tools": [{"type": "function", "function": {"name": "f"}}]}),
    (400, {"tool_choice": "NONE"}),
    (400, {"strict_tools": True}),
    (400, {"thinking": {"type": "enabled"}}),
    (400, {"response_format": {"type": "json_object"}, "tools": [TOOL]}),
    (400, {"messages": [{"role": "user", "content": [IMAGE]}]}),
    (400, {"messages": [HELLO, {"role": "assistant", "content": "a"}]}),
    (400, {"messages": [{"role": "assistant", "content": ""}, HELLO]}),
    (400, {"messages": [{"role": "assistant", "tool_calls": [CALL]}, HELLO]}),
    (400, {"messages": [{"role": "tool", "tool_call_id": "x", "content": "1"}]}),
    (400, {"messages": [{"role": "user", "content": "[[mock: no-such]]"}]}),
    (404, {"model": "command-none"}),
    (429, {"messages": [{"role": "user", "content": "[[mock: status=429]]"}]}),
    (400, {"messages": [{"role": "user", "content": "[[mock: context-length]]"}]}),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body"), REFUSED)
def test_it_refuses_what_cohere_does_in_its_words(status, body):
    reply = ask(body)
    assert reply.status == status
    assert isinstance(reply, Reply)
    assert set(json.loads(reply.body)) == {"message"}


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (401, (JSON,)),
        (401, (("authorization", "Bearer other"), JSON)),
        (400, (("authorization", "Bearer sk-mock-openai"), JSON)),
        (400, (KEY, JSON, ("x-envoy-a", "b"))),
        (400, (KEY, JSON, ("x-api-key", "k"))),
        (415, (KEY, ("content-type", "text/plain"))),
    ],
)
def test_its_door_is_as_narrow_as_the_others(status, headers):
    assert ask({}, *headers).status == status


def test_a_failure_in_the_middle_ends_the_message():
    stream = ask(
        {
            "messages": [
                {"role": "user", "content": "Hi [[mock: error-mid-stream after=3]]"}
            ],
            "stream": True,
        }
    )
    assert isinstance(stream, Stream)
    last = [EVENT.validate_json(event.payload) for event in stream.events][-1]
    assert (last.type, last.delta.finish_reason) == ("message-end", "ERROR")
