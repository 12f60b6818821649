"""What a response says again of its request, held against OpenAI's types and the mock."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import msgspec
import pytest
from openai.types.responses import Response

from extproc import canonical as c
from extproc.errors import UpstreamTimeout
from extproc.formats.base import WriterContext
from extproc.formats.openai_responses import CLIENT
from extproc.formats.openai_responses.echo import _FILLED, REPEATED, read_echo
from extproc.framing.members import read_members
from extproc.framing.sse import SSEDecoder
from extproc.local.mock.openai.api import OpenAI
from extproc.local.mock.reply import Reply, Request
from extproc.local.mock.state import Memory

CONTEXT = WriterContext(id="gw1", created=1700, model="asked", include_usage=True)

EVERYTHING: dict[str, Any] = {
    "model": "gpt-4o",
    "input": "hello",
    "instructions": "Be brief.",
    "tools": [
        {"type": "function", "name": "weather", "strict": False, "description": "d",
         "parameters": {"type": "object", "properties": {}}},
        {"type": "custom", "name": "run"},
    ],
    "tool_choice": {"type": "function", "name": "weather"},
    "parallel_tool_calls": False,
    "temperature": 0.5,
    "top_p": 0.25,
    "max_output_tokens": 512,
    "metadata": {"run": "7"},
    "text": {
        "format": {"type": "json_schema", "name": "n", "strict": True,
                   "schema": {"type": "object", "properties": {}, "additionalProperties": False}},
    },
    "truncation": "disabled",
    "user": "u-1",
    "safety_identifier": "s-1",
    "prompt_cache_key": "k-1",
    "top_logprobs": 2,
    "store": False,
}  # fmt: skip


def context_of(body: dict[str, Any]) -> WriterContext:
    raw = msgspec.json.encode(body)
    request = CLIENT.read_request(raw, read_members(raw))
    return dataclasses.replace(CONTEXT, kept=CLIENT.keep(request))


def whole(body: dict[str, Any]) -> Any:
    answer = c.Answer("a", "claude", (c.Choice((c.Text("Hi"),), "stop"),))
    said = json.loads(CLIENT.write_answer(answer, context_of(body)))
    Response.model_validate(said, strict=True)
    return said


def streamed(body: dict[str, Any], *events: c.Event) -> list[Any]:
    writer = CLIENT.stream_writer(context_of(body))
    out = writer.write([c.Started("a", "claude"), *events])
    said = [json.loads(frame.data) for frame in SSEDecoder().feed(out)]
    return [event["response"] for event in said if "response" in event]


def test_every_setting_is_said_again():
    said = whole(EVERYTHING)
    for name in EVERYTHING.keys() - {"model", "input", "tools", "text"}:
        assert said[name] == EVERYTHING[name], name
    assert said["text"] == EVERYTHING["text"]
    assert said["tools"][0] == EVERYTHING["tools"][0]
    assert said["tools"][1]["name"] == "run"


def test_every_event_that_has_the_response_says_it_again():
    text = (c.PartStarted(0, "text"), c.Delta(0, "Hi"), c.PartEnded(0))
    ends = [
        (*text, c.Finished("stop"), c.Ended()),
        (*text, c.Finished("length"), c.Ended()),
        (*text, c.Failed(UpstreamTimeout("slow"))),
    ]
    for end in ends:
        responses = streamed(EVERYTHING, *end)
        assert len(responses) == 3
        for response in responses:
            Response.model_validate(response, strict=True)
            assert response["instructions"] == "Be brief."
            assert response["tools"][0]["name"] == "weather"
            assert response["metadata"] == {"run": "7"}


def test_the_mock_says_the_same_again():
    body = {name: v for name, v in EVERYTHING.items() if name != "tool_choice"}
    mock = OpenAI(Memory(lambda: 1.7e9), ("sk-mock",))
    headers = (
        ("authorization", "Bearer sk-mock"),
        ("content-type", "application/json"),
    )
    reply = mock.respond(
        Request("POST", "/v1/responses", headers, msgspec.json.encode(body))
    )
    assert isinstance(reply, Reply)
    assert reply.status == 200, reply.body
    theirs, ours = json.loads(reply.body), whole(body)
    for name in (
        "instructions", "max_output_tokens", "metadata", "parallel_tool_calls", "tools",
        "tool_choice", "text", "truncation", "user", "background",
        "previous_response_id",
    ):  # fmt: skip
        assert ours[name] == theirs[name], name
    assert theirs.keys() - ours.keys() <= {"service_tier"}


@pytest.mark.parametrize(
    ("asks", "said"),
    [
        ({}, {"tools": [], "tool_choice": "auto", "instructions": None, "metadata": {}}),
        ({"reasoning": {"effort": "low"}}, {"reasoning": {"effort": "low", "summary": None}}),
        ({"text": {"verbosity": "low"}}, {"text": {"verbosity": "low", "format": {"type": "text"}}}),
        (
            {"tools": [{"type": "function", "name": "f"}]},
            {"tools": [{"type": "function", "name": "f", "description": None, "parameters": None, "strict": True}]},
        ),
        ({"instructions": None, "tools": None, "metadata": None}, {"tools": [], "metadata": {}}),
    ],
)  # fmt: skip
def test_what_the_client_left_out_is_filled_in(asks, said):
    made = whole({"model": "m", "input": "hi", **asks})
    assert {name: made[name] for name in said} == said


def test_the_body_is_not_held_for_it():
    body = msgspec.json.encode({**EVERYTHING, "input": "x" * 1_000_000})
    echo = read_echo(read_members(body))
    # A view of the body would show all of it as what it is a view of.
    assert all(memoryview(raw).nbytes < 1000 for raw in echo.values())
    assert all(memoryview(memoryview(raw).obj).nbytes < 1000 for raw in echo.values())


def test_every_member_is_one_of_a_response():
    assert REPEATED | _FILLED.keys() <= set(Response.model_fields)
