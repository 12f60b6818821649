"""What Gemini checks between fields; `contents.py` has the conversation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from extproc.local.mock.gemini import contents
from extproc.local.mock.gemini.errors import bad
from extproc.local.mock.gemini.models import BUDGET, LEVEL, Model

Json = Mapping[str, Any]

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")


def check(body: Json, model: Model) -> None:
    """Raise the refusal that Google would answer with."""
    config = body.get("generationConfig") or {}
    functions = declared(body)
    _check_limits(config, model)
    _check_thinking(config.get("thinkingConfig"), model)
    _check_shape(config, model, functions=bool(functions))
    _check_functions(functions)
    _check_choice(body, {function["name"] for function in functions})
    if "systemInstruction" in body:
        contents.check_system(body["systemInstruction"])
    contents.check(body.get("contents") or [], model)


def declared(body: Json) -> list[Json]:
    """Return the function declarations of every tool."""
    return [
        function
        for tool in body.get("tools") or ()
        for function in tool.get("functionDeclarations") or ()
    ]


def _check_limits(config: Json, model: Model) -> None:
    limit = config.get("maxOutputTokens", 1)
    if limit > model.max_output:
        raise bad(
            f"Unable to submit request because it has a maxOutputTokens value of {limit}"
            f" but the supported range is from 1 (inclusive) to {model.max_output + 1}"
            " (exclusive). Update the value and try again."
        )
    penalties = config.get("presencePenalty") or config.get("frequencyPenalty")
    if penalties and model.modern:
        raise bad("Penalty is not enabled for this model")
    if "logprobs" in config and not config.get("responseLogprobs"):
        raise bad("logprobs is only supported when response_logprobs is true")


def _check_thinking(thinking: Json | None, model: Model) -> None:
    if not thinking:
        return
    budget, level = thinking.get("thinkingBudget"), thinking.get("thinkingLevel")
    if model.thinking is None:
        raise bad("Thinking is not enabled for this model.")
    if budget is not None and level is not None:
        raise bad("You can only set only one of thinking budget and thinking level.")
    if level is not None and model.thinking == BUDGET:
        raise bad("Thinking level is not supported for this model.")
    if level is not None and level not in model.levels:
        raise bad(
            f"Thinking level {level} is not supported for this model. Please retry with"
            " other thinking level."
        )
    if budget is None or budget == -1 or model.thinking == LEVEL:
        return
    if budget == 0 and not model.stops_thinking:
        raise bad("Budget 0 is invalid. This model only works in thinking mode.")
    least, most = model.budgets
    if budget != 0 and not least <= budget <= most:
        raise bad(
            f"The thinking budget {budget} is invalid. Please choose a value between"
            f" {least} and {most}."
        )


def _check_shape(config: Json, model: Model, *, functions: bool) -> None:
    kind = config.get("responseMimeType", "text/plain")
    schemas = [n for n in ("responseSchema", "responseJsonSchema") if n in config]
    if kind != "text/plain" and functions and not model.json_with_tools:
        raise bad(
            f"Function calling with a response mime type: '{kind}' is unsupported"
        )
    if len(schemas) == 2:
        raise bad("Only one of response_schema and response_json_schema may be set.")
    if schemas and kind == "text/plain":
        raise bad(
            "response_schema is only supported with response_mime_type application/json"
        )
    if "responseSchema" in config:
        _check_schema(config["responseSchema"], "generation_config.response_schema")


def _check_functions(functions: list[Json]) -> None:
    seen: set[str] = set()
    for i, function in enumerate(functions):
        where = f"tools[0].function_declarations[{i}]"
        name = function["name"]
        if NAME.fullmatch(name) is None:
            raise bad(
                f"* GenerateContentRequest.{where}.name: Invalid function name. Must"
                " start with a letter or an underscore. Must be alphanumeric (a-z, A-Z,"
                " 0-9), underscores (_), dots (.), colons (:) or dashes (-), with a"
                " maximum length of 128."
            )
        if name in seen:
            raise bad(f"Duplicate function declaration found: {name}")
        seen.add(name)
        if "parameters" in function and "parametersJsonSchema" in function:
            raise bad(
                f"* GenerateContentRequest.{where}: parameters and"
                " parameters_json_schema are mutually exclusive"
            )
        if "parameters" in function:
            _check_schema(function["parameters"], f"{where}.parameters")


def _check_schema(schema: Json, where: str) -> None:
    properties = schema.get("properties") or {}
    if schema.get("type") == "OBJECT" and "properties" in schema and not properties:
        raise bad(
            f"* GenerateContentRequest.{where}.properties: should be non-empty for"
            " OBJECT type"
        )
    for i, name in enumerate(schema.get("required") or ()):
        if name not in properties:
            raise bad(
                f"* GenerateContentRequest.{where}.required[{i}]: property is not"
                " defined"
            )
    if schema.get("type") == "ARRAY" and "items" not in schema:
        raise bad(f"* GenerateContentRequest.{where}.items: missing field.")
    if schema.get("type") == "STRING" and schema.get("format") not in (
        None,
        "enum",
        "date-time",
    ):
        raise bad(
            f"* GenerateContentRequest.{where}.format: only 'enum' and 'date-time' are"
            " supported for STRING type"
        )
    for name, inner in properties.items():
        _check_schema(inner, f"{where}.properties[{name}]")
    for i, inner in enumerate(schema.get("anyOf") or ()):
        _check_schema(inner, f"{where}.any_of[{i}]")
    if "items" in schema:
        _check_schema(schema["items"], f"{where}.items")


def _check_choice(body: Json, names: set[str]) -> None:
    config = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    mode, allowed = config.get("mode", "AUTO"), config.get("allowedFunctionNames")
    if mode in ("ANY", "VALIDATED") and not names:
        raise bad("Function calling config is set without function_declarations.")
    if allowed and mode not in ("ANY", "VALIDATED"):
        raise bad(
            "Function calling mode must be ANY or VALIDATED when"
            " allowed_function_names is set."
        )
    if allowed and not set(allowed) <= names:
        raise bad(
            "allowed_function_names contains a name that is not in"
            f" function_declarations: {min(set(allowed) - names)}"
        )
