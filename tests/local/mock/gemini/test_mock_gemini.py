"""The mock of Gemini, judged by the official SDK and by its types."""

from __future__ import annotations

import base64
import enum
import types as python_types
import typing
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pydantic
import pytest
from google import genai
from google.genai import errors, types

from extproc.local.mock import MockServer
from extproc.local.mock.answers import Finish
from extproc.local.mock.gemini.api import FINISH_REASONS, Gemini
from extproc.local.mock.gemini.generation import FINISH_REASONS as REASONS
from extproc.local.mock.gemini.models import MODELS
from extproc.local.mock.gemini.rules import CONTENT, GENERATE, SCHEMA
from extproc.local.mock.gemini.signing import SKIP, is_signed, sign
from extproc.local.mock.reply import Reply, Request
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
from extproc.local.mock.state import Memory

JsonObject = dict[str, Any]

KEY = {"x-goog-api-key": "sk-mock-1"}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n1234").decode()


@pytest.fixture(scope="module")
def client(mock: MockServer) -> Iterator[genai.Client]:
    """The official client, without retries."""
    options = types.HttpOptions(base_url=f"{mock.url}/gemini", timeout=20_000)
    with genai.Client(api_key="sk-mock-1", http_options=options) as made:
        yield made


def post(
    http: httpx.Client,
    body: Any,
    *,
    model: str = "gemini-2.5-flash",
    stream: bool = False,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return http.post(
        f"/v1beta/models/{model}:{method}",
        json=body if not isinstance(body, bytes) else None,
        content=body if isinstance(body, bytes) else None,
        headers={**KEY, "content-type": "application/json", **(headers or {})},
    )


def ask(text: str, **more: Any) -> JsonObject:
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], **more}


def frames(response: httpx.Response) -> list[JsonObject]:
    return [
        msgspec.json.decode(line[6:])
        for line in response.text.splitlines()
        if line.startswith("data: ")
    ]


FUNCTIONS = [
    {
        "functionDeclarations": [
            {
                "name": "weather",
                "parametersJsonSchema": {
                    "type": "object",
                    "properties": {"city": {"type": "string"}},
                    "required": ["city"],
                },
            },
            {"name": "clock"},
        ]
    }
]


# ---------------------------------------------------------------- the SDK


def test_the_sdk_reads_an_answer_and_its_stream(client):
    whole = client.models.generate_content(model="gemini-2.5-flash", contents="Hello")
    assert whole.text.startswith("You said: Hello")
    assert whole.candidates[0].finish_reason is types.FinishReason.STOP
    usage = whole.usage_metadata
    assert usage.total_token_count == (
        usage.prompt_token_count + usage.candidates_token_count
    )
    pieces = list(
        client.models.generate_content_stream(
            model="gemini-2.5-flash", contents="Hello"
        )
    )
    assert len(pieces) > 5
    assert "".join(piece.text for piece in pieces) == whole.text
    last = pieces[-1].usage_metadata
    assert last.candidates_token_count == usage.candidates_token_count
    assert {piece.response_id for piece in pieces} == {whole.response_id}


def test_a_chat_of_the_sdk_calls_functions_and_gives_the_signatures_back(client, mock):
    chat = client.chats.create(
        model="gemini-4-argon",
        config=types.GenerateContentConfig(
            tools=[types.Tool.model_validate(FUNCTIONS[0])],
            thinking_config=types.ThinkingConfig(
                include_thoughts=True, thinking_level=types.ThinkingLevel.LOW
            ),
            automatic_function_calling=types.AutomaticFunctionCallingConfig(
                disable=True
            ),
        ),
    )
    first = chat.send_message("text before: weather and clock, please")
    parts = first.candidates[0].content.parts
    assert parts[0].thought
    assert parts[1].text == "Let me look that up."
    assert [call.name for call in first.function_calls] == ["weather", "clock"]
    assert all(call.id for call in first.function_calls)
    assert [bool(part.thought_signature) for part in parts] == [
        False,
        False,
        True,
        False,
    ]
    assert first.usage_metadata.thoughts_token_count > 0
    second = chat.send_message(
        [
            types.Part(
                function_response=types.FunctionResponse(
                    id=call.id, name=call.name, response={"output": "sunny"}
                )
            )
            for call in first.function_calls
        ]
    )
    assert "sunny" in second.text
    sent = msgspec.json.decode(mock.requests[-1].body)
    assert sent["contents"][1]["parts"][2]["thoughtSignature"]


