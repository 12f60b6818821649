"""From a model and a request to a chain: what is in it, in which order, and why not."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given, strategies as st

from extproc.deployment import (
    STRATEGIES,
    Abilities,
    Condition,
    ModelRouting,
    RoutingNumbers,
    Rule,
    Share,
)
from extproc.errors import BadRequest, GatewayError, Overloaded, UpstreamLimited
from extproc.pricing import Level, Price, PriceRow
from extproc.routing.candidates import Why
from extproc.routing.health import Phase
from extproc.routing.plan import KEY_REFUSED
from extproc.routing.retry import BURST
from extproc.runtime import MAX_ATTEMPTS, ModelSpec, Runtime, Snapshot, TargetSpec
from tests.routing.world import World, demand, names, target

PICTURE = {
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "https://x.test/a"}}
            ],
        }
    ]
}
SCHEMA = {"messages": [], "response_format": {"type": "json_schema", "json_schema": {}}}
TOOLS = {"messages": [], "tools": [{"type": "function", "function": {"name": "f"}}]}
LONG = {"messages": [{"role": "user", "content": "word " * 4000}]}

CAPABILITIES = [
    ("vision", Abilities(vision=False), PICTURE),
    ("json_schema", Abilities(json_schema=False), SCHEMA),
    ("tools", Abilities(tools=False), TOOLS),
    ("streaming", Abilities(streaming=False), {"messages": [], "stream": True}),
    ("context_tokens", Abilities(context_tokens=4000), LONG),
    ("context_tokens", Abilities(context_tokens=4000), {"messages": [], "max_tokens": 4000}),
    ("output_tokens", Abilities(output_tokens=100), {"messages": [], "max_tokens": 101}),
    (
        "audio",
        Abilities(audio=False),
        {"messages": [{"content": [{"type": "input_audio", "input_audio": {}}]}]},
    ),
    (
        "documents",
        Abilities(documents=False),
        {"messages": [{"content": [{"type": "document", "source": {}}]}]},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("detail", "abilities", "body"), CAPABILITIES)
def test_a_request_does_not_go_where_it_must_fail(detail, abilities, body):
    world = World(target("poor", abilities=abilities), target("able", tier=1))
    found = world.plan(demand(body))
    assert names(found) == ["able"]
    assert [(one.why, one.detail) for one in found.passed] == [(Why.UNABLE, detail)]
    assert world.chain(demand({"messages": []})) == ["poor", "able"]


@pytest.mark.parametrize(("detail", "abilities", "body"), CAPABILITIES)
def test_where_no_target_can_serve_it_the_client_is_told_what_is_missing(
    detail, abilities, body
):
    world = World(target("poor", abilities=abilities))
    with pytest.raises(BadRequest) as refused:
        world.plan(demand(body))
    long = detail == "context_tokens"
    code = "context_length_exceeded" if long else "unsupported_capability"
    assert refused.value.code == code


def test_text_about_pictures_is_no_picture():
    text = 'send {"type": "image_url"} and "type":"image"'
    world = World(target("poor", abilities=Abilities(vision=False)))
    assert world.chain(demand({"messages": [{"role": "user", "content": text}]})) == [
        "poor"
    ]


def test_a_picture_is_not_counted_by_the_length_of_its_base64():
    url = "data:image/png;base64," + "A" * 100_000
    body = {
        "messages": [{"content": [{"type": "image_url", "image_url": {"url": url}}]}]
    }
    world = World(target("a", abilities=Abilities(context_tokens=1000)))
    assert world.chain(demand(body)) == ["a"]


def test_what_is_no_chat_is_not_held_to_a_chats_window():
    world = World(target("a", abilities=Abilities(context_tokens=10)))
    assert world.chain(demand({"input": "x" * 10_000}, chat=False)) == ["a"]


def test_a_known_too_long_prompt_goes_to_the_context_fallback_at_once():
    world = World(
        target("small", abilities=Abilities(context_tokens=1000)),
        context_fallbacks=("large",),
        more={"large": (target("big"),)},
    )
    assert world.chain(demand(LONG)) == ["big"]
    found = world.plan()
    assert [
        (n, pick.conditional) for n, pick in zip(names(found), found.picks, strict=True)
    ] == [
        ("small", ""),
        ("big", "x"),
    ]


def test_fallbacks_come_last_and_always_have_a_place():
    world = World(
        *(target(f"p{i}") for i in range(5)),
        fallbacks=("f",),
        more={"f": (target("spare"), target("spare2"))},
    )
    assert world.chain()[3] == "spare"
    world = World(
        target("a"),
        fallbacks=("f",),
        more={"f": (target("spare"), target("spare2", tier=1))},
    )
    assert world.chain() == ["a", "spare", "spare2"]


def test_each_kind_of_refusal_has_a_place_of_its_own():
    world = World(
        *(target(f"p{i}") for i in range(5)),
        context_fallbacks=("l",),
        content_fallbacks=("o",),
        more={"l": (target("large"),), "o": (target("open"),)},
    )
    found = world.plan()
    assert names(found)[2:] == ["large", "open"]
    assert [pick.conditional for pick in found.picks] == ["", "", "x", "p"]


@pytest.mark.parametrize(
    ("attempts", "chain"),
    [
        (1, ["p0"]),
        (2, ["p0", "large"]),
        (3, ["p0", "spare", "large"]),
        (4, ["p0", "p1", "spare", "large"]),
    ],
)
def test_a_chain_is_as_long_as_it_may_be_and_no_longer(attempts, chain):
    world = World(
        *(target(f"p{i}", tier=i) for i in range(5)),
        fallbacks=("f",),
        context_fallbacks=("l",),
        more={"f": (target("spare"),), "l": (target("large"),)},
        numbers=RoutingNumbers(attempts=attempts),
    )
    assert world.chain() == chain


def test_two_keys_of_a_provider_then_another_provider():
    keys = [target(name) for name in ("a", "a.2", "a.3", "a.4", "a.5")]
    world = World(*keys, target("b", tier=1))
    assert [name[0] for name in world.chain()] == ["a", "a", "b", "a"]


def test_a_fallback_that_is_a_target_already_is_not_asked_twice():
    world = World(
        target("a"),
        target("b", tier=1),
        fallbacks=("f",),
        more={"f": (target("b"), target("c", tier=1))},
    )
    assert world.chain() == ["a", "b", "c"]


def test_a_fallback_is_asked_by_its_own_name():
    world = World(
        target("a"), fallbacks=("claude",), more={"claude": (target("b", model=None),)}
    )
    assert [pick.candidate.health.id for pick in world.plan().picks] == [
        "a/m",
        "b/claude",
    ]


def test_what_cools_down_is_a_last_resort():
    world = World(target("a", tier=0), target("b", tier=1))
    for _ in range(3):
        world.play(500, 500)
    assert sorted(world.chain()) == ["a", "b"]
    assert {one.why for one in world.plan().passed} == {Why.COOLING}


def test_all_limited_is_a_429_with_the_soonest_time():
    world = World(target("a", tier=0), target("b", tier=1))
    world.play(429, 429, retry_after="30")
    world.now += 10.5
    with pytest.raises(UpstreamLimited) as limited:
        world.plan()
    assert (limited.value.status, limited.value.retry_after) == (429, "20")


def test_a_full_target_overflows_to_the_next_and_all_full_is_a_503():
    world = World(
        target("a", tier=0, max_concurrency=2), target("b", tier=1, max_concurrency=1)
    )
    tickets = [world.send() for _ in range(2)]
    assert world.chain() == ["b"]
    tickets.append(world.send())
    with pytest.raises(Overloaded) as full:
        world.plan()
    assert full.value.retry_after == "1"
    tickets[0].end(world.now)
    assert world.chain() == ["a"]


def test_who_stands_by_for_a_failing_target_is_counted_where_it_would_go():
    world = World(
        target("a", tier=0),
        target("b", tier=1, max_concurrency=4),
        target("c", tier=2),
        numbers=RoutingNumbers(failures=100, least_outcomes=1000),
    )
    tickets = [world.send() for _ in range(8)]
    assert world.health("b").foreseen(world.now, world.state.numbers) == 0
    assert world.chain() == ["a", "b", "c"]
    # One in two fails at `a` now: of the seven left, four are likely to come.
    tickets[0].answered([(500, None)], 200, None, world.now)
    assert len(world.health("b").in_flight) == 1
    assert world.health("b").foreseen(world.now, world.state.numbers) == 3.5
    assert world.chain() == ["a", "c"]
    for ticket in tickets:
        ticket.end(world.now)
    assert world.health("b").standby == {}
    assert world.chain() == ["a", "b", "c"]


def test_each_attempt_counts_to_the_limits_of_who_was_asked():
    world = World(
        target("a", tier=0, requests_per_minute=9),
        target("b", tier=1, requests_per_minute=9),
        target("c", tier=2, requests_per_minute=9),
    )
    ticket = world.send()
    ticket.answered([(500, None), (500, None)], 200, None, world.now)
    ticket.end(world.now, tokens=70)
    seen = {name: world.health(name) for name in "abc"}
    assert [seen[n].requests_a_minute(world.now) for n in "abc"] == [1, 1, 1]
    assert [seen[n].tokens_a_minute(world.now) for n in "abc"] == [0, 0, 70]


def test_what_a_glob_stands_for_is_known_by_its_own_name():
    stripped = msgspec.structs.replace(target("a", model=None), strip="openai/")
    rows = (PriceRow("openai", Price((Level(0, 1, 1),)), ("tiny",), None, 1000),)
    specs = (ModelSpec("openai/*", (stripped, target("b", model="wide", tier=1))),)
    world = World(target("z"))
    world.runtime = Runtime.of(Snapshot(1, models=specs, prices=rows))
    picture = {"messages": [{"content": [{"type": "image_url"}]}]}
    assert world.chain(demand(picture), "openai/gpt-3.5-turbo") == ["b"]
    assert world.chain(demand(picture), "openai/gpt-4o") == ["a", "b"]
    long = {"messages": [{"content": "word " * 2000}]}
    assert world.chain(demand(long), "openai/tiny") == ["b"]
    assert world.chain(demand(long), "openai/large") == ["a", "b"]
    known = [
        pick.candidate.lane.model for pick in world.plan(asked="openai/tiny").picks
    ]
    assert known == ["tiny", "wide"]


@pytest.mark.parametrize("way", ["fallback", "rule", "itself"])
def test_what_a_glob_stands_for_is_known_also_where_another_model_names_it(way):
    stripped = msgspec.structs.replace(target("a", model=None), strip="openai/")
    named = "openai/gpt-3.5-turbo"
    routing = {
        "fallback": ModelRouting(fallbacks=(named, "wide")),
        "rule": ModelRouting(rules=(Rule(to=(Share(named, 1),)),)),
        "itself": ModelRouting(),
    }[way]
    world = World(target("z"))
    world.runtime = Runtime.of(
        Snapshot(
            1,
            models=(
                ModelSpec("v", (target("y"),), routing=routing),
                ModelSpec("wide", (target("w", model="wide"),)),
                ModelSpec(
                    "openai/*",
                    (stripped, target("b", model="wide", tier=1)),
                ),
            ),
        )
    )
    picture = demand({"messages": [{"content": [{"type": "image_url"}]}]})
    able = {"fallback": ["y", "b", "w"], "rule": ["b"], "itself": ["b"]}[way]
    assert world.chain(picture, named if way == "itself" else "v") == able
    plain = {"fallback": ["y", "a", "b", "w"], "rule": ["a", "b"], "itself": ["a", "b"]}
    assert world.chain(demand(), named if way == "itself" else "v") == plain[way]


def test_a_targets_rate_limits_overflow_too():
    world = World(target("a", tier=0, requests_per_minute=2), target("b", tier=1))
    for _ in range(2):
        world.play(200)
    assert world.chain() == ["b"]
    world.now += 61
    assert world.chain() == ["a", "b"]


def test_fruitless_retries_shorten_chains_and_answers_make_them_long_again():
    specs = [target(f"p{i}") for i in range(4)]
    world = World(
        *specs,
        numbers=RoutingNumbers(failures=10**6, failure_share=1.0, least_outcomes=10**6),
    )
    for _ in range(40):
        world.play(500, 500, 500, 500)
    assert len(world.chain()) == 2
    for _ in range(int(BURST)):
        world.play(200)
    assert len(world.chain()) == 4


def test_retries_that_are_answered_cost_nothing():
    world = World(target("a", tier=0), target("b", tier=1))
    for _ in range(500):
        ticket = world.send()
        ticket.answered([(500, None)], 200, None, world.now)
        ticket.end(world.now)
    assert world.state.retries.left == BURST


TAGS = [("", ["plain"]), ("eu", ["eu", "both"]), ("eu, gold", ["both"])]


@pytest.mark.parametrize(("tags", "chain"), TAGS)
def test_tags_choose_among_targets(tags, chain):
    world = World(
        target("plain"),
        target("eu", tier=1, tags=frozenset({"eu"})),
        target("both", tier=2, tags=frozenset({"eu", "gold"})),
    )
    wanted = demand(x_extproc_tags=tags) if tags else demand()
    assert world.chain(wanted) == chain


def test_a_tag_that_no_target_has_is_refused():
    world = World(target("plain"), target("eu", tags=frozenset({"eu"})))
    with pytest.raises(BadRequest, match="does not have the tags"):
        world.plan(demand(x_extproc_tags="us"))


def test_a_region_is_kept_to():
    world = World(target("a", region="eu"), target("b", region="us"))
    assert world.chain(demand(x_extproc_region="us")) == ["b"]


RULES = [
    (Condition(headers={"x-tenant": "acme-*"}), {"x_tenant": "acme-1"}, {}),
    (Condition(metadata={"tier": "gold"}), {}, {"metadata": {"tier": "gold"}}),
    (Condition(tags=("beta",)), {"x_extproc_tags": "beta"}, {}),
]


@pytest.mark.parametrize(("when", "headers", "body"), RULES)
def test_a_rule_sends_on_what_it_names_and_nothing_else(when, headers, body):
    world = World(
        target("a"),
        rules=(Rule(when, (Share("other", 1),)),),
        more={"other": (target("b"),)},
    )
    assert world.chain(demand({"messages": [], **body}, **headers)) == ["b"]
    assert world.chain() == ["a"]
    assert world.plan(demand({"messages": [], **body}, **headers)).model.name == "other"


def test_a_rule_by_key():
    rules = (Rule(Condition(keys=("c*",)), (Share("other", 1),)),)
    world = World(target("a"), rules=rules, more={"other": (target("b"),)})
    assert world.chain() == ["b"]


def test_a_split_keeps_each_user_on_their_side_and_its_proportions():
    world = World(
        target("a"),
        rules=(Rule(to=(Share("x", 90), Share("y", 10))),),
        more={"x": (target("x"),), "y": (target("y"),)},
    )
    sides = {
        n: world.chain(demand({"messages": [], "user": f"u{n}"}))[0]
        for n in range(2000)
    }
    assert 140 < Counter(sides.values())["y"] < 260
    again = {
        n: world.chain(demand({"messages": ["else"], "user": f"u{n}"}))[0]
        for n in range(2000)
    }
    assert again == sides


def test_an_alias_is_the_model_by_another_name():
    world = World(target("a", model=None), aliases=("also",))
    found = world.plan(asked="also")
    assert found.picks[0].candidate.health.id == "a/v"
    assert "also" in world.runtime.listed


def test_a_star_passes_on_what_it_stands_for():
    spec = target("a", model=None)
    stripped = msgspec.structs.replace(spec, strip="openai/")
    specs = (ModelSpec("openai/*", (stripped,)),)
    runtime = Runtime.of(Snapshot(1, models=specs))
    group = runtime.group("openai/gpt-4o")
    assert group is not None
    assert group.targets[0].spec.model == "gpt-4o"


NAMES = st.sampled_from(["a", "a.2", "a.3", "b", "b.2", "c", "d"])


@st.composite
def worlds(draw):
    specs, more = [], {}
    for group in ("v", "f", "x", "p"):
        chosen = draw(st.lists(NAMES, min_size=1, max_size=7, unique=True))
        made = [
            target(
                name,
                tier=draw(st.integers(0, 2)),
                weight=draw(st.integers(1, 5)),
                max_concurrency=draw(st.sampled_from([None, 1, 3])),
                abilities=Abilities(vision=draw(st.sampled_from([None, False]))),
                tags=draw(st.sampled_from([frozenset(), frozenset({"eu"})])),
            )
            for name in chosen
        ]
        if group == "v":
            specs = made
        else:
            more[group] = tuple(made)
    routing = {
        "strategy": draw(st.sampled_from(STRATEGIES)),
        "fallbacks": draw(st.sampled_from([(), ("f",)])),
        "context_fallbacks": draw(st.sampled_from([(), ("x",), ("f",)])),
        "content_fallbacks": draw(st.sampled_from([(), ("p",)])),
    }
    return specs, more, routing, RoutingNumbers(attempts=draw(st.integers(1, 4)))


STATUSES = st.lists(
    st.sampled_from([200, 200, 429, 500, 0, 401, 400]), min_size=1, max_size=4
)


@given(
    worlds(),
    st.lists(
        st.tuples(STATUSES, st.booleans(), st.booleans(), st.floats(0, 8)), max_size=25
    ),
    st.integers(0, 3),
)
def test_a_chain_never_repeats_a_target_nor_has_one_that_may_not_be_asked(
    made, steps, seed
):
    specs, more, routing, numbers = made

    def world():
        return World(*specs, more=more, seed=seed, numbers=numbers, **routing)

    def run(world):
        said: list[object] = []
        for statuses, picture, tagged, wait in steps:
            world.now += wait
            body = PICTURE if picture else None
            wanted = demand(body, x_extproc_tags="eu") if tagged else demand(body)
            try:
                found = world.plan(wanted)
            except GatewayError as error:
                said.append((type(error), error.message))
                continue
            said.append(names(found))
            ids = [pick.candidate.health.id for pick in found.picks]
            assert len(set(ids)) == len(ids) <= numbers.attempts <= MAX_ATTEMPTS
            ordinary = [pick for pick in found.picks if not pick.conditional]
            assert [*found.picks[: len(ordinary)]] == ordinary
            phases = [
                pick.candidate.health.phase(world.now)
                for pick in ordinary
                if pick.why != KEY_REFUSED
            ]
            assert phases[1:] == sorted(phases[1:])
            assert phases == sorted(phases) or phases[0] is Phase.TRIAL
            assert len(phases) in {0, len(ordinary)}
            for pick in found.picks:
                place, health = (
                    pick.candidate.target.spec.placement,
                    pick.candidate.health,
                )
                assert not (picture and place.abilities.vision is False)
                group = world.runtime.group(pick.group).targets
                apart = any(one.spec.placement.tags for one in group)
                assert bool(place.tags) is (tagged and apart)
                assert health.phase(world.now) is not Phase.LIMITED
                cluster = pick.candidate.target.spec.cluster
                if world.state.benched(cluster, place.credential, world.now):
                    assert pick.why == KEY_REFUSED
                elif health.phase(world.now) is Phase.COOLING:
                    assert pick.why == "last resort: cooling down"
                assert (
                    place.max_concurrency is None or health.load < place.max_concurrency
                )
            ticket = world.send(wanted)
            ends = statuses[: len(found.picks)]
            failed = [(status, "7") for status in ends[:-1]]
            ticket.answered(failed, ends[-1] or None, None, world.now)
            if wait < 6:
                ticket.end(world.now)
        return said

    assert run(world()) == run(world())


def test_a_model_has_only_one_way_where_nothing_stands_behind_its_target():
    one = World(target("a")).runtime.model("v")
    assert one is not None
    assert one.only is one.targets[0]
    named = one.named("v")
    assert named.only is named.targets[0] is not one.only
    more: dict[str, tuple[TargetSpec, ...]] = {"w": (target("b"),)}
    for world in (
        World(target("a"), target("b")),
        World(target("a"), more=more, fallbacks=("w",)),
        World(target("a"), more=more, context_fallbacks=("w",)),
        World(target("a"), more=more, content_fallbacks=("w",)),
    ):
        model = world.runtime.model("v")
        assert model is not None
        assert model.only is None
