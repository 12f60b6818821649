"""``make fuzz`` in short: the same inputs each time, and those that once got through."""

from __future__ import annotations

import gc

import pytest

from tests.fuzz.__main__ import Row, read_table, record
from tests.fuzz.found import FOUND
from tests.fuzz.target import inputs
from tests.fuzz.targets import NAMED, TARGETS

INPUTS = 10_000


@pytest.fixture(scope="module", autouse=True)
def _small_collections():
    """Keep what is imported out of each full collection: a tenth of the time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


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


def test_the_first_have_all_inputs_in_short_too():
    assert list(TARGETS)[: len(NAMED)] == list(NAMED)
    assert {TARGETS[name].few for name in NAMED} == {1}


def test_a_run_that_was_broken_off_is_gone_on_with(tmp_path):
    table = tmp_path / "fuzz.txt"
    table.write_text("what machine it was\n\n")
    first = Row("event stream's headers", 5, 2.0, corpus=1, edges=3, finding="f: g")
    record(table, first)
    record(table, Row("request openai_completions passed", 7, 1.0, 1, 1))
    assert read_table(table)[first.name] == first
    record(table, first.and_then(Row(first.name, 10, 3.0, corpus=2, edges=4)))
    assert read_table(table)[first.name] == Row(first.name, 15, 5.0, 2, 4)
    assert len(read_table(table)) == 2
    assert table.read_text().startswith("what machine it was\n\n")
