"""What the OpenAPI document says of bodies and answers, beside what FastAPI says itself.

Routes answer with bytes of their own, so their shapes stand here: the forms of entries as
they are checked (`extproc.admin.entries`), everything else by hand. The tests hold every
answer that they get against it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, get_args

import sqlalchemy as sa
from pydantic.json_schema import models_json_schema

from extproc.admin.access import MATRIX
from extproc.admin.entries import KINDS, EntryKind
from extproc.db.tables import UsageRecord
from extproc.db.usage import Dimension
from extproc.identity import Kind, Period

Schema = dict[str, Any]

STRING: Final[Schema] = {"type": "string"}
NUMBER: Final[Schema] = {"type": "number"}
WHOLE: Final[Schema] = {"type": "integer"}
FLAG: Final[Schema] = {"type": "boolean"}
ANY: Final[Schema] = {"type": "object"}


def ref(name: str) -> Schema:
    """Return a schema that is found under its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def listed(schema: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": schema}


def maybe(schema: Schema) -> Schema:
    """Return the schema of what may be null."""
    return {"anyOf": [schema, {"type": "null"}]}


def shape(fields: Schema, *, optional: Iterable[str] = ()) -> Schema:
    """Return the schema of an object with these fields and no other."""
    return {
        "type": "object",
        "properties": fields,
        "required": sorted(fields.keys() - set(optional)),
        "additionalProperties": False,
    }


def tell(
    answer: Schema | None,
    *,
    status: int = 200,
    body: Schema | None = None,
    csv: str = "",
    query: str = "",
) -> Schema:
    """Return what a route adds to its operation.

    Args:
        answer: what is answered when all is well; None: nothing.
        status: with which status.
        body: what is sent; None: nothing.
        csv: what the CSV has, where there may be one in place of JSON.
        query: the name of a parameter that FastAPI does not know of.
    """
    said: Schema = {"description": "All is well."}
    if answer is not None:
        said["content"] = {"application/json": {"schema": answer}}
    if csv:
        said["content"]["text/csv"] = {"schema": {**STRING, "description": csv}}
    out: Schema = {"responses": {str(status): said}}
    if query:
        out["parameters"] = [{"name": query, "in": "query", "schema": STRING}]
    if body is not None:
        out["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": body}},
        }
    return out


def name_of(kind: EntryKind) -> str:
    """Return what entries of a kind are called in the document."""
    return "".join(word.capitalize() for word in kind.noun.split())


def components() -> dict[str, Schema]:
    """Return all schemas, by name."""
    _, forms = models_json_schema(
        [(kind.form, "validation") for kind in KINDS.values()],
        ref_template="#/components/schemas/{model}",
    )
    out: dict[str, Schema] = dict(forms["$defs"])
    for kind in KINDS.values():
        out |= _entry(kind, out[kind.form.__name__])
    return {**out, **_BOOKS, **_GATEWAY, "Export": _export()}


def _entry(kind: EntryKind, form: Schema) -> dict[str, Schema]:
    """Return an entry as it is made, changed and shown, and lists of it."""
    name, fields = name_of(kind), form["properties"]
    key = {"prefix": STRING, "replaced_until": NUMBER} if name == "Key" else {}
    shown = {
        "id": STRING,
        **key,
        **fields,
        "source": {"enum": ["file", "database"]},
        "created_at": NUMBER,
        "updated_at": NUMBER,
    }
    optional = shown.keys() - {"id", "source"}
    new = {"id": {**STRING, "maxLength": 256}, **fields}
    changed = {field: maybe(schema) for field, schema in fields.items()}
    verbs = [
        shape({"create": ref(f"New{name}")}),
        shape({"update": STRING, "set": ref(f"{name}Changes")}),
        shape({"delete": STRING}),
    ]
    gone = shape({"id": STRING, "deleted": {"const": True}})
    made = ref(name)
    more = {}
    if key:
        more["MadeKey"] = shape({**shown, "key": STRING}, optional=optional)
        made = ref("MadeKey")
    return {
        name: shape(shown, optional=optional),
        f"New{name}": shape(new, optional=new.keys()),
        f"{name}Changes": shape(changed, optional=changed.keys()),
        f"{name}Page": shape({"data": listed(ref(name)), "next": maybe(STRING)}),
        f"{name}Operations": listed({"oneOf": verbs}),
        f"{name}Results": shape({"data": listed({"anyOf": [ref(name), made, gone]})}),
        **more,
    }


