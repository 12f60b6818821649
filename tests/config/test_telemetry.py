"""Where telemetry goes, as ``gateway.yaml`` says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.config.load import ConfigError, loads
from extproc.config.schema import Config
from extproc.server.control_metrics import destination_of
from extproc.server.intake import webhooks_of

BASE = """
providers: {p: {type: openai, api_key: sk-p}}
models: {m: {targets: [{provider: p}]}}
"""


def config(text: str) -> Config:
    return loads(f"{BASE}\ntelemetry: {text}", {}, source="f", folder=Path())


def test_nothing_is_pushed_unless_the_file_says_where() -> None:
    made = loads(BASE, {}, source="f", folder=Path())
    assert destination_of(made.telemetry.otlp) is None


def test_a_collector_has_an_address_and_secrets_that_nobody_shows() -> None:
    made = config(
        "{otlp: {endpoint: 'https://c:4317', protocol: grpc, interval: 5s,"
        " headers: {authorization: Bearer-x}}}"
    )
    where = destination_of(made.telemetry.otlp)
    assert where is not None
    assert (where.endpoint, where.protocol, where.interval) == (
        "https://c:4317", "grpc", 5.0,
    )  # fmt: skip
    assert where.headers == {"authorization": "Bearer-x"}
    assert "Bearer-x" not in repr(where)
    assert "Bearer-x" not in repr(made)


def test_metrics_can_be_left_out() -> None:
    made = config("{otlp: {endpoint: 'http://c', metrics: false}}")
    assert destination_of(made.telemetry.otlp) is None


@pytest.mark.parametrize(
    "text",
    [
        "{otlp: {}}",
        "{otlp: {endpoint: 'c:4317'}}",
        "{otlp: {endpoint: 'http://c/?a=b'}}",
        "{otlp: {endpoint: 'http://c', protocol: thrift}}",
        "{otlp: {endpoint: 'http://c', headers: {Authorization: x}}}",
        "{otlp: {endpoint: 'http://c', interval: 0}}",
        "{otlp: {endpoint: 'http://[::1'}}",
        '{otlp: {endpoint: "http://c", headers: {a: "b\\r\\nx: y"}}}',
        "{alerts: {webhooks: [{url: 'file:///etc/passwd'}]}}",
        "{alerts: {webhooks: [{url: 'http://[::1'}]}}",
        "{unknown: 1}",
    ],
)
def test_what_is_wrong_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="telemetry"):
        config(text)


def test_who_is_told_of_alerts_and_of_which() -> None:
    made = loads(
        f"{BASE}\naccounting: {{webhook: 'https://old.test/T'}}\n"
        "telemetry: {alerts: {webhooks: ["
        "{url: 'https://hooks.slack.test/S', format: slack},"
        "{url: 'http://ops.test/', kinds: [errors], secret: shh-12345678}]}}",
        {},
        source="f",
        folder=Path(),
    )
    old, slack, ops = webhooks_of(made)
    assert (old.url, set(old.kinds), old.shape) == (
        "https://old.test/T", {"budget"}, "json",
    )  # fmt: skip
    assert (slack.shape, set(slack.kinds)) == ("slack", {"budget", "health", "errors"})
    assert (ops.secret, set(ops.kinds)) == ("shh-12345678", {"errors"})
    assert "hooks.slack.test" not in repr(made)


def test_what_is_said_is_kept_only_where_it_is_switched_on() -> None:
    assert config("{}").telemetry.content.size == 0
    assert config("{content: {max_characters: 500}}").telemetry.content.size == 0
    for switch in ("traces", "request_log"):
        on = config(f"{{content: {{{switch}: true, max_characters: 500}}}}")
        assert on.telemetry.content.size == 500


@pytest.mark.parametrize(
    "text",
    [
        "{alerts: {webhooks: [{url: 'ftp://a'}]}}",
        "{alerts: {webhooks: [{url: 'https://'}]}}",
        "{alerts: {webhooks: [{url: 'https://a', kinds: []}]}}",
        "{alerts: {webhooks: [{url: 'https://a', format: teams}]}}",
        "{alerts: {error_rate: 0}}",
        "{content: {max_characters: 1}}",
    ],
)
def test_what_makes_no_alert_and_no_content_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        config(text)
