"""A value for a JSON schema: what the model "fills in" for tools and formats.

Deterministic: the first enum member, the first alternative, the least that the
bounds allow. Optional properties are left out. `$ref` is followed within the schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

DEEPEST: Final = 12
"""A recursive schema ends here: deeper values are null."""

FORMATS: Final = {
    "date": "2025-01-31",
    "time": "12:30:00Z",
    "date-time": "2025-01-31T12:30:00Z",
    "email": "ada@example.com",
    "uri": "https://example.com/",
    "uuid": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
}


def value_for(schema: object, *, name: str = "value") -> Any:  # noqa: ANN401
    """Return a value that fits the schema; `name` flavors its strings."""
    return _value(schema, schema, name, 0)


def _value(schema: object, root: object, name: str, depth: int) -> Any:  # noqa: ANN401
    if not isinstance(schema, dict) or depth > DEEPEST:
        return None
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    target = _elsewhere(schema, root)
    if target is not None:
        return _value(target, root, name, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    match kind:
        case "object":
            made: Any = _object(schema, root, depth)
        case "array":
            least = max(1, int(schema.get("minItems", 1)))
            item = _value(schema.get("items", {}), root, name, depth + 1)
            made = [item] * least
        case "integer" | "number":
            made = _number(schema)
        case "boolean" | "null":
            made = True if kind == "boolean" else None
        case _:
            made = _string(schema, name)
    return made


def _elsewhere(schema: Mapping[str, Any], root: object) -> object:
    """Return the schema that this one only points to, if it does."""
    if isinstance(schema.get("$ref"), str):
        return _resolve(schema["$ref"], root)
    for union in ("anyOf", "oneOf", "allOf"):
        if schema.get(union):
            return schema[union][0]
    return None


def _object(schema: Mapping[str, Any], root: object, depth: int) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    required = schema.get("required") or []
    return {
        key: _value(properties.get(key, {}), root, key, depth + 1) for key in required
    }


def _number(schema: Mapping[str, Any]) -> float:
    if "minimum" in schema:
        return _plain(schema["minimum"])
    if "exclusiveMinimum" in schema:
        return _plain(schema["exclusiveMinimum"]) + 1
    return _plain(min(1, schema.get("maximum", 1)))


def _plain(number: float) -> float:
    return int(number) if float(number).is_integer() else number


def _string(schema: Mapping[str, Any], name: str) -> str:
    text = FORMATS.get(schema.get("format", ""), f"{name} value")
    least, most = int(schema.get("minLength", 0)), schema.get("maxLength")
    text = text.ljust(least, "x")
    return text if most is None else text[: int(most)]


def _resolve(ref: str, root: object) -> object:
    node = root
    for step in ref.removeprefix("#").strip("/").split("/"):
        if step:
            key = step.replace("~1", "/").replace("~0", "~")
            node = node.get(key) if isinstance(node, dict) else None
    return node
