"""What control exposes of itself, of its workers, and of budgets."""

from __future__ import annotations

import asyncio
import math
import os
import socket
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from extproc.config.telemetry import OtlpConfig
from extproc.identity import Zone
from extproc.policy.budget import period_at
from extproc.policy.meters import Purse, meters_of
from extproc.runtime import Snapshot
from extproc.server.intake import Intake
from extproc.server.registry import Registry as Database
from extproc.telemetry.destination import Destination
from extproc.telemetry.registry import Registry, Values
from extproc.telemetry.worker_metrics import WorkerMetrics

MAX_BUDGETS: Final = 1_000
"""Budgets that are exposed: beyond that the admin API says how each one stands."""

_NANO: Final = 1e-9


def watch_control(
    metrics: Registry,
    *,
    intake: Intake,
    database: Database,
    snapshot: Callable[[], Snapshot | None],
    wall_clock: Callable[[], float],
) -> None:
    """Register them; `wall_clock` gives Unix seconds."""
    link, envoy_log = intake.link, intake.envoy_log
    join = envoy_log.confirmations
    workers = WorkerMetrics(
        metrics, lambda: ((peer.name, peer.levels) for peer in link.peers)
    )
    link.on_beat = workers.add
    watch = metrics.watch
    watch("extproc_workers_connected", lambda: len(link.peers))
    watch(
        "extproc_worker_generation",
        lambda: {(peer.name,): peer.generation for peer in link.peers},
    )
    watch("extproc_records_lost", lambda: link.lost)
    watch(
        "extproc_confirmations",
        lambda: {(result,): number for result, number in join.results.items()},
    )
    watch("extproc_confirmations_waiting", lambda: join.waiting)
    watch("extproc_access_log_dropped", lambda: envoy_log.dropped)
    watch("extproc_telemetry_lost", lambda: intake.traces.lost)
    watch("extproc_telemetry_waiting", lambda: intake.traces.waiting)
    watch("extproc_usage_queue_bytes", lambda: database.books.waiting)
    watch("extproc_usage_records_lost", lambda: database.books.lost)
    watch(
        "extproc_key_snapshot_age_seconds",
        lambda: _or_for_ever(age_of(database.looked_at)),
    )

    def budgets(value: Callable[[Purse, float], float]) -> Callable[[], Values]:
        def values() -> Values:
            now, served = wall_clock(), snapshot()
            if served is None:
                return {}
            return {
                (purse.subject, purse.budget.period): value(purse, now) * _NANO
                for purse in islice(_purses(served), MAX_BUDGETS)
            }

        return values

    def spent(purse: Purse, now: float) -> float:
        served = snapshot()
        zones = {} if served is None else served.zones
        zone = zones.get(purse.budget.zone, Zone())
        begins, _ = period_at(purse.budget.period, zone, now)
        balance = intake.ledger.balances.get(f"{purse.meter}{begins}")
        return 0.0 if balance is None else balance.nanos

    watch("extproc_budget_spent_usd", budgets(spent))
    watch("extproc_budget_limit_usd", budgets(lambda purse, _: purse.budget.nanos))


def destination_of(otlp: OtlpConfig | None) -> Destination | None:
    """Return where metrics are pushed; None: nowhere."""
    if otlp is None or not otlp.metrics:
        return None
    return Destination(
        endpoint=otlp.endpoint,
        protocol=otlp.protocol,
        headers={
            name: secret.get_secret_value() for name, secret in otlp.headers.items()
        },
        interval=otlp.interval,
        service_name=otlp.service_name,
        instance=f"{socket.gethostname()}:{os.getpid()}",
    )


def _purses(snapshot: Snapshot) -> Iterator[Purse]:
    """Yield the budgets of owners that are configured by name."""
    for subject in snapshot.subjects:
        if "*" not in subject.id:
            yield from meters_of(subject.kind, subject.id, subject.allowance).purses
    for grant in snapshot.grants:
        yield from meters_of("key", grant.id, grant.allowance).purses


def age_of(looked_at: float | None) -> float | None:
    """Return the seconds since, by the loop's clock; None: it has never been."""
    return None if looked_at is None else asyncio.get_running_loop().time() - looked_at


def _or_for_ever(age: float | None) -> float:
    return math.inf if age is None else age
