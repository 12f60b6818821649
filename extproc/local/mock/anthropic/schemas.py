"""What Anthropic checks in the schema of an answer, or of a strict tool.

https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations;
`anthropic.lib._parse._transform` makes schemas so that they pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from extproc.local.mock.reply import Refusal

FORMATS: Final = frozenset({
    "date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6",
    "uuid",
})  # fmt: skip

NOT_SUPPORTED: Final[Mapping[str, tuple[str, ...]]] = {
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "string": ("minLength", "maxLength"),
    "array": ("maxItems", "uniqueItems", "contains"),
    "object": ("minProperties", "maxProperties", "patternProperties"),
}  # fmt: skip


def check_schema(schema: object, where: str) -> None:
    """Raise the `Refusal` that the API would answer with."""
    for node in _nodes(schema):
        kind = node.get("type")
        if kind == "object" and node.get("additionalProperties") is not False:
            raise _bad(
                f"{where}: For 'object' type, 'additionalProperties' must be explicitly"
                " set to false"
            )
        found = [name for name in NOT_SUPPORTED.get(str(kind), ()) if name in node]
        if found:
            raise _bad(
                f"{where}: For '{kind}' type, properties {', '.join(sorted(found))} are"
                " not supported"
            )
        if kind == "array" and node.get("minItems", 0) not in (0, 1):
            raise _bad(
                f"{where}: For 'array' type, 'minItems' values other than 0 or 1 are not"
                " supported"
            )
        if kind == "string" and node.get("format", "date") not in FORMATS:
            raise _bad(f"{where}: string format {node['format']!r} is not supported")
        if "oneOf" in node:
            raise _bad(f"{where}: Schema type 'oneOf' is not supported")


def _nodes(schema: object) -> Iterator[dict[str, Any]]:
    if not isinstance(schema, dict):
        return
    yield schema
    for name in ("properties", "$defs", "definitions"):
        for inner in (schema.get(name) or {}).values():
            yield from _nodes(inner)
    for name in ("anyOf", "oneOf", "allOf"):
        for inner in schema.get(name) or ():
            yield from _nodes(inner)
    yield from _nodes(schema.get("items"))


def _bad(message: str) -> Refusal:
    return Refusal(400, message)
