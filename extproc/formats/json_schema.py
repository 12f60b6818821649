"""JSON schemas as the models take them that bind their answers, or a tool's arguments.

Every provider reads a part of JSON schema. What it has no word for is left out and
reported by its path, and told to the model in the description, which is what Anthropic's
own SDK does: the model may still keep to it.

- Anthropic, and every model of Bedrock's: https://platform.claude.com/docs/en/build-with-claude/structured-outputs
  and https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html. Objects
  are closed: ``additionalProperties`` is false. A schema with free-form maps, or one that
  refers to itself, cannot be told at all: `closes` says so.
- Gemini from 2.5 on: https://ai.google.dev/gemini-api/docs/structured-output.
- OpenAI's strict mode: https://platform.openai.com/docs/guides/structured-outputs. Nothing
  is left out, but every object has to be closed and all its properties required: `is_strict`
  says whether they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from extproc.errors import BadRequest

Drop = Callable[[str], None]
Json = dict[str, Any]

_ANYTHING = msgspec.json.Decoder()

_MAPS = ("properties", "$defs", "definitions")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SILENT = frozenset({"$schema", "$id", "$comment", "$anchor", "examples", "example"})


class Subset(msgspec.Struct, frozen=True):
    """A part of JSON schema."""

    words: frozenset[str]
    formats: frozenset[str]
    """Of strings."""
    closed: bool
    """Every object is."""
    const: bool
    """Has ``const``; otherwise it is an enum of one."""
    few_items: bool
    """``minItems`` is 0 or 1."""


ANTHROPIC = Subset(
    frozenset({
        "type", "enum", "const", "description", "title", "default", "$ref", "$defs",
        "definitions", "properties", "required", "additionalProperties", "items",
        "anyOf", "allOf", "format", "minItems", "pattern",
    }),
    frozenset({
        "date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4",
        "ipv6", "uuid",
    }),
    closed=True, const=True, few_items=True,
)  # fmt: skip

GEMINI = Subset(
    frozenset({
        "type", "enum", "description", "title", "$ref", "$defs", "properties",
        "required", "additionalProperties", "items", "prefixItems", "minItems",
        "maxItems", "minimum", "maximum", "anyOf", "oneOf", "format",
        "propertyOrdering",
    }),
    frozenset({"date-time", "date", "time"}),
    closed=False, const=False, few_items=False,
)  # fmt: skip

_HARD_PATTERN = re.compile(r"\(\?[=!<]|\\[1-9bB]")
"""What Anthropic's patterns have not: look-around, back references, word boundaries."""


def narrow(raw: msgspec.Raw, subset: Subset, where: str, drop: Drop) -> msgspec.Raw:
    """Return the schema at `where` in the words of `subset`.

    Raises:
        msgspec.MsgspecError: it is no JSON object.
    """
    root = _object(raw)
    made = _Narrower(subset, drop).schema(root, where)
    return raw if made == root else msgspec.Raw(msgspec.json.encode(made))


def narrow_format(
    raw: msgspec.Raw, subset: Subset, where: str, drop: Drop, *, param: str
) -> msgspec.Raw:
    """Return the schema of an output format in the words of `subset`; see `narrow`.

    Raises:
        BadRequest: it is no JSON object; it names `param`.
    """
    try:
        return narrow(raw, subset, where, drop)
    except msgspec.MsgspecError as exc:
        raise BadRequest(
            f"The schema must be a JSON object: {exc}.", param=param
        ) from exc


def _object(raw: msgspec.Raw) -> Json:
    root = _ANYTHING.decode(raw)
    if not isinstance(root, dict):
        raise msgspec.ValidationError("expected an object")
    return root


