"""What is looked up once of a target is what asking each time would give."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from extproc.abilities import abilities_of
from extproc.deployment import Abilities, Placement
from extproc.exchange.operations import _FIXED, _FORMS
from extproc.formats.base import Unsupported
from extproc.pricing import Level, Price, PriceRow, PriceTable
from extproc.providers import PROVIDERS
from extproc.target import TargetSpec, look_up

CLIENTS = tuple(
    {id(form): form for form in (*(one.format for one in _FIXED.values()), *_FORMS.values())}.values()
)  # fmt: skip
MODELS = (
    "gpt-4o", "o3-mini", "claude-sonnet-4-5", "gemini-2.5-pro", "p/gpt-4o", "p/", "a b/?", "",
    "amazon.titan-embed-text-v2:0", "cohere.embed-v4:0", "mistral-ocr-latest", "rerank-v3.5",
)  # fmt: skip
PRICES = PriceTable.of(
    [PriceRow("openai", Price((Level(),)), names=("gpt-4o",), context_tokens=128_000)]
)

specs = st.builds(
    TargetSpec,
    provider=st.just("here"),
    type=st.sampled_from(sorted(PROVIDERS)),
    cluster=st.sampled_from(["here", "here.2"]),
    authority=st.just("here.test"),
    base_path=st.sampled_from(["", "/v1"]),
    model=st.none() | st.sampled_from(MODELS[:4]),
    strip=st.sampled_from(["", "p/"]),
    only_main=st.booleans(),
    placement=st.builds(
        Placement,
        abilities=st.builds(
            Abilities,
            context_tokens=st.none() | st.just(10),
            vision=st.none() | st.booleans(),
        ),
        tokens_per_minute=st.none() | st.just(0),
    ),
)


def dialect_of(target, client, model):
    try:
        return target.dialect(client, model)
    except Unsupported as refused:
        return str(refused)


@given(specs, st.lists(st.tuples(st.sampled_from(CLIENTS), st.sampled_from(MODELS))))
def test_a_way_is_what_its_target_says_whatever_was_asked_before(spec, asked):
    target = look_up(spec, frozenset())
    for client, original in asked:
        lane = target.lane(original, PRICES)
        model = target.request_model(original)
        assert lane.model == model
        assert lane.deployment == f"{spec.cluster}/{model}"
        own = spec.placement.abilities
        known = own if spec.model is not None else abilities_of(spec.type, model, PRICES, own)  # fmt: skip
        assert (lane.abilities, lane.lacks) == (known, known.lacks)
        assert lane.bounded == (spec.placement.tokens_per_minute is not None)
        expected = dialect_of(target, client, model)
        if isinstance(expected, str):
            with pytest.raises(Unsupported) as refused:
                lane.way(client)
            assert str(refused.value) == expected
            continue
        way = lane.way(client)
        assert way == lane.way_of(expected, client)
        assert way.passes == (expected.format.name == client.name)
        for heading in (way.heading, way.stream_heading):
            assert heading.authority == spec.authority
            assert heading.set_headers == target.set_headers
            assert heading.delete_headers == target.delete_headers
        assert way.heading.path == target.path(expected, model, stream=False)
        assert way.stream_heading.path == target.path(expected, model, stream=True)
        assert set(way.words) == expected.format.headers
        assert lane.way(client) is way


def test_no_two_clients_have_the_name_by_which_their_way_is_found():
    names = [(client.name, client.operation) for client in CLIENTS]
    assert len(set(names)) == len(names) > 10


def test_a_name_in_a_globs_place_has_lanes_of_its_own():
    glob = look_up(
        TargetSpec("here", "openai", "here", "here.test", "/v1"), frozenset()
    )
    assert glob.lane("other", PRICES).model == "other"
    named = glob.named("gpt-4o")
    assert named.lane("other", PRICES).model == "gpt-4o"
    assert named.lane("other", PRICES).abilities == abilities_of(
        "openai", "gpt-4o", PRICES, Abilities()
    )


def test_lanes_are_remembered_up_to_a_number():
    glob = look_up(
        TargetSpec("here", "openai", "here", "here.test", "/v1"), frozenset()
    )
    first = glob.lane("m0", PRICES)
    assert glob.lane("m0", PRICES) is first
    for number in range(1_001):
        glob.lane(f"m{number}", PRICES)
    again = glob.lane("m0", PRICES)
    assert again is not first
    assert (again.model, again.deployment) == (first.model, first.deployment)
