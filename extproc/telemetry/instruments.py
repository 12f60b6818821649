"""Every metric there is: its name, what it counts, its labels, and in which unit.

``docs/metrics.md`` is made of this table, and a test finds each of its rows in what a
gateway under load exposes. The names of the GenAI conventions are OpenTelemetry's own;
Prometheus spells them as `semconv.prometheus_name` says. Ours are spelled alike in both,
but for the ``_total`` that Prometheus gives to counters.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from extproc.telemetry import semconv

_CALL = (
    semconv.OPERATION_NAME,
    semconv.PROVIDER_NAME,
    semconv.REQUEST_MODEL,
    semconv.RESPONSE_MODEL,
)
_SHORT = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    1.0,
)
"""Seconds of what should take none: Envoy's keepalive cuts a worker off after 2 s."""


class Instrument(NamedTuple):
    """One metric."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...] = ()
    unit: str = "1"
    """UCUM, as OpenTelemetry has it."""
    buckets: tuple[float, ...] = ()

    @property
    def prometheus(self) -> str:
        """The name in ``/metrics``, without what its samples add to it."""
        return semconv.prometheus_name(self.name)


def _of_conventions(name: str, text: str, *labels: str) -> Instrument:
    return Instrument(
        name,
        "histogram",
        text,
        (*_CALL, *labels),
        semconv.UNITS[name],
        semconv.BUCKETS[name],
    )


def _counter(name: str, text: str, *labels: str, unit: str = "1") -> Instrument:
    return Instrument(name, "counter", text, labels, unit)


def _gauge(name: str, text: str, *labels: str, unit: str = "1") -> Instrument:
    return Instrument(name, "gauge", text, labels, unit)


def _times(name: str, text: str, *labels: str) -> Instrument:
    return Instrument(name, "histogram", text, labels, "s", _SHORT)


_DEPLOYMENT = ("provider", "model", "key")

INSTRUMENTS: Final = (
    _of_conventions(
        semconv.CLIENT_TOKEN_USAGE, "Tokens of a request, by type.", semconv.TOKEN_TYPE
    ),
    _of_conventions(
        semconv.CLIENT_OPERATION_DURATION,
        "From the request's first byte to the answer's last, all attempts.",
        semconv.ERROR_TYPE,
    ),
    _of_conventions(
        semconv.SERVER_REQUEST_DURATION,
        "The same, as the server that applications see.",
        semconv.ERROR_TYPE,
    ),
    _of_conventions(
        semconv.SERVER_TIME_TO_FIRST_TOKEN,
        "From the request's first byte to the answer's first, streamed.",
    ),
    _of_conventions(
        semconv.SERVER_TIME_PER_OUTPUT_TOKEN,
        "Between the tokens after the first, streamed.",
    ),
    # Requests.
    _counter(
        "extproc_requests",
        "Requests that ended, those that Envoy answered by itself included "
        "(operation local_reply).",
        "operation", "outcome", "status", "provider", "model",
    ),
    _counter(
        "extproc_local_replies", "Requests that no worker saw, by Envoy's reason.", "reason"
    ),
    _counter(
        "extproc_attempts", "Attempts at providers, by what came of each.",
        "provider", "result",
    ),
    _counter(
        "extproc_fallbacks", "Attempts that failed and were followed by another, by why.",
        "provider", "next_provider", "reason",
    ),
    _counter(
        "extproc_skipped_targets", "Targets that could not be asked, by why.", "reason"
    ),
    _counter(
        "extproc_tokens",
        "Tokens by kind; those read from a cache or written to it are of the input, "
        "reasoning is of the output.",
        "provider", "model", "kind", unit="{token}",
    ),
    _counter(
        "extproc_prompt_cache_hits", "Answers whose prompt a provider's cache had a part of.",
        "provider", "model",
    ),
    _counter(
        "extproc_estimated_usage", "Answers whose tokens the provider did not say.", "provider"
    ),
    _counter(
        "extproc_dropped_fields",
        "Fields of requests and answers that the other side's format has no place for.",
        "provider",
    ),
    _counter(
        "extproc_translation_errors",
        "Requests that a provider's format cannot say (request), and answers that break "
        "their own (answer).",
        "provider", "side", "error",
    ),
    _counter("extproc_request_bytes", "Bytes of requests' bodies.", "operation", unit="By"),
    _counter("extproc_answer_bytes", "Bytes of providers' answers.", "operation", unit="By"),
    # Limits and money.
    _counter(
        "extproc_admissions",
        "What became of requests that have a key; the limit, if one refused it.",
        "decision", "limit",
    ),
    _counter("extproc_cost_usd", "What answers cost.", "provider", "model", unit="USD"),
    _counter("extproc_reserved_usd", "Money held for requests under a budget.", unit="USD"),
    _counter("extproc_settled_usd", "Money charged to budgets.", unit="USD"),
    _counter(
        "extproc_overspent_usd", "Money charged beyond what was held for it.", unit="USD"
    ),
    _gauge(
        "extproc_budget_spent_usd", "Spent in the period that is under way.",
        "subject", "period", unit="USD",
    ),
    _gauge("extproc_budget_limit_usd", "What may be spent.", "subject", "period", unit="USD"),
    # Deployments.
    _gauge("extproc_deployment_score", "Health score of a deployment, 0 to 100.", *_DEPLOYMENT),
    _gauge(
        "extproc_deployment_in_flight", "Requests in flight at a deployment, all workers.",
        *_DEPLOYMENT,
    ),
    _gauge(
        "extproc_deployment_cooling_seconds",
        "Seconds that a deployment is left alone for, still.",
        *_DEPLOYMENT, unit="s",
    ),
    _gauge(
        "extproc_deployment_benched",
        "1 where a deployment's key was refused and is left alone.",
        *_DEPLOYMENT,
    ),
    _gauge(
        "extproc_deployment_state",
        "1 for the state of a deployment's breaker: closed, trial, cooling or limited.",
        *_DEPLOYMENT, "state",
    ),
    _counter("extproc_cooldowns", "Cooldowns that began, by why.", "provider", "reason"),
    _counter(
        "extproc_token_refresh_failures",
        "Times that an access token for a provider could not be fetched.",
        "provider",
    ),
    _gauge(
        "extproc_token_valid_seconds",
        "How long a provider's access token is good for still.",
        "provider", unit="s",
    ),
    # Workers.
    _gauge("extproc_workers_connected", "Workers that control talks to."),
    _gauge("extproc_worker_generation", "The configuration that a worker serves.", "worker"),
    _gauge("extproc_worker_open_exchanges", "Requests that a worker serves now.", "worker"),
    _gauge("extproc_worker_connections", "Envoy's connections to a worker.", "worker"),
    _gauge(
        "extproc_worker_held_bytes",
        "Bytes of bodies that a worker holds, or keeps room for (`limits.held_bytes`).",
        "worker",
    ),
    _gauge(
        "extproc_worker_waiting_bodies", "Bodies that wait for room in a worker.",
        "worker",
    ),
    _gauge("extproc_worker_tasks", "Tasks of a worker's event loop.", "worker"),
    _gauge(
        "extproc_worker_unacknowledged_records",
        "Records that a worker keeps because control has not confirmed them.",
        "worker",
    ),
    _gauge(
        "extproc_worker_unwritten_records",
        "Those of them that are in its memory only, and would die with it.",
        "worker",
    ),
    _gauge(
        "extproc_worker_unsettled", "Bills that a worker could not tell the store yet.",
        "worker",
    ),
    _gauge("extproc_worker_store_away", "1 while a worker admits by its lease.", "worker"),
    _times("extproc_event_loop_lag_seconds", "How late a worker's event loop is."),
    _counter("extproc_edge_frames", "HTTP/2 frames that workers were sent by Envoy."),
    _times("extproc_store_seconds", "What the store took, by verb.", "verb"),
    _counter("extproc_store_failures", "Times that the store did not answer.", "verb"),
    # Records and control.
    _counter(
        "extproc_content_lost",
        "What was said in exchanges, dropped by workers: control was away for too long.",
    ),
    _counter(
        "extproc_records_lost",
        "Completion records that workers dropped: control was away for too long.",
    ),
    _counter(
        "extproc_confirmations",
        "Records and entries of Envoy's access log, by what the two have said of each "
        "other.",
        "result",
    ),
    _gauge("extproc_confirmations_waiting", "Records and entries that have not met."),
    _counter(
        "extproc_access_log_dropped",
        "Entries of its access log that Envoy could not deliver, since it began.",
    ),
    _counter(
        "extproc_telemetry_exports",
        "Exports over OTLP, by what was told and what came of it.",
        "signal", "result",
    ),
    _counter(
        "extproc_alerts", "Alerts by what came of telling them.", "kind", "result"
    ),
    _counter(
        "extproc_telemetry_lost",
        "Records that a sink did not get: it was away for too long.",
        "sink",
    ),
    _gauge("extproc_telemetry_waiting", "Records that a sink does not have yet.", "sink"),
    _gauge(
        "extproc_usage_queue_bytes", "Usage that the database does not have yet.", unit="By"
    ),
    _counter("extproc_usage_records_lost", "Usage that did not fit on the disk."),
    _gauge(
        "extproc_key_snapshot_age_seconds",
        "Since keys and their owners were last compared with the database.",
        unit="s",
    ),
    _gauge("extproc_config_generation", "The configuration that is served."),
    _gauge(
        "extproc_config_last_reload_successful",
        "1 when the last change of the configuration is in use.",
    ),
)  # fmt: skip

BY_NAME: Final = {one.name: one for one in INSTRUMENTS}
BY_PROMETHEUS: Final = {one.prometheus: one for one in INSTRUMENTS}


def table() -> str:
    """Return all of them as a table in Markdown."""
    lines = ["| metric | type | unit | labels | what |", "|---|---|---|---|---|"]
    for one in INSTRUMENTS:
        name = one.prometheus + ("_total" if one.kind == "counter" else "")
        labels = ", ".join(
            f"`{semconv.prometheus_name(label)}`" for label in one.labels
        )
        unit = "" if one.unit == "1" else f"`{one.unit}`"
        lines.append(f"| `{name}` | {one.kind} | {unit} | {labels} | {one.text} |")
    return "\n".join(lines) + "\n"
