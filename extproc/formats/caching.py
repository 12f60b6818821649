"""Prompt caching: what a client asks for, as far as a model's cache can be told it.

Breakpoints stand on parts, results and tools. `bind` leaves those that the model takes,
with a lifetime that it offers, and reports the others by their places:

- A lifetime is a wish for at least so long: the shortest that is no shorter, or else the
  longest, which is reported.
- Of more breakpoints than a request may have the last ones stay. They end the longest
  prefixes, and OpenAI does the same
  (https://platform.openai.com/docs/guides/prompt-caching).
- What lives longer stands first, which Anthropic insists on
  (https://platform.claude.com/docs/en/build-with-claude/prompt-caching): a breakpoint
  before one that lives longer lives as long.
- Where only the parts of a result can carry one, or only the whole of it, a breakpoint
  behind the last part and one behind the result are the same.

A breakpoint that the provider is to set by itself at the prompt's end, which Anthropic's
top-level ``cache_control`` and OpenAI's ``implicit`` mode are, is set here on the last part
that can carry one, where the provider has no word for it or not on every host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec

from extproc import canonical
from extproc.errors import BadRequest

Drop = Callable[[str], None]

SECONDS = {"5m": 300, "30m": 1800, "1h": 3600, "12h": 43_200}
"""The lifetimes that clients may ask for."""


class Offer(msgspec.Struct, frozen=True):
    """What a model's cache can be told."""

    ttls: tuple[str, ...] = ()
    """The lifetimes that can be named, from short to long."""
    default: str = "5m"
    """The lifetime of a breakpoint that names none."""
    most: int = 4
    """How many breakpoints a request may have."""
    ordered: bool = True
    """What lives longer has to stand first."""
    tools: bool = True
    """A breakpoint may follow a tool."""
    calls: bool = True
    """… or stand on a call of one."""
    assistant: bool = True
    """… or on the assistant's words."""
    results: bool = True
    """… or on the result of a call."""
    nested: bool = True
    """… or on a part of such a result."""
    automatic: bool = False
    """The request has a word of its own for a breakpoint at the prompt's end."""


def lifetime(asked: str | None, offer: Offer, where: str, drop: Drop) -> str | None:
    """Return the lifetime to name for the one that is asked for at `where`.

    Raises:
        BadRequest: it is no lifetime that any API has.
    """
    if asked is None or asked in offer.ttls:
        return asked
    if asked not in SECONDS:
        known = ", ".join(SECONDS)
        raise BadRequest(
            f"A cache breakpoint lives for one of {known}, not {asked!r}.",
            param=f"{where}.ttl",
        )
    wanted = SECONDS[asked]
    if SECONDS[offer.default] >= wanted:
        return None
    for ttl in offer.ttls:
        if SECONDS[ttl] >= wanted:
            return ttl
    drop(f"{where}.ttl")
    return offer.ttls[-1] if offer.ttls else None


def bind(
    request: canonical.Request, drop: Drop, offer: Offer | None
) -> canonical.Request:
    """Return `request` with those breakpoints that can be written; None offers none.

    Raises:
        BadRequest: a lifetime that no API has.
    """
    wish = request.caching
    if offer is None and wish is not None:
        drop(request.name_of("caching"))
        request = msgspec.structs.replace(request, caching=None)
    marks = list(_marks(request))
    if offer is None:
        for mark in marks:
            drop(mark.where)
        return _with(request, {}) if marks else request
    kept = [placed for mark in marks if (placed := _placed(mark, offer, drop))]
    if wish is not None and wish.automatic and not offer.automatic:
        kept += _at_the_end(request, offer, wish)
    if wish is not None and not offer.automatic:
        request = msgspec.structs.replace(request, caching=None)
    if not (marks or kept):
        return request
    for mark in kept[: max(len(kept) - offer.most, 0)]:
        drop(mark.where)
    kept = kept[-offer.most :]
    unsaid = wish.default_ttl if wish is not None else None
    ttls = [lifetime(mark.ttl or unsaid, offer, mark.where, drop) for mark in kept]
    if offer.ordered:
        ttls = _ordered(kept, ttls, offer, request)
    return _with(
        request,
        {
            mark.place: canonical.CacheControl(ttl)
            for mark, ttl in zip(kept, ttls, strict=True)
        },
    )


# ---------------------------------------------------------------- where they stand

_TOOLS = -1
"""Stands for the message in the place of a tool."""

_CACHED_TOOLS = (canonical.Tool, canonical.WebSearch, canonical.WebFetch)

_Place = tuple[int, int] | tuple[int, int, int]
"""Message and part, and the part of a result; or `_TOOLS` and the tool."""

_INSTRUCTIONS = ("system", "developer")

_CARRIERS = (
    canonical.Text,
    canonical.Image,
    canonical.Document,
    canonical.Audio,
    canonical.ToolCall,
    canonical.ToolResult,
)
"""The parts that a breakpoint may stand on."""


class _Mark(msgspec.Struct, frozen=True):
    """A breakpoint."""

    place: _Place
    where: str
    """As the client names it."""
    ttl: str | None
    role: str = ""
    part: canonical.Part | None = None
    within: canonical.ToolResult | None = None
    """The result that `part` is of."""