def test_the_sdk_raises_what_the_mock_refuses(client):
    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(
            model="gemini-2.5-flash",
            contents="x",
            config=types.GenerateContentConfig(stop_sequences=list("abcdef")),
        )
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")
    with pytest.raises(errors.ServerError) as broken:
        client.models.generate_content(
            model="gemini-2.5-flash", contents="[[mock: status=503]]"
        )
    assert (broken.value.code, broken.value.status) == (503, "UNAVAILABLE")


def test_the_sdk_lists_the_models(client):
    listed = {model.name for model in client.models.list()}
    assert listed == {f"models/{name}" for name in MODELS}
    model = client.models.get(model="gemini-2.5-flash")
    assert model.output_token_limit == 65_536


# ---------------------------------------------------------------- answers


def test_the_same_request_has_the_same_answer(http):
    body = ask("Hello", generationConfig={"candidateCount": 2})
    one, two = (post(http, body).json() for _ in range(2))
    assert one == two
    assert [c["index"] for c in one["candidates"]] == [0, 1]
    assert one["candidates"][0]["content"] != one["candidates"][1]["content"]


@pytest.mark.parametrize("model", sorted(MODELS))
def test_a_stream_adds_up_to_the_whole_answer(http, model):
    body = ask("Hello", generationConfig={"candidateCount": 2, "maxOutputTokens": 50})
    whole = types.GenerateContentResponse.model_validate(
        post(http, body, model=model).json()
    )
    said = frames(post(http, body, model=model, stream=True))
    texts = ["", ""]
    for one in said:
        types.GenerateContentResponse.model_validate(one)
        for candidate in one["candidates"]:
            for part in candidate["content"]["parts"]:
                texts[candidate["index"]] += part.get("text", "")
    contents = [candidate.content for candidate in whole.candidates or ()]
    assert texts == [c.parts[0].text for c in contents if c and c.parts]
    ends = [c for one in said for c in one["candidates"] if "finishReason" in c]
    assert [(c["index"], c["finishReason"]) for c in ends] == [(0, "STOP"), (1, "STOP")]
    assert (
        said[-1]["usageMetadata"]
        == post(http, body, model=model).json()["usageMetadata"]
    )


def test_a_stream_that_is_no_sse_is_an_array(http):
    path = "/v1beta/models/gemini-2.5-flash:streamGenerateContent"
    response = http.post(path, json=ask("Hello"), headers=KEY)
    assert response.headers["content-type"] == "application/json"
    assert len(response.json()) > 3


def test_models_before_the_third_generation_give_calls_no_ids(http):
    body = ask("weather", tools=FUNCTIONS)
    parts = post(http, body).json()["candidates"][0]["content"]["parts"]
    assert parts == [
        {"functionCall": {"name": "weather", "args": {"city": "city value"}}}
    ]
    (part,) = post(http, body, model="gemini-3.8-flash").json()["candidates"][0][
        "content"
    ]["parts"]
    assert is_signed(part["thoughtSignature"], part)
    assert part["functionCall"]["id"]


def test_a_schema_of_either_kind_is_filled_in(http):
    for shape in (
        {
            "responseJsonSchema": {
                "type": "object",
                "properties": {"a": {"type": "integer"}},
                "required": ["a"],
            }
        },
        {
            "responseSchema": {
                "type": "OBJECT",
                "properties": {"a": {"type": "INTEGER"}},
                "required": ["a"],
            }
        },
    ):
        config = {"responseMimeType": "application/json", **shape}
        said = post(http, ask("x", generationConfig=config)).json()
        text = said["candidates"][0]["content"]["parts"][0]["text"]
        assert msgspec.json.decode(text) == {"a": 1}


