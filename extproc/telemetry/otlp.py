"""Prometheus' families as OpenTelemetry's metrics, and who exports them.

Importing this takes a third of a second. https://opentelemetry.io/docs/specs/otel/metrics/
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeVar

import requests
from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as grpc
from opentelemetry.exporter.otlp.proto.http import metric_exporter as http
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.core import Metric
from prometheus_client.samples import Sample

from extproc import __version__
from extproc.telemetry import semconv
from extproc.telemetry.destination import Destination
from extproc.telemetry.instruments import BY_PROMETHEUS, Instrument

TIMEOUT_SECONDS: Final = 10
"""Of one export, the exporter's own further attempts included."""

SCOPE: Final = InstrumentationScope("extproc", __version__)


MOST_BYTES: Final = 64 << 10
BODY_SECONDS: Final = 2.0
"""Of a collector's answer, whose status is all that is of interest: what goes beyond costs
its connection."""


class _Session(requests.Session):
    """Follows nobody, and reads little of what a collector says, and not for long."""

    def send(
        self,
        request: requests.PreparedRequest,
        **more: Any,  # noqa: ANN401  as requests has it
    ) -> requests.Response:
        """Send `request`; an answer that is elsewhere is none."""
        answer = super().send(request, **{**more, "stream": True})
        content, ends = b"", time.monotonic() + BODY_SECONDS
        while piece := answer.raw.read1(MOST_BYTES, decode_content=False):
            content += piece
            if len(content) > MOST_BYTES or time.monotonic() > ends:
                answer.close()
                break
        answer.raw = io.BytesIO(content)
        if answer.is_redirect:
            raise requests.TooManyRedirects(f"status {answer.status_code}")
        return answer


Exporter = TypeVar("Exporter")


class _Times(NamedTuple):
    """Unix nanoseconds."""

    began: int
    now: int


def resource_of(destination: Destination) -> Resource:
    """Return who we are, as `destination` is told."""
    return Resource(
        {
            "service.name": destination.service_name,
            "service.version": __version__,
            "service.instance.id": destination.instance,
        }
    )


def connect(
    destination: Destination,
    signal: str,
    over_grpc: Callable[..., Exporter],
    over_http: Callable[..., Exporter],
) -> Exporter:
    """Return OpenTelemetry's exporter of `signal` (``metrics``, ``traces``)."""
    headers = dict(destination.headers)
    if destination.protocol == "grpc":
        return over_grpc(
            endpoint=destination.endpoint,
            insecure=destination.endpoint.startswith("http://"),
            headers=headers,
            timeout=TIMEOUT_SECONDS,
        )
    return over_http(
        session=_Session(),
        endpoint=f"{destination.endpoint.rstrip('/')}/v1/{signal}",
        headers=headers,
        timeout=TIMEOUT_SECONDS,
    )


class MetricsExporter:
    """OpenTelemetry's exporter, in front of one destination; it blocks."""

    def __init__(self, destination: Destination) -> None:
        self._resource = resource_of(destination)
        self._exporter: sdk.MetricExporter = connect(
            destination, "metrics", grpc.OTLPMetricExporter, http.OTLPMetricExporter
        )

    def export(self, families: Iterable[Metric], *, began: float, now: float) -> bool:
        """Send `families`, cumulative since `began`; say whether they have arrived.

        Both times are Unix seconds.
        """
        times = _Times(round(began * 1e9), round(now * 1e9))
        metrics = [
            sdk.Metric(one.name, one.text, one.unit, _data(one, family, times))
            for family in families
            if (one := BY_PROMETHEUS.get(family.name)) is not None and family.samples
        ]
        scope = sdk.ScopeMetrics(SCOPE, metrics, "")
        data = sdk.MetricsData([sdk.ResourceMetrics(self._resource, [scope], "")])
        return self._exporter.export(data) is sdk.MetricExportResult.SUCCESS

    def close(self) -> None:
        """Let go of the connection."""
        self._exporter.shutdown(timeout_millis=1_000)


def _data(
    one: Instrument, family: Metric, times: _Times
) -> sdk.Histogram | sdk.Sum | sdk.Gauge:
    cumulative = sdk.AggregationTemporality.CUMULATIVE
    if one.kind == "histogram":
        return sdk.Histogram(list(_histograms(one, family, times)), cumulative)
    points = [
        sdk.NumberDataPoint(
            attributes=_attributes(one, sample.labels),
            # One that is no number would keep all others from being sent.
            value=float(sample.value),
            start_time_unix_nano=times.began,
            time_unix_nano=times.now,
        )
        for sample in family.samples
        if not sample.name.endswith("_created")
    ]
    if one.kind == "gauge":
        return sdk.Gauge(points)
    return sdk.Sum(points, cumulative, is_monotonic=True)


def _histograms(
    one: Instrument, family: Metric, times: _Times
) -> Iterator[sdk.HistogramDataPoint]:
    series: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
    for sample in family.samples:
        labels = {key: text for key, text in sample.labels.items() if key != "le"}
        series.setdefault(tuple(labels.items()), []).append(sample)
    for key, samples in series.items():
        said = {s.name.removeprefix(family.name): s.value for s in samples}
        up_to = [s.value for s in samples if s.name.endswith("_bucket")]
        yield sdk.HistogramDataPoint(
            attributes=_attributes(one, dict(key)),
            count=int(said["_count"]),
            sum=said["_sum"],
            bucket_counts=[
                int(b - a) for a, b in zip([0.0, *up_to], up_to, strict=False)
            ],
            explicit_bounds=list(one.buckets),
            # Prometheus knows neither.
            min=None,  # type: ignore[arg-type]
            max=None,  # type: ignore[arg-type]
            start_time_unix_nano=times.began,
            time_unix_nano=times.now,
        )


def _attributes(one: Instrument, labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels under OpenTelemetry's names; an empty one is none."""
    return {
        name: labels[spelled]
        for name in one.labels
        if labels.get(spelled := semconv.prometheus_name(name))
    }
