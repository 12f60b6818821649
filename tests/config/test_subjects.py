"""Tenancy in the file to subjects, grants and zones."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given, strategies as st

from extproc.config.build import build
from extproc.config.load import loads
from extproc.config.subjects import is_limited, zone
from extproc.identity import Allowance, RateLimit, Subject
from extproc.runtime import Runtime

TEXT = """\
providers: {openai: {type: openai, api_key: sk-one}}
models:
  gpt-4o:
    rate_limits: {requests_per_hour: 7}
    targets: [{provider: openai, model: gpt-4o-1, concurrency: 5}]
organizations: {acme: {budgets: [{usd: 1, zone: America/New_York}]}}
teams: {search: {organization: acme, concurrency: 2}, idle: {}}
users: {ann: {team: search, blocked: true}}
end_users: {"*": {rate_limits: {requests_per_minute: 1}}}
concurrency: 100
keys:
  - {id: a, key: sk-0123456789abcdef0123456789abcdef, user: ann, tags: [x], cut_off: true}
"""
CREATED = 1_800_000_000


def snapshot():
    config = loads(TEXT, {}, source="g.yaml", folder=Path("/"))
    return build(config, grants=(), generation=1, created=CREATED)


def test_whatever_has_a_limit_is_a_subject():
    found = {(s.kind, s.id): s.allowance for s in snapshot().subjects}
    acme = found.pop(("organization", "acme"))
    assert [b.nanos for b in acme.budgets] == [1_000_000_000]
    assert found == {
        ("global", ""): Allowance(concurrency=100),
        ("team", "search"): Allowance(concurrency=2),
        ("user", "ann"): Allowance(),
        ("end_user", "*"): Allowance((RateLimit("requests", 1, 60),)),
        ("model", "gpt-4o"): Allowance((RateLimit("requests", 7, 3600),)),
        ("deployment", "openai/gpt-4o-1"): Allowance(concurrency=5),
    }


def test_a_key_learns_from_its_user_whose_it_is():
    grant = Runtime.of(snapshot()).grant("sk-0123456789abcdef0123456789abcdef")
    assert grant is not None
    assert (grant.user, grant.team, grant.organization) == ("ann", "search", "acme")
    assert (grant.prefix, grant.tags, grant.cut_off) == ("sk-0123", ("x",), True)
    assert grant.blocked


def test_only_zones_that_are_named_are_compiled():
    assert list(snapshot().zones) == ["America/New_York"]


def test_a_file_without_limits_has_none():
    text = TEXT.partition("organizations")[0].replace("concurrency: 5", "")
    text = text.replace("rate_limits: {requests_per_hour: 7}", "owned_by: us")
    assert not is_limited(loads(text, {}, source="g.yaml", folder=Path("/")))


@given(
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "UTC"]),
    st.integers(CREATED - 300 * 86_400, CREATED + 3_000 * 86_400),
)
def test_a_zones_offsets_are_those_of_the_tz_database(name, at):
    table = zone(name, created=CREATED)
    index = max(i for i, since in enumerate(table.since) if since <= at)
    there = datetime.fromtimestamp(at, UTC).astimezone(zoneinfo.ZoneInfo(name))
    offset = there.utcoffset()
    assert offset is not None
    assert table.offsets[index] == offset.total_seconds()


def test_subjects_that_say_nothing_are_left_out():
    assert Subject("team", "idle") not in snapshot().subjects
