"""What is wrong with a configuration, where, and what was probably meant.

No message repeats a value that could be a credential: keys, names and types are quoted,
values are not.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from extproc.config.document import Path, Plain
from extproc.config.schema import Config
from extproc.providers import PROVIDERS

Found = tuple[Path, str]
"""A place and what is wrong there."""


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where."""

    source: str
    line: int | None
    """From 1; None where there is no file."""
    path: str
    """Such as ``models.gpt-4o.targets[0].provider``; empty for the whole."""
    message: str

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        return ": ".join(filter(None, (place, self.path, self.message)))


class ConfigError(Exception):
    """The configuration cannot be used; `problems` has every reason, by line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line or 0))
        super().__init__("\n".join(map(str, self.problems)))


def dotted(path: Path) -> str:
    """Write a path as ``providers.openai.headers`` and ``keys[0].models[1]``."""
    out = ""
    for part in path:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else part
    return out


def explain(error: ErrorDetails, plain: Plain) -> Found:
    """Say what pydantic found, in the words of somebody who writes the file."""
    path = tuple(part for part in error["loc"] if part != "[key]")
    kind = error["type"]
    if kind == "extra_forbidden":
        return path, "unknown key" + suggestion(str(path[-1]), _known(path[:-1]))
    if kind == "string_type":
        return path, _TRAPS.get(type(_at(plain, path)), "must be a text")
    if kind == "value_error":
        message = str(error["ctx"]["error"])
        if path[-1:] == ("type",):
            message += suggestion(str(_at(plain, path)), PROVIDERS)
        return path, message
    template = _MESSAGES.get(kind)
    if template is None:
        return path, _sentence(error["msg"])
    return path, template.format(**error.get("ctx", {}))


_MESSAGES = {
    "missing": "is missing",
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping (key: value lines)",
    "model_type": "must be a mapping (key: value lines)",
    "tuple_type": "must be a list",
    "too_short": "needs at least {min_length}",
    "too_long": "may have at most {max_length}",
    "string_too_short": "is empty",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
}
"""By pydantic's type of error."""

_TRAPS: dict[type, str] = {
    bool: "must be a text, and YAML reads this as a boolean: put it in quotes",
    int: "must be a text, and YAML reads this as a number: put it in quotes",
    float: "must be a text, and YAML reads this as a number: put it in quotes",
    type(None): "must be a text, and there is none",
}


def _sentence(message: str) -> str:
    return (message[:1].lower() + message[1:]).replace("input should", "must")


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return ``, did you mean X?`` for the likeliest of `known`, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f", did you mean {close[0]}?" if close else ""


def _at(plain: Plain, path: Path) -> Plain:
    for part in path:
        if isinstance(plain, dict) and isinstance(part, str):
            plain = plain.get(part)
        elif isinstance(plain, list) and isinstance(part, int):
            plain = plain[part]
        else:
            return None
    return plain


def _known(path: Path) -> list[str]:
    """Return the keys that the schema knows at `path`."""
    here: object = Config
    for part in path:
        if fields := _fields(here):
            here = _bare(fields[str(part)].annotation)
        else:
            # A dictionary's or a tuple's element: the last argument that is a type.
            here = _bare([a for a in typing.get_args(here) if a is not Ellipsis][-1])
    return list(_fields(here))


def _fields(annotation: object) -> dict[str, FieldInfo]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation.model_fields
    return {}


def _bare(annotation: object) -> object:
    """Take ``Annotated`` and ``| None`` off."""
    while True:
        origin = typing.get_origin(annotation)
        if origin is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif origin in {types.UnionType, typing.Union}:
            annotation = next(
                a for a in typing.get_args(annotation) if a is not type(None)
            )
        else:
            return annotation
