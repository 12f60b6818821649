"""Every member of a request, with requests that have it and a request that has not.

A row is a member's path, such as ``messages[]<user>.content[]<image_url>.image_url.detail``:
``[]`` is any element of a list, ``<user>`` the kind of an object that its ``role`` or
``type`` tells. `samples.toml` says what the SDK's types do not: which values make sense,
what else the request must have, and what is not looked at in detail.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.fields.shapes import Array, Leaf, Object, Option, options

DATA: Mapping[str, Any] = tomllib.loads(
    (Path(__file__).parent / "samples.toml").read_text()
)

PLACE = "@"
"""In a scene: where the element goes."""

Wrap = Callable[[Any], dict[str, Any]]
"""A member's value -> the whole request."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A member; every one of `requests` has it, with the value that `values` says."""

    client: str
    path: str
    requests: tuple[dict[str, Any], ...]
    values: tuple[Any, ...]
    without: dict[str, Any]
    """The same request without it; with another value, where it has to be there."""
    whole: bool
    """It is looked at with all of its members at once."""

    @property
    def depth(self) -> int:
        return len(re.findall(r"\.|<", self.path))


@functools.cache
def pattern(glob: str) -> re.Pattern[str]:
    """Compile a path in which ``*`` is anything, and ``<*>`` one kind."""
    any_kind = re.escape(glob).replace(r"<\*>", "<[^>]*>")
    return re.compile(any_kind.replace(r"\*", ".*"))


def lookup(table: Mapping[str, Any], path: str) -> Any:
    """Return what `table` says of `path`: the longest of the globs that match."""
    found = [glob for glob in table if pattern(glob).fullmatch(path)]
    return table[max(found, key=len)] if found else None


def matches(globs: list[str], path: str) -> bool:
    return any(pattern(glob).fullmatch(path) for glob in globs)


