"""Keys, subjects, and which models they leave open."""

from __future__ import annotations

import fnmatch
import hashlib
import re

from hypothesis import given, strategies as st

from extproc.identity import (
    Allowance,
    Grant,
    RateLimit,
    Subject,
    Subjects,
    glob_pattern,
)
from extproc.runtime import Runtime, Snapshot

SHA = hashlib.sha256(b"sk-one").hexdigest()
FEW = Allowance((RateLimit("requests", 3, 60),))


def test_a_key_may_use_what_its_owners_may_use_too():
    snapshot = Snapshot(
        1,
        grants=(Grant("k", SHA, ("gpt-*",), team="search", organization="acme"),),
        subjects=(
            Subject("team", "search", models=("gpt-4*", "claude-*")),
            Subject("organization", "acme", models=("gpt-4o",)),
            Subject("user", "ann", models=("nothing",)),
        ),
    )
    grant = Runtime.of(snapshot).grant("sk-one")
    assert grant is not None
    names = ["gpt-4o", "gpt-4o-mini", "gpt-5", "claude-x"]
    assert [name for name in names if grant.may_use(name)] == ["gpt-4o"]


def test_blocking_a_team_blocks_its_keys():
    snapshot = Snapshot(
        1,
        grants=(Grant("k", SHA, team="search"), Grant("o", "ab" * 32, team="other")),
        subjects=(Subject("team", "search", blocked=True), Subject("team", "other")),
    )
    grant = Runtime.of(snapshot).grant("sk-one")
    assert grant is not None
    assert grant.blocked
    assert not snapshot.grants[0].blocked


def test_a_subject_is_found_by_its_name_and_then_by_the_longest_glob():
    every = Subject("end_user", "*", FEW)
    some = Subject("end_user", "bot-*", FEW)
    one = Subject("end_user", "bot-1")
    subjects = Subjects.of((every, some, one, Subject("team", "bot-2")))
    assert subjects.find("end_user", "bot-1") is one
    assert subjects.find("end_user", "bot-2") is some
    assert subjects.find("end_user", "ann") is every
    assert subjects.find("team", "ann") is None


def test_an_allowance_is_true_when_anything_is_limited():
    assert not Allowance()
    assert FEW
    assert Allowance(concurrency=0)


@given(st.text("ab*", max_size=8), st.text("ab", max_size=12))
def test_a_glob_is_what_the_library_takes_it_for(glob, name):
    plain = re.compile(fnmatch.translate(glob))
    assert bool(glob_pattern(glob).match(name)) == bool(plain.match(name))


def test_a_glob_of_many_stars_takes_no_longer_than_the_name():
    """With a step back for each star this would not end."""
    assert glob_pattern("*a" * 60 + "*b").match("a" * 512) is None
    assert glob_pattern("*" * 300 + "a").match("b" * 512) is None
    assert glob_pattern("[a]*.?*").match("[a]x.?y")