def test_log_probabilities_come_when_asked_for(http):
    config = {"responseLogprobs": True, "logprobs": 1, "maxOutputTokens": 2}
    said = post(http, ask("x", generationConfig=config)).json()
    result = said["candidates"][0]["logprobsResult"]
    assert len(result["chosenCandidates"]) == len(result["topCandidates"]) == 2
    assert said["candidates"][0]["finishReason"] == "MAX_TOKENS"


DIRECTIVES = [
    ("[[mock: finish=SAFETY]] x", lambda said: said["candidates"][0]["finishReason"], "SAFETY"),
    ("please refuse", lambda said: said["promptFeedback"], {"blockReason": "PROHIBITED_CONTENT"}),
    ("[[mock: no-usage]] x", lambda said: "usageMetadata" in said, False),
    (
        "[[mock: cached tokens=1]] x",
        lambda said: said["usageMetadata"]["cachedContentTokenCount"], 1,
    ),
    (
        "[[mock: reasoning tokens=9]] x",
        lambda said: said["usageMetadata"]["thoughtsTokenCount"], 9,
    ),
    (
        "weather [[mock: tool-args=oops]]",
        lambda said: said["candidates"][0],
        {"finishReason": "MALFORMED_FUNCTION_CALL", "index": 0},
    ),
    (
        "[[mock: answer=hi]]",
        lambda said: said["candidates"][0]["content"]["parts"], [{"text": "hi"}],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "look", "expected"), DIRECTIVES)
def test_directives(http, text, look, expected):
    assert look(post(http, ask(text, tools=FUNCTIONS)).json()) == expected
    streamed = post(http, ask(text, tools=FUNCTIONS), stream=True)
    assert streamed.status_code == 200
    for one in frames(streamed):
        types.GenerateContentResponse.model_validate(one)


def test_a_directive_in_the_models_name_is_for_that_target_only(http):
    model = "gemini-2.5-flash%5B%5Bmock%3A%20status%3D429%20retry-after%3D2%5D%5D"
    response = post(http, ask("x"), model=model)
    assert response.status_code == 429
    assert response.json()["error"] == {
        "code": 429,
        "message": "You exceeded your current quota, please check your plan and billing"
        " details.",
        "status": "RESOURCE_EXHAUSTED",
        "details": [
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2s"}
        ],
    }


def test_an_error_in_the_middle_of_a_stream(http):
    said = frames(post(http, ask("[[mock: error-mid-stream after=2]] x"), stream=True))
    assert len(said) == 3
    assert said[-1]["error"]["status"] == "UNAVAILABLE"


def test_a_prompt_that_is_too_long(http):
    said = post(http, ask("[[mock: context-length]] x"))
    assert said.status_code == 400
    assert (
        "exceeds the maximum number of tokens allowed"
        in said.json()["error"]["message"]
    )


def test_other_directives_are_refused(http):
    for text in ("[[mock: nonsense]]", "[[mock: finish=tool_calls]]"):
        assert post(http, ask(text)).status_code == 400


def test_names_may_be_spelled_as_in_the_proto(http):
    body = ask(
        "weather",
        generation_config={"max_output_tokens": 99, "stopSequences": ["zz"]},
        tools=[
            {
                "function_declarations": [
                    {
                        "name": "weather",
                        "parameters": {
                            "type": "OBJECT",
                            "properties": {
                                "a_b": {
                                    "type": "ARRAY",
                                    "min_items": 2,
                                    "items": {"type": "STRING"},
                                },
                            },
                            "required": ["a_b"],
                        },
                    },
                ]
            }
        ],
    )
    said = post(http, body).json()["candidates"][0]["content"]["parts"]
    assert said[0]["functionCall"]["args"] == {"a_b": ["a_b value"] * 2}
    twice = post(http, ask("x", systemInstruction={}, system_instruction={}))
    assert twice.status_code == 400


# ---------------------------------------------------------------- refusals


