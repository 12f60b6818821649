"""What Bedrock checks beyond the table: unions, the conversation, the model's abilities."""

from __future__ import annotations

import base64
import binascii
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from extproc.local.mock.anthropic.schemas import check_schema
from extproc.local.mock.bedrock import thoughts
from extproc.local.mock.bedrock.errors import dotted, invalid
from extproc.local.mock.bedrock.models import Model
from extproc.local.mock.bedrock.rules import UNIONS
from extproc.local.mock.reply import Refusal
from extproc.local.mock.rules import FreeObj, ListOf, Obj, Path, Rule

Json = Mapping[str, Any]

MOST_CACHE_POINTS: Final = 4
LEAST_BUDGET: Final = 1024
NAME: Final = re.compile(r"(?:[A-Za-z0-9()\[\]-]|\s(?!\s))+")
KEY: Final = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,-.]{1,256}")
USER_ONLY: Final = frozenset({"image", "document", "video", "audio", "toolResult"})
ASSISTANT_ONLY: Final = frozenset({"toolUse", "reasoningContent"})
MAGIC: Final = {
    "png": b"\x89PNG\r\n\x1a\n",
    "jpeg": b"\xff\xd8\xff",
    "gif": b"GIF8",
    "webp": b"RIFF",
    "pdf": b"%PDF-",
}


def check_unions(rule: Rule, value: Any, path: Path = ()) -> None:  # noqa: ANN401
    """Refuse a union with no member, or with several; `value` fits `rule`."""
    match rule:
        case ListOf(item):
            for i, member in enumerate(value):
                check_unions(item, member, (*path, i))
        case FreeObj(inner) if inner is not None:
            for key, member in value.items():
                check_unions(inner, member, (*path, key))
        case Obj(fields):
            if any(rule is union for union in UNIONS) and len(value) != 1:
                raise invalid(
                    f"The object at {dotted(path)} must have exactly one of the members"
                    f" {', '.join(fields)}."
                )
            for key, member in value.items():
                field = fields.get(f"{key}!") or fields[key]
                check_unions(field, member, (*path, key))
        case _:
            pass


def check(body: Json, model: Model) -> None:
    """Raise the `Refusal` that Bedrock, or the model, would answer with."""
    turns = body.get("messages") or []
    _check_roles(turns)
    names: set[str] = set()
    for i, turn in enumerate(turns):
        _check_turn(turn, f"messages.{i}", model, names)
    _check_tool_loop(turns, body)
    if model.maker == "anthropic":
        thoughts.check_unfinished(turns, body)
    _check_tools(body, model)
    _check_labels(body)
    _check_cache_points(body, model)
    _check_shape(body, model)
    _check_fields(body, model)


# ---------------------------------------------------------------- the conversation


def _check_roles(turns: list[Json]) -> None:
    spoken = [turn["role"] for turn in turns if turn["role"] != "system"]
    if not spoken or spoken[0] != "user":
        raise invalid(
            "A conversation must start with a user message. Try again with a conversation"
            " that starts with a user message."
        )
    if any(a == b for a, b in itertools.pairwise(spoken)):
        raise invalid(
            "A conversation must alternate between user and assistant roles. Make sure"
            " the conversation alternates between user and assistant roles and try again."
        )


def _check_turn(turn: Json, where: str, model: Model, names: set[str]) -> None:
    content = turn["content"]
    if not content:
        raise invalid(
            f"The content field in the Message object at {where} is empty. Add a"
            " ContentBlock object to the content field and try again."
        )
    kinds = [kind for block in content for kind in block]
    wrong = ASSISTANT_ONLY if turn["role"] == "user" else USER_ONLY
    if bad := sorted(wrong & set(kinds)):
        raise invalid(f"{where}: the {turn['role']} may not say {bad[0]}.")
    if "document" in kinds and "text" not in kinds:
        raise invalid(
            f"{where}: include a text block beside the document, and try again."
        )
    for j, block in enumerate(content):
        _check_block(block, f"{where}.content.{j}", model, names)
    thoughts.check_order(content, where)


def _check_block(block: Json, where: str, model: Model, names: set[str]) -> None:
    ((kind, value),) = block.items()
    match kind:
        case "text":
            _check_text(value, where)
        case "image" | "document" | "audio" | "video":
            _check_media(kind, value, where, model, names)
        case "toolResult":
            if not value["content"]:
                raise invalid(
                    f"The content field of the ToolResult at {where} is empty."
                )
            for j, inner in enumerate(value["content"]):
                if "json" not in inner:
                    _check_block(inner, f"{where}.toolResult.content.{j}", model, names)
        case "reasoningContent":
            thoughts.check(value, where)
        case _:
            pass


