"""The mock of Bedrock, judged by botocore: its model, its client, its signer, its parser."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hashlib
import json
import re
import struct
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock as patching

import botocore.auth
import botocore.session
import msgspec
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.eventstream import EventStreamBuffer
from botocore.exceptions import ClientError, EventStreamError
from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape
from hypothesis import given, strategies as st

from extproc.local.mock.answers import Finish
from extproc.local.mock.anthropic import signing as thoughts
from extproc.local.mock.bedrock import errors, frames, signing
from extproc.local.mock.bedrock.api import Bedrock
from extproc.local.mock.bedrock.converse import ALL_STOP_REASONS, STOP_REASONS
from extproc.local.mock.bedrock.models import MODELS
from extproc.local.mock.bedrock.rules import CONVERSE, CONVERSE_STREAM, UNIONS
from extproc.local.mock.reply import Reply, Request, Stream
from extproc.local.mock.rules import (
    Bool,
    Enum,
    FreeObj,
    Int,
    ListOf,
    Num,
    Obj,
    Rule,
    Str,
)
from extproc.local.mock.server import MockServer
from extproc.local.mock.state import Memory

Json = dict[str, Any]

SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
OPUS = "global.anthropic.claude-opus-4-6-v1"
NOVA = "amazon.nova-pro-v1:0"
NOVA_2 = "us.amazon.nova-2-lite-v1:0"
LLAMA = "us.meta.llama3-3-70b-instruct-v1:0"
ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"
KEY, SECRET = next(iter(signing.ACCESS_KEYS.items()))
PNG = b"\x89PNG\r\n\x1a\n1234"
SERVICE = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))
NOW = 1_700_000_000.0


def user(*blocks: Any) -> Json:
    said = [{"text": block} if isinstance(block, str) else block for block in blocks]
    return {"role": "user", "content": said}


def assistant(*blocks: Any) -> Json:
    return {**user(*blocks), "role": "assistant"}


def tools(*names: str, **choice: Any) -> Json:
    city = {"type": "object", "properties": {"city": {"type": "string"}}}
    specs = [
        {
            "toolSpec": {
                "name": n,
                "inputSchema": {"json": {**city, "required": ["city"]}},
            }
        }
        for n in names
    ]
    return {"tools": specs, **({"toolChoice": choice} if choice else {})}


def use(id_: str = "t1", name: str = "weather") -> Json:
    return {"toolUse": {"toolUseId": id_, "name": name, "input": {}}}


def gave(id_: str = "t1", said: str = "sunny") -> Json:
    return {"toolResult": {"toolUseId": id_, "content": [{"text": said}]}}


# ---------------------------------------------------------------- the tables

KINDS: dict[str, type] = {
    "string": Str, "integer": Int, "float": Num, "boolean": Bool, "list": ListOf,
    "map": FreeObj, "structure": Obj, "blob": Str,
}  # fmt: skip


def compare(rule: Rule, shape: Shape, path: str) -> None:
    """Walk a table and botocore's shape side by side."""
    limits = shape.metadata
    if getattr(shape, "is_document_type", False):
        assert isinstance(rule, FreeObj), path
        return
    if shape.type_name == "string" and shape.enum:
        assert isinstance(rule, Enum), path
        assert set(rule.values) == set(shape.enum), path
        return
    assert type(rule) is KINDS[shape.type_name], path
    match rule:
        case Str(low, high, pattern):
            assert (low, high) == (limits.get("min", 0), limits.get("max")), path
            wanted = limits.get("pattern")
            assert pattern == (wanted and rf"^(?:{wanted})\Z"), path
        case Int(low, high):
            assert (low, high) == (limits.get("min"), limits.get("max")), path
        case Num(low_n, high_n):
            assert (low_n, high_n) == (limits.get("min"), limits.get("max")), path
        case ListOf(item, low, high):
            assert (low, high) == (limits.get("min", 0), limits.get("max")), path
            compare(item, shape.member, f"{path}[]")
        case FreeObj(value, most, key_most):
            assert most == limits.get("max"), path
            assert key_most == shape.key.metadata.get("max"), path
            assert value is not None
            compare(value, shape.value, f"{path}{{}}")
        case Obj(fields):
            required = {name[:-1] for name in fields if name.endswith("!")}
            assert required == set(shape.required_members), path
            names = {name.removesuffix("!") for name in fields}
            assert names == set(shape.members), path
            assert any(rule is union for union in UNIONS) == shape.is_tagged_union, path
            for field, inner in fields.items():
                name = field.removesuffix("!")
                compare(inner, shape.members[name], f"{path}.{name}")
        case _:
            pass