def user(*parts: JsonObject) -> JsonObject:
    return {"role": "user", "parts": list(parts)}


def model(*parts: JsonObject) -> JsonObject:
    return {"role": "model", "parts": list(parts)}


HI: JsonObject = {"text": "Hi"}
CALL: JsonObject = {"functionCall": {"name": "f", "args": {}, "id": "1"}}
DONE: JsonObject = {"functionResponse": {"name": "f", "response": {}, "id": "1"}}
NEW = "gemini-4-argon"
FLASH = "gemini-2.5-flash"
OLD = "gemini-2.0-flash"


def config(**members: Any) -> JsonObject:
    return ask("x", generationConfig=members)


def thinking(**members: Any) -> JsonObject:
    return config(thinkingConfig=members)


def functions(*declared: JsonObject, **more: Any) -> JsonObject:
    return ask("x", tools=[{"functionDeclarations": list(declared)}], **more)


def talk(*contents: JsonObject) -> JsonObject:
    return {"contents": list(contents)}


def inline(kind: str, data: str) -> JsonObject:
    return {"inlineData": {"mimeType": kind, "data": data}}


REFUSALS: list[tuple[str, Any, str]] = [
    (FLASH, b"{", "Invalid JSON payload received."),
    (FLASH, b'{"contents":[],"contents":[]}', "duplicate key"),
    (FLASH, {"model_name": "x"}, 'Unknown name "model_name": Cannot find field.'),
    (
        FLASH, ask("x", generationConfig={"maxTokens": 1}),
        "Unknown name \"maxTokens\" at 'generation_config': Cannot find field.",
    ),
    (
        FLASH, talk(user({"text": "a", "type": "text"})),
        "Unknown name \"type\" at 'contents[0].parts[0]': Cannot find field.",
    ),
    (
        FLASH,
        functions({"name": "f", "parameters": {"type": "OBJECT", "$ref": "x"}}),
        "Unknown name \"$ref\" at 'tools[0].function_declarations[0].parameters'",
    ),
    (
        FLASH, config(temperature="hot"),
        "Invalid value at 'generation_config.temperature' (TYPE_FLOAT), \"hot\"",
    ),
    (
        FLASH, functions({"name": "f", "parameters": {"type": "object"}}),
        "parameters.type' (TYPE_ENUM), \"object\"",
    ),
    (FLASH, config(temperature=3), "generation_config.temperature"),
    (FLASH, config(stopSequences=list("abcdef")), "stop_sequences"),
    (FLASH, {}, "contents is not specified"),
    (FLASH, talk({"role": "assistant", "parts": [HI]}), "valid role: user, model"),
    (FLASH, talk(user()), "contents.parts must not be empty"),
    (FLASH, talk(user({"thought": True})), "must have one initialized field"),
    (FLASH, talk(user({"text": "a", **inline("image/png", PNG)})), "oneof field"),
    (FLASH, talk(user({"text": ""})), "text parameter must not be empty"),
    (FLASH, talk(user(HI), user(HI)), "alternate between user and model"),
    (NEW, talk(user(HI), model(HI)), "ending with a model turn"),
    (FLASH, talk(user(inline("image/gif", "R0lGODlh"))), "Unsupported MIME type"),
    (FLASH, talk(user(inline("image/png", "AAAA"))), "Unable to process input image"),
    (FLASH, talk(user(inline("image/png", "?"))), "Base64 decoding failed"),
    (
        OLD, talk(user({"fileData": {"fileUri": "https://x.test/a.png"}})),
        "unsupported file uri",
    ),
    (FLASH, talk(user(DONE)), "immediately after a function call turn"),
    (FLASH, talk(model(CALL), user(DONE)), "immediately after a user turn"),
    (FLASH, talk(user(CALL)), "function calls are the model's"),
    (FLASH, talk(user(HI), model(CALL), user(HI)), "number of function response parts"),
    (
        FLASH, talk(user(HI), model(CALL, CALL), user(DONE)),
        "number of function response parts",
    ),
    (
        FLASH,
        talk(
            user(HI), model(CALL),
            user({"functionResponse": {"name": "g", "response": {}}}),
        ),
        "names match",
    ),
    (
        FLASH,
        talk(
            user(HI), model(CALL),
            user({"functionResponse": {"name": "f", "response": {}, "id": "2"}}),
        ),
        "matches no function call",
    ),
    (
        FLASH,
        talk(
            user(HI), model(CALL),
            user({
                "functionResponse": {
                    "name": "f", "response": {}, "parts": [inline("image/png", PNG)],
                }
            }),
        ),
        "Multimodal function response is not supported",
    ),
    (
        NEW, talk(user(HI), model(CALL), user(DONE)),
        "Function call is missing a thought_signature in functionCall parts.",
    ),
    (
        NEW, talk(user(HI), model({**CALL, "thoughtSignature": "YQ=="}), user(DONE)),
        "Corrupted thought signature.",
    ),
    (
        FLASH, ask("x", systemInstruction={"parts": [inline("image/png", PNG)]}),
        "System instruction should be text only.",
    ),
    (FLASH, functions({"name": "1"}), "Invalid function name"),
    (FLASH, functions({"name": "f"}, {"name": "f"}), "Duplicate function declaration"),
    (
        FLASH,
        functions({
            "name": "f", "parameters": {"type": "STRING"}, "parametersJsonSchema": {},
        }),
        "mutually exclusive",
    ),
    (
        FLASH,
        functions({"name": "f", "parameters": {"type": "OBJECT", "properties": {}}}),
        "should be non-empty for OBJECT type",
    ),
    (
        FLASH,
        functions({
            "name": "f",
            "parameters": {
                "type": "OBJECT", "required": ["b"],
                "properties": {"a": {"type": "STRING"}},
            },
        }),
        "property is not defined",
    ),
    (
        FLASH,
        functions({
            "name": "f",
            "parameters": {
                "type": "OBJECT",
                "properties": {"a": {"anyOf": [{"type": "ARRAY"}]}},
            },
        }),
        "properties[a].any_of[0].items: missing field",
    ),
    (
        FLASH,
        functions({
            "name": "f",
            "parameters": {
                "type": "ARRAY", "items": {"type": "STRING", "format": "uri"},
            },
        }),
        "only 'enum' and 'date-time' are supported",
    ),
    (
        FLASH, ask("x", toolConfig={"functionCallingConfig": {"mode": "ANY"}}),
        "without function_declarations",
    ),
    (
        FLASH,
        functions(
            {"name": "f"},
            toolConfig={"functionCallingConfig": {"allowedFunctionNames": ["f"]}},
        ),
        "must be ANY or VALIDATED",
    ),
    (
        FLASH,
        functions(
            {"name": "f"},
            toolConfig={
                "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["g"]}
            },
        ),
        "is not in function_declarations",
    ),
    (
        FLASH,
        functions(
            {"name": "f"}, generationConfig={"responseMimeType": "application/json"}
        ),
        "Function calling with a response mime type",
    ),
    (FLASH, config(responseJsonSchema={}), "only supported with response_mime_type"),
    (
        FLASH,
        config(
            responseMimeType="application/json", responseJsonSchema={},
            responseSchema={"type": "STRING"},
        ),
        "Only one of response_schema",
    ),
    (FLASH, config(logprobs=1), "only supported when response_logprobs"),
    (OLD, config(maxOutputTokens=9000), "supported range is from 1 (inclusive) to 8193"),
    (NEW, config(presencePenalty=1), "Penalty is not enabled"),
    (OLD, thinking(includeThoughts=True), "Thinking is not enabled"),
    (FLASH, thinking(thinkingLevel="LOW"), "Thinking level is not supported"),
    (NEW, thinking(thinkingLevel="MINIMAL"), "Thinking level MINIMAL is not supported"),
    (NEW, thinking(thinkingLevel="LOW", thinkingBudget=1), "only set only one"),
    ("gemini-2.5-pro", thinking(thinkingBudget=0), "only works in thinking mode"),
    (FLASH, thinking(thinkingBudget=30_000), "between 1 and 24576"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "body", "words"), REFUSALS)
