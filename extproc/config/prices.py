"""The price table: ``genai-prices``, and what ``gateway.yaml`` says instead.

Control's alone: the package's data takes a second and some 80 MB to import. The prices
are those of the package that is installed; nothing is downloaded.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from extproc.config.tenancy import Dollars
from extproc.config.values import Section, Whole
from extproc.identity import NANOS, glob_pattern
from extproc.pricing import Level, Price, PriceRow

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo

CATALOG = {
    "bedrock": "aws",
    "gemini": "google",
    "vertex": "google",
    "vertex_anthropic": "google",
    "xai": "x-ai",
    "x_ai": "x-ai",
    "mistral_ai": "mistral",
    "moonshot": "moonshotai",
    "fireworks_ai": "fireworks",
}
"""Our type of a provider to its id in ``genai-prices``, where they differ."""

_KEYS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "reasoning": "output_reasoning_mtok",
    "input_audio": "input_audio_mtok",
    "output_audio": "output_audio_mtok",
}
"""Fields of `Level` to the package's words."""

_ANCHORS = {
    "starts_with": (r"\A", ""),
    "ends_with": ("", r"\Z"),
    "contains": ("", ""),
    "equals": (r"\A", r"\Z"),
    "regex": ("", ""),
}

_VARIANTS = {
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
}


class LevelConfig(Section):
    """Dollars for a million tokens."""

    input: Dollars = Decimal(0)
    output: Dollars = Decimal(0)
    cache_read: Dollars | None = None
    cache_write: Dollars | None = None
    cache_write_1h: Dollars | None = None
    reasoning: Dollars | None = None
    input_audio: Dollars | None = None
    output_audio: Dollars | None = None

    def level(self, over: int = 0) -> Level:
        """Return it as the data path knows it."""
        prices = {
            name: None if (value := getattr(self, name)) is None else int(value * NANOS)
            for name in _KEYS
        }
        return Level(over=over, **prices)  # type: ignore[arg-type]


class PriceConfig(LevelConfig):
    """What a model costs, whatever ``genai-prices`` says."""

    request: Dollars = Decimal(0)
    """Dollars for each request; of a ranking, for each search unit it is billed by."""
    second: Dollars = Decimal(0)
    """Dollars for each second of sound that is written down, where its model counts no
    tokens."""
    over: dict[Annotated[Whole, Field(ge=1)], LevelConfig] = Field(default_factory=dict)
    """What all tokens cost where the prompt is longer than this."""

    def price(self) -> Price:
        """Return it as the data path knows it."""
        levels = [self.level(), *(self.over[n].level(n) for n in sorted(self.over))]
        return Price(
            tuple(levels),
            request=int(self.request * NANOS),
            second=int(self.second * NANOS),
        )


def price_rows(
    types: Iterable[str],
    providers: Iterable[str],
    overrides: dict[str, PriceConfig],
    *,
    created: int,
) -> tuple[PriceRow, ...]:
    """Return the table for a configuration.

    Args:
        types: of the providers that it has.
        providers: their names.
        overrides: by model, or by ``provider/model``; either may be a glob.
        created: Unix seconds; of prices that change with time those of then hold.
    """
    # The package's prices change by the day, and a reload is not to read them all again.
    day = created - created % 86_400
    own = [
        row
        for name, config in overrides.items()
        for row in _own(name, tuple(providers), config)
    ]
    return (
        *own,
        *(row for kind in sorted(set(types)) for row in _catalog(kind, day)),
    )


def _own(
    name: str, providers: tuple[str, ...], config: PriceConfig
) -> Iterator[PriceRow]:
    provider, _, model = name.partition("/")
    if provider not in providers:
        provider, model = "*", name
    pattern = glob_pattern(model.lower()).pattern if "*" in model else None
    names = () if pattern else (model.lower(),)
    yield PriceRow(
        f"={provider}",
        config.price(),
        names,
        None if pattern is None else rf"\A{pattern}",
    )


@functools.lru_cache(maxsize=64)  # a reload asks for the same again, mostly
def _catalog(kind: str, created: int) -> tuple[PriceRow, ...]:
    from genai_prices import data  # noqa: PLC0415  heavy, and only for who has providers

    wanted = CATALOG.get(kind, kind)
    at = datetime.fromtimestamp(created, UTC)
    return tuple(
        row
        for provider in data.providers
        if provider.id == wanted
        for model in provider.models
        if (row := _row(kind, model, at)) is not None
    )


def _row(kind: str, model: ModelInfo, at: datetime) -> PriceRow | None:
    standard = model.get_prices(at)
    levels = _levels(standard)
    if levels is None:
        return None
    variants = {}
    for name, context in _VARIANTS.items():
        special = model.get_prices(at, context)
        if special != standard and (other := _levels(special)) is not None:
            variants[name] = other
    requests = _nanos(getattr(standard, "requests_kcount", None)) or 0
    names, pattern = _matcher(model.match)
    price = Price(levels, request=-(-requests // 1000), variants=variants)
    return PriceRow(kind, price, names, pattern, model.context_window)


def _levels(prices: object) -> tuple[Level, ...] | None:
    """Return the package's tiers as levels; None when tokens have no price."""
    found = {name: getattr(prices, key, None) for name, key in _KEYS.items()}
    if found["input"] is None and found["output"] is None:
        return None
    starts = {0}
    for value in found.values():
        starts.update(tier.start for tier in getattr(value, "tiers", ()))
    levels = []
    for start in sorted(starts):
        at = {name: _nanos(value, start) for name, value in found.items()}
        at["input"] = at["input"] or 0
        at["output"] = at["output"] or 0
        levels.append(Level(over=start, **at))  # type: ignore[arg-type]
    return tuple(levels)


def _nanos(value: object, start: int = 0) -> int | None:
    if value is None:
        return None
    if isinstance(value, Decimal):
        return int(value * NANOS)
    price = value.base  # type: ignore[attr-defined]
    for tier in value.tiers:  # type: ignore[attr-defined]
        if start and start >= tier.start:
            price = tier.price
    return int(price * NANOS)


def _matcher(clause: object) -> tuple[tuple[str, ...], str | None]:
    """Return the exact names of the package's clause, and a pattern for the rest."""
    clauses = clause.or_ if hasattr(clause, "or_") else [clause]
    names = tuple(c.equals.lower() for c in clauses if hasattr(c, "equals"))
    rest = [_pattern(c) for c in clauses if not hasattr(c, "equals")]
    return names, "|".join(f"(?:{part})" for part in rest) or None


def _pattern(clause: object) -> str:
    """Return the regular expression that says what the clause says, of a lower name."""
    words = vars(clause)
    if "or_" in words:
        return "|".join(f"(?:{_pattern(part)})" for part in words["or_"])
    if "and_" in words:
        return r"\A" + "".join(f"(?=(?s:.*?)(?:{_pattern(p)}))" for p in words["and_"])
    ((how, text),) = words.items()
    before, after = _ANCHORS[how]
    return before + (str(text) if how == "regex" else re.escape(text.lower())) + after
