"""What Anthropic checks between fields; `turns.py` has the conversation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from extproc.local.mock.anthropic import turns
from extproc.local.mock.anthropic.models import Model
from extproc.local.mock.anthropic.schemas import check_schema
from extproc.local.mock.reply import Refusal

MOST_CACHE_POINTS: Final = 4
FAST_MODE: Final = "fast-mode-2026-02-01"

Body = Mapping[str, Any]


def check(body: Body, model: Model, *, betas: frozenset[str]) -> None:
    """Raise the `Refusal` that Anthropic would answer with."""
    _check_model(body, model, betas)
    _check_thinking(body, model)
    _check_tools(body)
    _check_stops(body)
    _check_system(body)
    turns.check(body["messages"], model, thinking=thinks(body))
    _check_cache_points(body)
    _check_schemas(body)


def thinks(body: Body) -> bool:
    """Tell whether the request wants thinking."""
    wanted = body.get("thinking")
    return wanted is not None and wanted["type"] != "disabled"


def _bad(message: str) -> Refusal:
    return Refusal(400, message)


def _check_model(body: Body, model: Model, betas: frozenset[str]) -> None:
    limit = body.get("max_tokens", 0)
    if limit > model.max_output:
        raise _bad(
            f"max_tokens: {limit} > {model.max_output}, which is the maximum allowed"
            f" number of output tokens for {model.id}"
        )
    for name in ("temperature", "top_p", "top_k"):
        if name in body and not model.sampling:
            raise _bad(f"`{name}` is not supported on this model.")
    if "temperature" in body and "top_p" in body:
        raise _bad(
            "`temperature` and `top_p` cannot both be specified for this model. Please"
            " use only one."
        )
    effort = (body.get("output_config") or {}).get("effort")
    if effort is not None and effort not in model.efforts:
        raise _bad(
            "This model does not support the effort parameter."
            if not model.efforts
            else f"This model does not support effort level '{effort}'."
        )
    if body.get("speed") == "fast" and FAST_MODE not in betas:
        raise _bad("speed: Extra inputs are not permitted")


def _check_thinking(body: Body, model: Model) -> None:
    wanted = body.get("thinking")
    if wanted is None:
        return
    kind = wanted["type"]
    if kind not in model.thinking:
        raise _bad(
            f'"thinking.type.{kind}" is not supported for this model. Supported types:'
            f" {', '.join(sorted(model.thinking))}."
        )
    if kind == "disabled":
        return
    if kind == "enabled" and wanted["budget_tokens"] >= body.get("max_tokens", 1 << 62):
        raise _bad("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if body.get("temperature", 1) != 1:
        raise _bad("`temperature` may only be set to 1 when thinking is enabled.")
    if "top_k" in body:
        raise _bad("`top_k` must be unset when thinking is enabled.")
    if not 0.95 <= body.get("top_p", 1) <= 1:
        raise _bad(
            "`top_p` must be greater than or equal to 0.95 or unset when thinking is"
            " enabled."
        )
    if (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
        raise _bad("Thinking may not be enabled when tool_choice forces tool use.")


def _check_tools(body: Body) -> None:
    tools = body.get("tools") or []
    choice = body.get("tool_choice")
    names = [tool["name"] for tool in tools if "name" in tool]
    if choice is not None and not tools:
        raise _bad(
            "tool_choice: tool_choice may only be specified while providing tools."
        )
    if len(set(names)) != len(names):
        raise _bad("tools: Tool names must be unique.")
    if choice is not None and choice["type"] == "tool" and choice["name"] not in names:
        raise _bad(f"Tool '{choice['name']}' not found in provided tools")
    for i, tool in enumerate(tools):
        if tool.get("type") in (None, "custom"):
            _check_input_schema(tool["input_schema"], f"tools.{i}.custom.input_schema")


def _check_input_schema(schema: Body, where: str) -> None:
    if "type" not in schema:
        raise _bad(f"{where}.type: Field required")
    if schema["type"] != "object":
        raise _bad(f"{where}.type: Input should be 'object'")
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, (dict, type(None))):
        raise _bad(f"{where}.properties: Input should be a valid dictionary")
    if not isinstance(required, (list, type(None))):
        raise _bad(f"{where}.required: Input should be a valid list")


def _check_stops(body: Body) -> None:
    if any(not stop.strip() for stop in body.get("stop_sequences") or ()):
        raise _bad("stop_sequences: each stop sequence must contain non-whitespace")


def _check_system(body: Body) -> None:
    system = body.get("system")
    for block in system if isinstance(system, list) else ():
        if not block["text"]:
            raise _bad("system: text content blocks must be non-empty")


def _check_schemas(body: Body) -> None:
    shape = (body.get("output_config") or {}).get("format")
    if shape:
        check_schema(shape["schema"], "output_config.format.schema")
    for i, tool in enumerate(body.get("tools") or ()):
        if tool.get("strict") and "input_schema" in tool:
            check_schema(tool["input_schema"], f"tools.{i}.custom.input_schema")


def _check_cache_points(body: Body) -> None:
    marks = [
        mark["cache_control"]
        for part in ("tools", "system", "messages")
        for mark in _cache_points(body.get(part))
    ]
    found = len(marks) + (body.get("cache_control") is not None)
    if found > MOST_CACHE_POINTS:
        raise _bad(
            f"A maximum of {MOST_CACHE_POINTS} blocks with cache_control may be"
            f" provided. Found {found}."
        )
    short = False
    for mark in marks:
        hour = mark.get("ttl") == "1h"
        if hour and short:
            raise _bad(
                "a ttl='1h' cache_control block must not come after a ttl='5m'"
                " cache_control block. Note that blocks are processed in the following"
                " order: `tools`, `system`, `messages`."
            )
        short = short or not hour


def _cache_points(node: object) -> Iterator[Body]:
    """Walk messages and blocks, but not what a caller's tool takes or declares."""
    if isinstance(node, list):
        for item in node:
            yield from _cache_points(item)
    elif isinstance(node, dict):
        yield from _cache_points(node.get("content"))
        if node.get("cache_control") is not None:
            yield node
