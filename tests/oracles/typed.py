"""JSON held against an SDK's `TypedDict`s: nothing missing, nothing unknown, no wrong kind."""

from __future__ import annotations

import collections.abc
import types
import typing
from typing import Any

import typing_extensions
from pydantic import BaseModel


class Wrong(AssertionError):
    """The value is not what the SDK's types say."""


def check(
    value: Any, hint: Any, path: str = "body", *, more: dict[str, Any] | None = None
) -> None:
    """Raise `Wrong` unless `value` is of the type `hint`.

    `more` are fields of the outermost object that the hint does not have.
    """
    origin = typing.get_origin(hint)
    if origin in {typing_extensions.Required, typing.Annotated}:
        check(value, typing.get_args(hint)[0], path)
    elif isinstance(hint, typing_extensions.TypeAliasType):
        check(value, hint.__value__, path)
    elif origin in {typing.Union, types.UnionType}:
        _check_union(value, typing.get_args(hint), path)
    elif origin is typing.Literal:
        if value not in typing.get_args(hint):
            raise Wrong(f"{path}: {value!r} is none of {typing.get_args(hint)}")
    elif typing_extensions.is_typeddict(hint):
        _check_object(value, hint, path, more or {})
    elif origin is dict or hint is dict:
        if not isinstance(value, dict):
            raise Wrong(f"{path}: not an object")
    elif isinstance(origin, type) and issubclass(origin, collections.abc.Iterable):
        if not isinstance(value, list):
            raise Wrong(f"{path}: not an array")
        for i, item in enumerate(value):
            check(item, typing.get_args(hint)[0], f"{path}[{i}]")
    else:
        _check_plain(value, hint, path)


def required(hint: Any) -> frozenset[str]:
    """Return the members that a `TypedDict` must have.

    Its own ``__required_keys__`` does not see ``Required`` in postponed annotations.
    """
    hints = typing_extensions.get_type_hints(hint, include_extras=True)
    marks: dict[str, Any] = {one: typing.get_origin(hints[one]) for one in hints}
    return frozenset(
        name
        for name, mark in marks.items()
        if mark is typing_extensions.Required
        or (
            name in hint.__required_keys__ and mark is not typing_extensions.NotRequired
        )
    )


def _check_plain(value: Any, hint: Any, path: str) -> None:
    if hint is object:
        return
    if hint is types.NoneType:
        if value is not None:
            raise Wrong(f"{path}: {value!r} is not null")
        return
    if not isinstance(hint, type) or issubclass(hint, BaseModel):
        raise Wrong(f"{path}: {hint} is not for requests")
    ok = type(value) in {int, float} if hint is float else type(value) is hint
    if not ok:
        raise Wrong(f"{path}: {value!r} is no {hint.__name__}")


def _check_union(value: Any, members: tuple[Any, ...], path: str) -> None:
    complaints = []
    for member in members:
        try:
            return check(value, member, path)
        except Wrong as exc:
            complaints.append(str(exc))
    raise Wrong(max(complaints, key=len))


def _check_object(value: Any, hint: Any, path: str, more: dict[str, Any]) -> None:
    if not isinstance(value, dict):
        raise Wrong(f"{path}: not an object")
    hints = typing_extensions.get_type_hints(hint, include_extras=True) | more
    missing = required(hint) - value.keys()
    if missing:
        raise Wrong(f"{path}: lacks {sorted(missing)}")
    for key, item in value.items():
        if key not in hints:
            raise Wrong(f"{path}: knows no {key!r}")
        check(item, hints[key], f"{path}.{key}")
