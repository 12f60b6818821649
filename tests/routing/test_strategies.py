"""Every strategy, exactly."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, strategies as st

from extproc.deployment import STRATEGIES
from extproc.identity import NANOS
from extproc.pricing import Level, Price, PriceRow
from extproc.routing.health import Load
from extproc.routing.strategies import ORDERS
from tests.routing.world import World, demand, target


def firsts(world: World, count: int) -> list[str]:
    return [world.chain()[0] for _ in range(count)]


WEIGHTS = [(40, 35, 25), (60, 40), (50, 30, 20), (70, 30), (1, 1, 1), (97, 2, 1)]


@pytest.mark.parametrize("weights", WEIGHTS)
def test_weights_are_exact_in_any_window_of_a_hundred(weights):
    world = World(
        *(target(f"p{i}", weight=weight) for i, weight in enumerate(weights)),
        strategy="weighted",
    )
    order = firsts(world, 400)
    total = sum(weights)
    for start in range(300):
        seen = Counter(order[start : start + 100])
        for i, weight in enumerate(weights):
            assert abs(seen[f"p{i}"] - 100 * weight / total) <= 1


@given(st.lists(st.integers(1, 50), min_size=2, max_size=6))
def test_after_one_round_of_the_weights_everybody_had_exactly_theirs(weights):
    world = World(
        *(target(f"p{i}", weight=weight) for i, weight in enumerate(weights)),
        strategy="weighted",
    )
    seen = Counter(firsts(world, sum(weights)))
    assert seen == {f"p{i}": weight for i, weight in enumerate(weights)}


def test_turns_are_spread_evenly():
    world = World(target("a", weight=3), target("b", weight=2), strategy="weighted")
    assert "".join(firsts(world, 10)) == "ababaababa"
    order = "".join(firsts(world, 100))
    assert "aaa" not in order
    assert "bb" not in order


@pytest.mark.parametrize(
    "field", ["fallbacks", "context_fallbacks", "content_fallbacks"]
)
def test_who_only_stands_behind_another_model_takes_none_of_its_own_clients_turns(
    field,
):
    pair = (target("a", tier=0), target("b", tier=0))
    named: dict[str, Any] = {field: ("f",)}
    world = World(target("x"), more={"f": pair}, **named)
    seen = []
    for _ in range(100):
        assert world.chain()[0] == "x"
        seen.append(world.chain(asked="f")[0])
    assert Counter(seen) == {"a": 50, "b": 50}


def test_who_stands_behind_a_model_for_two_reasons_takes_one_turn_a_request():
    pair = (target("a", tier=0), target("b", tier=0))
    world = World(
        target("x"), more={"f": pair}, fallbacks=("f",), context_fallbacks=("f",)
    )
    assert Counter(world.chain()[1] for _ in range(100)) == {"a": 50, "b": 50}


def test_round_robin_ignores_weights():
    world = World(
        target("a", weight=9), target("b"), target("c"), strategy="round_robin"
    )
    assert firsts(world, 6) == ["a", "b", "c"] * 2


def test_the_two_keys_of_a_target_share_its_turns():
    # 60/40, the first one's weight on two keys: 30/30/40.
    world = World(
        target("a", weight=60), target("a.2", weight=60), target("b", weight=80),
        strategy="weighted",
    )  # fmt: skip
    seen = Counter(firsts(world, 100))
    assert seen == {"a": 30, "a.2": 30, "b": 40}


def test_priority_asks_in_order_and_only_then_the_next():
    world = World(target("a", tier=0), target("b", tier=1), target("c", tier=2))
    assert [world.chain() for _ in range(3)] == [["a", "b", "c"]] * 3


def test_tiers_hold_under_every_strategy():
    for strategy in STRATEGIES:
        world = World(
            target("late", tier=1), target("x"), target("y"), strategy=strategy
        )
        for _ in range(20):
            assert world.chain()[-1] == "late", strategy


def test_shuffle_draws_by_weight_and_is_repeated_by_its_seed():
    def draw(seed: int) -> list[str]:
        world = World(
            target("a", weight=3), target("b", weight=1), strategy="shuffle", seed=seed
        )
        return firsts(world, 1000)

    drawn = draw(7)
    assert draw(7) == drawn
    assert draw(8) != drawn
    assert 700 < drawn.count("a") < 800


def test_least_busy_takes_the_fewest_in_flight_at_all_workers():
    world = World(target("a"), target("b"), target("c"), strategy="least_busy")
    tickets = [world.send() for _ in range(6)]
    assert [len(world.health(n).in_flight) for n in "abc"] == [2, 2, 2]
    tickets[0].end(world.now)
    assert world.chain()[0] == tickets[0]._picks[0].candidate.target.spec.cluster
    world.health("a").remote = world.health("b").remote = Load(5)
    assert firsts(world, 3) == ["c"] * 3


def measured(world: World, **seconds: float) -> None:
    for name, value in seconds.items():
        world.health(name).measure(world.now, first_byte=value, total=10 - value)


def test_latency_takes_the_fastest_by_first_byte_for_streams_and_by_all_for_the_rest():
    world = World(target("a"), target("b"), strategy="latency")
    measured(world, a=1.0, b=2.0)
    assert world.chain(demand({"stream": True}))[0] == "a"
    assert world.chain(demand({}))[0] == "b"


def test_latency_tries_who_is_not_measured_with_one_request_at_a_time():
    world = World(target("a"), target("b"), strategy="latency")
    measured(world, a=1.0)
    explorer = world.send()
    assert world.health("b").in_flight
    assert firsts(world, 5) == ["a"] * 5
    world.now += 3
    explorer.answered([], 200, None, world.now)
    explorer.end(world.now, whole=True)
    assert world.health("b").total == 3
    assert firsts(world, 5) == ["b"] * 5  # 3 s against 9 s


def test_latency_forgets_old_measurements():
    world = World(target("a"), target("b"), strategy="latency")
    measured(world, a=1.0, b=5.0)
    world.now += 59
    measured(world, a=1.0)
    stream = demand({"stream": True})
    assert world.chain(stream)[0] == "a"
    world.now += 2
    assert world.chain(stream)[0] == "b"


def test_a_moving_average_follows_a_fifth_of_the_way():
    world = World(target("a"))
    health = world.health("a")
    health.measure(world.now, first_byte=1.0)
    health.measure(world.now, first_byte=2.0)
    assert health.first_byte == pytest.approx(1.2)


def test_usage_takes_the_lowest_share_of_its_limits():
    world = World(
        target("a", requests_per_minute=10),
        target("b", requests_per_minute=30),
        strategy="usage",
    )
    order = []
    for _ in range(20):
        ticket = world.send()
        order.append(ticket._picks[0].candidate.target.spec.cluster)
        ticket.end(world.now)
    assert Counter(order) == {"a": 5, "b": 15}


def test_usage_counts_tokens_and_forgets_them_after_a_minute():
    world = World(
        target("a", tokens_per_minute=1000),
        target("b", tokens_per_minute=1000),
        strategy="usage",
    )
    world.health("a").tokens.add(500, world.now)
    assert firsts(world, 3) == ["b"] * 3
    world.health("b").tokens.add(600, world.now + 10)
    world.now += 61
    assert firsts(world, 3) == ["a"] * 3


def price(provider: str, reads: int, writes: int) -> PriceRow:
    """Return a price in dollars for a million tokens."""
    level = Level(input=reads * NANOS, output=writes * NANOS)
    return PriceRow(f"={provider}", Price((level,)), ("m",))


def test_cost_takes_the_cheapest_for_this_request():
    world = World(
        target("long"),
        target("short"),
        target("unknown"),
        strategy="cost",
        prices=(price("long", 1, 40), price("short", 10, 10)),
    )
    reading = demand({"messages": ["x" * 8000], "max_tokens": 10})
    writing = demand({"messages": [], "max_tokens": 4000})
    assert world.chain(reading) == ["long", "short", "unknown"]
    assert world.chain(writing) == ["short", "long", "unknown"]


def talk(number: int, turns: int = 1) -> dict[str, object]:
    messages = [{"role": "user", "content": f"conversation {number} " + "x" * 2000}]
    return {"messages": messages + [{"role": "user", "content": "more"}] * turns}


def test_a_conversation_stays_where_it_began_while_that_is_well():
    specs = [target(name) for name in "abcd"]
    world, other = (
        World(*specs, strategy="affinity"),
        World(*specs, strategy="affinity", seed=5),
    )
    homes = {}
    for number in range(200):
        homes[number] = world.chain(demand(talk(number)))[0]
        for turns in (2, 5):
            assert world.chain(demand(talk(number, turns)))[0] == homes[number]
        assert other.chain(demand(talk(number)))[0] == homes[number]
    assert min(Counter(homes.values()).values()) > 25
    for _ in range(3):
        world.health("a").failed(world.now, world.state.numbers, reason="500")
    for number, home in homes.items():
        now = world.chain(demand(talk(number)))[0]
        assert now == home if home != "a" else now != "a"


def test_affinity_by_what_the_request_calls_its_session():
    world = World(*(target(name) for name in "abcd"), strategy="affinity")
    by_header = {
        world.chain(demand(talk(n), x_extproc_session="s"))[0] for n in range(20)
    }
    by_key = {
        world.chain(demand(talk(n) | {"prompt_cache_key": "k"}))[0] for n in range(20)
    }
    assert len(by_header) == len(by_key) == 1


def test_adaptive_gives_a_faulty_target_the_share_of_its_score():
    world = World(target("a"), target("b"), strategy="adaptive")
    for _ in range(8):
        world.health("a").succeeded(world.now, world.state.numbers)
        world.health("b").succeeded(world.now, world.state.numbers)
    world.health("b").failed(world.now, world.state.numbers, reason="500")
    a, b = (world.health(n).score(world.now, world.state.numbers) for n in "ab")
    assert (a, b) == (100, 81)
    seen = Counter(firsts(world, a + b))
    assert seen == {"a": a, "b": b}


def test_the_score_that_is_shown_is_the_one_that_adaptive_goes_by():
    """With the target's own cap: a third of its places is taken."""
    world = World(target("a", max_concurrency=10), target("b"), strategy="adaptive")
    world.health("a").in_flight.update(range(5))
    seen = Counter(firsts(world, 67 + 100))
    assert seen == {"a": 67, "b": 100}
    shown, _ = world.state.live(world.now)
    assert [told.score for told in shown if told.id == "a/m"] == [67]


def test_every_strategy_has_an_order():
    assert set(ORDERS) == set(STRATEGIES)
