"""What ``gateway.yaml`` may say of keys, owners, limits and budgets."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.config.load import ConfigError, loads
from extproc.identity import Budget, RateLimit

BASE = """\
providers: {openai: {type: openai, api_key: sk-one}}
models: {gpt-4o: {targets: [{provider: openai}]}}
"""


def read(text):
    return loads(BASE + text, {}, source="g.yaml", folder=Path("/"))


def problem(text):
    with pytest.raises(ConfigError) as refused:
        read(text)
    return str(refused.value)


def test_limits_and_budgets_are_read():
    config = read(
        "rate_limits: {requests_per_minute: 9, tokens_per_day: 50}\n"
        "budgets: [{usd: 0.1, period: day, zone: Europe/Berlin, mode: soft, alerts: [80]}]"
    )
    assert config.rate_limits.rates() == (
        RateLimit("requests", 9, 60),
        RateLimit("total_tokens", 50, 86_400),
    )
    (budget,) = config.budgets
    assert budget.budget() == Budget(
        100_000_000, "day", "Europe/Berlin", hard=False, alerts=(80,)
    )


def test_a_tenth_of_a_dollar_is_exact():
    (budget,) = read('budgets: [{usd: "0.000000001", period: total}]').budgets
    assert budget.budget().nanos == 1


REFUSED = {
    "a limit of no unit": (
        "rate_limits: {request_per_minute: 1}",
        "unknown key, did you mean requests_per_minute?",
    ),
    "no money": ("budgets: [{usd: ten}]", "must be an amount of dollars"),
    "too much money": ("budgets: [{usd: 10000000}]", "usd"),
    "a zone that is none": ("budgets: [{usd: 1, zone: Berlin}]", "is not a time zone"),
    "two budgets of a period": (
        "budgets: [{usd: 1}, {usd: 2}]",
        "budgets: has two budgets for the same month",
    ),
    "a team that is not there": (
        "teams: {search: {}}\nkeys: [{id: a, key: sk-a, team: serch}]",
        "there is no team 'serch' in teams, did you mean search?",
    ),
    "an organization that is not there": (
        "teams: {search: {organization: acme}}",
        "there is no organization 'acme' in organizations",
    ),
    "no network": (
        "keys: [{id: a, key: sk-a, addresses: [10.0.0.1/8]}]",
        "is not a network such as 10.0.0.0/8",
    ),
    "no time": ("keys: [{id: a, key: sk-a, expires: soon}]", "must be a time such as"),
    "memory for two workers": (
        "workers: 2\nrate_limits: {requests_per_minute: 1}",
        "workers: limits and budgets are kept in the memory of one worker",
    ),
    "a store that is none": ("accounting: {store: http://x}", "accounting.store"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_mistake_is_named(case):
    text, expected = REFUSED[case]
    assert expected in problem(text)


def test_two_workers_with_a_store_may_have_limits():
    read(
        "workers: 2\nrate_limits: {requests_per_minute: 1}\n"
        "accounting: {store: redis://127.0.0.1:6379}"
    )


def test_a_day_begins_in_utc_where_no_offset_is_given():
    (key,) = read("keys: [{id: a, key: sk-a, expires: 2027-01-31}]").keys
    assert key.expires == 1_801_353_600.0
