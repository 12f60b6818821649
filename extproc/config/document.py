"""A YAML text as plain data, and the line on which each part of it stands.

Scalars are read by YAML 1.2's core rules, where ``no``, ``on``, ``12:30`` and ``010`` are
the strings that they look like (PyYAML alone would make them False, True, 750 and 8).
Variables are expanded after parsing, so that nothing in a variable can add structure, and
never in keys.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import yaml

Path = tuple[str | int, ...]
"""Where a value is: keys and indices from the root."""

Plain: TypeAlias = "dict[str, Plain] | list[Plain] | str | int | float | bool | None"
"""What YAML's own types are in Python."""

MAX_DEPTH = 32
MAX_NODES = 20_000
"""Aliases make a small file large when it is written out in full."""

_VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}|\$\{")


class _Loader(yaml.SafeLoader):
    """Resolves plain scalars as YAML 1.2's core schema does."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012  PyYAML's own spelling


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:0|[1-9][0-9]*)\.[0-9]+(?:[eE][-+]?[0-9]+)?", "-+0123456789"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})\\Z"), list(_first)
    )

_CONSTRUCT: dict[str, Callable[[str], Plain]] = {
    "tag:yaml.org,2002:bool": lambda text: text.lower() == "true",
    "tag:yaml.org,2002:null": lambda _: None,
    "tag:yaml.org,2002:int": int,
    "tag:yaml.org,2002:float": float,
}


@dataclasses.dataclass(slots=True)
class Document:
    """What the text says."""

    plain: Plain = None
    lines: dict[Path, int] = dataclasses.field(default_factory=dict)
    """The line, from 1, of each value; of a mapping's entry, that of its key."""
    problems: list[tuple[int, Path, str]] = dataclasses.field(default_factory=list)

    expanded: dict[str, str] = dataclasses.field(default_factory=dict)
    """What variables said, and their names."""

    def masked(self, message: str) -> str:
        """Return `message` with the variables, which may be keys, and not what they say."""
        for value in sorted(self.expanded, key=len, reverse=True):
            message = message.replace(value, f"${{{self.expanded[value]}}}")
        return message

    def line(self, path: Path) -> int:
        """Return the line of `path`, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read_document(text: str, environ: Mapping[str, str]) -> Document:
    """Read `text`; what is wrong with it is in `Document.problems`, all of it."""
    document = Document()
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line = mark.line + 1 if mark else 1
        message = f"not YAML: {exc.problem or exc.context}"
        if "${" in "".join(text.splitlines()[line - 1 : line]):
            message += ' (between { and }, a variable stands in quotes: "${NAME}")'
        document.problems.append((line, (), message))
        return document
    except yaml.YAMLError:
        # A ReaderError: bytes or control characters that YAML forbids anywhere.
        document.problems.append(
            (1, (), "not YAML: it has characters that YAML forbids")
        )
        return document
    except RecursionError:
        document.problems.append((1, (), "not YAML: it is nested too deeply"))
        return document
    if root is not None:
        document.plain = _Reader(document, environ).value(root, ())
    return document


class _Reader:
    """One walk over the nodes."""

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        self._document = document
        self._environ = environ
        self._nodes = 0

    def value(self, node: yaml.Node, path: Path) -> Plain:
        self._nodes += 1
        line = node.start_mark.line + 1
        self._document.lines.setdefault(path, line)
        if len(path) > MAX_DEPTH or self._nodes > MAX_NODES:
            if self._nodes <= MAX_NODES + 1:
                self._wrong(node, path[:1], "nested too deeply, or an alias to itself")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Plain]:
        out: dict[str, Plain] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            line = key_node.start_mark.line + 1
            inner = (*path, key)
            if key in first:
                self._wrong(key_node, inner, f"given twice, first on line {first[key]}")
                continue
            first[key] = line
            self._document.lines.setdefault(inner, line)
            out[key] = self.value(value_node, inner)
        return out

    def _key(self, node: yaml.Node, path: Path) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self._wrong(node, path, "a key must be a plain word")
            return None
        if node.value == "<<" and node.style is None:
            self._wrong(node, path, "merge keys (<<) are not supported")
            return None
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if kind in {"bool", "null", "int", "float"}:
            self._wrong(
                node,
                path,
                f"the key {node.value!r} is {_A[kind]} in YAML: put it in quotes",
            )
            return None
        if "${" in node.value:
            self._wrong(node, path, "variables are expanded in values, never in keys")
            return None
        return str(node.value)

    def _scalar(self, node: yaml.Node, path: Path) -> Plain:
        construct = _CONSTRUCT.get(node.tag)
        if construct is not None:
            return construct(node.value)
        if node.tag != "tag:yaml.org,2002:str":
            self._wrong(node, path, "tags (!) are not supported")
            return None
        return self._expand(node, path)

    def _expand(self, node: yaml.Node, path: Path) -> str:
        def replace(match: re.Match[str]) -> str:
            name, has_default, default = match.groups()
            if match[0] == "$${":
                return "${"
            if name is None:
                self._wrong(
                    node,
                    path,
                    "${ begins a variable: ${NAME} or ${NAME:-default}; "
                    "$${ stands for the characters themselves",
                )
                return ""
            value = self._environ.get(name)
            if value and len(value) >= SECRET_LENGTH:
                self._document.expanded[value] = name
            if has_default:
                return value or default or ""
            if value is None:
                self._wrong(node, path, f"the environment variable {name} is not set")
                return _UNSET
            return value

        return _VARIABLE.sub(replace, node.value)

    def _wrong(self, node: yaml.Node, path: Path, message: str) -> None:
        self._document.problems.append((node.start_mark.line + 1, path, message))


_A = {
    "bool": "a boolean",
    "null": "nothing (null)",
    "int": "a number",
    "float": "a number",
}
"""What YAML makes of a plain scalar."""

SECRET_LENGTH = 8
"""Of what a variable says; what is shorter is a word, such as a port."""

_UNSET = "unset"
"""Stands for an unset variable, so that one mistake is reported once."""