@pytest.mark.parametrize(
    ("operation", "table"),
    [("Converse", CONVERSE), ("ConverseStream", CONVERSE_STREAM)],
)
def test_the_table_is_botocores_model(operation, table):
    shape = SERVICE.operation_model(operation).input_shape
    fields = {"modelId!": Str(**_limits(shape.members["modelId"])), **table.fields}
    compare(Obj(fields), shape, operation)


def _limits(shape: Shape) -> dict[str, Any]:
    limits = shape.metadata
    pattern = rf"^(?:{limits['pattern']})\Z"
    return {"min": limits["min"], "max": limits["max"], "pattern": pattern}


def test_the_reasons_and_exceptions_are_botocores():
    assert set(ALL_STOP_REASONS) == set(SERVICE.shape_for("StopReason").enum)
    assert set(STOP_REASONS) == set(Finish)
    stream = SERVICE.operation_model("ConverseStream").output_shape.members["stream"]
    exceptions = {n for n, s in stream.members.items() if s.metadata.get("exception")}
    assert exceptions == errors.STREAM_EXCEPTIONS
    for status, (kind, _) in errors.STATUS_ERRORS.items():
        shape = SERVICE.shape_for(kind) if kind in SERVICE.shape_names else None
        if shape is not None:
            assert shape.metadata["error"]["httpStatusCode"] == status


@given(st.text(max_size=50), st.sampled_from(["event", "exception"]))
def test_botocore_reads_the_mocks_messages(text, kind):
    buffer = EventStreamBuffer()
    buffer.add_data(frames.message(kind, "messageStart", {"role": text}))
    (message,) = list(buffer)
    assert message.headers[f":{kind}-type"] == "messageStart"
    assert message.headers[":message-type"] == kind
    assert json.loads(message.payload) == {"role": text}


# ---------------------------------------------------------------- botocore's own client


def connect(url: str, **more: Any) -> Any:
    config = Config(
        retries={"total_max_attempts": 1}, read_timeout=5, parameter_validation=False,
        proxies={},
    )  # fmt: skip
    options = {
        "aws_access_key_id": KEY, "aws_secret_access_key": SECRET,
        "region_name": "eu-west-1", "config": config, "endpoint_url": url, **more,
    }  # fmt: skip
    return botocore.session.Session().create_client("bedrock-runtime", **options)


@pytest.fixture(scope="module")
def client(mock: MockServer) -> Iterator[Any]:
    """The official client, whose clock is the mock's."""
    fixed = dt.datetime.fromtimestamp(NOW, dt.UTC)
    with patching.patch.object(
        botocore.auth,
        "get_current_datetime",
        lambda remove_tzinfo=True: fixed,  # noqa: ARG005
    ):
        made = connect(f"{mock.url}/bedrock")
        yield made
        made.close()


def ask(client: Any, *turns: Any, model: str = SONNET, **more: Any) -> Any:
    messages = [user(turn) if isinstance(turn, str) else turn for turn in turns]
    return client.converse(modelId=model, messages=messages, **more)


def stream(client: Any, *turns: Any, model: str = SONNET, **more: Any) -> list[Json]:
    messages = [user(turn) if isinstance(turn, str) else turn for turn in turns]
    answer = client.converse_stream(modelId=model, messages=messages, **more)
    with contextlib.closing(answer["stream"]) as events:
        return list(events)


