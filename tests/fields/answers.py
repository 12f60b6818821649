"""Every field of an answer and of a stream's events, and where its value comes from.

The fields are those of the SDKs' own types; the answers are those of `tests/cases`, each
provider's told to each client. A value that the provider's answer has in it, too, is
*kept*; one that is there and is not the provider's is *made* here: counted, named in the
client's words, or numbered.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import re
import tomllib
import types
import typing
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import typing_extensions as te
from anthropic.types import Message, RawMessageStreamEvent
from botocore.eventstream import EventStreamBuffer
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel

from tests import casebook
from tests.casebook import CLIENTS, PROVIDER_FORMATS, Upstream, cases
from tests.fields.rows import pattern
from tests.oracles.events import cut

Fate = Literal["kept", "made", "absent"]

ROOTS: Mapping[str, tuple[Any, Any]] = {
    "openai_chat": (ChatCompletion, ChatCompletionChunk),
    "openai_completions": (Completion, Completion),
    "openai_responses": (Response, ResponseStreamEvent),
    "anthropic": (Message, RawMessageStreamEvent),
}
"""By client: the type of a whole answer, and of a stream's events."""

WAYS = ("answer", "stream")

DATA: Mapping[str, Any] = tomllib.loads(
    (Path(__file__).parent / "answers.toml").read_text()
)

# ---------------------------------------------------------------- the types


_MODELS: dict[int, tuple[tuple[type[BaseModel], ...], bool]] = {}


def models_of(hint: Any) -> tuple[tuple[type[BaseModel], ...], bool]:
    """Return the objects that a value may be, and whether in a list."""
    # The SDK's modules keep the types; not all of them can be hashed.
    known = _MODELS.get(id(hint))
    if known is None:
        found = dict(_models(hint, listed=False))
        known = _MODELS[id(hint)] = tuple(found), any(found.values())
    return known


def _models(hint: Any, *, listed: bool) -> Iterator[tuple[type[BaseModel], bool]]:
    if isinstance(hint, te.TypeAliasType):
        hint = hint.__value__
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        yield from _models(typing.get_args(hint)[0], listed=listed)
    elif origin in {typing.Union, types.UnionType}:
        for one in typing.get_args(hint):
            yield from _models(one, listed=listed)
    elif origin is list:
        yield from _models(typing.get_args(hint)[0], listed=True)
    elif isinstance(hint, type) and issubclass(hint, BaseModel):
        yield hint, listed


@functools.cache
def tag_of(model: type[BaseModel]) -> str:
    """Return which kind an object says that it is; empty: it says none."""
    for name in ("type", "role"):
        if name in model.model_fields:
            said = typing.get_args(model.model_fields[name].annotation)
            if said and all(isinstance(one, str) for one in said):
                return str(said[0])
    return ""


@functools.cache
def members(model: type[BaseModel]) -> Mapping[str, Any]:
    """Return types by name, but of the tag."""
    tagged = tag_of(model)
    return {
        field.alias or name: field.annotation
        for name, field in model.model_fields.items()
        if not (tagged and name in {"type", "role"})
    }