class Sampler:
    """Makes the rows of one client's format."""

    def __init__(self, client: str) -> None:
        self.client = client
        common: dict[str, Any] = DATA["common"]
        own: dict[str, Any] = DATA[client]
        self.samples = common["values"] | own.get("values", {})
        self.scenes = own.get("scenes", {})
        self.beside = own.get("with", {})
        self.whole: list[str] = own.get("whole", [])
        self.impossible: dict[str, str] = common["impossible"] | own.get(
            "impossible", {}
        )
        self.base: dict[str, Any] = own["base"]

    def rows(self, hint: Any) -> Iterator[Row]:
        """Yield a row for each member of `hint` and of what is inside."""

        def wrap(said: Any) -> dict[str, Any]:
            return {**copy.deepcopy(self.base), **said}

        yield from self._members(Object(hint), "", wrap, frozenset(), root=True)

    # ------------------------------------------------------------ the walk

    def _members(
        self, shape: Object, prefix: str, wrap: Wrap, seen: frozenset[str],
        *, root: bool = False,
    ) -> Iterator[Row]:  # fmt: skip
        seen |= {shape.hint.__name__}
        least = {} if root else self.least(shape, prefix)
        base = {**self.base} if root else least
        for name, hint in shape.fields.items():
            path = f"{prefix}{name}"
            if matches(list(self.impossible), path):
                continue

            def put(value: Any, name: str = name) -> dict[str, Any]:
                return wrap({**least, name: value})

            rest = {key: one for key, one in base.items() if key != name}
            gone = None
            if root and name not in self.base:
                gone = wrap({})
            elif not root and name not in shape.required:
                gone = wrap(rest)
            yield from self._field(options(hint), path, put, gone, seen)

    def _field(
        self, shapes: tuple[Option, ...], path: str, put: Wrap,
        gone: dict[str, Any] | None, seen: frozenset[str],
    ) -> Iterator[Row]:  # fmt: skip
        if matches(self.whole, path):
            values = [self.most(one, path, seen) for one in shapes[:1]]
            yield self._row(path, values, put, gone, whole=True)
            return
        values = self.values(shapes, path)
        kinds = [one for one in shapes if isinstance(one, Object)]
        yield self._row(path, values, put, gone)
        yield from self._kinds(kinds, path, put, gone, seen)
        for one in shapes:
            if isinstance(one, Array):
                yield from self._elements(one, f"{path}[]", put, gone, seen)

    def _elements(
        self, array: Array, path: str, put: Wrap, gone: dict[str, Any] | None,
        seen: frozenset[str],
    ) -> Iterator[Row]:  # fmt: skip
        kinds = [one for one in array.options if isinstance(one, Object)]
        for inner in array.options:
            if isinstance(inner, Array):
                yield from self._elements(inner, path, put, gone, seen)

        def scene(value: Any, kind: str) -> dict[str, Any]:
            return put(self.scene(f"{path}<{kind}>" if kind else path, value))

        yield from self._kinds(kinds, path, put, gone, seen, scene)

    def _kinds(
        self, kinds: list[Object], path: str, put: Wrap, gone: dict[str, Any] | None,
        seen: frozenset[str], scene: Callable[[Any, str], dict[str, Any]] | None = None,
    ) -> Iterator[Row]:  # fmt: skip
        done: set[str] = set()
        for kind in kinds:
            tag = next(iter(kind.tag.values()), "")
            where = f"{path}<{tag}>" if len(kinds) > 1 else path
            if kind.hint.__name__ in seen or where in done:
                continue
            done.add(where)
            if matches(list(self.impossible), where):
                continue

            def inside(value: Any, kind: Object = kind, tag: str = tag) -> Any:
                full = {**kind.tag, **value}
                return scene(full, tag) if scene else put(full)

            rest = self.scene(where) if scene else []
            before = put(rest) if rest else gone
            if matches(self.whole, where):
                values = [self.most(kind, where, seen)]
                yield self._row(where, values, inside, before, whole=True)
                continue
            if len(kinds) > 1 or scene:
                yield self._row(where, [self.least(kind, f"{where}.")], inside, before)
            yield from self._members(kind, f"{where}.", inside, seen)

    def _row(
        self, path: str, values: list[Any], put: Wrap, gone: dict[str, Any] | None,
        *, whole: bool = False,
    ) -> Row:  # fmt: skip
        more = lookup(self.beside, path) or {}
        requests = [{**put(value), **more} for value in values]
        without = {**gone, **more} if gone is not None else None
        if without is None and len(requests) > 1:
            without = requests.pop()
            values = values[:-1]
        if without is None:
            requests, values = [], []
        return Row(
            self.client, path, tuple(requests), tuple(values), without or {}, whole
        )

    # ------------------------------------------------------------ values

    def scene(self, path: str, *value: Any) -> list[Any]:
        """Return the list in which an element of this kind makes sense."""
        found: list[Any] = []
        for one in json.loads(lookup(self.scenes, path) or f'["{PLACE}"]'):
            found += value if one == PLACE else [one]
        return found

    def values(self, shapes: tuple[Option, ...], path: str) -> list[Any]:
        """Return what a member without members of its own may be."""
        said = lookup(self.samples, path)
        if said is not None:
            return list(said)
        found: list[Any] = []
        for shape in shapes:
            match shape:
                case Leaf(kind, values):
                    found += values or _PLAIN[kind]
                case Array((Leaf(kind, values), *_)):
                    found += [[one] for one in values or _PLAIN[kind]]
                case _:
                    pass
        return found

    def one(self, shapes: tuple[Option, ...], path: str) -> Any:
        """Return the first value of a member, whatever it is."""
        found = self.values(shapes, path)
        if found:
            return found[0]
        match shapes[0]:
            case Object() as shape:
                kinds = [one for one in shapes if isinstance(one, Object)]
                tag = next(iter(shape.tag.values()), "") if len(kinds) > 1 else ""
                where = f"{path}<{tag}>" if tag else path
                return {**shape.tag, **self.least(shape, f"{where}.")}
            case Array((Object() as shape, *more)):
                tag = next(iter(shape.tag.values()), "")
                where = f"{path}[]<{tag}>" if more else f"{path}[]"
                return [{**shape.tag, **self.least(shape, f"{where}.")}]
            case Array((inner, *_)):
                return [self.one((inner,), f"{path}[]")]
            case _:
                raise AssertionError(path)

    def least(self, shape: Object, prefix: str) -> dict[str, Any]:
        """Return an object with what it has to have."""
        fields = shape.fields
        required = shape.required | set(lookup(self.samples, f"{prefix}needs") or ())
        return {
            name: self.one(options(fields[name]), f"{prefix}{name}")
            for name in fields
            if name in required
        }

    def most(self, shape: Option, path: str, seen: frozenset[str]) -> Any:
        """Return a value with all that it can have."""
        match shape:
            case Object() if shape.hint.__name__ not in seen:
                seen |= {shape.hint.__name__}
                members = {
                    name: self.most(options(hint)[0], f"{path}.{name}", seen)
                    for name, hint in shape.fields.items()
                }
                return {**shape.tag, **members}
            case Object():
                return {**shape.tag, **self.least(shape, f"{path}.")}
            case Array((inner, *_)):
                return [self.most(inner, f"{path}[]", seen)]
            case _:
                return self.one((shape,), path)


_PLAIN: Mapping[type, tuple[Any, ...]] = {
    str: ("sample", "other"),
    int: (3, 2),
    float: (0.25, 0.5),
    bool: (True, False),
    dict: ({"sample": "value"}, {"other": "value"}),
    object: ({"sample": "value"}, {"other": "value"}),
}