class _Narrower:
    def __init__(self, subset: Subset, drop: Drop) -> None:
        self._subset = subset
        self._drop = drop

    def schema(self, schema: object, where: str) -> Any:  # noqa: ANN401
        """Return `schema` narrowed; what is none stays as it is."""
        if not isinstance(schema, dict):
            return schema
        made: Json = {}
        unsaid: Json = {}
        for key, value in schema.items():
            self._member(made, unsaid, key, value, f"{where}.{key}")
        if self._subset.closed and _is_object(schema) and "$ref" not in schema:
            made["additionalProperties"] = False
            made.setdefault("properties", {})
        if unsaid:
            words = ", ".join(
                f"{key}: {msgspec.json.encode(value).decode()}"
                for key, value in unsaid.items()
            )
            before = made.get("description")
            said = f"{before}\n\n" if isinstance(before, str) and before else ""
            made["description"] = f"{said}{{{words}}}"
        return made

    def _member(
        self, made: Json, unsaid: Json, key: str, value: object, where: str
    ) -> None:
        subset = self._subset
        if key == "const" and not subset.const and type(value) in {str, int, float}:
            made["enum"] = [value]
            return
        if key == "oneOf" and key not in subset.words:
            key = "anyOf"
        if key in _SILENT:
            return
        fits = key in subset.words and self._fits(key, value)
        if not fits:
            self._drop(where)
            unsaid[key] = value
        elif key in _MAPS and isinstance(value, dict):
            made[key] = {
                name: self.schema(inner, f"{where}.{name}")
                for name, inner in value.items()
            }
        elif key in _LISTS and isinstance(value, list):
            made[key] = [
                self.schema(inner, f"{where}[{i}]") for i, inner in enumerate(value)
            ]
        elif key in {"items", "additionalProperties"}:
            made[key] = self.schema(value, where)
        else:
            made[key] = value

    def _fits(self, key: str, value: object) -> bool:
        """Say whether a word that the subset has may be said of this."""
        match key:
            case "format":
                return isinstance(value, str) and value in self._subset.formats
            case "minItems" if self._subset.few_items:
                return value in (0, 1)
            case "pattern":
                return isinstance(value, str) and not _HARD_PATTERN.search(value)
            case "additionalProperties" if self._subset.closed:
                return value is False
            case "enum":
                return isinstance(value, list) and all(
                    one is None or isinstance(one, str | int | float) for one in value
                )
            case _:
                return True


def _is_object(schema: Mapping[str, Any]) -> bool:
    said = schema.get("type")
    listed = said if isinstance(said, list) else [said]
    return "object" in listed or (said is None and "properties" in schema)


def _below(schema: object) -> Iterator[Json]:
    """Yield a schema and all that stand in it."""
    if not isinstance(schema, dict):
        return
    yield schema
    for key in _MAPS:
        inner = schema.get(key)
        for one in inner.values() if isinstance(inner, dict) else ():
            yield from _below(one)
    for key in _LISTS:
        inner = schema.get(key)
        for one in inner if isinstance(inner, list) else ():
            yield from _below(one)
    yield from _below(schema.get("items"))
    yield from _below(schema.get("additionalProperties"))


def closes(raw: msgspec.Raw | None) -> bool:
    """Say whether objects may be closed without another meaning.

    Not those with properties of any name, and nothing that refers to itself or elsewhere.
    """
    if raw is None:
        return True
    try:
        root = _object(raw)
    except msgspec.MsgspecError:
        return True  # is told elsewhere
    for schema in _below(root):
        if _is_object(schema) and "$ref" not in schema:
            named = schema.get("properties")
            more = schema.get("additionalProperties")
            if more not in (None, False) and not named:
                return False
            if more is None and named is None and "type" in schema:
                return False  # any object at all
    return not _recurs(root)


def _recurs(root: Json) -> bool:
    """Say whether a reference leads back to itself, or out of the schema."""
    ended: set[str] = set()
    """References that were followed to all their ends: each is once."""

    def visit(schema: object, within: tuple[str, ...]) -> bool:
        for one in _below(schema):
            ref = one.get("$ref")
            if not isinstance(ref, str) or ref in ended:
                continue
            target = resolve(ref, root)
            if target is None or target is root or ref in within:
                return True
            if visit(target, (*within, ref)):
                return True
            ended.add(ref)
        return False

    bare = {key: value for key, value in root.items() if key not in {"$defs", "definitions"}}  # fmt: skip
    return visit(bare, ())


def resolve(ref: str, root: Json) -> Json | None:
    """Return the schema in `root` that `ref` names; None: there is none."""
    node: Any = root
    if not ref.startswith("#"):
        return None
    for step in ref[1:].strip("/").split("/"):
        if step:
            key = step.replace("~1", "/").replace("~0", "~")
            node = node.get(key) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else None


def is_strict(raw: msgspec.Raw | None) -> bool:
    """Say whether OpenAI's strict mode takes it: objects closed, properties required."""
    if raw is None:
        return True
    try:
        root = _object(raw)
    except msgspec.MsgspecError:
        return True  # is told elsewhere
    for schema in _below(root):
        if not _is_object(schema):
            continue
        named = schema.get("properties") or {}
        needed = schema.get("required") or []
        if schema.get("additionalProperties") is not False:
            return False
        if not (isinstance(named, dict) and isinstance(needed, list)):
            continue  # is told elsewhere
        if named.keys() - {one for one in needed if isinstance(one, str)}:
            return False
    return True