def test_what_google_refuses_is_refused(http, model, body, words):
    response = post(http, body, model=model)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert words in error["message"]


def test_a_call_of_an_earlier_turn_or_another_model_needs_no_signature(http):
    earlier = [user(HI), model(CALL), user(DONE), model(HI), user(HI)]
    assert post(http, talk(*earlier), model=NEW).status_code == 200
    skipped = {**CALL, "thoughtSignature": SKIP}
    said = post(http, talk(user(HI), model(skipped), user(DONE)), model=NEW)
    assert said.status_code == 200


def test_a_signature_holds_for_the_part_that_it_was_written_for(http):
    signed = {**CALL, "thoughtSignature": sign("x", CALL)}
    said = talk(user(HI), model(signed), user(DONE))
    assert post(http, said, model=NEW).status_code == 200
    other = {**CALL, "thoughtSignature": sign("x", {"text": ""})}
    refused = post(http, talk(user(HI), model(other), user(DONE)), model=NEW)
    assert refused.json()["error"]["message"] == "Corrupted thought signature."


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        ({"x-goog-api-key": "AIza"}, 400, "API key not valid"),
        ({"authorization": "Bearer x"}, 400, "unexpected credential"),
        ({"x-envoy-attempt-count": "1"}, 400, "mock_unexpected_header"),
        ({"x-goog-api-key": "sk-mock-openai-1"}, 400, "key of openai"),
        ({"content-type": "text/plain"}, 415, "content type"),
    ],
)
def test_the_door_is_guarded(http, headers, status, words):
    response = post(http, ask("x"), headers=headers)
    assert response.status_code == status
    assert words in response.json()["error"]["message"]


