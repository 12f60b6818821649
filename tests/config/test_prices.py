"""The price table against the package that it is made of."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from genai_prices import data, types

from extproc.config.build import build
from extproc.config.load import ConfigError, loads
from extproc.config.prices import CATALOG, price_rows
from extproc.identity import NANOS
from extproc.pricing import Level, Price, PriceTable, cost
from extproc.usage import Usage

CREATED = 1_790_000_000
AT = datetime.fromtimestamp(CREATED, UTC)
KINDS = ("openai", "anthropic", "gemini", "bedrock")
TABLE = PriceTable.of(price_rows(KINDS, KINDS, {}, created=CREATED))
BY_TOKENS = {
    "input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok",
    "cache_write_1h_mtok", "output_reasoning_mtok",
}  # fmt: skip
USAGES = (
    Usage(0, 0),
    Usage(1, 1),
    Usage(1_000, 777),
    Usage(100_000, 5, 99_999, 1),
    Usage(200_000, 1),
    Usage(200_001, 1),
    Usage(900_000, 100_000, 300_000, 200_000),
)


def catalog(kind):
    (provider,) = [p for p in data.providers if p.id == CATALOG.get(kind, kind)]
    return provider


def spellings(model):
    """Every name that the package's own rules spell out, and the id."""
    found = [model.id]
    for clause in getattr(model.match, "or_", [model.match]):
        found += [v for v in vars(clause).values() if isinstance(v, str)]
    return [name for name in found if "(" not in name]


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_has_the_price_that_the_package_finds(kind):
    provider, seen = catalog(kind), 0
    for name in [name for model in provider.models for name in spellings(model)]:
        found = next((m for m in provider.models if m.is_match(name)), None)
        price = TABLE.find(kind, kind, name)
        if found is None:
            assert price is None, name
            continue
        theirs = found.get_prices(AT)
        keys = {key for key, value in vars(theirs).items() if value is not None}
        if not keys or not keys <= BY_TOKENS:
            continue
        assert price is not None, name
        for usage in USAGES:
            exact = found.calc_price(
                types.Usage(
                    input_tokens=usage.input_tokens,
                    output_tokens=usage.output_tokens,
                    cache_read_tokens=usage.cache_read_input_tokens,
                    cache_write_tokens=usage.cache_creation_input_tokens,
                ),
                provider,
                genai_request_timestamp=AT,
            ).total_price
            ours = Decimal(cost(price, usage)) / NANOS
            assert 0 <= ours - exact < Decimal("1e-9"), (name, usage)
        seen += 1
    assert seen > 10


def test_a_batch_costs_what_the_package_says():
    provider = catalog("anthropic")
    context = {"processing": "batch"}
    model = next(
        m for m in provider.models if m.get_prices(AT, context) != m.get_prices(AT)
    )
    exact = model.calc_price(
        types.Usage(input_tokens=1_000, output_tokens=1_000),
        provider,
        genai_request_timestamp=AT,
        price_context=context,
    ).total_price
    price = TABLE.find("anthropic", "anthropic", model.id)
    assert price is not None
    batch = cost(price, Usage(1_000, 1_000), tier="batch")
    assert Decimal(batch) / NANOS == exact
    assert batch < cost(price, Usage(1_000, 1_000))


def test_the_file_has_the_first_word():
    text = """
providers: {openai: {type: openai, api_key: sk-one}, two: {type: openai, api_key: sk-x}}
models: {gpt-4o: {targets: [{provider: openai}]}}
prices:
  two/gpt-4o: {input: 1, output: 2.5, over: {"1000": {input: 2}}}
  gpt-4*: {input: 0.1, request: 0.001}
"""
    config = loads(text, {}, source="g.yaml", folder=Path("/"))
    table = PriceTable.of(
        build(config, grants=(), generation=1, created=CREATED).prices
    )
    assert table.find("two", "openai", "gpt-4o") == Price(
        (Level(0, 1_000_000_000, 2_500_000_000), Level(1000, 2_000_000_000))
    )
    other = table.find("openai", "openai", "gpt-4o")
    assert other == Price((Level(0, 100_000_000),), request=1_000_000)
    standard = table.find("openai", "openai", "o3")
    assert standard is not None
    assert standard.levels[0].input > 0


def test_a_price_that_is_no_amount_is_named():
    text = """
providers: {openai: {type: openai, api_key: sk-one}}
models: {gpt-4o: {targets: [{provider: openai}]}}
prices: {gpt-4o: {input: cheap}}
"""
    with pytest.raises(ConfigError, match="must be an amount of dollars"):
        loads(text, {}, source="g.yaml", folder=Path("/"))
