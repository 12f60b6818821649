"""What OpenAI checks between fields, after each field is well formed."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from extproc.local.mock.openai import schemas
from extproc.local.mock.openai.errors import dotted
from extproc.local.mock.openai.models import Model
from extproc.local.mock.reply import Refusal

IMAGE_URL: Final = re.compile(
    r"data:image/(png|jpeg|jpg|webp|gif);base64,(.*)", re.DOTALL
)

Body = Mapping[str, Any]


def check(body: Body, model: Model) -> None:
    """Raise the `Refusal` that OpenAI would answer with."""
    _check_model(body, model)
    check_cache(body, body["messages"], model)
    _check_tools(body)
    _check_options(body)
    _check_messages(body["messages"], model)


def _bad(message: str, param: str | None = None, code: str | None = None) -> Refusal:
    return Refusal(400, message, param=param, code=code)


def _check_model(body: Body, model: Model) -> None:
    if model.completes:
        raise Refusal(
            404,
            "This is not a chat model and thus not supported in the"
            " v1/chat/completions endpoint. Did you mean to use v1/completions?",
            param="model",
        )
    for name in sorted(model.refuses):
        if body.get(name) is not None:
            use = (
                " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
            )
            raise _bad(
                f"Unsupported parameter: '{name}' is not supported with this model.{use}",
                name,
                "unsupported_parameter",
            )
    if body.get("web_search_options") is not None and not model.searches:
        # https://platform.openai.com/docs/guides/tools-web-search?api-mode=chat
        raise _bad(
            "Unknown parameter: 'web_search_options'.",
            "web_search_options",
            "unknown_parameter",
        )
    temperature = body.get("temperature")
    if model.reasoning and temperature not in (None, 1):
        raise _bad(
            f"Unsupported value: 'temperature' does not support {temperature} with this"
            " model. Only the default (1) value is supported.",
            "temperature",
            "unsupported_value",
        )
    if not model.reasoning and body.get("verbosity") not in (None, "medium"):
        raise _bad(
            f"Unsupported value: 'verbosity' does not support '{body['verbosity']}' with"
            " this model. Supported values are: 'medium'.",
            "verbosity",
            "unsupported_value",
        )
    for name in ("max_tokens", "max_completion_tokens"):
        asked = body.get(name)
        if asked is not None and asked > model.max_output:
            raise _bad(
                f"{name} is too large: {asked}. This model supports at most"
                f" {model.max_output} completion tokens, whereas you provided {asked}.",
                name,
                "invalid_value",
            )
    if "audio" in (body.get("modalities") or ()) and not model.audio:
        raise _bad(
            "This model does not support the requested modality: audio.", "modalities"
        )
    if "audio" in (body.get("modalities") or ()) and body.get("audio") is None:
        raise _bad(
            "Missing required parameter: 'audio'.",
            "audio",
            "missing_required_parameter",
        )


def check_cache(body: Body, prompt: object, model: Model) -> None:
    """Check that the model is told of its prompt cache only what it knows."""
    if model.caches:
        return
    found = next(_breakpoints(prompt, "messages"), None)
    if body.get("prompt_cache_options") is not None:
        found = "prompt_cache_options"
    if found is not None:
        raise _bad(
            f"Unsupported parameter: '{found}' is not supported with this model.",
            found,
            "unsupported_parameter",
        )


def _breakpoints(node: object, path: str) -> Iterator[str]:
    if isinstance(node, list):
        for i, item in enumerate(node):
            yield from _breakpoints(item, f"{path}[{i}]")
    elif isinstance(node, dict):
        if node.get("prompt_cache_breakpoint") is not None:
            yield f"{path}.prompt_cache_breakpoint"
        for name in ("content", "output"):
            yield from _breakpoints(node.get(name), f"{path}.{name}")


def _check_tools(body: Body) -> None:
    tools = body.get("tools")
    for name in ("tool_choice", "parallel_tool_calls"):
        # `none` says nothing, so it may stand alone.
        if tools is None and name in body and body[name] != "none":
            raise _bad(
                f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are specified.",
                name,
            )
    if body.get("functions") is None and body.get("function_call", "none") != "none":
        raise _bad(
            "Invalid value for 'function_call': 'function_call' is only allowed when 'functions' are specified.",
            "function_call",
        )
    names = [tool[tool["type"]]["name"] for tool in tools or ()]
    for i, tool in enumerate(tools or ()):
        if tool["type"] == "function":
            schemas.check_function(tool["function"], f"tools[{i}].function.parameters")
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        _check_choice(choice, names)


def _check_choice(choice: Body, names: list[str]) -> None:
    if choice["type"] == "allowed_tools":
        wanted = [
            str(tool.get(tool.get("type", ""), {}).get("name"))
            for tool in choice["allowed_tools"]["tools"]
        ]
    else:
        wanted = [choice[choice["type"]]["name"]]
    for name in wanted:
        if name not in names:
            raise _bad(
                f"Tool choice '{name}' not found in 'tools' parameter.", "tool_choice"
            )


def _check_options(body: Body) -> None:
    if body.get("stream_options") is not None and not body.get("stream"):
        raise _bad(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            "stream_options",
        )
    if (
        body.get("max_tokens") is not None
        and body.get("max_completion_tokens") is not None
    ):
        raise _bad(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            "max_tokens",
            "invalid_parameter_combination",
        )
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        raise _bad(
            "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.",
            "top_logprobs",
        )
    wanted = body.get("response_format") or {"type": "text"}
    if wanted["type"] == "json_object" and "json" not in str(body["messages"]).lower():
        raise _bad(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
            "messages",
        )
    if wanted["type"] == "json_schema":
        _check_schema(wanted["json_schema"])


def _check_schema(wanted: Body) -> None:
    if wanted.get("schema") is None:
        raise _bad(
            "Missing required parameter: 'response_format.json_schema.schema'.",
            "response_format.json_schema.schema",
            "missing_required_parameter",
        )
    where = f"Invalid schema for response_format '{wanted['name']}'"
    schema = wanted["schema"]
    if wanted.get("strict"):
        schemas.check_strict(schema, where, "response_format", None)


def _check_messages(messages: list[Body], model: Model) -> None:
    waiting: dict[str, int] = {}
    for i, message in enumerate(messages):
        role = message["role"]
        if role == "tool":
            if message["tool_call_id"] not in waiting:
                raise _bad(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
                    f"messages.[{i}].role",
                )
            del waiting[message["tool_call_id"]]
            continue
        _check_answered(waiting, i)
        if role == "assistant":
            _check_assistant(message, i)
            waiting = {call["id"]: i for call in message.get("tool_calls") or ()}
        elif role == "user" and not isinstance(message["content"], str):
            for j, part in enumerate(message["content"]):
                _check_part(part, ("messages", i, "content", j), model)
    _check_answered(waiting, len(messages))


def _check_answered(waiting: Mapping[str, int], i: int) -> None:
    if waiting:
        raise _bad(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'."
            f" The following tool_call_ids did not have response messages: {', '.join(waiting)}",
            f"messages.[{i}].role",
        )


def _check_assistant(message: Body, i: int) -> None:
    said = ("content", "tool_calls", "function_call", "refusal", "audio")
    if all(message.get(name) is None for name in said):
        raise _bad(
            "Invalid value for 'content': expected a string, got null.",
            f"messages.[{i}].content",
        )
    ids = [call["id"] for call in message.get("tool_calls") or ()]
    if len(set(ids)) != len(ids):
        raise _bad(
            "Duplicate value for 'tool_call_id' in message.",
            f"messages.[{i}].tool_calls",
        )


def _check_part(part: Body, path: tuple[str | int, ...], model: Model) -> None:
    match part["type"]:
        case "image_url":
            if not model.images:
                raise _bad(
                    "Invalid content type. image_url is only supported by certain models.",
                    dotted((*path, "type")),
                )
            check_image(part["image_url"]["url"], dotted((*path, "image_url", "url")))
        case "input_audio":
            if not model.audio:
                raise _bad(
                    "Invalid content type. input_audio is only supported by certain models.",
                    dotted((*path, "type")),
                )
            if not _is_base64(part["input_audio"]["data"]):
                raise _bad(
                    "The data provided for 'input_audio' is not valid base64.",
                    dotted((*path, "input_audio", "data")),
                    "invalid_value",
                )
        case "file":
            check_file(part["file"], dotted((*path, "file")))
        case _:
            pass  # text


def check_file(file: Body, param: str) -> None:
    """Check a file that comes with the request or was uploaded before."""
    if ("file_data" in file) == ("file_id" in file):
        raise _bad(
            f"Expected exactly one of 'file_data' and 'file_id' in '{param}'.",
            param,
            "invalid_value",
        )
    if "file_data" in file:
        head, _, payload = file["file_data"].partition(";base64,")
        if not head.startswith("data:") or not _is_base64(payload):
            raise _bad(
                f"Invalid '{param}.file_data': expected a base64-encoded data URL.",
                f"{param}.file_data",
                "invalid_value",
            )
        if "filename" not in file:
            raise _bad(
                f"Missing required parameter: '{param}.filename'.",
                f"{param}.filename",
                "missing_required_parameter",
            )


def check_image(url: str, param: str) -> None:
    """Check the URL of a picture, which may carry it."""
    if url.startswith(("https://", "http://")):
        return
    found = IMAGE_URL.fullmatch(url)
    if found is None:
        raise _bad(
            f"Invalid '{param}'. Expected a valid URL, or a base64-encoded data URL of a"
            " supported image (png, jpeg, gif, webp).",
            param,
            "invalid_image_url" if url.startswith("data:") else "invalid_value",
        )
    if not _is_base64(found[2]):
        raise _bad("Invalid base64 image_url.", param, "invalid_base64")


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return False
