"""A JSON schema as the subset of OpenAPI 3.0 that Gemini models up to 2.0 read.

https://ai.google.dev/api/caching#Schema. Newer models take JSON schemas as they are.
Said in other words, without loss: definitions stand where they are referred to, null
among the types is ``nullable``, several types are alternatives, ``oneOf`` is ``anyOf``, a
constant is an enum of one, a single ``allOf`` is itself. All else that the subset has no
word for is left out and reported by its path, such as ``….properties.n.multipleOf``; so
is a reference that leads back to itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from extproc.formats.base import Unsupported
from extproc.formats.json_schema import resolve

Drop = Callable[[str], None]
Json = dict[str, Any]

_DEEPEST = 32
"""A schema that nests deeper is a recursive one; the API's own limit is lower."""

_MOST = 10_000
"""Schemas that a schema may come to: references are written out, and a few hundred bytes of
them can stand for more than any machine holds."""

_SAME = frozenset({
    "title", "description", "default", "pattern", "minLength", "maxLength", "minimum",
    "maximum", "minItems", "maxItems", "minProperties", "maxProperties", "required",
    "propertyOrdering", "nullable", "example",
})  # fmt: skip

_SILENT = frozenset({"$schema", "$id", "$defs", "definitions", "$comment", "$anchor"})
"""Say nothing of the values, or are read where they are referred to."""

_FORMATS: Mapping[str, frozenset[str]] = {
    "STRING": frozenset({"enum", "date-time"}),
    "NUMBER": frozenset({"float", "double"}),
    "INTEGER": frozenset({"int32", "int64"}),
}

_ANYTHING = msgspec.json.Decoder()


def convert(raw: msgspec.Raw, where: str, drop: Drop) -> msgspec.Raw:
    """Return the schema in Gemini's words; `where` is its place in the request.

    Raises:
        msgspec.MsgspecError: `raw` is no JSON object.
        Unsupported: it is too large when its references are written out.
    """
    return msgspec.Raw(msgspec.json.encode(_convert(raw, where, drop)))


def convert_object(raw: msgspec.Raw, where: str, drop: Drop) -> msgspec.Raw | None:
    """Return the schema of an object; None where it has no properties.

    Such a one the API refuses, and a function without parameters needs none.

    Raises:
        msgspec.MsgspecError: `raw` is no JSON object.
        Unsupported: it is too large when its references are written out.
    """
    made = _convert(raw, where, drop)
    return msgspec.Raw(msgspec.json.encode(made)) if "properties" in made else None


def _convert(raw: msgspec.Raw, where: str, drop: Drop) -> Json:
    root = _ANYTHING.decode(raw)
    if not isinstance(root, dict):
        raise msgspec.ValidationError("expected an object")
    return _Converter(root, drop).convert(root, where, ())


class _Converter:
    def __init__(self, root: Json, drop: Drop) -> None:
        self._root = root
        self._drop = drop
        self._made = 0

    def convert(self, schema: object, where: str, within: tuple[str, ...]) -> Json:
        """Return `schema` converted; `within` are the references that led here.

        Raises:
            Unsupported: it comes to more than `_MOST` schemas.
        """
        self._made += 1
        if self._made > _MOST:
            raise Unsupported(
                "Gemini has no references, and without them this schema is too large.",
                param=where,
            )
        if not isinstance(schema, dict):
            if schema is not True:
                self._drop(where)  # false: nothing fits, which has no word
            return {}
        if isinstance(schema.get("$ref"), str):
            return self._refer(schema, where, within)
        if isinstance(schema.get("allOf"), list) and len(schema["allOf"]) == 1:
            rest = {key: value for key, value in schema.items() if key != "allOf"}
            (only,) = schema["allOf"]
            schema = {**only, **rest} if isinstance(only, dict) else rest
            return self.convert(schema, where, within)
        if len(within) > _DEEPEST:
            self._drop(where)
            return {}
        made: Json = self._typed(schema, where)
        for key, value in schema.items():
            self._member(made, key, value, f"{where}.{key}", within)
        return made

    def _refer(self, schema: Json, where: str, within: tuple[str, ...]) -> Json:
        ref = schema["$ref"]
        target = resolve(ref, self._root)
        if target is None or ref in within:
            self._drop(f"{where}.$ref")
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            return self.convert(rest, where, within) or {"type": "OBJECT"}
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return self.convert({**target, **rest}, where, (*within, ref))

    def _typed(self, schema: Json, where: str) -> Json:
        """Return the members that say the type."""
        said = schema.get("type")
        if isinstance(said, str):
            return {"type": said.upper()}
        if not isinstance(said, list):
            implied = {"properties": "OBJECT", "items": "ARRAY", "const": "STRING"}
            return next(
                ({"type": kind} for key, kind in implied.items() if key in schema), {}
            )
        kinds = [kind for kind in said if isinstance(kind, str) and kind != "null"]
        made: Json = {"nullable": True} if "null" in said else {}
        if len(kinds) == 1:
            return made | {"type": kinds[0].upper()}
        if "anyOf" in schema or "oneOf" in schema:
            self._drop(f"{where}.type")
            return made
        return made | {"anyOf": [{"type": kind.upper()} for kind in kinds]}

    def _member(
        self, made: Json, key: str, value: object, where: str, within: tuple[str, ...]
    ) -> None:
        match key:
            case "type":
                pass
            case "properties" if value == {}:
                pass  # refused as it is
            case "properties" if isinstance(value, dict):
                made[key] = {
                    name: self.convert(inner, f"{where}.{name}", within)
                    for name, inner in value.items()
                }
            case "items" if isinstance(value, dict | bool):
                made[key] = self.convert(value, where, within)
            case "anyOf" | "oneOf" if isinstance(value, list):
                self._alternatives(made, value, where, within)
            case "enum" | "const":
                self._enum(made, value if key == "enum" else [value], where)
            case "format":
                if value in _FORMATS.get(made.get("type", ""), ()):
                    made[key] = value
                else:
                    self._drop(where)
            case _ if key in _SAME:
                made[key] = value
            case _:
                if key not in _SILENT:
                    self._drop(where)

    def _alternatives(
        self, made: Json, value: list[Any], where: str, within: tuple[str, ...]
    ) -> None:
        """Write ``anyOf``; null among the alternatives makes the rest nullable."""
        some = [one for one in value if one != {"type": "null"}]
        if len(some) < len(value):
            made["nullable"] = True
        if len(some) == 1:
            for key, inner in self.convert(some[0], f"{where}[0]", within).items():
                made.setdefault(key, inner)
            return
        made["anyOf"] = [
            self.convert(one, f"{where}[{i}]", within) for i, one in enumerate(some)
        ]

    def _enum(self, made: Json, value: object, where: str) -> None:
        if isinstance(value, list):
            if None in value:
                made["nullable"] = True
                value = [one for one in value if one is not None]
            if all(isinstance(one, str) for one in value):
                made["enum"] = value
                made.setdefault("type", "STRING")
                return
        self._drop(where)