def kinds(hint: Any, path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the objects that stand at `path`, each by a path of its own."""
    found, listed = models_of(hint)
    path = f"{path}[]" if listed else path
    for model in found:
        yield f"{path}<{tag_of(model)}>" if len(found) > 1 else path, model


def paths(
    hint: Any, path: str = "", seen: frozenset[type[BaseModel]] = frozenset()
) -> Iterator[str]:
    """Yield the paths of all members of a type, and of what is inside."""
    for where, model in kinds(hint, path):
        if model in seen:
            continue
        if where.endswith(">"):
            yield where
        for name, inner in members(model).items():
            at = f"{where}.{name}" if where else name
            yield at
            if not is_whole(at):
                yield from paths(inner, at, seen | {model})


@functools.cache
def is_whole(path: str) -> bool:
    """Whether a member is looked at with all that is inside."""
    return any(pattern(one).fullmatch(path) for one in DATA["whole"])


Found = dict[str, list[Any]]


def collect(hint: Any, value: Any, path: str, found: Found) -> None:
    """Add what `value` has at each path; what its type does not know is our own."""
    for one in value if isinstance(value, list) else [value]:
        options = list(kinds(hint, path))
        match = [
            (where, model)
            for where, model in options
            if len(options) == 1 or one.get("type", one.get("role")) == tag_of(model)
        ]
        if not match:
            continue
        where, model = match[0]
        if where.endswith(">"):
            found[where].append(True)
        known = members(model)
        for name, inner in one.items():
            if tag_of(model) and name in {"type", "role"}:
                continue
            at = f"{where}.{name}" if where else name
            if inner is None or inner in ([], {}, ""):
                continue
            if name not in known:
                found[f"{at} (ours)"].append(inner)
                continue
            found[at].append(inner)
            if models_of(known[name])[0] and not is_whole(at):
                collect(known[name], inner, at, found)


# ---------------------------------------------------------------- what is observed


def payloads(upstream: Upstream) -> Iterator[Any]:
    """Yield what a provider's answer says, as JSON."""
    if "amazon" in upstream.content_type:
        buffer = EventStreamBuffer()
        buffer.add_data(upstream.body)
        for event in buffer:
            yield json.loads(event.payload or b"{}")
    elif upstream.streamed:
        for event in cut(upstream.body):
            if event.data.startswith(b"{"):
                yield json.loads(event.data)
    else:
        yield json.loads(upstream.body)


def leaves(value: Any) -> Iterator[Any]:
    match value:
        case dict():
            for one in value.values():
                yield from leaves(one)
        case list():
            for one in value:
                yield from leaves(one)
        case _:
            yield value


def is_of(value: Any, said: Sequence[Any]) -> bool:
    """Whether a value is the provider's: one of its own, or a part of one."""
    if isinstance(value, dict | list):
        return any(is_of(one, said) for one in itertools.islice(leaves(value), 40))
    if isinstance(value, str):
        return len(value) > 1 and any(
            isinstance(one, str) and (value in one or (len(one) > 3 and one in value))
            for one in said
        )
    if isinstance(value, bool) or value in {0, 1}:
        return False
    return value in said


@dataclasses.dataclass
class Observed:
    """What clients of one API were told, by provider."""

    fates: dict[str, dict[str, set[Fate]]]
    """path -> provider -> fates."""
    reported: dict[str, set[str]]
    """provider -> the words of what its answers had and this client was not told."""


@functools.cache
def observed(client: str) -> Mapping[str, Observed]:
    """Return what is told, by way: whole, streamed."""
    result = {}
    for way, root in zip(WAYS, ROOTS[client], strict=True):
        fates: dict[str, dict[str, set[Fate]]] = {
            path: defaultdict(set) for path in dict.fromkeys(paths(root))
        }
        reported: dict[str, set[str]] = defaultdict(set)
        for provider in PROVIDER_FORMATS:
            if provider == client:
                continue
            for found, said, words in plays(client, provider, way, root):
                reported[provider] |= words
                for path, values in found.items():
                    at = fates.setdefault(path, defaultdict(set))[provider]
                    # Much is said again and again: once is enough.
                    if "kept" not in at:
                        own = any(is_of(one, said) for one in values)
                        at.add("kept" if own else "made")
        result[way] = Observed(fates, reported)
    return result


def plays(
    client: str, provider: str, way: str, root: Any
) -> Iterator[tuple[Found, list[Any], set[str]]]:
    """Yield what each case tells, what its provider said, and what was reported."""
    for case in cases():
        upstream = case.upstreams(provider).get(way)
        request = case.request(client)
        if (
            upstream is None
            or request is None
            or "json"
            not in upstream.content_type + ("json" if upstream.streamed else "")
        ):
            continue
        if upstream.status != 200 or case.told.get("broken"):
            continue
        sent = casebook.asked_to_stream(request, client) if way == "stream" else request
        asked = casebook.ask(client, provider, sent, case.model(provider))
        if asked.attempt is None:
            continue
        answered = casebook.answer(asked.exchange, upstream)
        found: Found = defaultdict(list)
        for one in told(answered):
            collect(root, one, "", found)
        said = [leaf for one in payloads(upstream) for leaf in leaves(one)]
        words = {one for one in answered.record.dropped if one.startswith("answer.")}
        yield found, said, words


def told(answered: casebook.Answered) -> Iterator[Any]:
    if answered.streamed:
        for event in cut(answered.body):
            if event.data != b"[DONE]":
                yield json.loads(event.data)
    else:
        yield json.loads(answered.body)


def fate_of(fates: set[Fate]) -> Fate:
    return "kept" if "kept" in fates else "made" if fates else "absent"


Row = tuple[str, tuple[Fate, ...]]


def rows(client: str, way: str) -> Iterator[Row]:
    """Yield the fields and what becomes of them, but where what they stand in is absent."""
    fates = observed(client)[way].fates
    gone: list[str] = []
    for path in sorted(fates, key=_in_order(list(fates))):
        if any(path.startswith((f"{one}.", f"{one}[", f"{one}<")) for one in gone):
            continue
        cells = tuple(
            fate_of(fates[path][one]) for one in PROVIDER_FORMATS if one != client
        )
        if set(cells) == {"absent"}:
            gone.append(path)
        yield path, cells


def _in_order(order: list[str]) -> Callable[[str], tuple[int, str]]:
    """Put what is ours behind what it stands in."""
    places = {path: i for i, path in enumerate(order)}

    def key(path: str) -> tuple[int, str]:
        if not path.endswith("(ours)"):
            return places[path], ""
        parent = re.sub(r"\.?\w+ \(ours\)$", "", path)
        below = [i for one, i in places.items() if one.startswith(parent)
                 and not one.endswith("(ours)")]  # fmt: skip
        return max(below, default=len(order)), path

    return key


def reason(client: str, way: str, path: str) -> str:
    """Return why a field that nobody fills is absent; empty: it is lost in silence."""
    return next(
        (
            note["why"]
            for note in DATA["absent"]
            for one in note["paths"]
            if pattern(one).fullmatch(f"{client}:{way}:{path}")
        ),
        "",
    )


# ---------------------------------------------------------------- the document

_HEAD = """
# Every field of an answer

What clients are told of answers of other providers, in whole answers and in the events of
streams, as it was observed with all answers of `tests/cases`:

- **kept**: its value is the provider's.
- **made**: it is there and made here: counted, numbered, or said in the client's words.
- **-**: never there, or null: the provider's answers have nothing of the kind. Where that
  holds for all of them, the notes say why, and what is inside has no rows.
- **(ours)**: the SDK's type does not know it.

Answers of the client's own API pass as they come, every field of them.
"""


def document(titles: Mapping[str, str]) -> str:
    """Return the second half of `docs/fields.md`."""
    pages = [_HEAD]
    for client, way in itertools.product(CLIENTS, WAYS):
        foreign = [one for one in PROVIDER_FORMATS if one != client]
        name = "answers" if way == "answer" else "events of streams"
        lines = [
            f"## {titles[client]}: {name}\n",
            "| field | " + " | ".join(titles[one] for one in foreign) + " |",
            "| --- " * (len(foreign) + 1) + "|",
        ]
        notes: dict[str, list[str]] = {}
        for path, cells in rows(client, way):
            shown = " | ".join("-" if one == "absent" else one for one in cells)
            lines.append(f"| `{path}` | {shown} |")
            if set(cells) == {"absent"}:
                notes.setdefault(reason(client, way, path), []).append(path)
        pages.append("\n".join(lines) + "\n")
        pages.append("Where nobody fills a field:\n")
        pages.append(
            "".join(
                f"- {', '.join(f'`{one}`' for one in named)}: {why}.\n"
                for why, named in notes.items()
            )
        )
        reported = observed(client)[way].reported
        words = {one for several in reported.values() for one in several}
        if words:
            pages.append("Reported, for this API has no words for it:\n")
            pages.append(
                "".join(
                    f"- `{word}` of "
                    + ", ".join(titles[one] for one in foreign if word in reported[one])
                    + "\n"
                    for word in sorted(words)
                )
            )
    return "\n".join(pages)