def folded(events: list[Json]) -> tuple[list[Json], str, Json | None]:
    """Put a stream's events together as a client would."""
    blocks: dict[int, Json] = {}
    reason, usage = "", None
    for event in events:
        ((name, said),) = event.items()
        index = said.get("contentBlockIndex", -1)
        match name:
            case "contentBlockStart":
                blocks[index] = {"toolUse": {**said["start"]["toolUse"], "input": ""}}
            case "contentBlockDelta":
                ((kind, value),) = said["delta"].items()
                block = blocks.setdefault(index, {})
                if kind == "text":
                    block["text"] = block.get("text", "") + value
                elif kind == "toolUse":
                    block["toolUse"]["input"] += value["input"]
                elif "redactedContent" in value:
                    block["reasoningContent"] = value
                else:
                    thought = block.setdefault(
                        "reasoningContent", {"reasoningText": {}}
                    )
                    ((part, words),) = value.items()
                    told = thought["reasoningText"]
                    told[part] = told.get(part, "") + words
            case "messageStop":
                reason = said["stopReason"]
            case "metadata":
                usage = said["usage"]
            case _:
                pass
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
    return [blocks[i] for i in sorted(blocks)], reason, usage


TIMES: list[tuple[str, Json]] = [
    ("hello there", {}),
    ("call weather and clock; text before", {"toolConfig": tools("weather", "clock")}),
    ("refuse this", {}),
    (
        "redacted thoughts",
        {
            "additionalModelRequestFields": {
                "thinking": {"type": "enabled", "budget_tokens": 1024}
            }
        },
    ),
    ("a b c", {"inferenceConfig": {"maxTokens": 3}}),
    ("stop here", {"inferenceConfig": {"stopSequences": ["here"]}}),
    (
        "in shape",
        {
            "outputConfig": {
                "textFormat": {
                    "type": "json_schema",
                    "structure": {
                        "jsonSchema": {
                            "schema": '{"type":"object","required":["a"],'
                            '"additionalProperties":false,'
                            '"properties":{"a":{"type":"integer"}}}'
                        }
                    },
                }
            }
        },
    ),
]


@pytest.mark.parametrize(("text", "more"), TIMES, ids=[text for text, _ in TIMES])
def test_botocore_reads_the_same_answer_whole_and_streamed(client, text, more):
    whole = ask(client, text, **more)
    events = stream(client, text, **more)
    content, reason, usage = folded(events)
    assert whole["output"]["message"]["role"] == "assistant"
    said = [_without_ids(block) for block in whole["output"]["message"]["content"]]
    assert said == [_without_ids(block) for block in content]
    assert reason == whole["stopReason"]
    assert usage == whole["usage"]
    assert usage is not None
    assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"]
    names = [name for event in events for name in event]
    assert names[0] == "messageStart"
    assert names[-2:] == ["messageStop", "metadata"]
    assert names.count("contentBlockStart") == sum("toolUse" in b for b in content)


def _without_ids(block: Json) -> Json:
    if "toolUse" not in block:
        return block
    return {"toolUse": {**block["toolUse"], "toolUseId": ""}}


def test_an_answer_is_a_function_of_the_request(client):
    first, second = ask(client, "hi"), ask(client, "hi")
    assert first["output"] == second["output"]


def test_a_tool_loop_goes_round(client):
    config = tools("weather")
    first = ask(client, "weather please", toolConfig=config)
    assert first["stopReason"] == "tool_use"
    said = first["output"]["message"]
    call = said["content"][0]["toolUse"]
    assert call["input"] == {"city": "city value"}
    back = ask(
        client,
        user("weather please"),
        said,
        user(gave(call["toolUseId"])),
        toolConfig=config,
    )
    assert "sunny" in back["output"]["message"]["content"][0]["text"]


@pytest.mark.parametrize(
    ("choice", "calls"),
    [
        ({"toolConfig": tools("weather", "clock", any={})}, ["weather"]),
        ({"toolConfig": tools("weather", "clock", tool={"name": "clock"})}, ["clock"]),
        ({"toolConfig": tools("weather", "clock", auto={})}, []),
        (
            {
                "toolConfig": tools("weather"),
                "additionalModelRequestFields": {"tool_choice": {"type": "any"}},
            },
            ["weather"],
        ),
    ],
)
def test_the_choice_is_heard_in_both_spellings(client, choice, calls):
    content = ask(client, "hello", **choice)["output"]["message"]["content"]
    assert [b["toolUse"]["name"] for b in content if "toolUse" in b] == calls


