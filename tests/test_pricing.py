"""Usage and a price to exact money."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, strategies as st

from extproc.pricing import (
    Level,
    Price,
    PriceRow,
    PriceTable,
    cost,
    dearest,
    dollars,
    show,
)
from extproc.usage import Usage

counts = st.integers(0, 3_000_000)
prices = st.integers(0, 10**11)
maybe = st.none() | prices


@st.composite
def usages(draw):
    read, written, heard, plain = (draw(counts) for _ in range(4))
    thought, spoken, said = (draw(counts) for _ in range(3))
    return Usage(
        input_tokens=read + written + heard + plain,
        output_tokens=thought + spoken + said,
        cache_read_input_tokens=read,
        cache_creation_input_tokens=written,
        reasoning_output_tokens=thought,
        audio_input_tokens=heard,
        audio_output_tokens=spoken,
        cache_creation_1h_input_tokens=draw(st.integers(0, written)),
    )


@st.composite
def levels(draw, over=0):
    return Level(over, draw(prices), draw(prices), *(draw(maybe) for _ in range(6)))


@st.composite
def all_prices(draw):
    starts = sorted(draw(st.sets(st.integers(1, 1_000_000), max_size=2)))
    return Price(
        tuple(draw(levels(over)) for over in (0, *starts)), request=draw(prices)
    )


@given(usages(), all_prices())
def test_costs_are_what_the_same_sum_in_decimals_is(usage, price):
    level = [lv for lv in price.levels if lv.over == 0 or usage.input_tokens > lv.over][
        -1
    ]

    def per_token(own, wider):
        return Decimal(wider if own is None else own) / 1_000_000

    hour = usage.cache_creation_1h_input_tokens
    written = usage.cache_creation_input_tokens
    plain = usage.input_tokens - usage.cache_read_input_tokens - written
    plain -= usage.audio_input_tokens
    said = (
        usage.output_tokens - usage.reasoning_output_tokens - usage.audio_output_tokens
    )
    write = level.input if level.cache_write is None else level.cache_write
    exact = (
        per_token(None, level.input) * plain
        + per_token(level.cache_read, level.input) * usage.cache_read_input_tokens
        + per_token(None, write) * (written - hour)
        + per_token(level.cache_write_1h, write) * hour
        + per_token(level.input_audio, level.input) * usage.audio_input_tokens
        + per_token(None, level.output) * said
        + per_token(level.reasoning, level.output) * usage.reasoning_output_tokens
        + per_token(level.output_audio, level.output) * usage.audio_output_tokens
        + price.request
    )
    assert 0 <= cost(price, usage) - exact < 1


@given(usages(), all_prices())
def test_nothing_costs_more_than_the_dearest(usage, price):
    # What is read from a cache is nowhere dearer than what is not.
    cheap = Price(
        tuple(
            Level(
                lv.over, lv.input, lv.output,
                None if lv.cache_read is None else min(lv.cache_read, lv.input),
                lv.cache_write, lv.cache_write_1h, lv.reasoning, lv.input_audio,
                lv.output_audio,
            )
            for lv in price.levels
        ),
        request=price.request,
    )  # fmt: skip
    most = dearest(
        cheap, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens
    )
    assert cost(cheap, usage) <= most


def test_a_ranking_costs_its_searches_and_at_least_one():
    price = Price((Level(0, 0, 0),), request=2_000_000)
    assert cost(price, Usage(search_units=3)) == 6_000_000
    assert cost(price, Usage()) == 2_000_000


def test_sound_that_no_token_counts_costs_by_the_second():
    price = Price((Level(0, 0, 0),), second=100_000)
    assert cost(price, Usage(audio_seconds=90)) == 9_000_000
    assert cost(price, Usage(input_tokens=5)) == 0


def test_the_length_of_the_prompt_decides_for_all_tokens():
    price = Price((Level(0, 1_000_000, 0), Level(200_000, 2_000_000, 0)))
    assert cost(price, Usage(input_tokens=200_000)) == 200_000
    assert cost(price, Usage(input_tokens=200_001)) == 400_002


def test_a_tier_has_its_own_levels_and_an_unknown_one_the_standard():
    price = Price(
        (Level(0, 4_000_000, 0),), variants={"flex": (Level(0, 2_000_000, 0),)}
    )
    assert cost(price, Usage(input_tokens=1), tier="flex") == 2
    assert cost(price, Usage(input_tokens=1), tier="scale") == 4


def test_more_cached_tokens_than_there_are_are_not_a_discount():
    price = Price((Level(0, 10_000_000, 0, cache_read=1_000_000),))
    assert cost(price, Usage(input_tokens=5, cache_read_input_tokens=9)) == 9


def test_a_price_is_looked_up_by_provider_name_then_anywhere_then_by_type():
    one, two, three, four = (Price((Level(0, n, n),)) for n in range(4))
    table = PriceTable.of(
        (
            PriceRow("=mine", one, ("gpt-4o",)),
            PriceRow("=*", two, (), r"\Agpt-4o.*\Z"),
            PriceRow("openai", three, ("gpt-4o", "gpt-5")),
            PriceRow("openai", four, (), r"\Agpt-5"),
        )
    )
    assert table.find("mine", "openai", "GPT-4o") is one
    assert table.find("other", "openai", "gpt-4o") is two
    assert table.find("other", "openai", "gpt-5") is three
    assert table.find("other", "openai", "gpt-5-mini") is four
    assert table.find("other", "anthropic", "gpt-5") is None
    assert table.find("other", "openai", "gpt-5") is three


@given(st.integers(0, 10**16))
def test_money_is_written_without_loss(nanos):
    assert Decimal(show(nanos)) == dollars(nanos)
    assert "E" not in show(nanos)
