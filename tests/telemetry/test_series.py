"""Our series say what Prometheus' own would, of the same observations."""

from __future__ import annotations

import math

import prometheus_client as theirs
import pytest
from hypothesis import given, strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from extproc.telemetry import series as ours
from extproc.telemetry.instruments import BY_NAME

VALUES = st.floats(0, 1e9) | st.sampled_from([0.01, 0.02, 1.0, 4.0, 81.92, math.inf])
LABELS = st.sampled_from(["a", "b", 'c"\\\n'])


def text(registry: CollectorRegistry) -> list[str]:
    said = generate_latest(registry).decode().splitlines()
    # When a series was made: nobody asks, and it doubles the text of a counter.
    return [line for line in said if "_created" not in line]


@given(st.lists(st.tuples(LABELS, LABELS, VALUES), max_size=30))
def test_a_histogram_has_the_same_buckets_counts_and_sums(seen):
    one = BY_NAME["gen_ai.client.operation.duration"]
    mine, other = CollectorRegistry(), CollectorRegistry()
    made = ours.Histogram("name", "text", ["x", "y"], one.buckets)
    mine.register(made)
    reference = theirs.Histogram(
        "name", "text", ["x", "y"], buckets=one.buckets, registry=other
    )
    for x, y, value in seen:
        made.labels(x, y).observe(value)
        reference.labels(x, y).observe(value)
    assert text(mine) == text(other)


@given(st.lists(st.tuples(LABELS, st.floats(0, 1e9)), max_size=30))
def test_a_counter_has_the_same_sums(seen):
    mine, other = CollectorRegistry(), CollectorRegistry()
    made = ours.Counter("name", "text", ["x"])
    mine.register(made)
    reference = theirs.Counter("name", "text", ["x"], registry=other)
    for x, amount in seen:
        made.labels(x).inc(amount)
        reference.labels(x).inc(amount)
    assert text(mine) == text(other)


def test_what_has_no_labels_is_there_before_it_is_counted():
    mine, other = CollectorRegistry(), CollectorRegistry()
    counter, histogram = ours.Counter("n", "t"), ours.Histogram("h", "t", [], [1.0])
    mine.register(counter)
    mine.register(histogram)
    references = (
        theirs.Counter("n", "t", registry=other),
        theirs.Histogram("h", "t", buckets=[1.0], registry=other),
    )
    assert text(mine) == text(other)
    counter.inc()
    references[0].inc()
    histogram.observe(2.0)
    references[1].observe(2.0)
    assert text(mine) == text(other)


@pytest.mark.parametrize("values", [(), ("a",), ("a", "b", "c")])
def test_labels_that_are_not_as_many_as_names_are_refused(values):
    for made in (
        ours.Counter("n", "t", ["x", "y"]),
        ours.Histogram("h", "t", ["x", "y"], [1.0]),
    ):
        with pytest.raises(ValueError, match="values for the labels x, y"):
            made.labels(*values)