def _check_text(text: str, where: str) -> None:
    if not text.strip():
        raise invalid(
            f"The text field in the ContentBlock object at {where} is blank. Add text to"
            " the text field, and try again."
        )


def _check_media(
    kind: str, value: Json, where: str, model: Model, names: set[str]
) -> None:
    if not model.sees:
        raise invalid(f"This model doesn't support the {kind} content block.")
    if kind == "document":
        name = value["name"]
        if NAME.fullmatch(name) is None:
            raise invalid(
                f"The document file name at {where} can only contain alphanumeric"
                " characters, whitespace characters, hyphens, parentheses, and square"
                " brackets. The name can't contain more than one consecutive whitespace"
                " character."
            )
        if name in names:
            raise invalid(f"The document names must be unique: {name!r} at {where}.")
        names.add(name)
    encoded = value["source"].get("bytes")
    if encoded is None:
        return
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(f"{where}.{kind}.source.bytes: not base64.") from None
    head = MAGIC.get(value.get("format", ""), b"")
    if not raw.startswith(head):
        raise invalid(
            f"The provided bytes at {where} are no valid {value['format']} {kind}."
        )


# ---------------------------------------------------------------- tools


def _check_tool_loop(turns: list[Json], body: Json) -> None:
    asked: list[str] = []
    for i, turn in enumerate(turn for turn in turns if turn["role"] != "system"):
        results = [b["toolResult"] for b in turn["content"] if "toolResult" in b]
        given = [result["toolUseId"] for result in results]
        where = f"messages.{i}.content"
        if len(given) > len(asked):
            raise invalid(
                f"The number of toolResult blocks at {where} exceeds the number of"
                " toolUse blocks of previous turn."
            )
        if turn["role"] == "user" and set(given) != set(asked):
            missing = ", ".join(sorted(set(asked) ^ set(given)))
            raise invalid(
                f"Expected toolResult blocks at {where} for the following Ids: {missing}"
            )
        asked = [b["toolUse"]["toolUseId"] for b in turn["content"] if "toolUse" in b]
        if len(set(asked)) != len(asked):
            raise invalid(f"{where}: toolUse ids must be unique.")
        if (results or asked) and "toolConfig" not in body:
            raise invalid(
                "The toolConfig field must be defined when using toolUse and toolResult"
                " content blocks."
            )
    if asked:
        raise invalid(
            f"Expected toolResult blocks for the following Ids: {', '.join(asked)}"
        )


def _check_tools(body: Json, model: Model) -> None:
    config = body.get("toolConfig")
    if config is None:
        return
    specs = [tool["toolSpec"] for tool in config["tools"] if "toolSpec" in tool]
    names = [spec["name"] for spec in specs]
    if len(set(names)) != len(names):
        raise invalid("toolConfig.tools: Tool names must be unique.")
    for spec in specs:
        if spec["inputSchema"]["json"].get("type") != "object":
            raise invalid(
                f"The value at toolConfig.tools.{spec['name']}.inputSchema.json.type must"
                " be one of the following: object."
            )
        if spec.get("strict") and not model.structured:
            raise invalid("This model doesn't support the strict field of a tool.")
    choice = config.get("toolChoice") or {}
    if choice and model.maker == "meta":
        raise invalid("This model doesn't support the toolConfig.toolChoice field.")
    wanted = choice.get("tool", {}).get("name")
    if wanted is not None and wanted not in names:
        raise invalid(f"toolConfig.toolChoice: no tool is named {wanted}.")


# ---------------------------------------------------------------- the rest


def _check_labels(body: Json) -> None:
    labels = body.get("requestMetadata")
    if labels is not None and not labels:
        raise invalid("requestMetadata: Member must have length greater than 0")
    for key in labels or ():
        if KEY.fullmatch(key) is None:
            raise invalid(f"requestMetadata: the key {key!r} is not allowed.")