def test_without_a_key_nobody_is_known(http):
    response = http.get("/v1beta/models")
    assert response.status_code == 403
    assert response.json()["error"]["status"] == "PERMISSION_DENIED"


def test_an_invalid_key_has_its_reason(http):
    error = post(http, ask("x"), headers={"x-goog-api-key": "no"}).json()["error"]
    assert error["details"][0]["reason"] == "API_KEY_INVALID"


@pytest.mark.parametrize(
    "path",
    ["models/nobody:generateContent", "models/gemini-2.5-flash:embedContent", "other"],
)
def test_what_is_not_there_is_not_found(http, path):
    response = http.post(f"/v1beta/{path}", json=ask("x"), headers=KEY)
    assert response.status_code == 404
    assert response.json()["error"]["status"] == "NOT_FOUND"


def test_it_answers_under_its_own_prefix():
    gemini = Gemini(Memory(lambda: 0.0), ["k"])
    path = "/gemini/v1beta/models/gemini-2.5-flash"
    request = Request("GET", path, (("x-goog-api-key", "k"),), b"")
    assert gemini.owns(request)
    reply = gemini.respond(request)
    assert isinstance(reply, Reply)
    assert reply.status == 200


# ---------------------------------------------------------------- the tables


OTHER_APIS = {
    "Part": {
        "toolCall", "toolResponse", "audioTranscription", "mediaProcessing",
        "speechMetadata", "documentMetadata", "spreadsheetMetadata", "audioMetadata",
    },
    "FunctionCall": {"partialArgs", "willContinue"},
    "FunctionResponsePart": {
        "mediaProcessing", "mediaResolution", "videoMetadata", "documentMetadata",
        "spreadsheetMetadata", "audioMetadata",
    },
    "Blob": {"displayName"},
    "FileData": {"displayName"},
    "Tool": {
        "retrieval", "enterpriseWebSearch", "parallelAiSearch", "exaAiSearch",
    },
    "FunctionCallingConfig": {"streamFunctionCallArguments"},
    "SafetySetting": {"method"},
    "GenerationConfig": {
        "modelSelectionConfig", "audioTimestamp", "enableAffectiveDialog",
        "routingConfig", "responseFormat", "translationConfig",
        "audioTranscriptionConfig",
    },
    "Schema": {"additionalProperties", "defs", "ref"},
}  # fmt: skip
"""Fields of the SDK's types that only Vertex AI has, or that no chat needs."""

