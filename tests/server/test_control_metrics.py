"""What control exposes of itself: ages, queues, budgets."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from extproc.identity import Allowance, Budget, Grant, Subject
from extproc.runtime import Snapshot
from extproc.server.control_link import Peer
from extproc.server.control_metrics import watch_control
from extproc.state.base import Balance
from extproc.telemetry.registry import Registry

MONTH = Allowance(budgets=(Budget(2_000_000_000, "month"),))
SNAPSHOT = Snapshot(
    generation=1,
    models=(),
    grants=(Grant("app", "0" * 64, allowance=MONTH),),
    subjects=(Subject("team", "search", MONTH), Subject("end_user", "*", MONTH)),
)
DECEMBER = 1_796_083_200


def samples(registry: Registry) -> dict[str, dict[tuple[str, ...], float]]:
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(registry.render().decode()):
        for sample in family.samples:
            labels = tuple(
                value for _, value in sorted(sample.labels.items(), reverse=True)
            )
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def look(**changes: Any) -> dict[str, dict[tuple[str, ...], float]]:
    balances = {f"team/search/month/UTC/{DECEMBER}": Balance(500_000_000, 9)}
    database = SimpleNamespace(books=SimpleNamespace(waiting=3, lost=1), looked_at=None)
    for name, value in changes.items():
        setattr(database, name, value)
    link = SimpleNamespace(
        peers=[Peer(1, "w0", generation=4, levels={"extproc_worker_connections": 2})],
        lost=5,
    )
    join = SimpleNamespace(results={"confirmed": 8}, waiting=6)
    intake: Any = SimpleNamespace(
        link=link,
        envoy_log=SimpleNamespace(confirmations=join, dropped=7),
        ledger=SimpleNamespace(balances=balances),
        traces=SimpleNamespace(lost={("otlp",): 9}, waiting={("otlp",): 10}),
    )
    registry = Registry()

    async def main() -> dict[str, dict[tuple[str, ...], float]]:
        watch_control(
            registry,
            intake=intake,
            database=database,  # type: ignore[arg-type]
            snapshot=lambda: SNAPSHOT,
            wall_clock=lambda: DECEMBER + 86_400.0,
        )
        return samples(registry)

    return asyncio.run(main())


def test_budgets_of_named_owners_say_what_is_spent_and_what_may_be() -> None:
    found = look()
    assert found["extproc_budget_limit_usd"] == {
        ("team 'search'", "month"): 2.0, ("key 'app'", "month"): 2.0,
    }  # fmt: skip
    assert found["extproc_budget_spent_usd"] == {
        ("team 'search'", "month"): 0.5, ("key 'app'", "month"): 0.0,
    }  # fmt: skip


def test_queues_workers_and_the_log_are_told_of() -> None:
    found = look()
    assert found["extproc_workers_connected"] == {(): 1}
    assert found["extproc_worker_generation"] == {("w0",): 4}
    assert found["extproc_worker_connections"] == {("w0",): 2}
    assert found["extproc_records_lost_total"] == {(): 5}
    assert found["extproc_confirmations_total"] == {("confirmed",): 8}
    assert found["extproc_confirmations_waiting"] == {(): 6}
    assert found["extproc_access_log_dropped_total"] == {(): 7}
    assert found["extproc_usage_queue_bytes"] == {(): 3}
    assert found["extproc_usage_records_lost_total"] == {(): 1}


def test_keys_that_were_never_compared_are_infinitely_old() -> None:
    assert look()["extproc_key_snapshot_age_seconds"] == {(): float("inf")}
    now = asyncio.new_event_loop()
    age = look(looked_at=now.time() - 60)["extproc_key_snapshot_age_seconds"][()]
    now.close()
    assert 60 <= age < 120
