"""Whose word counts for how long an attempt may take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from extproc.config import times
from extproc.config.build import build
from extproc.config.load import loads


def config(target=None, provider=None, gateway=None):
    known = {
        "type": "openai",
        "api_key": "k",
        "base_url": "https://models.example/v1",
        "timeouts": provider or {},
    }
    targets = [{"provider": "p", "timeouts": target or {}}]
    plain = {
        "providers": {"p": known},
        "models": {"m": {"targets": targets}},
        "timeouts": gateway or {},
    }
    return loads(json.dumps(plain), {}, source="x", folder=Path("/"))


SAID = [
    ({}, {}, (None, None, None)),
    ({}, {"first_byte": 3, "idle": 4, "total": 5}, (3, 4, 5)),
    ({"first_byte": 1, "idle": 2, "total": 9}, {"first_byte": 3, "idle": 4}, (1, 2, 9)),
    ({"total": 7}, {"first_byte": 30}, (7, None, 7)),
    ({"total": 7}, {}, (7, None, 7)),
    ({"first_byte": 7200}, {}, (3600, None, None)),
]


@pytest.mark.parametrize(("target", "provider", "found"), SAID)
def test_a_targets_word_comes_before_its_providers(target, provider, found):
    mine = config(target, provider)
    assert times.target_times(mine, mine.models["m"].targets[0]) == found


def test_what_is_stored_has_its_providers_times():
    (keeper,) = build(
        config(provider={"first_byte": 3, "idle": 4}),
        grants=(),
        generation=1,
        created=1,
    ).keepers
    assert (keeper.placement.first_byte, keeper.placement.idle) == (3, 4)


def test_envoys_times_are_those_of_whoever_takes_longest():
    mine = config({"first_byte": 300, "idle": 900}, {"total": 7200})
    assert times.longest_first_byte(mine) == 300
    assert times.longest_silence(mine) == 900
    assert times.longest_total(mine) == 7200
    plain = config()
    assert times.longest_first_byte(plain) == 120
    assert times.longest_silence(plain) == 600
    assert times.longest_total(plain) == 3600