def test_none_and_one_call_at_most_are_heard_in_claudes_words(client):
    for said, names in [
        ({"type": "none"}, []),
        ({"type": "auto", "disable_parallel_tool_use": True}, ["weather"]),
    ]:
        content = ask(
            client,
            "weather and clock",
            toolConfig=tools("weather", "clock"),
            additionalModelRequestFields={"tool_choice": said},
        )["output"]["message"]["content"]
        assert [b["toolUse"]["name"] for b in content if "toolUse" in b] == names


def test_a_cache_is_written_then_read(client):
    point = {"cachePoint": {"type": "default"}}
    turn = user("a long prefix " * 20, point, "and a question")
    first, second = ask(client, turn)["usage"], ask(client, turn)["usage"]
    assert first["cacheWriteInputTokens"] > 0 == first["cacheReadInputTokens"]
    assert second["cacheReadInputTokens"] == first["cacheWriteInputTokens"]
    assert second["inputTokens"] == first["inputTokens"]


def test_thoughts_go_back_as_they_came_and_no_other_way(client):
    fields = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    said = ask(client, "redacted", additionalModelRequestFields=fields)
    message = said["output"]["message"]
    ask(client, user("redacted"), message, user("more"))
    message["content"][0]["reasoningContent"]["reasoningText"]["text"] += "!"
    with pytest.raises(ClientError, match="Invalid `signature`"):
        ask(client, user("redacted"), message, user("more"))


@pytest.mark.parametrize("model", [*MODELS, SONNET, OPUS, NOVA_2, ARN])
def test_every_model_answers_to_its_names(client, model):
    assert ask(client, "hi", model=model)["stopReason"] == "end_turn"


@pytest.mark.parametrize("status", errors.STATUS_ERRORS)
def test_errors_have_botocores_codes(client, status):
    with pytest.raises(ClientError) as caught:
        ask(client, f"[[mock: status={status} message=why]]")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert caught.value.response["Error"]["Code"] == errors.STATUS_ERRORS[status][0]
    assert caught.value.response["Error"]["Message"] == "why"


def test_who_may_come_back_when_is_told():
    reply = send({"messages": [user("[[mock: status=429 retry-after=2]]")]})
    assert dict(reply.headers)["retry-after"] == "2"


def test_counts_and_arguments_can_be_asked_for(client):
    asked = ask(client, "many words [[mock: cached tokens=1]]")["usage"]
    assert asked["cacheReadInputTokens"] == 1
    said = ask(
        client, "weather [[mock: tool-args=nonsense]]", toolConfig=tools("weather")
    )
    assert said["output"]["message"]["content"][0]["toolUse"]["input"] == "nonsense"
    off = {"thinking": {"type": "disabled"}}
    plain = ask(client, "hi", additionalModelRequestFields=off)
    assert "reasoningContent" not in plain["output"]["message"]["content"][0]


@pytest.mark.parametrize("kind", sorted(errors.STREAM_EXCEPTIONS))
def test_an_exception_in_a_stream_is_botocores(client, kind):
    with pytest.raises(EventStreamError) as caught:
        stream(client, f"[[mock: error-mid-stream after=2 type={kind}]]")
    assert caught.value.response["Error"]["Code"] == kind


def test_a_stream_is_truncated_in_order_broken_or_without_usage(client):
    events = stream(client, "[[mock: truncate after=3]]")
    assert len(events) == 3
    assert "messageStop" in stream(client, "[[mock: no-usage]]")[-1]
    with pytest.raises(Exception, match="Checksum"):
        stream(client, "[[mock: malformed-json]]")
    assert len(stream(client, "[[mock: split=byte]]")) > 3


@pytest.mark.parametrize("reason", ALL_STOP_REASONS)
def test_every_stop_reason_can_be_had(client, reason):
    assert ask(client, f"[[mock: finish={reason}]]")["stopReason"] == reason


# ---------------------------------------------------------------- refusals

