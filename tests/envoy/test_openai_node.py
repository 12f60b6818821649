"""The official npm SDK against the gateway, as its users have it.

One Node.js process an edge makes the calls (`tests/node/openai_calls.mjs`); what they
came to is judged here.
"""

from __future__ import annotations

import json

import pytest

from tests.harness import KEY
from tests.node.driver import running_sdk

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.node,
    # In each test the mock remembers that test's requests only.
    pytest.mark.usefixtures("peers"),
]

MODELS = ["gpt-4o", "claude-sonnet-4-5"]
"""The same format in and out, and another."""
SAY = [{"role": "user", "content": "Say something nice"}]
USE = [{"role": "user", "content": "use get_weather and get_time please"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["c", "f"]},
            },
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}
CLOCK = {
    "type": "function",
    "function": {
        "name": "get_time",
        "parameters": {"type": "object", "properties": {}},
    },
}
"""With parameters: the type that `runTools` takes wants them."""


@pytest.fixture(scope="session")
def sdk(shared, tmp_path_factory):
    log = tmp_path_factory.mktemp("node") / "stderr"
    with running_sdk("openai", log, shared.base_url, KEY) as sdk:
        yield sdk


def mocked(directive: str, rest: str = "") -> list[dict[str, str]]:
    return [{"role": "user", "content": f"[[mock: {directive}]]{rest}"}]


