"""OpenAI's npm SDK against the gateway: its Responses, over every provider.

Its chat is in `tests/envoy/test_openai_node.py`.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.judge import ECHO, HELLO, OPENAI, USED

pytestmark = [pytest.mark.envoy, pytest.mark.node]

MODELS = pytest.mark.parametrize("model", OPENAI)
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


@MODELS
def test_a_plain_answer_and_its_stream(openai_node, model):
    plain = openai_node.value("respond", model=model, input=HELLO)
    assert plain["output_text"].startswith(ECHO)
    events = openai_node.value("responseEvents", model=model, input=HELLO)["events"]
    assert [e["sequence_number"] for e in events] == list(range(len(events)))
    assert events[-1]["type"] == "response.completed"
    deltas = [e["delta"] for e in events if e["type"] == "response.output_text.delta"]
    assert "".join(deltas) == plain["output_text"]
    whole = openai_node.value("accumulateResponse", model=model, input=HELLO)
    assert whole["output_text"] == plain["output_text"]
    assert whole["usage"]["output_tokens"] == plain["usage"]["output_tokens"]


@MODELS
@pytest.mark.parametrize("call", ["respond", "accumulateResponse"])
def test_a_tool_and_its_result(openai_node, model, call):
    said: list[Any] = [{"role": "user", "content": "use get_weather please"}]
    first = openai_node.value(call, model=model, input=said, tools=[WEATHER])
    (made,) = [item for item in first["output"] if item["type"] == "function_call"]
    assert set(json.loads(made["arguments"])) == {"city"}
    # The helper adds what it parsed, which is not OpenAI's.
    output = [
        {name: value for name, value in item.items() if name != "parsed_arguments"}
        for item in first["output"]
    ]
    result = {
        "type": "function_call_output",
        "call_id": made["call_id"],
        "output": "sunny",
    }
    last = openai_node.value(
        call, model=model, input=[*said, *output, result], tools=[WEATHER]
    )
    assert USED in last["output_text"]


@MODELS
def test_structured_output_by_a_zod_schema(openai_node, model):
    person = openai_node.value("parseResponse", model=model, input="Who?")
    assert set(person) == {"name", "age"}


@MODELS
@pytest.mark.parametrize(
    ("status", "kind"), [(400, "BadRequestError"), (429, "RateLimitError")]
)
def test_a_providers_error_is_the_sdks_own_exception(openai_node, model, status, kind):
    for call in ("respond", "responseEvents", "accumulateResponse"):
        error = openai_node.error(call, model=model, input=f"[[mock: status={status}]]")
        assert (error["class"], error["status"]) == (kind, status)
        assert error["requestId"]


@MODELS
def test_an_error_inside_a_stream_is_told(openai_node, model):
    came = openai_node.value(
        "responseEvents", model=model, input="[[mock: error-mid-stream after=4]]"
    )
    kinds = {event["type"] for event in came["events"]}
    assert "response.completed" not in kinds
    assert came["error"] or kinds & {"error", "response.failed"}
