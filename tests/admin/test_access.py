"""Who may do what, as the documentation says it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from extproc.admin.access import (
    FREE_FAILURES,
    MATRIX,
    MAX_ADDRESSES,
    WAIT_SECONDS,
    Action,
    Actor,
    Doorkeeper,
)
from extproc.admin.errors import NotAllowed, TooMany
from extproc.identity import Role

DOC = Path(__file__).parents[2] / "docs" / "admin.md"


def test_the_documented_roles_are_those_that_hold():
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in DOC.read_text().partition("## Roles")[2].splitlines()
        if re.match(r"\| ?\w|\| \|", line)
    ]
    roles = rows[0][1:]
    assert roles == list(get_args(Role))
    found = {
        role: frozenset(row[0].replace(" ", "_") for row in rows[1:] if row[i] == "yes")
        for i, role in enumerate(roles, start=1)
    }
    assert found == MATRIX
    assert {row[0].replace(" ", "_") for row in rows[1:]} == set(get_args(Action))


@pytest.mark.parametrize("role", get_args(Role))
@pytest.mark.parametrize("action", get_args(Action))
def test_an_actor_may_do_what_its_role_may(role, action):
    if action in MATRIX[role]:
        Actor("k", role).must(action)
    else:
        with pytest.raises(NotAllowed):
            Actor("k", role).must(action)


def test_an_address_waits_after_too_many_wrong_keys_and_no_other_does():
    now = [0.0]
    door = Doorkeeper(lambda: now[0])
    for _ in range(FREE_FAILURES):
        door.admit("a")
        door.refused("a")
    with pytest.raises(TooMany) as refused:
        door.admit("a")
    assert refused.value.retry_after == WAIT_SECONDS + 1
    door.admit("b")
    now[0] = WAIT_SECONDS
    door.admit("a")


def test_what_is_remembered_of_addresses_is_bounded():
    door = Doorkeeper(lambda: 0.0)
    for n in range(MAX_ADDRESSES + 10):
        door.refused(str(n))
    assert len(door._failures) == MAX_ADDRESSES