OTHER_WORDS = {
    "HarmCategory": {
        "HARM_CATEGORY_IMAGE_HATE", "HARM_CATEGORY_IMAGE_DANGEROUS_CONTENT",
        "HARM_CATEGORY_IMAGE_HARASSMENT", "HARM_CATEGORY_IMAGE_SEXUALLY_EXPLICIT",
    },
    "Language": set(),
}  # fmt: skip

KINDS: dict[type, tuple[type, ...]] = {
    str: (Str,), bytes: (Str,), bool: (Bool,), int: (Int,), float: (Num, Int),
}  # fmt: skip


def inner(hint: Any) -> Any:
    """Return an optional hint without its None."""
    if typing.get_origin(hint) in (typing.Union, python_types.UnionType):
        (only,) = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        return only
    return hint


def walk(rule: Rule, hint: Any, path: str, seen: set[str]) -> None:
    """Compare a rule with the SDK's type, field by field."""
    hint = inner(hint)
    origin = typing.get_origin(hint)
    if isinstance(rule, FreeObj):
        if isinstance(rule.value, Obj) and origin is dict:
            walk(rule.value, typing.get_args(hint)[1], f"{path}.*", seen)
        return
    if hint is Any:
        return
    if origin is list:
        assert isinstance(rule, ListOf), path
        walk(rule.item, typing.get_args(hint)[0], f"{path}[]", seen)
    elif issubclass(hint, enum.Enum):
        assert isinstance(rule, Enum), path
        words = {one.value for one in hint} - OTHER_WORDS.get(hint.__name__, set())
        assert set(rule.values) == words, path
    elif issubclass(hint, pydantic.BaseModel):
        if hint.__name__ not in seen:
            seen.add(hint.__name__)
            walk_object(rule, hint, path, seen)
    else:
        assert isinstance(rule, KINDS.get(hint, (Enum,))), path


def walk_object(
    rule: Rule, hint: type[pydantic.BaseModel], path: str, seen: set[str]
) -> None:
    assert isinstance(rule, Obj), path
    fields = {field.alias or name: field for name, field in hint.model_fields.items()}
    known = {name.rstrip("!") for name in rule.fields}
    assert known == set(fields) - OTHER_APIS.get(hint.__name__, set()), path
    for name, member in rule.fields.items():
        plain = name.rstrip("!")
        if plain != "responseMimeType":  # a string there, three words here
            walk(member, fields[plain].annotation, f"{path}.{plain}", seen)


MEMBERS: list[tuple[str, Any]] = [
    ("contents", list[types.Content]),
    ("systemInstruction", types.Content),
    ("tools", list[types.Tool]),
    ("toolConfig", types.ToolConfig),
    ("generationConfig", types.GenerationConfig),
    ("safetySettings", list[types.SafetySetting]),
    ("serviceTier", types.ServiceTier),
]


@pytest.mark.parametrize(("name", "hint"), MEMBERS)
def test_the_tables_are_the_sdks_types(name, hint):
    walk(GENERATE.fields[name], hint, name, set())


def test_the_tables_reach_every_type():
    seen: set[str] = set()
    walk(CONTENT, types.Content, "content", seen)
    walk(SCHEMA, types.Schema, "schema", seen)
    walk(GENERATE.fields["tools"], list[types.Tool], "tools", seen)
    assert {
        "Part",
        "Blob",
        "FunctionCall",
        "FunctionResponse",
        "Schema",
        "Tool",
    } <= seen


def test_every_finish_reason_of_the_sdk_can_be_had():
    assert set(FINISH_REASONS) == {one.value for one in types.FinishReason} - {
        "MODEL_ARMOR"  # Vertex AI's
    }
    assert set(REASONS) == set(Finish)
    assert set(REASONS.values()) <= set(FINISH_REASONS)
