"""Metrics over OTLP, taken by a receiver that has OpenTelemetry's own types."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from extproc.telemetry import otlp, semconv
from extproc.telemetry.destination import Destination
from extproc.telemetry.instruments import BY_NAME
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.push import Push
from extproc.usage import Usage
from tests.answerer import MOST, Answerer, bomb, drip, elsewhere, flood
from tests.otlp import Receiver, attributes, receiving
from tests.telemetry.test_metrics import SNAPSHOT, completion, samples


@pytest.fixture(scope="module")
def shared() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def receiver(shared: Receiver) -> Receiver:
    shared.forget()
    shared.fail = False
    return shared


def pushed(receiver: Receiver, protocol: str, metrics: Metrics) -> None:
    where = Destination(
        endpoint=receiver.grpc if protocol == "grpc" else receiver.http,
        protocol=protocol,  # type: ignore[arg-type]
        headers={"authorization": "Bearer t"},
        service_name="gw",
        instance="host:1",
    )

    async def main() -> None:
        push = Push(metrics.registry, wall_clock=lambda: 1_700_000_000.5)
        push.configure(where)
        await push.push()

    asyncio.run(main())


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics()
    made.configure(SNAPSHOT)
    made.record(
        completion(usage=Usage(300, 5), streamed=True, first_byte=1.0, **more)
        for more in ({}, {}, {"outcome": "upstream_error", "status": 529})
    )
    return made


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_everything_arrives_under_opentelemetrys_names(
    receiver: Receiver, metrics: Metrics, protocol: str
) -> None:
    pushed(receiver, protocol, metrics)
    assert receiver.refused == []
    assert receiver.headers[-1]["authorization"] == "Bearer t"
    [resource] = receiver.requests["metrics"][-1].resource_metrics
    assert attributes(resource.resource.attributes)["service.name"] == "gw"
    for name, metric in receiver.metrics.items():
        assert (metric.unit, metric.description) == (
            BY_NAME[name].unit, BY_NAME[name].text,
        )  # fmt: skip
    usage = receiver.metrics[semconv.CLIENT_TOKEN_USAGE].histogram
    assert (
        usage.aggregation_temporality
        == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    )
    [given] = [
        point
        for point in usage.data_points
        if attributes(point.attributes)[semconv.TOKEN_TYPE] == "input"
    ]
    assert attributes(given.attributes) == {
        semconv.OPERATION_NAME: "chat",
        semconv.PROVIDER_NAME: "openai",
        semconv.REQUEST_MODEL: "gpt-4o-eu",
        semconv.RESPONSE_MODEL: "gpt-4o-2024-08-06",
        semconv.TOKEN_TYPE: "input",
    }
    assert (given.count, given.sum) == (3, 900)
    assert tuple(given.explicit_bounds) == semconv.BUCKETS[semconv.CLIENT_TOKEN_USAGE]
    assert list(given.bucket_counts) == [3 * (i == 5) for i in range(15)]
    assert given.time_unix_nano == 1_700_000_000_500_000_000
    requests = receiver.metrics["extproc_requests"].sum
    assert requests.is_monotonic
    assert sum(point.as_double for point in requests.data_points) == 3
    [generation] = receiver.metrics["extproc_config_generation"].gauge.data_points
    assert generation.as_double == 3


def test_what_went_well_has_no_error_type(receiver: Receiver, metrics: Metrics) -> None:
    pushed(receiver, "http", metrics)
    points = receiver.metrics[semconv.CLIENT_OPERATION_DURATION].histogram.data_points
    found = {attributes(p.attributes).get("error.type"): p.count for p in points}
    assert found == {None: 2, "529": 1}


@pytest.mark.parametrize(
    ("answer", "taken"), [(flood, True), (drip, True), (bomb, True), (elsewhere, False)]
)
def test_little_is_read_of_what_a_collector_says(
    answer: Callable[[Answerer], Iterator[bytes]],
    taken: bool,
    metrics: Metrics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(otlp, "BODY_SECONDS", 0.1)
    with Answerer(answer) as server:
        where = Destination(endpoint=server.url, headers={"dd-api-key": "secret"})
        exporter = otlp.MetricsExporter(where)
        arrived = exporter.export(
            metrics.registry.prometheus.collect(), began=1.0, now=2.0
        )
        exporter.close()
        assert arrived is taken
        assert server.sent < MOST // 2
        assert len(server.asked) == 1


def test_a_collector_that_is_away_is_counted_and_asked_again(
    receiver: Receiver, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "TIMEOUT_SECONDS", 1)
    receiver.fail = True

    async def main() -> None:
        push = Push(metrics.registry, wall_clock=lambda: 1_700_000_000.0)
        push.configure(Destination(endpoint=receiver.http, interval=0.01))
        running = asyncio.ensure_future(push.run())
        async with asyncio.timeout(20):
            while b'result="failed"' not in metrics.render():
                await asyncio.sleep(0.01)
            receiver.fail = False
            while b'result="ok"' not in metrics.render():
                await asyncio.sleep(0.01)
            # Another one, and then none.
            push.configure(Destination(endpoint=receiver.http, interval=3600))
            push.configure(None)
            await push.push()
        running.cancel()

    asyncio.run(main())
    exports = samples(metrics, "extproc_telemetry_exports_total")
    by_result = {dict(labels)["result"]: n for labels, n in exports.items()}
    assert by_result["failed"] >= 1
    assert by_result["ok"] >= 1


def test_whatever_counts_as_a_number_is_sent_as_one(
    receiver: Receiver, metrics: Metrics
) -> None:
    """One that the exporter cannot encode would keep all others back."""
    metrics.registry.watch(
        "extproc_deployment_benched", lambda: {("p", "m", "k"): True}
    )
    pushed(receiver, "http", metrics)
    [point] = receiver.metrics["extproc_deployment_benched"].gauge.data_points
    assert point.as_double == 1.0
