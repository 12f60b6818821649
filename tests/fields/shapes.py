"""The shape of a request, read out of an SDK's own `TypedDict`s."""

from __future__ import annotations

import collections.abc
import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import typing_extensions as te

from tests.oracles.typed import required

_WRAPPERS = {te.Required, te.NotRequired, typing.Annotated}


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A value without members; `values` are all that it may be, if that is known."""

    kind: type
    values: tuple[Any, ...] = ()


@dataclasses.dataclass(frozen=True)
class Array:
    """A list of any of `options`."""

    options: tuple[Option, ...]


@dataclasses.dataclass(frozen=True)
class Object:
    """A `TypedDict`."""

    hint: Any

    @property
    def fields(self) -> Mapping[str, Any]:
        """Return the types of the members that are no tags."""
        tag = self.tag
        hints = te.get_type_hints(self.hint, include_extras=True)
        hints |= EXTENSIONS.get(self.hint.__name__, {})
        return {name: hint for name, hint in hints.items() if name not in tag}

    @property
    def required(self) -> frozenset[str]:
        return required(self.hint)

    @property
    def tag(self) -> dict[str, str]:
        """Return the member that names the kind; the first name, of several."""
        hints = te.get_type_hints(self.hint, include_extras=True)
        for name, most in (("role", 1), ("type", 99)):
            for leaf in options(hints.get(name, int)):
                if isinstance(leaf, Leaf) and 0 < len(leaf.values) <= most:
                    return {name: leaf.values[0]}
        return {}


Option = Leaf | Array | Object


class _Thinking(te.TypedDict, total=False):
    type: te.Required[typing.Literal["thinking"]]
    thinking: te.Required[str]
    signature: str


class _Redacted(te.TypedDict, total=False):
    type: te.Required[typing.Literal["redacted_thinking"]]
    data: te.Required[str]


class _Enabled(te.TypedDict, total=False):
    type: te.Required[typing.Literal["enabled"]]
    budget_tokens: te.Required[int]
    display: typing.Literal["summarized", "omitted"]


class _Disabled(te.TypedDict):
    type: typing.Literal["disabled"]


class _Adaptive(te.TypedDict, total=False):
    type: te.Required[typing.Literal["adaptive"]]
    display: typing.Literal["summarized", "omitted"]


class _Lifetime(te.TypedDict, total=False):
    type: te.Required[typing.Literal["ephemeral"]]
    ttl: str


_CACHED: dict[str, Any] = {"cache_control": _Lifetime}

EXTENSIONS: dict[str, dict[str, Any]] = {
    "CompletionCreateParamsStreaming": {
        "top_k": int, "safety_settings": object, "cached_content": str,
        "thinking": _Enabled | _Disabled | _Adaptive,
    },
    "ChatCompletionAssistantMessageParam": {
        "reasoning_content": str, "reasoning": str,
        "thinking_blocks": list[_Thinking | _Redacted],
    },
    "ChatCompletionMessageFunctionToolCallParam": {"extra_content": object},
    "ChatCompletionToolMessageParam": {"is_error": bool},
    "ChatCompletionContentPartTextParam": _CACHED,
    "ChatCompletionContentPartImageParam": _CACHED,
    "ChatCompletionFunctionToolParam": _CACHED,
}  # fmt: skip
"""Members that the SDK's types do not have and that we read, by the type's name."""


def options(hint: Any) -> tuple[Option, ...]:
    """Return what a value of the type `hint` may be; a null says nothing."""
    return tuple(dict.fromkeys(_options(hint)))


def _options(hint: Any) -> Iterator[Option]:
    hint, origin = _plain(hint)
    if origin in {typing.Union, types.UnionType}:
        for member in typing.get_args(hint):
            yield from _options(member)
    elif origin is typing.Literal:
        yield Leaf(str, tuple(one for one in typing.get_args(hint) if one is not None))
    elif te.is_typeddict(hint):
        yield Object(hint)
    elif _is_map(hint, origin):
        yield Leaf(dict)
    elif isinstance(origin, type) and issubclass(origin, collections.abc.Iterable):
        yield Array(options(typing.get_args(hint)[0]))
    elif hint in {str, int, float, bool, object}:
        yield Leaf(hint)


def _plain(hint: Any) -> tuple[Any, Any]:
    while True:
        origin = typing.get_origin(hint)
        if origin in _WRAPPERS:
            hint = typing.get_args(hint)[0]
        elif isinstance(hint, te.TypeAliasType):
            hint = hint.__value__
        else:
            return hint, origin


def _is_map(hint: Any, origin: Any) -> bool:
    kind = origin or hint
    return isinstance(kind, type) and issubclass(kind, collections.abc.Mapping)