def _export() -> Schema:
    """Return what an export has, and an import may have."""
    hashes = {"sha256": STRING, "prefix": STRING}
    fields: Schema = {}
    for section, kind in KINDS.items():
        form = kind.form.model_json_schema(ref_template="#/components/schemas/{model}")[
            "properties"
        ]
        entry = {"id": STRING, **form, **(hashes if section == "keys" else {})}
        fields[section] = listed(shape(entry, optional=entry.keys() - {"id"}))
    return shape(fields, optional=fields)


def _column(column: sa.ColumnElement[Any]) -> Schema:
    kinds: list[tuple[type, Schema]] = [
        (sa.JSON, listed(STRING)), (sa.String, STRING), (sa.Boolean, FLAG),
        (sa.Integer, WHOLE), (sa.Float, NUMBER),
    ]  # fmt: skip
    found = next(schema for type_, schema in kinds if isinstance(column.type, type_))
    return maybe(found) if getattr(column, "nullable", True) else found


_EXCHANGE: Final = {
    ("cost_usd" if column.name == "cost" else column.name): (
        maybe(NUMBER) if column.name == "cost" else _column(column)
    )
    for column in UsageRecord.__table__.columns
    if column.name != "day"
}
_DIMENSIONS: Final = get_args(Dimension)
_SUMS: Final = {
    "requests": WHOLE, "input_tokens": WHOLE, "output_tokens": WHOLE,
    "cost_usd": NUMBER, "unpriced_requests": WHOLE,
}  # fmt: skip

_BOOKS: Final[dict[str, Schema]] = {
    "Exchange": shape(_EXCHANGE),
    "ExchangePage": shape({"data": listed(ref("Exchange")), "next": maybe(STRING)}),
    "Spend": shape(
        {
            "by": listed({"enum": [*_DIMENSIONS]}),
            "data": listed(
                shape(
                    {**dict.fromkeys(_DIMENSIONS, maybe(STRING)), **_SUMS},
                    optional=_DIMENSIONS,
                )
            ),
        }
    ),
    "Budget": shape(
        {
            "kind": {"enum": [*get_args(Kind)]},
            "id": STRING,
            "period": {"enum": [*get_args(Period)]},
            "zone": STRING,
            "mode": {"enum": ["hard", "soft"]},
            "budget_usd": NUMBER,
            "spent_usd": maybe(NUMBER),
            "reserved_usd": maybe(NUMBER),
            "left_usd": maybe(NUMBER),
            "starts": maybe(WHOLE),
            "ends": maybe(WHOLE),
        }
    ),
    "BudgetPage": shape({"data": listed(ref("Budget")), "next": maybe(WHOLE)}),
}

_GATEWAY: Final[dict[str, Schema]] = {
    "Error": shape(
        {
            "error": shape(
                {
                    "message": STRING,
                    "type": STRING,
                    "param": maybe(STRING),
                    "code": {"type": "null"},
                }
            )
        }
    ),
    "Me": shape({"id": STRING, "role": {"enum": [*MATRIX]}}),
    "Change": shape(
        {
            "id": WHOLE,
            "at": NUMBER,
            "actor": STRING,
            "role": maybe(STRING),
            "action": STRING,
            "kind": STRING,
            "subject": STRING,
            "before": maybe(ANY),
            "after": maybe(ANY),
        }
    ),
    "ChangePage": shape({"data": listed(ref("Change")), "next": maybe(WHOLE)}),
    "Added": shape({"added": shape(dict.fromkeys(KINDS, WHOLE))}),
    "Rotation": shape({"grace": {**NUMBER, "minimum": 0}}, optional=["grace"]),
    "Routing": {
        "type": "object",
        "properties": {
            "generation": WHOLE,
            "models": listed(ANY),
            "deployments": listed(ANY),
            "keys_refused": listed(ANY),
            "numbers": ANY,
            "workers": listed(
                shape({"name": STRING, "open": WHOLE, "retries_left": NUMBER})
            ),
        },
        "required": ["deployments", "models", "workers"],
    },
    "Health": {
        "type": "object",
        "properties": {"live": FLAG, "ready": FLAG, "database": ANY, "config": ANY},
        "required": ["live", "ready"],
    },
}