def _check_cache_points(body: Json, model: Model) -> None:
    points = list(cache_points(body))
    if points and not model.caches:
        raise invalid(
            "You invoked an unsupported model or your request did not allow"
            " prompt caching."
        )
    if len(points) > MOST_CACHE_POINTS:
        raise invalid(
            f"A maximum of {MOST_CACHE_POINTS} cache points may be provided. Found"
            f" {len(points)}."
        )
    if model.maker == "nova" and any(point.get("ttl") == "1h" for point in points):
        raise invalid("This model doesn't support a cache ttl of 1h.")
    tools = (body.get("toolConfig") or {}).get("tools", ())
    if model.maker == "nova" and any("cachePoint" in tool for tool in tools):
        raise invalid("This model doesn't support cache points in tools.")
    hours = [point.get("ttl") == "1h" for point in points]
    if hours != sorted(hours, reverse=True):
        raise invalid(
            "A cache point with a ttl of 1h must not come after one with a ttl of 5m."
        )


def cache_points(body: Json) -> Iterator[Json]:
    """Yield the cache points of a request."""
    blocks = [*(body.get("toolConfig") or {}).get("tools", ()), *body.get("system", ())]
    for turn in body.get("messages") or ():
        blocks += turn["content"]
    for block in blocks:
        if "cachePoint" in block:
            yield block["cachePoint"]


def _check_shape(body: Json, model: Model) -> None:
    config = body.get("outputConfig") or {}
    if "textFormat" in config and not model.structured:
        raise invalid("This model doesn't support the outputConfig.textFormat field.")
    if "textFormat" in config:
        said = config["textFormat"]["structure"]["jsonSchema"]["schema"]
        try:
            check_schema(msgspec.json.decode(said), "schema")
        except Refusal as refused:
            raise invalid(
                f"The model returned the following errors: {refused}"
            ) from None
    if "effort" in config and "adaptive" not in model.thinking:
        raise invalid("This model doesn't support the outputConfig.effort field.")
    inference = body.get("inferenceConfig") or {}
    if inference.get("maxTokens", 0) > model.max_output:
        raise invalid(
            f"The maximum tokens you requested exceeds the model limit of"
            f" {model.max_output}. Try again with a maximum tokens value that is lower"
            f" than {model.max_output}."
        )
    if model.one_sampling and {"temperature", "topP"} <= inference.keys():
        raise invalid(
            "The model returned the following errors: `temperature` and `top_p` cannot"
            " both be specified for this model. Please use only one."
        )
    last = body["messages"][-1]
    said = last["content"][-1].get("text", "") if last["role"] == "assistant" else ""
    if said != said.rstrip():
        raise invalid(
            "The model returned the following errors: messages: final assistant content"
            " cannot end with trailing whitespace"
        )


def _check_fields(body: Json, model: Model) -> None:
    fields = body.get("additionalModelRequestFields") or {}
    unknown = sorted(fields.keys() - model.fields)
    if unknown:
        raise invalid(
            "The model returned the following errors: Malformed input request: #:"
            f" extraneous key [{unknown[0]}] is not permitted, please reformat your input"
            " and try again."
        )
    choice = fields.get("tool_choice")
    if choice is not None:
        if "type" not in choice:
            raise invalid(
                "The model returned the following errors: tool_choice.type: Field required"
            )
        if "toolChoice" in (body.get("toolConfig") or {"toolChoice": None}):
            raise invalid(
                "The model returned the following errors: tool_choice: conflicts with"
                " toolConfig.toolChoice, or there are no tools."
            )
    thinking = fields.get("thinking")
    if thinking is not None:
        _check_thinking(thinking, body, model)


def _check_thinking(thinking: Json, body: Json, model: Model) -> None:
    errors = "The model returned the following errors: "
    kind = thinking.get("type")
    inference = body.get("inferenceConfig") or {}
    if kind not in model.thinking:
        raise invalid(f"{errors}thinking.type: {kind!r} is not supported.")
    if kind == "disabled":
        return
    budget = thinking.get("budget_tokens", 0)
    if kind == "enabled" and budget < LEAST_BUDGET:
        raise invalid(f"{errors}thinking.budget_tokens: at least {LEAST_BUDGET}.")
    if kind == "enabled" and budget >= inference.get("maxTokens", model.max_output):
        raise invalid(
            f"{errors}`max_tokens` must be greater than `thinking.budget_tokens`."
        )
    if inference.get("temperature", 1) != 1:
        raise invalid(
            f"{errors}`temperature` may only be set to 1 when thinking is enabled."
        )
    choice = (body.get("toolConfig") or {}).get("toolChoice") or {}
    fields = body["additionalModelRequestFields"]
    forced = fields.get("tool_choice", {}).get("type") in ("any", "tool")
    if forced or choice.keys() & {"any", "tool"}:
        raise invalid(
            f"{errors}Thinking may not be enabled when tool_choice forces tool use."
        )
