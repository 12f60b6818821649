"""What OpenAI takes as a JSON Schema: a function's parameters, and the form of an answer.

https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from extproc.local.mock.reply import Refusal

Body = Mapping[str, Any]


def check_function(function: Body, param: str) -> None:
    """Check the schema of a function's parameters, which stands at `param`."""
    schema = function.get("parameters")
    if not schema:
        return
    where = f"Invalid schema for function '{function['name']}'"
    if schema.get("type") != "object":
        raise Refusal(
            400,
            f"{where}: schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{schema.get('type')}\"'.",
            param=param,
            code="invalid_function_parameters",
        )
    _check_arrays(schema, where, param)
    if function.get("strict"):
        _check_closed(schema, (), where, param, "invalid_function_parameters")


def _check_arrays(schema: Body, where: str, param: str) -> None:
    for context, node in _objects(schema, ()):
        if node.get("type") == "array" and "items" not in node:
            raise Refusal(
                400,
                f"{where}: In context={context}, array schema missing items.",
                param=param,
                code="invalid_function_parameters",
            )


def _objects(
    node: object, context: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Body]]:
    """Walk the sub-schemas, and only those: not `default`, `enum` or `const`."""
    if not isinstance(node, dict):
        return
    yield context, node
    for holder in ("properties", "$defs", "definitions"):
        members = node.get(holder)
        for key, member in members.items() if isinstance(members, dict) else ():
            yield from _objects(member, (*context, holder, key))
    for holder in ("anyOf", "oneOf", "allOf", "prefixItems"):
        members = node.get(holder)
        for i, member in enumerate(members if isinstance(members, list) else ()):
            yield from _objects(member, (*context, holder, str(i)))
    for holder in ("items", "additionalProperties"):
        yield from _objects(node.get(holder), (*context, holder))


def check_strict(schema: Body, where: str, param: str, code: str | None) -> None:
    """Check the schema of a strict answer."""
    if schema.get("type") != "object":
        raise Refusal(
            400,
            f"{where}: schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{schema.get('type')}\"'.",
            param=param,
            code=code,
        )
    _check_closed(schema, (), where, param, code)


def _check_closed(
    schema: Body, context: tuple[str, ...], where: str, param: str, code: str | None
) -> None:
    """Strict schemas close every object and require every property."""
    for at, node in _objects(schema, context):
        if "properties" not in node and node.get("type") != "object":
            continue
        if node.get("additionalProperties") is not False:
            raise Refusal(
                400,
                f"{where}: In context={at}, 'additionalProperties' is required to be supplied and to be false.",
                param=param,
                code=code,
            )
        missing = [
            key
            for key in node.get("properties") or {}
            if key not in (node.get("required") or [])
        ]
        if missing:
            raise Refusal(
                400,
                f"{where}: In context={at}, 'required' is required to be supplied and to be an array"
                f" including every key in properties. Missing '{missing[0]}'.",
                param=param,
                code=code,
            )