CALLED = [user("a"), assistant(use())]
THINK = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
REFUSED: list[tuple[str, Json, str, str]] = [
    ("no messages", {}, "must start with a user", SONNET),
    ("the assistant first", {"messages": [assistant("a")]}, "start with a user", SONNET),
    ("no turns", {"messages": [user("a"), user("b")]}, "alternate", SONNET),
    ("nothing said", {"messages": [user()]}, "is empty", SONNET),
    ("blank", {"messages": [user(" \n")]}, "blank", SONNET),
    ("a blank in a result",
     {"messages": [*CALLED, user(gave(said=" "))], "toolConfig": tools("weather")},
     "blank", SONNET),
    ("an unknown field", {"messages": [user("a")], "model": "x"}, r"\[model\]", SONNET),
    ("an unknown block", {"messages": [user({"texts": "x"})]}, r"\[texts\]", SONNET),
    ("two in one", {"messages": [user({"text": "a", "cachePoint": {"type": "default"}})]},
     "exactly one", SONNET),
    ("an empty union", {"messages": [user({})]}, "exactly one", SONNET),
    ("a wrong type", {"messages": "x"}, "expected array", SONNET),
    ("a null", {"messages": [user("a")], "system": None}, "expected array", SONNET),
    ("an empty result",
     {"messages": [*CALLED, user({"toolResult": {"toolUseId": "t1", "content": []}})],
      "toolConfig": tools("weather")}, "is empty", SONNET),
    ("sealed elsewhere",
     {"messages": [user("a"), assistant({"reasoningContent": {"redactedContent": "YQ=="}}),
                   user("b")]}, "Invalid `data`", SONNET),
    ("two calls of an id",
     {"messages": [user("a"), assistant(use(), use()), user(gave())],
      "toolConfig": tools("weather")}, "unique", SONNET),
    ("a schema of no object",
     {"messages": [user("a")], "toolConfig": {"tools": [
         {"toolSpec": {"name": "x", "inputSchema": {"json": {"type": "array"}}}}]}},
     "object", SONNET),
    ("strictness", {"messages": [user("a")], "toolConfig": {"tools": [
        {"toolSpec": {"name": "x", "strict": True,
                      "inputSchema": {"json": {"type": "object"}}}}]}}, "strict", NOVA),
    ("adapting too early",
     {"messages": [user("a")],
      "additionalModelRequestFields": {"thinking": {"type": "adaptive"}}},
     "not supported", SONNET),
    ("an id that is none", {"messages": [user("a")]}, "identifier is invalid", "a_b"),
    ("too warm", {"messages": [user("a")], "inferenceConfig": {"temperature": 1.5}},
     "less than or equal", SONNET),
    ("a strange format",
     {"messages": [user({"image": {"format": "bmp", "source": {"bytes": "AA=="}}})]},
     "enum value set", SONNET),
    ("bytes of another kind",
     {"messages": [user({"image": {"format": "png", "source": {"bytes": "AAAA"}}})]},
     "no valid png", SONNET),
    ("no base64",
     {"messages": [user({"image": {"format": "png", "source": {"bytes": "?"}}})]},
     "not base64", SONNET),
    ("an image from the assistant",
     {"messages": [user("a"), assistant(
         {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://abc/x"}}}}
     )]}, "may not say image", SONNET),
    ("a picture for the blind",
     {"messages": [user("a", {"image": {"format": "png", "source": {
         "bytes": base64.b64encode(PNG).decode()}}})]}, "doesn't support", LLAMA),
    ("a lonely document",
     {"messages": [user({"document": {"name": "a", "source": {"text": "x"}}})]},
     "beside the document", SONNET),
    ("a document's name",
     {"messages": [user("a", {"document": {"name": "a.pdf", "source": {"text": "x"}}})]},
     "file name", SONNET),
    ("two of a name",
     {"messages": [user("a", *[{"document": {"name": "a", "source": {"text": "x"}}}] * 2)]},
     "unique", SONNET),
    ("no tools for calls", {"messages": [*CALLED, user(gave())]}, "toolConfig", SONNET),
    ("an unanswered call",
     {"messages": [*CALLED, user("b")], "toolConfig": tools("weather")}, "following Ids",
     SONNET),
    ("an unasked result",
     {"messages": [user(gave())], "toolConfig": tools("weather")}, "exceeds", SONNET),
    ("a last call", {"messages": CALLED, "toolConfig": tools("weather")},
     "following Ids", SONNET),
    ("tools twice", {"messages": [user("a")], "toolConfig": tools("x", "x")}, "unique",
     SONNET),
    ("a bad name", {"messages": [user("a")], "toolConfig": tools("x.y")},
     "regular expression", SONNET),
    ("a choice of a stranger",
     {"messages": [user("a")], "toolConfig": tools("x", tool={"name": "y"})},
     "no tool is named", SONNET),
    ("a choice for who takes none",
     {"messages": [user("a")], "toolConfig": tools("x", any={})}, "toolChoice", LLAMA),
    ("a choice twice",
     {"messages": [user("a")], "toolConfig": tools("x", any={}),
      "additionalModelRequestFields": {"tool_choice": {"type": "any"}}}, "conflicts",
     SONNET),
    ("a choice without type",
     {"messages": [user("a")], "toolConfig": tools("x"),
      "additionalModelRequestFields": {"tool_choice": {"disable_parallel_tool_use": True}}},
     "Field required", SONNET),
    ("a strange field of the model's",
     {"messages": [user("a")], "additionalModelRequestFields": {"top_k": 5}},
     r"\[top_k\]", NOVA),
    ("no thinker", {"messages": [user("a")], "additionalModelRequestFields": THINK},
     r"\[thinking\]", "anthropic.claude-3-5-haiku-20241022-v1:0"),
    ("a small budget",
     {"messages": [user("a")], "additionalModelRequestFields": {
         "thinking": {"type": "enabled", "budget_tokens": 5}}}, "at least", SONNET),
    ("a budget without room",
     {"messages": [user("a")], "additionalModelRequestFields": THINK,
      "inferenceConfig": {"maxTokens": 1024}}, "must be greater", SONNET),
    ("a warm thinker",
     {"messages": [user("a")], "additionalModelRequestFields": THINK,
      "inferenceConfig": {"temperature": 0.5}}, "only be set to 1", SONNET),
    ("a forced thinker",
     {"messages": [user("a")], "additionalModelRequestFields": THINK,
      "toolConfig": tools("x", any={})}, "forces tool use", SONNET),
    ("an effort", {"messages": [user("a")], "outputConfig": {"effort": "low"}}, "effort",
     SONNET),
    ("a schema", {"messages": [user("a")], "outputConfig": {"textFormat": {
        "type": "json_schema", "structure": {"jsonSchema": {"schema": "{}"}}}}},
     "textFormat", NOVA),
    ("both samplings",
     {"messages": [user("a")], "inferenceConfig": {"temperature": 1, "topP": 0.5}},
     "cannot both", SONNET),
    ("too much", {"messages": [user("a")], "inferenceConfig": {"maxTokens": 1 << 20}},
     "exceeds the model limit", SONNET),
    ("five points",
     {"messages": [user("a", *[{"cachePoint": {"type": "default"}}] * 5)]}, "maximum of 4",
     SONNET),
    ("a point for who takes none",
     {"messages": [user("a", {"cachePoint": {"type": "default"}})]}, "caching", LLAMA),
    ("a long life",
     {"messages": [user("a", {"cachePoint": {"type": "default", "ttl": "1h"}})]}, "ttl",
     NOVA),
    ("a trailing blank", {"messages": [user("a"), assistant("b ")]}, "whitespace", SONNET),
    ("labels", {"messages": [user("a")], "requestMetadata": {}}, "greater", SONNET),
    ("a bad label", {"messages": [user("a")], "requestMetadata": {"é": "x"}}, "key",
     SONNET),
    ("nobody", {"messages": [user("a")]}, "identifier is invalid", "gpt-4o"),
    ("a directive", {"messages": [user("[[mock: nonsense]]")]}, "nonsense", SONNET),
    ("a reason", {"messages": [user("[[mock: finish=tired]]")]}, "tired", SONNET),
    ("an exception",
     {"messages": [user("[[mock: error-mid-stream type=x]]")]}, "expected one of", SONNET),
    ("too long", {"messages": [user("[[mock: context-length]]")]}, "too long", SONNET),
]  # fmt: skip


def send(
    body: Any,
    model: str = SONNET,
    *,
    headers: dict[str, str] | None = None,
    path: str = "/model/{}/converse",
    method: str = "POST",
) -> Reply | Stream:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    given = {
        "content-type": "application/json",
        "authorization": "Bearer sk-mock-1",
        **(headers or {}),
    }
    request = Request(
        method,
        path.format(model.replace(":", "%3A")),
        tuple((name, value) for name, value in given.items() if value),
        raw,
    )
    return Bedrock(Memory(lambda: NOW), ("sk-mock*",)).respond(request)


def refusal(answer: Reply | Stream) -> tuple[int, str, str]:
    assert isinstance(answer, Reply)
    kind = dict(answer.headers)["x-amzn-errortype"].partition(":")[0]
    return answer.status, kind, msgspec.json.decode(answer.body)["message"]


@pytest.mark.parametrize(
    ("body", "why", "model"),
    [case[1:] for case in REFUSED],
    ids=[case[0] for case in REFUSED],
)
def test_what_bedrock_refuses_is_refused(body, why, model):
    status, kind, message = refusal(send(body, model))
    assert (status, kind) == (400, "ValidationException")
    assert re.search(why, message), message


@pytest.mark.parametrize(
    ("body", "more", "status"),
    [
        (b"{", {}, 400),
        (b'{"messages":[],"messages":[]}', {}, 400),
        (b"[]", {}, 400),
        (b"{}", {"path": "/model/{}/invoke-async"}, 404),
        (b"{}", {"path": "/model/a/b/converse"}, 404),
        (b"{}", {"method": "PUT"}, 405),
        (b"{}", {"headers": {"content-type": "text/plain"}}, 415),
        (b"{}", {"headers": {"content-encoding": "gzip"}}, 415),
        (b"{}", {"headers": {"x-envoy-attempt-count": "1"}}, 400),
        (b"{}", {"headers": {"x-api-key": "k"}}, 400),
        (b"{}", {"headers": {"authorization": ""}}, 403),
        (b"{}", {"headers": {"authorization": "Bearer stranger"}}, 403),
        (b"{}", {"headers": {"authorization": "Bearer sk-mock-openai"}}, 400),
        (b" " * 25_000_001, {}, 413),
    ],
)
def test_the_door_refuses_as_bedrocks_does(body, more, status):
    assert refusal(send(body, **more))[0] == status


# ---------------------------------------------------------------- signatures


def signed(
    body: bytes,
    *,
    secret: str = SECRET,
    key: str = KEY,
    service: str = "bedrock",
    path: str = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse",
    at: float = NOW,
    token: str | None = None,
    headers: dict[str, str] | None = None,
    method: str = "POST",
) -> Request:
    """Sign a request as botocore does."""
    request = AWSRequest(
        method,
        f"http://mock.test{path}",
        headers={"content-type": "application/json", **(headers or {})},
        data=body,
    )
    moment = dt.datetime.fromtimestamp(at, dt.UTC)
    with patching.patch.object(
        botocore.auth,
        "get_current_datetime",
        lambda remove_tzinfo=True: moment,  # noqa: ARG005
    ):
        credentials = Credentials(key, secret, token)
        SigV4Auth(credentials, service, "us-east-1").add_auth(request)
    pairs = [(name.lower(), str(value)) for name, value in request.headers.items()]
    return Request(method, path, (("host", "mock.test"), *pairs), body)


BODY = msgspec.json.encode({"messages": [user("hi é")]})


def answer(request: Request) -> Reply | Stream:
    return Bedrock(Memory(lambda: NOW), ()).respond(request)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"token": "session-token"},
        {"headers": {"x-amz-content-sha256": hashlib.sha256(BODY).hexdigest()}},
        {"headers": {"x-amz-meta": "  two   words "}},
        {"at": NOW - 299},
        {"path": "/bedrock/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3A"
                 "application-inference-profile%2Fabc/converse"},
        {"path": "/model/anthropic.claude-opus-4-6-v1/converse?b=2&a=%20x"},
    ],
    ids=str,
)  # fmt: skip
def test_what_botocore_signs_is_accepted(more):
    reply = answer(signed(BODY, **more))
    assert isinstance(reply, Reply)
    assert reply.status == 200, reply.body


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"secret": "another"}, "InvalidSignatureException"),
        ({"key": "STRANGER"}, "UnrecognizedClientException"),
        ({"service": "s3"}, "InvalidSignatureException"),
        ({"at": NOW - 301}, "InvalidSignatureException"),
        ({"at": NOW + 301}, "InvalidSignatureException"),
    ],
)
def test_what_is_signed_wrongly_is_refused(more, kind):
    status, told, _ = refusal(answer(signed(BODY, **more)))
    assert (status, told) == (403, kind)