@pytest.mark.parametrize("model", MODELS)
def test_a_plain_answer(sdk, model):
    answer = sdk.value("create", model=model, messages=SAY)
    completion = answer["completion"]
    (choice,) = completion["choices"]
    assert choice["message"]["content"].startswith("You said: Say something nice")
    assert choice["finish_reason"] == "stop"
    assert completion["object"] == "chat.completion"
    usage = completion["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens"] > 0
    assert answer["requestId"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("asked", [None, True, False])
def test_a_stream_and_its_usage(sdk, model, asked):
    plain = sdk.value("create", model=model, messages=SAY)["completion"]
    options = {} if asked is None else {"stream_options": {"include_usage": asked}}
    came = sdk.value("chunks", model=model, messages=SAY, **options)
    assert came["error"] is None
    chunks = came["chunks"]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    text = "".join(delta.get("content") or "" for delta in deltas)
    assert text == plain["choices"][0]["message"]["content"]
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert deltas[0]["role"] == "assistant"
    usages = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    if asked:
        assert usages == [chunks[-1]["usage"]]
        assert chunks[-1]["choices"] == []
        spent = usages[0]["completion_tokens"]
        assert spent == plain["usage"]["completion_tokens"]
    else:
        assert usages == []
        assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("model", MODELS)
def test_the_stream_helper_has_the_plain_answer(sdk, model):
    plain = sdk.value("create", model=model, messages=SAY)["completion"]
    came = sdk.value("accumulate", model=model, messages=SAY)
    message = came["completion"]["choices"][0]["message"]
    assert message["content"] == plain["choices"][0]["message"]["content"]
    assert came["events"]["content"] == message["content"]
    assert came["completion"]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("call", ["create", "accumulate"])
def test_parallel_tool_calls_and_their_results(sdk, model, call):
    came = sdk.value(call, model=model, messages=USE, tools=[WEATHER, CLOCK])
    (choice,) = came["completion"]["choices"]
    assert choice["finish_reason"] == "tool_calls"
    calls = {made["function"]["name"]: made for made in choice["message"]["tool_calls"]}
    assert set(calls) == {"get_weather", "get_time"}
    weather = json.loads(calls["get_weather"]["function"]["arguments"])
    assert set(weather) == {"city", "unit"}
    assert json.loads(calls["get_time"]["function"]["arguments"]) == {}
    if call == "accumulate":
        assert came["events"]["toolArguments"] == [
            [name, made["function"]["arguments"]] for name, made in calls.items()
        ]

    for made in calls.values():
        made["function"].pop("parsed_arguments", None)
    results = [
        {"role": "tool", "tool_call_id": made["id"], "content": f"{name} is fine"}
        for name, made in calls.items()
    ]
    turn = {
        "role": "assistant",
        "content": choice["message"]["content"],
        "tool_calls": list(calls.values()),
    }
    answer = sdk.value(
        "create", model=model, messages=[*USE, turn, *results], tools=[WEATHER, CLOCK]
    )
    assert answer["completion"]["choices"][0]["message"]["content"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
def test_run_tools_goes_round_until_there_is_an_answer(sdk, peers, model, stream):
    came = sdk.value(
        "runTools", model=model, messages=USE, tools=[WEATHER, CLOCK], stream=stream
    )
    ran = dict(came["ran"])
    assert set(ran) == {"get_weather", "get_time"}
    assert set(ran["get_weather"]) == {"city", "unit"}
    assert ran["get_time"] == {}
    assert came["content"]
    roles = [message["role"] for message in came["messages"]]
    assert roles == ["user", "assistant", "tool", "tool", "assistant"]
    assert len(peers.mock.requests()) == 2


@pytest.mark.parametrize("model", MODELS)
def test_a_forced_tool(sdk, model):
    answer = sdk.value(
        "create",
        model=model,
        messages=SAY,
        tools=[WEATHER, CLOCK],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
    )
    (made,) = answer["completion"]["choices"][0]["message"]["tool_calls"]
    assert made["function"]["name"] == "get_weather"


@pytest.mark.parametrize("model", MODELS)
def test_structured_output_by_a_zod_schema(sdk, model):
    person = sdk.value("parse", model=model, messages=SAY)
    assert set(person) == {"name", "age"}
    assert isinstance(person["name"], str)
    assert isinstance(person["age"], int)


def test_thinking_goes_out_and_comes_back_with_its_signature(sdk, peers):
    ask = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 3000,
        "tools": [CLOCK],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    messages = [{"role": "user", "content": "call get_time and think"}]
    first = sdk.value("create", **ask, messages=messages)
    message = first["completion"]["choices"][0]["message"]
    (block,) = message["thinking_blocks"]
    assert message["reasoning_content"] == block["thinking"]
    assert block["signature"]
    # The mock refuses a thought that is not the one that it signed.
    result = {
        "role": "tool",
        "tool_call_id": message["tool_calls"][0]["id"],
        "content": "12",
    }
    second = sdk.value("create", **ask, messages=[*messages, message, result])
    assert second["completion"]["choices"][0]["message"]["content"]
    sent = json.loads(peers.mock.requests()[-1]["body"])
    assert sent["messages"][1]["content"][0]["signature"] == block["signature"]


ERRORS = {
    400: (400, "BadRequestError"),
    401: (502, "InternalServerError"),
    403: (502, "InternalServerError"),
    404: (404, "NotFoundError"),
    409: (409, "ConflictError"),
    422: (422, "UnprocessableEntityError"),
    429: (429, "RateLimitError"),
    500: (500, "InternalServerError"),
    503: (503, "InternalServerError"),
}
"""A provider that refuses the gateway's credential is no word about the client's."""


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("status", ERRORS)
@pytest.mark.parametrize("call", ["create", "chunks"])
def test_a_providers_error_is_the_sdks_own_exception(sdk, model, status, call):
    error = sdk.error(call, model=model, messages=mocked(f"status={status}"))
    assert (error["status"], error["class"]) == ERRORS[status]
    assert set(error["kinds"]) == {"OpenAIError", "APIError", error["class"]}
    assert set(error["body"]) >= {"message", "type", "param", "code"}
    assert error["body"]["message"] in error["message"]
    assert error["body"]["message"]
    assert error["requestId"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("directive", ["status=529", "reset", "not-json status=502"])
def test_a_provider_that_fails_is_an_error_the_sdk_retries(sdk, model, directive):
    error = sdk.error("create", model=model, messages=mocked(directive))
    assert error["class"] == "InternalServerError"
    assert error["body"]["message"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("status", [429, 500])
@pytest.mark.parametrize("call", ["create", "chunks"])
def test_the_sdk_retries_and_then_succeeds(sdk, peers, model, status, call):
    messages = mocked(
        f"fail-first n=2 key=node-{call}-{model}-{status}-{peers.gateway.edge} "
        f"status={status} retry-after=0",
        " hello",
    )
    assert sdk.value(call, {"maxRetries": 2}, model=model, messages=messages)
    assert len(peers.mock.requests()) == 3


@pytest.mark.parametrize("model", MODELS)
def test_retry_after_reaches_the_client(sdk, model):
    error = sdk.error(
        "create", model=model, messages=mocked("status=429 retry-after=7")
    )
    assert error["headers"]["retry-after"] == "7"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("directive", ["error-mid-stream", "truncate"])
def test_a_stream_that_breaks_is_raised(sdk, model, directive):
    ask = {"model": model, "messages": mocked(f"{directive} after=4")}
    came = sdk.value("chunks", **ask)
    assert came["chunks"]
    assert came["error"]["class"] == "APIError"
    assert came["error"]["message"]
    if directive == "truncate":
        assert "ended" in came["error"]["message"]
    assert sdk.error("accumulate", **ask)["class"] == "APIError"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("directive", ["reset-mid-stream", "cut-mid-chunk"])
def test_a_connection_that_breaks_never_looks_like_an_end(sdk, model, directive):
    """The SDK has no class for it and passes on what Node.js says, whatever that is."""
    messages = mocked(f"{directive} after=4")
    (outcome,) = sdk.together(
        {"call": "chunks", "ask": {"model": model, "messages": messages}}
    )
    # Envoy may see the break in the same read as the headers: then it is a 502.
    error = outcome.get("error") or outcome["value"]["error"]
    assert error["message"]


def test_the_sdk_times_out_by_its_own_clock_and_tries_again(sdk, peers):
    outcomes = sdk.together(
        *(
            {
                "call": call,
                "ask": {"model": model, "messages": mocked("silence seconds=3")},
                "client": {"timeout": 500, "maxRetries": 1},
            }
            for model in MODELS
            for call in ("create", "chunks")
        )
    )
    assert [outcome["error"]["class"] for outcome in outcomes] == [
        "APIConnectionTimeoutError"
    ] * len(outcomes)
    # Not twice as many: a busy machine may bring one too late to be seen.
    assert len(peers.mock.requests()) > len(outcomes)


def test_a_wrong_key_and_an_unknown_model(sdk, peers):
    error = sdk.error("create", model="nobody", messages=SAY)
    assert (error["class"], error["code"]) == ("NotFoundError", "model_not_found")
    for call in ("create", "chunks", "models"):
        error = sdk.error(call, {"apiKey": "sk-no"}, model="gpt-4o", messages=SAY)
        assert error["class"] == "AuthenticationError"
        assert error["body"]["message"]
    assert peers.mock.requests() == []


def test_models(sdk):
    models = {model["id"]: model for model in sdk.value("models")}
    assert {"gpt-4o", "claude-sonnet-4-5", "mapped"} <= set(models)
    assert {model["object"] for model in models.values()} == {"model"}
    assert sdk.value("model", id="mapped") == models["mapped"]
    assert sdk.error("model", id="nobody")["class"] == "NotFoundError"


def test_who_leaves_a_stream_is_served_again(sdk):
    for model in MODELS:
        chunk = sdk.value("leave", model=model, messages=mocked("huge bytes=200000"))
        assert chunk["choices"][0]["delta"]["role"] == "assistant"
        assert sdk.value("create", model=model, messages=SAY)


def test_many_at_once(sdk):
    outcomes = sdk.together(
        *(
            {
                "call": "accumulate",
                "ask": {
                    "model": MODELS[n % 2],
                    "messages": [{"role": "user", "content": f"number {n}."}],
                },
            }
            for n in range(40)
        )
    )
    for n, outcome in enumerate(outcomes):
        assert "error" not in outcome, outcome
        assert f"number {n}." in outcome["value"]["events"]["content"]
