"""``make fuzz`` in short: the same inputs each time, and those that once got through."""

from __future__ import annotations

import pytest

from tests.fuzz.found import FOUND
from tests.fuzz.target import inputs
from tests.fuzz.targets import TARGETS

INPUTS = 10_000


@pytest.mark.parametrize("name", TARGETS)
def test_only_declared_errors_come_of_what_others_write(name):
    target = TARGETS[name]
    for data in inputs(target, INPUTS // target.few, seed=1):
        try:
            target.run(data)
        except Exception as error:
            raise AssertionError(f"this came through: {data!r}") from error


@pytest.mark.parametrize("number", range(len(FOUND)))
def test_what_was_found_stays_mended(number):
    name, data = FOUND[number]
    TARGETS[name].run(data)


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_are_many_and_always_the_same(name):
    first = list(inputs(TARGETS[name], 50, seed=1))
    assert list(inputs(TARGETS[name], 50, seed=1)) == first
    assert len(set(first)) > 30
