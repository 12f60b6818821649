"""What OpenAI checks of a Responses request that no table says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from extproc.local.mock.openai.check import check_cache, check_file, check_image
from extproc.local.mock.openai.errors import dotted
from extproc.local.mock.openai.models import Model
from extproc.local.mock.openai.responses_memory import Shelf, is_encrypted, typed
from extproc.local.mock.openai.responses_rules import (
    ITEMS,
    OPEN_ITEMS,
    OPEN_TOOLS,
    RESPONSES,
    TOOLS,
)
from extproc.local.mock.openai.schemas import check_function, check_strict
from extproc.local.mock.reply import Refusal
from extproc.local.mock.rules import Obj, Violation, check as check_rule

Body = Mapping[str, Any]
Json = dict[str, Any]

CALLS: Final = {
    "function_call_output": "function_call",
    "custom_tool_call_output": "custom_tool_call",
}
UNSERVED: Final = ("background", "conversation", "prompt")
"""What the mock has not; the real API has it."""
ENCRYPTED: Final = "reasoning.encrypted_content"


def check_shape(body: Body) -> list[Json]:
    """Check a body by the tables; return its items, each with its type.

    Raises:
        Violation: a field is wrong.
    """
    check_rule(RESPONSES, body)
    for i, tool in enumerate(body.get("tools") or ()):
        _check_one(tool, TOOLS, OPEN_TOOLS, ("tools", i))
    said = body.get("input")
    if not isinstance(said, list):
        text = {"type": "message", "role": "user", "content": said}
        return [] if said is None else [text]
    items = [typed(item) for item in said]
    for i, item in enumerate(items):
        _check_one(item, ITEMS, OPEN_ITEMS, ("input", i))
    return items


def _check_one(
    value: Body, known: Mapping[str, Obj], open_: frozenset[str], path: tuple[str, int]
) -> None:
    kind = value.get("type")
    if kind is None:
        raise Violation("missing", (*path, "type"))
    if kind in open_:
        return
    if kind not in known:
        expected = tuple(sorted({*known, *open_}))
        raise Violation("enum", (*path, "type"), value=kind, expected=expected)
    check_rule(known[kind], value, path)


def check(body: Body, items: list[Json], model: Model, shelf: Shelf) -> list[Json]:
    """Check what goes beyond a field; return the whole conversation.

    Raises:
        Refusal: as OpenAI would.
    """
    for name in UNSERVED:
        if body.get(name):
            raise _bad(f"'{name}' is not served by the mock.", name, "mock_unserved")
    _check_model(body, model)
    check_cache(body, body.get("input"), model)
    _check_tools(body)
    _check_text(body)
    before = _before(body, shelf)
    if not items:
        raise _bad(
            "Missing required parameter: 'input'.",
            "input",
            "missing_required_parameter",
        )
    whole = [*before, *(_resolved(item, i, shelf) for i, item in enumerate(items))]
    for i, item in enumerate(items):
        _check_item(item, i, model, stored=shelf)
    _check_answered(whole)
    return whole


def _bad(message: str, param: str | None = None, code: str | None = None) -> Refusal:
    return Refusal(400, message, param=param, code=code)


def _unsupported(name: str) -> Refusal:
    return _bad(
        f"Unsupported parameter: '{name}' is not supported with this model.",
        name,
        "unsupported_parameter",
    )


def _check_model(body: Body, model: Model) -> None:
    if model.reasoning:
        for name in ("temperature", "top_p", "top_logprobs"):
            if body.get(name) not in (None, 1, 0):
                raise _unsupported(name)
    else:
        for name, value in (body.get("reasoning") or {}).items():
            if value is not None:
                raise _unsupported(f"reasoning.{name}")
        if ENCRYPTED in (body.get("include") or ()):
            raise _bad("Encrypted content is not supported with this model.", "include")
        if (body.get("text") or {}).get("verbosity") not in (None, "medium"):
            raise _unsupported("text.verbosity")
    if body.get("stream_options") is not None and not body.get("stream"):
        raise _bad(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            "stream_options",
        )
    most = body.get("max_output_tokens")
    if most is not None and most > model.max_output:
        raise _bad(
            f"max_output_tokens is too large: {most}. This model supports at most"
            f" {model.max_output} output tokens.",
            "max_output_tokens",
            "invalid_value",
        )


def _check_tools(body: Body) -> None:
    tools = body.get("tools") or ()
    for i, tool in enumerate(tools):
        if tool["type"] == "function":
            check_function(tool, f"tools[{i}].parameters")
    known = {tool.get("name", tool["type"]) for tool in tools}
    choice = body.get("tool_choice", "auto")
    if choice == "required" and not tools:
        raise _bad(
            "Tool choice 'required' must be specified with 'tools' parameter.",
            "tool_choice",
        )
    if not isinstance(choice, dict):
        return
    wanted = choice["tools"] if choice["type"] == "allowed_tools" else [choice]
    for one in wanted:
        name = one.get("name", one.get("type"))
        if one.get("type") != "mcp" and name not in known:
            raise _bad(
                f"Tool choice '{name}' not found in 'tools' parameter.", "tool_choice"
            )


def _check_text(body: Body) -> None:
    wanted = (body.get("text") or {}).get("format") or {"type": "text"}
    if wanted["type"] == "json_object" and "json" not in str(body["input"]).lower():
        raise _bad(
            "Response input messages must contain the word 'json' in some form to use"
            " 'text.format' of type 'json_object'.",
            "input",
        )
    if wanted["type"] == "json_schema" and wanted.get("strict"):
        where = f"Invalid schema for response_format '{wanted['name']}'"
        check_strict(
            wanted["schema"], where, "text.format.schema", "invalid_json_schema"
        )


def _before(body: Body, shelf: Shelf) -> list[Json]:
    before = body.get("previous_response_id")
    if before is None:
        return []
    items = shelf.conversation(before)
    if items is None:
        raise _bad(
            f"Previous response with id '{before}' not found.",
            "previous_response_id",
            "previous_response_not_found",
        )
    return items


def _resolved(item: Json, i: int, shelf: Shelf) -> Json:
    """Return the item that a reference stands for."""
    if item["type"] != "item_reference":
        return item
    found = shelf.item(item["id"])
    if found is None:
        raise Refusal(
            404,
            f"Item with id '{item['id']}' not found.",
            param=f"input[{i}].id",
        )
    return found


# ---------------------------------------------------------------- items


def _check_item(item: Json, i: int, model: Model, *, stored: Shelf) -> None:
    match item["type"]:
        case "message":
            _check_message(item, i, model)
        case "reasoning":
            _check_reasoning(item, i, stored)
        case "function_call_output" if item.get("call_id") is None:
            raise _bad(
                f"Missing required parameter: 'input[{i}].call_id'.",
                f"input[{i}].call_id",
                "missing_required_parameter",
            )
        case "function_call_output" | "custom_tool_call_output":
            if isinstance(item["output"], list):
                for j, part in enumerate(item["output"]):
                    _check_part(part, ("input", i, "output", j), model)
        case _:
            pass  # calls, and what only OpenAI reads


def _check_message(item: Json, i: int, model: Model) -> None:
    if isinstance(item["content"], str):
        return
    spoken = item["role"] == "assistant"
    for j, part in enumerate(item["content"]):
        path = ("input", i, "content", j)
        if spoken != (part["type"] in ("output_text", "refusal")):
            supported = (
                "'output_text' and 'refusal'"
                if spoken
                else "'input_text', 'input_image', and 'input_file'"
            )
            raise _bad(
                f"Invalid value: '{part['type']}'. Supported values are: {supported}.",
                dotted((*path, "type")),
                "invalid_value",
            )
        _check_part(part, path, model)


def _check_part(part: Body, path: tuple[str | int, ...], model: Model) -> None:
    match part["type"]:
        case "input_image":
            if not model.images:
                raise _bad(
                    "This model does not support image inputs.", dotted((*path, "type"))
                )
            if (part.get("image_url") is None) == (part.get("file_id") is None):
                raise _one_of(path, "image_url", "file_id")
            if part.get("image_url") is not None:
                check_image(part["image_url"], dotted((*path, "image_url")))
        case "input_file":
            given = [
                name
                for name in ("file_data", "file_id", "file_url")
                if part.get(name) is not None
            ]
            if len(given) != 1:
                raise _one_of(path, "file_data", "file_id", "file_url")
            if given == ["file_data"]:
                file = {k: part[k] for k in ("file_data", "filename") if part.get(k)}
                check_file(file, dotted(path))
        case _:
            pass  # text


def _one_of(path: tuple[str | int, ...], *names: str) -> Refusal:
    where = dotted(path)
    return _bad(
        f"Expected exactly one of {', '.join(names)} in '{where}'.",
        where,
        "invalid_value",
    )


def _check_reasoning(item: Json, i: int, shelf: Shelf) -> None:
    content = item.get("encrypted_content")
    if content is None:
        if shelf.item(item["id"]) is None:
            raise Refusal(
                404,
                f"Item with id '{item['id']}' not found. Items are not persisted when"
                " `store` is set to false. Try again with `store` set to true, or"
                " remove this item from your input.",
                param="input",
            )
    elif not is_encrypted(content):
        raise _bad(
            f"The encrypted content {content[:8]}...{content[-4:]} could not be"
            " verified.",
            f"input[{i}].encrypted_content",
            "invalid_encrypted_content",
        )


def _check_answered(items: list[Json]) -> None:
    """Each output answers a call of its kind before it; each call has its output."""
    open_: dict[tuple[str, str], None] = {}
    seen: set[tuple[str, str]] = set()
    for item in items:
        kind = item["type"]
        if kind in CALLS.values():
            open_[kind, item["call_id"]] = None
            seen.add((kind, item["call_id"]))
        elif kind in CALLS:
            key = (CALLS[kind], item["call_id"])
            if key not in seen:
                raise _bad(
                    f"No tool call found for {_words(kind)} with call_id"
                    f" {item['call_id']}.",
                    "input",
                )
            open_.pop(key, None)
    for kind, call_id in open_:
        raise _bad(f"No tool output found for {_words(kind)} {call_id}.", "input")


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def texts(items: list[Json]) -> Iterator[str]:
    """Yield the user's texts, in order."""
    for item in items:
        if item["type"] == "message" and item["role"] == "user":
            yield text_of(item["content"])


def text_of(content: object) -> str:
    """Return the text of a content or of an output."""
    if isinstance(content, list):
        return "\n".join(p["text"] for p in content if p["type"] == "input_text")
    return content if isinstance(content, str) else ""
