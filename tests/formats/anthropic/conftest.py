"""The judge of what we write: Anthropic's own SDK types, read strictly."""

from __future__ import annotations

import collections.abc
import itertools
import types
import typing
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import typing_extensions
from anthropic.types import (
    message_create_params,  # the module: its TypedDicts name each other
)
from pydantic import BaseModel

OLDER_FIELDS: dict[str, Any] = {"temperature": float, "top_p": float, "top_k": int}
"""Fields of the API version 2023-06-01 that the SDK's types no longer have."""


class _Wrong(Exception):
    pass


def _check(value: Any, hint: Any, path: str) -> None:
    origin = typing.get_origin(hint)
    if origin in {typing_extensions.Required, typing.Annotated}:
        _check(value, typing.get_args(hint)[0], path)
    elif origin in {typing.Union, types.UnionType}:
        _check_union(value, typing.get_args(hint), path)
    elif origin is typing.Literal:
        if value not in typing.get_args(hint):
            raise _Wrong(f"{path}: {value!r} is none of {typing.get_args(hint)}")
    elif typing_extensions.is_typeddict(hint):
        _check_object(value, hint, path)
    elif origin is dict or hint is dict:
        if not isinstance(value, dict):
            raise _Wrong(f"{path}: not an object")
    elif isinstance(origin, type) and issubclass(origin, collections.abc.Iterable):
        if not isinstance(value, list):
            raise _Wrong(f"{path}: not an array")
        for i, item in enumerate(value):
            _check(item, typing.get_args(hint)[0], f"{path}[{i}]")
    else:
        _check_plain(value, hint, path)


def _check_plain(value: Any, hint: Any, path: str) -> None:
    if hint is object:
        return
    if not isinstance(hint, type) or issubclass(hint, BaseModel):
        raise _Wrong(f"{path}: {hint} is not for requests")
    ok = type(value) in {int, float} if hint is float else type(value) is hint
    if not ok:
        raise _Wrong(f"{path}: {value!r} is no {hint.__name__}")


def _check_union(value: Any, members: tuple[Any, ...], path: str) -> None:
    complaints = []
    for member in members:
        try:
            return _check(value, member, path)
        except _Wrong as exc:
            complaints.append(str(exc))
    raise _Wrong(max(complaints, key=len))


def _check_object(value: Any, hint: Any, path: str) -> None:
    if not isinstance(value, dict):
        raise _Wrong(f"{path}: not an object")
    hints = typing_extensions.get_type_hints(hint, include_extras=True)
    if hint is message_create_params.MessageCreateParamsNonStreaming:
        hints = {**hints, **OLDER_FIELDS, "stream": bool}
    missing = hint.__required_keys__ - value.keys()
    if missing:
        raise _Wrong(f"{path}: lacks {sorted(missing)}")
    for key, item in value.items():
        if key not in hints:
            raise _Wrong(f"{path}: knows no {key!r}")
        _check(item, hints[key], f"{path}.{key}")


@pytest.fixture(scope="session")
def judge() -> Callable[[bytes], Any]:
    """Check a body against `MessageCreateParams`, unknown fields refused; decode it."""

    def check(body: bytes) -> Any:
        decoded = msgspec.json.decode(body)
        _check(decoded, message_create_params.MessageCreateParamsNonStreaming, "body")
        roles = [turn["role"] for turn in decoded["messages"]]
        assert roles[0] == "user"
        assert all(a != b for a, b in itertools.pairwise(roles))
        for turn in decoded["messages"]:
            assert turn["content"]
            kinds = [block["type"] == "tool_result" for block in turn["content"]]
            assert kinds == sorted(kinds, reverse=True)
        texts = [b for t in decoded["messages"] for b in t["content"]]
        texts += decoded.get("system", [])
        assert all(b["text"].strip() for b in texts if b["type"] == "text")
        return decoded

    return check
