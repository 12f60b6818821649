"""What workers say of themselves adds up."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from extproc.telemetry.registry import Registry
from extproc.telemetry.worker_metrics import LEVELS, MAX_VALUES, WorkerMetrics


class World:
    def __init__(self) -> None:
        self.registry = Registry()
        self.said: list[tuple[str, dict[str, float]]] = []
        self.metrics = WorkerMetrics(self.registry, lambda: self.said)

    def samples(self, name: str) -> dict[tuple[str, ...], float]:
        return {
            tuple(sample.labels.values()): sample.value
            for family in text_string_to_metric_families(
                self.registry.render().decode()
            )
            for sample in family.samples
            if sample.name == name
        }


def test_counts_and_times_of_several_workers_are_one_sum() -> None:
    world = World()
    for _ in range(2):
        world.metrics.add(
            [(("extproc_edge_frames",), 40), (("extproc_cooldowns", "p", "429"), 1)],
            [(("extproc_store_seconds", "admit"), (0.001, 0.2))],
        )
    assert world.samples("extproc_edge_frames_total") == {(): 80.0}
    assert world.samples("extproc_cooldowns_total") == {("p", "429"): 2.0}
    assert world.samples("extproc_store_seconds_count") == {("admit",): 4.0}
    assert round(world.samples("extproc_store_seconds_sum")["admit",], 6) == 0.402


def test_a_level_is_each_workers_own_and_goes_with_it() -> None:
    world = World()
    world.said = [("w0", dict.fromkeys(LEVELS, 1.0)), ("w1", {LEVELS[0]: 2.0})]
    assert world.samples(LEVELS[0]) == {("w0",): 1.0, ("w1",): 2.0}
    assert world.samples(LEVELS[1]) == {("w0",): 1.0}
    world.said = []
    assert world.samples(LEVELS[0]) == {}


def test_what_the_table_does_not_know_is_left_out() -> None:
    """A worker of another version counts on."""
    world = World()
    world.metrics.add(
        [(("extproc_of_tomorrow",), 1), (("extproc_cooldowns", "p"), 1),
         (("extproc_edge_frames",), 3)],
        [(("extproc_of_tomorrow", "x"), (1.0,)), (("extproc_store_seconds",), (1.0,))],
    )  # fmt: skip
    assert world.samples("extproc_edge_frames_total") == {(): 3.0}
    assert world.samples("extproc_cooldowns_total") == {}


def test_labels_have_a_cap() -> None:
    world = World()
    for n in range(MAX_VALUES + 5):
        world.metrics.add([(("extproc_cooldowns", f"p{n}", "429"), 1)], [])
    assert len(world.samples("extproc_cooldowns_total")) == MAX_VALUES + 1
    assert world.samples("extproc_cooldowns_total")["other", "429"] == 5.0