def test_a_body_hash_that_is_signed_must_be_the_bodys():
    request = signed(BODY, headers={"x-amz-content-sha256": "0" * 64})
    status, kind, message = refusal(answer(request))
    assert (status, kind) == (403, "InvalidSignatureException")
    assert "x-amz-content-sha256" in message


def changed(request: Request, **headers: str | None) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    kept = [pair for pair in request.headers if pair[0] not in named]
    kept += [(name, value) for name, value in named.items() if value is not None]
    return Request(request.method, request.path, tuple(kept), request.body)


def test_whatever_is_changed_behind_the_signer_is_noticed():
    request = signed(BODY, token="t")
    other = Request("POST", request.path, request.headers, BODY.replace(b"hi", b"ho"))
    path = request.path.replace("converse", "converse-stream")
    for tampered in (
        other,
        Request("POST", path, request.headers, BODY),
        Request("POST", request.path + "?x=1", request.headers, BODY),
        Request("PUT", request.path, request.headers, BODY),
        changed(request, host="other.test"),
        changed(request, x_amz_security_token="u"),
        changed(request, x_amz_added="1"),
        changed(request, x_amz_date="20231114T221321Z"),
        changed(request, x_amz_date="20231115T000000Z"),
        changed(request, x_amz_content_sha256="UNSIGNED-PAYLOAD"),
        changed(request, x_amz_security_token=None),
    ):
        assert refusal(answer(tampered))[:2] == (403, "InvalidSignatureException")


