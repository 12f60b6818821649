"""The Responses API of the official SDK against the gateway, over every provider."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import openai
import pydantic
import pytest

from tests.harness import BEDROCK, KEY

pytestmark = pytest.mark.envoy

MODELS = ["gpt-4o", "claude-sonnet-4-5", "gemini-2.5-flash", BEDROCK]
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


@pytest.fixture
def client(peers):
    with openai.OpenAI(base_url=peers.base_url, api_key=KEY, max_retries=0) as client:
        yield client


@pytest.mark.parametrize("model", MODELS)
def test_a_plain_answer(client, model):
    answer = client.responses.create(model=model, input="Say something nice")
    assert answer.output_text.startswith("You said: Say something nice")
    assert answer.status == "completed"
    assert answer.usage.total_tokens > 0


@pytest.mark.parametrize("model", MODELS)
def test_a_stream_is_whole_and_in_order(client, model):
    plain = client.responses.create(model=model, input="Say something nice")
    events = list(
        client.responses.create(model=model, input="Say something nice", stream=True)
    )
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == plain.output_text
    assert events[-1].response.usage.output_tokens == plain.usage.output_tokens
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert text == plain.output_text


@pytest.mark.parametrize("model", MODELS)
def test_a_tool_and_its_result(client, model):
    ask: Any = {"model": model, "tools": [WEATHER]}
    said: list[Any] = [{"role": "user", "content": "use get_weather please"}]
    with client.responses.stream(**ask, input=said) as stream:
        answer = stream.get_final_response()
    (call,) = [item for item in answer.output if item.type == "function_call"]
    assert set(json.loads(call.arguments)) == {"city"}
    said += [
        {
            "type": "function_call",
            "call_id": call.call_id,
            "name": call.name,
            "arguments": call.arguments,
        },
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
    ]
    again = client.responses.create(**ask, input=said)
    assert again.output_text


@pytest.mark.parametrize("model", MODELS)
def test_structured_output(client, model):
    class Person(pydantic.BaseModel):
        name: str
        age: int

    answer = client.responses.parse(model=model, input="Who?", text_format=Person)
    assert isinstance(answer.output_parsed, Person)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("status", [400, 429, 500])
def test_a_providers_error_is_the_sdks_own_exception(client, model, status):
    with pytest.raises(openai.APIStatusError) as caught:
        client.responses.create(model=model, input=f"[[mock: status={status}]]")
    assert caught.value.status_code == status


@pytest.mark.parametrize("model", MODELS)
def test_an_error_inside_a_stream_ends_it_as_failed(client, model):
    stream = client.responses.create(
        model=model, input="[[mock: error-mid-stream after=4]]", stream=True
    )
    kinds = []
    with contextlib.suppress(openai.APIError):  # the SDK's answer to an error event
        kinds += [event.type for event in stream]
    assert "response.completed" not in kinds


@pytest.mark.parametrize("model", MODELS[1:])
def test_a_stream_that_ends_too_early_is_failed_in_order(peers, model):
    body = {"model": model, "input": "[[mock: truncate after=4]]", "stream": True}
    text = peers.http.post("/v1/responses", json=body).text
    events = [
        json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: ")
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["message"]


def test_the_clients_bytes_reach_openai(peers):
    body = b'{ "model":"gpt-4o" , "input":"caf\xc3\xa9","store":false,\n"stream":true}'
    answer = peers.http.post(
        "/v1/responses", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 200
    assert "[DONE]" not in answer.text
    (request,) = peers.mock.requests()
    assert (request["path"], request["body"]) == ("/v1/responses", body)


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "gemini-2.5-flash", BEDROCK])
def test_what_only_openai_keeps_is_refused_by_name(client, model):
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=model, input="Hi", previous_response_id="resp_1")
    assert caught.value.param == "previous_response_id"
