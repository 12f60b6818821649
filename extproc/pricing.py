"""Usage and a price to exact money.

Prices are nano-dollars for a million tokens, costs nano-dollars: integers, so that sums
are the same in whatever order they are made. Control compiles the table (from
``genai-prices`` and from the configuration); workers only look things up in it.

A price has *levels*: where the prompt is longer than one of them begins, all tokens of
the request, not only those above it, cost what that level says
(https://ai.google.dev/gemini-api/docs/pricing, "prompts > 200k tokens").
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Self

import msgspec

from extproc.identity import NANOS
from extproc.usage import Usage

PER = 1_000_000
"""Tokens that a price is for."""


class Level(msgspec.Struct, frozen=True):
    """What tokens cost from a length of the prompt on; nano-dollars per million.

    A kind of token without a price of its own costs what the wider kind does.
    """

    over: int = 0
    """The prompt has more tokens than this."""
    input: int = 0
    output: int = 0
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    input_audio: int | None = None
    output_audio: int | None = None


class Price(msgspec.Struct, frozen=True):
    """What one model costs at one provider."""

    levels: tuple[Level, ...]
    """Ascending by `Level.over`; the first is over 0."""
    request: int = 0
    """Nano-dollars for each request, whatever its tokens; of a ranking that is billed by
    the search, for each search unit."""
    second: int = 0
    """Nano-dollars for each second of sound that was heard, where no token counts it."""
    variants: dict[str, tuple[Level, ...]] = {}
    """What the same costs by OpenAI's ``service_tier`` (``flex``, ``priority``), and as a
    ``batch``."""


class PriceRow(msgspec.Struct, frozen=True):
    """A price, and the models that have it."""

    provider: str
    """The type of the provider; or, of a price from the configuration, its name or
    ``*``."""
    price: Price
    names: tuple[str, ...] = ()
    """In lower case."""
    pattern: str | None = None
    """A regular expression that is searched for in the name in lower case."""
    context_tokens: int | None = None
    """What prompt and answer may have together, as far as the catalog says."""


class PriceTable:
    """All prices, found by provider and request model. What was found is remembered."""

    __slots__ = ("_found", "_names", "_patterns", "_windows")

    def __init__(
        self,
        names: dict[tuple[str, str], PriceRow],
        patterns: dict[str, tuple[tuple[re.Pattern[str], PriceRow], ...]],
    ) -> None:
        self._names = names
        self._patterns = patterns
        self._found: dict[tuple[str, str, str], Price | None] = {}
        self._windows: dict[tuple[str, str], int | None] = {}

    @classmethod
    def of(cls, rows: Iterable[PriceRow]) -> Self:
        """Index `rows`; of two that have the same model the first counts."""
        names: dict[tuple[str, str], PriceRow] = {}
        patterns: dict[str, list[tuple[re.Pattern[str], PriceRow]]] = {}
        for row in rows:
            for name in row.names:
                names.setdefault((row.provider, name), row)
            if row.pattern is not None:
                pattern = re.compile(row.pattern)
                patterns.setdefault(row.provider, []).append((pattern, row))
        return cls(names, {key: tuple(found) for key, found in patterns.items()})

    def find(self, provider: str, type: str, model: str) -> Price | None:  # noqa: A002
        """Return the price of `model` at the provider of this name and type.

        None: nobody knows it.
        """
        key = (provider, type, model)
        try:
            return self._found[key]
        except KeyError:
            pass
        if len(self._found) > _REMEMBERED:
            self._found.clear()  # a client can name models as it likes
        found = self._found[key] = self._look_up(key)
        return found

    def _look_up(self, key: tuple[str, str, str]) -> Price | None:
        model = key[2].lower()
        # The configuration's own word comes first: by the provider's name, then for any.
        for source in (f"={key[0]}", "=*", key[1]):
            row = self._row(source, model)
            if row is not None:
                return row.price
        return None

    def window(self, type: str, model: str) -> int | None:  # noqa: A002
        """Return how many tokens prompt and answer may have together; None: unknown.

        Args:
            type: of the provider.
            model: the request model.
        """
        key = (type, model)
        try:
            return self._windows[key]
        except KeyError:
            pass
        if len(self._windows) > _REMEMBERED:
            self._windows.clear()
        row = self._row(type, model.lower())
        found = self._windows[key] = row.context_tokens if row is not None else None
        return found

    def _row(self, source: str, model: str) -> PriceRow | None:
        row = self._names.get((source, model))
        if row is not None:
            return row
        for pattern, candidate in self._patterns.get(source, ()):
            if pattern.search(model):
                return candidate
        return None


_REMEMBERED = 10_000


def cost(price: Price, usage: Usage, *, tier: str | None = None) -> int:
    """Return what `usage` costs, in nano-dollars.

    Less than a nano is rounded up, once a request. A kind of token that the provider
    counts wrongly (more cached than there are) never makes another cheaper than nothing.
    """
    levels = price.variants.get(tier, price.levels) if tier else price.levels
    # Most answers have few kinds of tokens: what there is none of costs nothing to add.
    unread, said, millionths = usage.input_tokens, usage.output_tokens, 0
    level = levels[0] if len(levels) == 1 else _level(levels, unread)
    if read := usage.cache_read_input_tokens:
        unread -= read
        millionths += _or(level.cache_read, level.input) * read
    if written := usage.cache_creation_input_tokens:
        unread -= written
        write = _or(level.cache_write, level.input)
        hour = min(usage.cache_creation_1h_input_tokens, written)
        longer = _or(level.cache_write_1h, write)
        millionths += write * (written - hour) + longer * hour
    if heard := usage.audio_input_tokens:
        unread -= heard
        millionths += _or(level.input_audio, level.input) * heard
    if thought := usage.reasoning_output_tokens:
        said -= thought
        millionths += _or(level.reasoning, level.output) * thought
    if spoken := usage.audio_output_tokens:
        said -= spoken
        millionths += _or(level.output_audio, level.output) * spoken
    if unread > 0:
        millionths += level.input * unread
    if said > 0:
        millionths += level.output * said
    nanos = -(-millionths // PER)
    if price.request:
        nanos += price.request * max(1, usage.search_units)
    if price.second:
        nanos += price.second * usage.audio_seconds
    return nanos


def _level(levels: tuple[Level, ...], prompt: int) -> Level:
    """Return the last of `levels` that a prompt of so many tokens reaches."""
    reached = levels[0]
    for level in levels:
        if prompt > level.over:
            reached = level
    return reached


def _or(own: int | None, wider: int) -> int:
    return wider if own is None else own


def dearest(price: Price, *, input_tokens: int, output_tokens: int) -> int:
    """Return the most that a request of these lengths can cost, in nano-dollars.

    A prompt can turn out to be all written to a cache, an answer all spoken; and a tier
    may be dearer than the standard one.
    """
    most = 0
    for levels in (price.levels, *price.variants.values()):
        for level in levels:
            if level.over and input_tokens <= level.over:
                continue
            prompt, answer = _dearest_tokens(level)
            most = max(most, prompt * input_tokens + answer * output_tokens)
    return price.request + -(-most // PER)


@functools.lru_cache(maxsize=4096)
def _dearest_tokens(level: Level) -> tuple[int, int]:
    """Return the price of the dearest token of a prompt, and of an answer."""
    prompt = max(
        level.input,
        level.cache_write or 0,
        level.cache_write_1h or 0,
        level.input_audio or 0,
    )
    return prompt, max(level.output, level.reasoning or 0, level.output_audio or 0)


def dollars(nanos: int) -> Decimal:
    """Return nano-dollars as dollars, exactly."""
    return Decimal(nanos) / NANOS


def show(nanos: int) -> str:
    """Write nano-dollars as dollars, without an exponent: ``0.000123``."""
    text = f"{nanos // NANOS}.{nanos % NANOS:09d}".rstrip("0")
    return text.removesuffix(".")