@pytest.mark.parametrize(
    "header",
    [
        "AWS4-HMAC-SHA256 x",
        "Basic dTpw",
        f"AWS4-HMAC-SHA256 Credential={KEY}/20231114/us-east-1/bedrock/aws4_request",
    ],
)
def test_a_signature_that_cannot_be_read_is_incomplete(header):
    told = refusal(answer(changed(signed(BODY), authorization=header)))
    assert told[:2] == (400, "IncompleteSignatureException")
    told = refusal(answer(changed(signed(BODY), x_amz_date="yesterday")))
    assert told[:2] == (400, "IncompleteSignatureException")


def test_signatures_cover_a_host_and_stand_in_order():
    request = signed(BODY)
    said = request.header("authorization") or ""
    for names in ("x-amz-date", "x-amz-date;host", "host;x-amz-date;x-amz-ghost"):
        other = said.replace("content-type;host;x-amz-date", names)
        assert other != said
        told = refusal(answer(changed(request, authorization=other)))
        assert told[:2] == (403, "InvalidSignatureException")


def test_a_stream_is_made_of_whole_messages():
    made = send({"messages": [user("hi")]}, path="/model/{}/converse-stream")
    assert isinstance(made, Stream)
    for event in made.events:
        assert event.framed
        assert struct.unpack_from("!I", event.payload)[0] == len(event.payload)
    assert made.content_type == "application/vnd.amazon.eventstream"


def test_the_mock_is_quick():
    begun = time.process_time()
    for _ in range(50):
        send({"messages": [user("hi")]})
    assert time.process_time() - begun < 2
    assert thoughts.is_signed("a", thoughts.signature_of("a"))
