"""What is made is there, what is changed is audited, what is refused changes nothing."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Any

import pytest

from extproc.admin.access import Actor
from extproc.admin.directory import Directory
from extproc.admin.entries import (
    KINDS,
    Section,
    read_changes,
    read_entries,
    with_entries,
)
from extproc.admin.errors import AdminError, InTheWay, Invalid, Missing, NotAllowed
from extproc.config.build import build
from extproc.config.load import loads
from extproc.config.schema import Config
from extproc.identity import Allowance, RateLimit
from extproc.pricing import cost as price_of
from extproc.runtime import Runtime, Snapshot
from extproc.usage import Usage

OWNER = Actor("boss", "owner")
ADMIN = Actor("ann", "admin")
VIEWER = Actor("vic", "viewer")
MEMBER = Actor("mia", "member")

FILE = """
providers: {openai: {type: openai, api_key: sk-x}}
models: {gpt-4o: {targets: [{provider: openai}]}}
organizations: {acme: {}}
teams: {core: {organization: acme}}
keys:
  - {id: fixed, key: sk-file-0123456789abcdef0123456789, team: core, tags: [old]}
"""


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Office:
    """A directory, its clock, and how often it said that something changed."""

    def __init__(self, database: Any, text: str = FILE) -> None:
        self.clock = Clock()
        self.changes = 0
        self.config: Config = loads(text, {}, source="gateway.yaml", folder=Path())
        self.database = database
        numbers = itertools.count(1)
        self.directory = Directory(
            database,
            config=lambda: self.config,
            clock=self.clock,
            changed=self._changed,
            random=lambda size: next(numbers).to_bytes(size, "big"),
        )

    def _changed(self) -> None:
        self.changes += 1

    def snapshot(self) -> Snapshot:
        with self.database.read() as session:
            entries = read_entries(session)
        config = with_entries(self.config, entries, now=self.clock.now)
        return build(config, grants=(), generation=1, created=1_000)

    def runtime(self) -> Runtime:
        return Runtime.of(self.snapshot())


@pytest.fixture
def office(database) -> Office:
    return Office(database)


def test_a_key_is_shown_once_and_opens_the_gateway_at_once(office):
    made = office.directory.create(
        "keys",
        {"models": ["gpt-*"], "rate_limits": {"requests_per_minute": 5}},
        OWNER,
        id_="ci",
    )
    key = made.pop("key")
    assert key.startswith("sk-")
    assert len(key) == 46  # 256 bits
    assert made["prefix"] == key[:7]
    assert office.changes == 1
    seen = office.directory.get("keys", "ci")
    assert seen == made
    assert key not in str(seen)
    assert hashlib.sha256(key.encode()).hexdigest() not in str(seen)
    grant = office.runtime().grant(key)
    assert grant is not None
    assert (grant.id, grant.models) == ("ci", ("gpt-*",))
    assert grant.allowance.rates == (RateLimit("requests", 5, 60),)


def test_a_deleted_key_opens_nothing(office):
    key = office.directory.create("keys", {}, OWNER, id_="ci")["key"]
    office.directory.delete("keys", "ci", OWNER)
    assert office.runtime().grant(key) is None
    with pytest.raises(Missing):
        office.directory.get("keys", "ci")


def test_a_rotated_key_lives_on_for_its_grace_and_not_longer(office):
    old = office.directory.create("keys", {}, OWNER, id_="ci")["key"]
    new = office.directory.rotate("ci", 60, ADMIN)["key"]
    assert new != old
    runtime = office.runtime()
    first, second = runtime.grant(old), runtime.grant(new)
    assert first is not None
    assert second is not None
    assert (first.id, first.expires) == ("ci", 1_060.0)
    assert (second.id, second.expires) == ("ci", None)
    office.clock.now = 1_060.0
    assert office.runtime().grant(old) is None
    assert office.runtime().grant(new) is not None


def test_a_rotation_without_grace_voids_the_old_key_at_once(office):
    old = office.directory.create("keys", {}, OWNER, id_="ci")["key"]
    office.directory.rotate("ci", 0, OWNER)
    assert office.runtime().grant(old) is None


def test_grace_never_outlives_the_keys_own_end(office):
    old = office.directory.create("keys", {"expires": 1_010}, OWNER, id_="ci")["key"]
    office.directory.rotate("ci", 60, OWNER)
    grant = office.runtime().grant(old)
    assert grant is not None
    assert grant.expires == 1_010


def test_owners_pass_on_what_they_forbid(office):
    directory = office.directory
    directory.create("organizations", {"blocked": False}, OWNER, id_="o")
    directory.create(
        "teams", {"organization": "o", "models": ["gpt-*"]}, OWNER, id_="t"
    )
    directory.create("users", {"team": "t"}, OWNER, id_="u")
    key = directory.create("keys", {"user": "u"}, OWNER)["key"]
    grant = office.runtime().grant(key)
    assert grant is not None
    assert (grant.organization, grant.team, grant.user) == ("o", "t", "u")
    assert grant.may_use("gpt-4o")
    assert not grant.may_use("claude")
    directory.update("organizations", "o", {"blocked": True}, ADMIN)
    blocked = office.runtime().grant(key)
    assert blocked is not None
    assert blocked.blocked


def test_limits_of_everybody_models_and_deployments_hold_at_once(office):
    directory = office.directory
    directory.create("limits", {"concurrency": 9}, OWNER, id_="global")
    said = {"budgets": [{"usd": 5}], "rate_limits": {"tokens_per_day": 7}}
    directory.create("limits", said, ADMIN, id_="model/gpt-4o")
    there = "deployment/openai/gpt-4o"
    made = directory.create("limits", {"concurrency": 2}, OWNER, id_=there)
    assert made["concurrency"] == 2
    runtime = office.runtime()
    everybody = runtime.subject("global", "")
    model = runtime.subject("model", "gpt-4o")
    deployment = runtime.subject("deployment", "openai/gpt-4o")
    assert everybody.allowance == Allowance(concurrency=9)
    assert model.allowance.rates == (RateLimit("total_tokens", 7, 86_400),)
    assert [budget.nanos for budget in model.allowance.budgets] == [5 * 10**9]
    assert deployment.allowance.concurrency == 2
    [target] = office.snapshot().models[0].targets
    assert target.placement.max_concurrency == 2
    directory.update("limits", "global", {"concurrency": None}, OWNER)
    for id_ in ("model/gpt-4o", there):
        directory.delete("limits", id_, OWNER)
    assert not office.runtime().limited


def test_a_limit_that_the_file_has_is_the_files(database):
    office = Office(database, FILE + "concurrency: 3\n")
    assert office.directory.get("limits", "global") == {
        "id": "global", "concurrency": 3, "source": "file",
    }  # fmt: skip
    with pytest.raises(InTheWay):
        office.directory.create("limits", {"concurrency": 4}, OWNER, id_="global")
    # As when the file says so only later.
    earlier = Office(database)
    earlier.directory.create("limits", {"concurrency": 4}, OWNER, id_="global")
    earlier.directory.create("limits", {"concurrency": 5}, OWNER, id_="model/gpt-4o")
    everybody = office.runtime().subject("global", "")
    assert everybody is not None
    assert everybody.allowance.concurrency == 3
    gone = Office(database, FILE.replace("gpt-4o:", "other:"))
    assert gone.runtime().subject("model", "gpt-4o") is None
    assert gone.directory.get("limits", "model/gpt-4o")["concurrency"] == 5


def test_prices_are_the_gateways_at_once_and_the_files_come_first(database):
    office = Office(database, FILE + "prices: {mine: {input: 1}, 'f-*': {output: 2}}\n")
    directory = office.directory
    assert directory.get("prices", "f-*") == {
        "id": "f-*", "output": 2, "source": "file",
    }  # fmt: skip
    said = {"input": 0.25, "output": 12, "over": {"1000": {"input": 3}}}
    assert directory.create("prices", said, OWNER, id_="openai/gpt-4o")["over"]
    directory.create("prices", {"output": 9}, ADMIN, id_="*-x")
    prices = office.runtime().prices

    def cost(model, tokens=1):
        found = prices.find("openai", "openai", model)
        assert found is not None
        return price_of(found, Usage(tokens, tokens))

    assert cost("gpt-4o") == 250 + 12_000
    assert cost("gpt-4o", 1001) == 1001 * 3_000
    assert (cost("f-x"), cost("a-x"), cost("mine")) == (2_000, 9_000, 1_000)
    with pytest.raises(InTheWay):
        directory.update("prices", "mine", {"input": 2}, OWNER)


def test_a_change_merges_and_null_takes_away(office):
    directory = office.directory
    directory.create(
        "teams",
        {
            "rate_limits": {"requests_per_minute": 1, "tokens_per_day": 9},
            "models": ["a"],
        },
        OWNER,
        id_="t",
    )
    office.clock.now = 2_000.0
    after = directory.update(
        "teams",
        "t",
        {"rate_limits": {"requests_per_minute": 2, "tokens_per_day": None},
         "models": None, "organization": "acme"},
        OWNER,
    )  # fmt: skip
    assert after["rate_limits"] == {"requests_per_minute": 2}
    assert "models" not in after
    assert after["organization"] == "acme"
    assert (after["created_at"], after["updated_at"]) == (1_000.0, 2_000.0)
    assert directory.get("teams", "t") == after


REFUSED: list[tuple[str, Section, str | None, dict[str, Any], type[AdminError], str]] = [
    ("an unknown field", "keys", None, {"budget": 5}, Invalid, "budget"),
    ("a wrong type", "keys", None, {"models": "gpt"}, Invalid, "models"),
    ("a wrong place", "teams", "x", {"budgets": [{"usd": -1}]}, Invalid, "budgets[0].usd"),
    ("an owner that is not", "keys", None, {"team": "no"}, Invalid, "team"),
    ("a taken id", "teams", "taken", {}, InTheWay, "id"),
    ("an id of the file", "keys", "fixed", {}, InTheWay, "id"),
    ("a bad id", "users", "no blanks", {}, Invalid, "id"),
    ("an end user without id", "end_users", None, {}, Invalid, "id"),
    ("a limit of nothing", "limits", "model/none", {}, Invalid, "id"),
    ("a limit without id", "limits", None, {}, Invalid, "id"),
    ("a price without id", "prices", None, {"input": 1}, Invalid, "id"),
    ("a price below nothing", "prices", "x", {"input": -1}, Invalid, "input"),
    ("a level of no length", "prices", "x", {"over": {"0": {}}}, Invalid, "over.0"),
    ("a secret of its own", "keys", None, {"key": "sk-mine"}, Invalid, "key"),
    ("a wrong network", "keys", None, {"addresses": ["10/8/1"]}, Invalid, "addresses[0]"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("section", "id_", "settings", "error", "param"),
    [case[1:] for case in REFUSED],
    ids=[case[0] for case in REFUSED],
)
def test_what_cannot_be_is_refused_by_name_and_changes_nothing(
    office, section, id_, settings, error, param
):
    office.directory.create("teams", {}, OWNER, id_="taken")
    before = office.directory.export(), office.directory.audit()
    with pytest.raises(error) as refused:
        office.directory.create(section, settings, OWNER, id_=id_)
    assert refused.value.param == param
    assert (office.directory.export(), office.directory.audit()) == before
    assert office.changes == 1


def test_what_stands_in_the_file_is_shown_and_not_changed(office):
    seen = office.directory.get("keys", "fixed")
    assert seen == {"id": "fixed", "team": "core", "tags": ["old"], "source": "file"}
    for change in (
        lambda: office.directory.update("keys", "fixed", {"blocked": True}, OWNER),
        lambda: office.directory.delete("keys", "fixed", OWNER),
        lambda: office.directory.rotate("fixed", 0, OWNER),
    ):
        with pytest.raises(InTheWay, match=r"gateway\.yaml"):
            change()


def test_an_owner_that_is_needed_stays(office):
    directory = office.directory
    directory.create("teams", {"organization": "acme"}, OWNER, id_="t")
    directory.create("keys", {"team": "t"}, OWNER, id_="k")
    with pytest.raises(InTheWay, match="still has the key 'k'"):
        directory.delete("teams", "t", OWNER)
    directory.delete("keys", "k", OWNER)
    directory.delete("teams", "t", OWNER)


def test_pages_hold_every_entry_once_those_of_the_file_too(office):
    for n in range(23):
        office.directory.create("keys", {}, OWNER, id_=f"k{n:02}")
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = office.directory.page("keys", after=after, limit=5)
        assert len(page.data) <= 5
        seen += [entry["id"] for entry in page.data]
        after = page.next
    assert seen == sorted(["fixed", *(f"k{n:02}" for n in range(23))])


NAMES = ["B", "a", "a-b", "a.b", "a_b", "ab", "b", "Z9", "fixed0", "Fixed"]


def test_pages_and_changes_have_one_order_whatever_language_the_database_speaks(office):
    directory, seen = office.directory, []
    for name in NAMES:
        directory.create("keys", {}, OWNER, id_=name)
    after: str | None = ""
    while after is not None:
        page = directory.page("keys", after=after, limit=2)
        seen += [entry["id"] for entry in page.data]
        after = page.next
    assert seen == sorted([*NAMES, "fixed"])
    with office.database.read() as session:
        known = read_entries(session)
    for name in ("a_b", "Z9", "B", "b"):
        directory.delete("keys", name, OWNER)
        directory.update("keys", "ab", {"tags": [name]}, OWNER)
        with office.database.read() as session:
            known = read_changes(session, known)
            assert known == read_entries(session)


def test_pages_can_be_narrowed_down(office):
    directory = office.directory
    directory.create("keys", {"team": "core", "tags": ["a"]}, OWNER, id_="one")
    directory.create("keys", {"blocked": True}, OWNER, id_="two")

    def ids(**narrow: Any) -> list[str]:
        return [entry["id"] for entry in directory.page("keys", **narrow).data]

    assert ids(owner={"team": "core"}) == ["fixed", "one"]
    assert ids(owner={"user": "x"}) == []
    assert ids(tag="a") == ["one"]
    assert ids(tag="old") == ["fixed"]
    assert ids(text="WO") == ["two"]
    assert ids(blocked=True) == ["two"]
    assert ids(blocked=False) == ["fixed", "one"]


def test_every_change_is_audited_with_both_sides_and_no_secret(office):
    directory = office.directory
    made = directory.create(
        "keys", {"metadata": {"note": "sk-0123456789abcdef0123"}}, OWNER, id_="k"
    )
    office.clock.now = 2_000.0
    directory.update("keys", "k", {"blocked": True}, ADMIN)
    rotated = directory.rotate("k", 0, OWNER)
    directory.delete("keys", "k", OWNER)
    log = directory.audit()
    assert [
        (entry["action"], entry["actor"], entry["role"], entry["subject"], entry["at"])
        for entry in reversed(log)
    ] == [
        ("create", "boss", "owner", "k", 1_000.0),
        ("update", "ann", "admin", "k", 2_000.0),
        ("rotate", "boss", "owner", "k", 2_000.0),
        ("delete", "boss", "owner", "k", 2_000.0),
    ]
    assert log[2]["before"].get("blocked") is None
    assert log[2]["after"]["blocked"] is True
    assert log[0]["after"] is None
    assert log[3]["before"] is None
    text = str(log)
    for secret in (made["key"], rotated["key"], "sk-0123456789abcdef0123"):
        assert secret not in text
    assert [entry["id"] for entry in directory.audit(before=log[1]["id"])] == [
        log[2]["id"],
        log[3]["id"],
    ]
    assert directory.audit(subject="nobody") == []


def test_bulk_does_all_or_nothing(office):
    directory = office.directory
    made = directory.bulk(
        "users",
        [
            {"create": {"id": "a"}},
            {"create": {"id": "b", "team": "core"}},
            {"update": "a", "set": {"team": "core"}},
            {"delete": "b"},
        ],
        ADMIN,
    )
    assert [entry["id"] for entry in made] == ["a", "b", "a", "b"]
    assert [entry["id"] for entry in directory.page("users").data] == ["a"]
    changes = office.changes
    with pytest.raises(Missing):
        directory.bulk("users", [{"create": {"id": "c"}}, {"delete": "no"}], ADMIN)
    with pytest.raises(Invalid) as refused:
        directory.bulk("users", [{"create": {"id": "c"}}, {"make": 1}], ADMIN)
    assert refused.value.param == "[1]"
    assert [entry["id"] for entry in directory.page("users").data] == ["a"]
    assert office.changes == changes


def test_what_is_exported_can_be_imported_elsewhere(office):
    directory = office.directory
    directory.create("organizations", {}, OWNER, id_="o")
    directory.create("teams", {"organization": "o"}, OWNER, id_="t")
    key = directory.create("keys", {"team": "t"}, OWNER, id_="k")["key"]
    content = directory.export()
    with office.database.write() as session:
        for kind in KINDS.values():
            session.query(kind.table).delete()
    assert office.runtime().grant(key) is None
    added = directory.import_(content, OWNER)
    assert added == {
        "organizations": 1, "teams": 1, "users": 0, "end_users": 0, "keys": 1,
        "limits": 0, "prices": 0,
    }  # fmt: skip
    grant = office.runtime().grant(key)
    assert grant is not None
    assert (grant.organization, grant.team) == ("o", "t")
    assert sum(directory.import_(content, OWNER).values()) == 0
    assert directory.export() == content


IMPORTS = [
    ({"nonsense": []}, "nonsense"),
    ({"keys": [{"id": "k", "sha256": "12"}]}, "sha256"),
    ({"keys": [{"id": "k", "team": "no"}]}, "team"),
    ({"users": [{"id": ""}]}, "id"),
]


@pytest.mark.parametrize(("content", "param"), IMPORTS)
def test_an_import_that_cannot_be_adds_nothing(office, content, param):
    with pytest.raises(Invalid) as refused:
        office.directory.import_({"users": [{"id": "first"}], **content}, OWNER)
    assert refused.value.param == param
    assert office.directory.page("users").data == []


STAFF = [
    (OWNER, {"role": "owner"}, True),
    (OWNER, {"role": "viewer"}, True),
    (OWNER, {}, True),
    (ADMIN, {"role": "admin"}, False),
    (ADMIN, {"role": "viewer"}, False),
    (ADMIN, {"role": "member"}, True),
    (ADMIN, {}, True),
    (VIEWER, {}, False),
    (MEMBER, {}, False),
]


@pytest.mark.parametrize(("actor", "settings", "allowed"), STAFF)
def test_nobody_makes_a_key_that_may_do_more_than_they(
    office, actor, settings, allowed
):
    if allowed:
        assert office.directory.create("keys", settings, actor)["key"]
    else:
        with pytest.raises(NotAllowed):
            office.directory.create("keys", settings, actor)
        assert office.directory.export()["keys"] == []


@pytest.mark.parametrize("role", ["owner", "admin", "viewer"])
def test_an_admin_neither_raises_nor_touches_a_key_with_a_role(office, role):
    directory = office.directory
    directory.create("keys", {"role": role}, OWNER, id_="staff")
    directory.create("keys", {}, OWNER, id_="plain")
    for change in (
        lambda: directory.update("keys", "staff", {"role": None}, ADMIN),
        lambda: directory.update("keys", "plain", {"role": role}, ADMIN),
        lambda: directory.delete("keys", "staff", ADMIN),
        lambda: directory.rotate("staff", 0, ADMIN),
    ):
        with pytest.raises(NotAllowed):
            change()


def test_limits_on_several_workers_need_a_store(database):
    office = Office(database, FILE + "workers: 2\n")
    with pytest.raises(Invalid, match=r"accounting\.store"):
        office.directory.create("teams", {"concurrency": 1}, OWNER, id_="t")


def test_an_entry_that_cannot_be_read_opens_nothing(office):
    """As after a step back to an older version."""
    key = office.directory.create("keys", {}, OWNER, id_="k")["key"]
    with office.database.write() as session:
        row = session.get(KINDS["keys"].table, "k")
        row.settings = {"from_the_future": 1}
    assert office.runtime().grant(key) is None
