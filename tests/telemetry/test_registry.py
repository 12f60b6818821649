"""What the table says is what Prometheus is told."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from extproc.telemetry.instruments import BY_NAME
from extproc.telemetry.registry import Cap, Registry


def families(registry: Registry):
    text = registry.render().decode()
    return {one.name: one for one in text_string_to_metric_families(text)}


@pytest.mark.parametrize("kind", ["counter", "gauge", "histogram"])
def test_a_metric_has_the_tables_text_type_and_labels(kind: str) -> None:
    registry = Registry()
    for one in (one for one in BY_NAME.values() if one.kind == kind):
        made = getattr(registry, kind)(one.name)
        made.labels(*one.labels) if one.labels else made
    found = families(registry)
    for one in (one for one in BY_NAME.values() if one.kind == kind):
        assert found[one.prometheus].type == kind
        assert found[one.prometheus].documentation == one.text


def test_a_metric_that_the_table_does_not_have_cannot_be_made() -> None:
    with pytest.raises(KeyError):
        Registry().counter("extproc_invented")


def test_what_is_watched_is_looked_at_when_somebody_asks() -> None:
    registry, waiting = Registry(), [3.0]
    peers: dict[tuple[str, ...], float] = {("w0",): 7.0}
    registry.watch("extproc_usage_queue_bytes", lambda: waiting[0])
    registry.watch("extproc_worker_generation", lambda: peers)
    registry.watch("extproc_records_lost", lambda: 2)
    waiting[0] = 4.0
    peers["w1",] = 8.0
    found = families(registry)
    assert [s.value for s in found["extproc_usage_queue_bytes"].samples] == [4.0]
    assert {
        s.labels["worker"]: s.value for s in found["extproc_worker_generation"].samples
    } == {"w0": 7.0, "w1": 8.0}
    [lost] = found["extproc_records_lost"].samples
    assert (lost.name, lost.value) == ("extproc_records_lost_total", 2.0)


def test_the_values_of_a_label_have_a_cap() -> None:
    cap = Cap(2, "other")
    assert [cap(value) for value in "abcab"] == ["a", "b", "other", "a", "b"]