def _marks(request: canonical.Request) -> Iterator[_Mark]:
    """Yield the breakpoints of a request in the order of the prompt."""
    word = request.name_of("cache_control")
    for i, tool in enumerate(request.tools):
        if isinstance(tool, _CACHED_TOOLS) and tool.cache is not None:
            where = f"{request.name_of('tools')}[{i}].{word}"
            yield _Mark((_TOOLS, i), where, tool.cache.ttl)
    for m, message in enumerate(request.messages):
        for p, part in enumerate(message.parts):
            if type(part) is canonical.Text and part.cache is None:
                continue  # as most are
            if isinstance(part, canonical.ToolResult):
                for q, inner in enumerate(part.parts):
                    if inner.cache is not None:
                        where = f"{canonical.result_place(message.place(p), q)}.{word}"
                        ttl = inner.cache.ttl
                        yield _Mark((m, p, q), where, ttl, message.role, inner, part)
            if isinstance(part, _CARRIERS) and part.cache is not None:
                where = f"{message.place(p)}.{word}"
                yield _Mark((m, p), where, part.cache.ttl, message.role, part)


def _placed(mark: _Mark, offer: Offer, drop: Drop) -> _Mark | None:
    """Return the breakpoint where it can stand; None is nowhere."""
    place: _Place | None = mark.place
    match mark.part:
        case None:
            place = place if offer.tools else None
        case canonical.ToolCall():
            place = place if offer.calls else None
        case canonical.Text(text) if not text.strip():
            place = None  # it says nothing, and is not sent
        case canonical.ToolResult(parts=parts) if not offer.results:
            last = len(parts) - 1
            place = (*mark.place[:2], last) if offer.nested and parts else None
        case _ if mark.within is not None and not offer.nested:
            ends = mark.part is mark.within.parts[-1]
            place = mark.place[:2] if offer.results and ends else None
        case _ if mark.role == "assistant":
            place = place if offer.assistant else None
        case _:
            pass
    if place is None:
        drop(mark.where)
        return None
    return msgspec.structs.replace(mark, place=place)


def _at_the_end(
    request: canonical.Request, offer: Offer, wish: canonical.Caching
) -> list[_Mark]:
    """Return the breakpoint that the provider is to set by itself, if there is a place."""
    where = request.name_of("caching")
    for m in range(len(request.messages) - 1, -1, -1):
        message = request.messages[m]
        for p in range(len(message.parts) - 1, -1, -1):
            part = message.parts[p]
            if not isinstance(part, _CARRIERS) or part.cache is not None:
                if isinstance(part, _CARRIERS):
                    return []  # the client has set it
                continue
            if isinstance(part, canonical.Text) and not part.text.strip():
                continue
            mark = _Mark((m, p), where, wish.ttl, message.role, part)
            placed = _placed(mark, offer, _nothing)
            if placed is not None:
                return [placed]
    return []


def _nothing(_: str) -> None:
    """Report nothing: another place is looked for."""


def _ordered(
    marks: list[_Mark],
    ttls: list[str | None],
    offer: Offer,
    request: canonical.Request,
) -> list[str | None]:
    """Return the lifetimes with none longer than one before it.

    What stands before what is known where it is written: results go to the front of their
    turn, and instructions may go before all turns or stay. So it holds in both orders.
    """
    turns = _turns(request)
    given = list(range(len(marks)))
    sent = sorted(given, key=lambda i: _sent(marks[i], turns))
    ordered, before = list(ttls), None
    while ordered != before:
        before = list(ordered)
        for order in (given, sent):
            longest, name = 0, None
            for i in reversed(order):
                seconds = SECONDS[ordered[i] or offer.default]
                if seconds >= longest:
                    longest, name = seconds, ordered[i]
                ordered[i] = name
    return ordered


def _turns(request: canonical.Request) -> list[int]:
    """Return of each message the turn that it becomes a part of; instructions break none."""
    turns, turn, speaker = [], 0, None
    for message in request.messages:
        assistant = message.role == "assistant"
        if message.role not in _INSTRUCTIONS and assistant is not speaker:
            turn, speaker = turn + 1, assistant
        turns.append(turn)
    return turns


def _sent(mark: _Mark, turns: list[int]) -> tuple[int, int, bool, _Place]:
    m = mark.place[0]
    if m == _TOOLS:
        return (0, 0, False, mark.place)
    if mark.role in _INSTRUCTIONS:
        return (1, 0, False, mark.place)
    result = mark.within is not None or isinstance(mark.part, canonical.ToolResult)
    return (2, turns[m], not result, mark.place)


# ---------------------------------------------------------------- written


def _with(
    request: canonical.Request, caches: Mapping[_Place, canonical.CacheControl]
) -> canonical.Request:
    """Return the request with these breakpoints and no others."""
    replace = msgspec.structs.replace
    tools = tuple(
        replace(tool, cache=caches.get((_TOOLS, i)))
        if isinstance(tool, _CACHED_TOOLS)
        else tool
        for i, tool in enumerate(request.tools)
    )
    messages = tuple(
        replace(
            message,
            parts=tuple(
                _marked(part, m, p, caches) for p, part in enumerate(message.parts)
            ),
        )
        for m, message in enumerate(request.messages)
    )
    return replace(request, tools=tools, messages=messages)


def _marked(
    part: canonical.Part,
    m: int,
    p: int,
    caches: Mapping[_Place, canonical.CacheControl],
) -> canonical.Part:
    if not isinstance(part, _CARRIERS):
        return part
    cache = caches.get((m, p))
    if isinstance(part, canonical.ToolResult):
        inner = tuple(
            msgspec.structs.replace(one, cache=caches.get((m, p, q)))
            for q, one in enumerate(part.parts)
        )
        return msgspec.structs.replace(part, cache=cache, parts=inner)
    return msgspec.structs.replace(part, cache=cache)
