"""What has changed is read again, and nothing else."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from hypothesis import given, strategies as st

from extproc.admin import entries as module
from extproc.admin.entries import (
    KINDS,
    Entries,
    Readings,
    Section,
    Stored,
    read_changes,
    read_entries,
    with_entries,
)
from extproc.config.build import build
from extproc.config.load import loads
from extproc.config.subjects import Granted
from extproc.identity import GrantBook, grant_book
from extproc.server.grants import Edition, take
from tests.admin.test_directory import FILE, OWNER, Office


def read(office, known):
    with office.database.read() as session:
        return read_changes(session, known), read_entries(session)


def test_reading_what_has_changed_is_reading_everything(database, monkeypatch):
    monkeypatch.setattr(module, "MOST_CHANGES", 4)
    office, dice = Office(database), random.Random(3)
    known = Entries()
    sections: tuple[Section, ...] = ("keys", "teams", "end_users")
    ids = {section: list[str]() for section in sections}
    for step in range(60):
        for _ in range(dice.choice([0, 1, 2, 3, 7])):
            section = dice.choice(sections)
            verb = dice.choice(["create", "create", "update", "delete"])
            if verb == "create" or not ids[section]:
                id_ = f"{section}-{step}-{dice.random()}"
                office.directory.create(section, {}, OWNER, id_=id_)
                ids[section].append(id_)
            elif verb == "update":
                change = {"concurrency": dice.randrange(1, 9)}
                office.directory.update(
                    section, dice.choice(ids[section]), change, OWNER
                )
            else:
                id_ = ids[section].pop(dice.randrange(len(ids[section])))
                office.directory.delete(section, id_, OWNER)
        known, everything = read(office, known)
        for section in sections:
            ours, theirs = known.sections[section], everything.sections[section]
            assert [one.id for one in ours] == [one.id for one in theirs]
            assert ours == theirs
        assert known.version == everything.version


def test_one_change_makes_one_key_anew_and_the_same_snapshot(database):
    office = Office(database)
    for name in "abc":
        office.directory.create("keys", {"team": "core"}, OWNER, id_=name)
    readings, granted = Readings(), Granted()

    def snapshot(known):
        entries, _ = read(office, known)
        config = with_entries(office.config, entries, now=1.0, readings=readings)
        made = build(config, grants=(), generation=1, created=1, granted=granted)
        anew = with_entries(office.config, entries, now=1.0)
        assert made == build(anew, grants=(), generation=1, created=1)
        return entries, {grant.id: grant for grant in made.grants}

    known, before = snapshot(Entries())
    office.directory.update("keys", "b", {"blocked": True}, OWNER)
    known, after = snapshot(known)
    assert after["b"].blocked
    assert after["a"] is before["a"]
    assert after["c"] is before["c"]
    # The old key of a rotation is good for as long as it was said, and no longer.
    office.directory.rotate("c", 60.0, OWNER)
    entries, _ = read(office, known)
    for now, keys in ((1_000.0, 2), (1_061.0, 1)):
        config = with_entries(office.config, entries, now=now, readings=readings)
        assert sum(key.id == "c" for key in config.keys) == keys


def test_a_team_that_changes_changes_its_keys(database):
    office = Office(database)
    office.directory.create("teams", {"organization": "acme"}, OWNER, id_="t")
    office.directory.create("keys", {"team": "t"}, OWNER, id_="k")
    readings, granted = Readings(), Granted()

    def grant():
        entries, _ = read(office, Entries())
        config = with_entries(office.config, entries, now=1.0, readings=readings)
        made = build(config, grants=(), generation=1, created=1, granted=granted)
        return next(grant for grant in made.grants if grant.id == "k")

    assert grant().organization == "acme"
    office.directory.update("teams", "t", {"organization": None}, OWNER)
    assert grant().organization is None


WORDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "blocked": {"blocked": True},
    "of a team": {"team": "t"},
    "of a user": {"user": "u"},
    "in a zone": {"budgets": [{"usd": 5, "zone": "Europe/Berlin"}]},
    "of an older version": {"unheard_of": 1},
}
keys = st.dictionaries(
    st.integers(0, 9),
    st.tuples(st.sampled_from(sorted(WORDS)), st.none() | st.integers(1, 6)),
    max_size=7,
)
owners = st.tuples(st.sampled_from(["acme", None]), st.sampled_from(["t", None]))


@given(st.lists(st.tuples(keys, owners), min_size=1, max_size=6))
def test_whatever_changes_is_as_if_built_from_nothing(steps):
    """Keys come, change, rotate and go, and so do what their owners belong to: what is
    kept of one step is never in the way of the next, nor of the workers."""
    config = loads(FILE, {}, source="gateway.yaml", folder=Path())
    readings, granted = Readings(), Granted()
    known: dict[object, Stored] = {}
    before: Edition | None = None
    book: GrantBook = {}
    for now, (step, (organization, team)) in enumerate(steps, 1):
        stored = tuple(
            known.setdefault((number, *said), key_of(number, *said))
            for number, said in sorted(step.items())
        )
        of_team = {} if organization is None else {"organization": organization}
        of_user = {} if team is None else {"team": team}
        entries = Entries(
            now,
            {
                "teams": (Stored("t", of_team),),
                "users": (Stored("u", of_user),),
                "keys": stored,
            },
        )
        kept = with_entries(config, entries, now=now, readings=readings)
        anew = with_entries(config, entries, now=now)
        made = build(kept, grants=(), generation=1, created=1, granted=granted)
        assert made == build(anew, grants=(), generation=1, created=1)
        edition = Edition(made)
        for part in edition.parts(before):
            take(book, part)
        assert book == grant_book(made.grants)
        before = edition


def key_of(number: int, said: str, until: int | None) -> Stored:
    digest = f"{number:064x}"
    if until is None:
        return Stored(f"key-{number}", WORDS[said], digest)
    # Now and then of the same hash as another key: the last one holds.
    old = f"{number * 7 % 20:064x}"
    return Stored(f"key-{number}", WORDS[said], digest, old, float(until))


def names_in(schema: Any) -> set[str]:
    """Return the names of all fields of a JSON schema, however deep."""
    if isinstance(schema, list):
        return set().union(*map(names_in, schema))
    if not isinstance(schema, dict):
        return set()
    return set(schema.get("properties", {})).union(*map(names_in, schema.values()))


def test_no_form_has_an_address_or_a_path_in_it():
    """Whoever may write one would have control ask, or read, what only it can."""
    names = set[str]().union(
        *(names_in(kind.form.model_json_schema()) for kind in KINDS.values())
    )
    assert {"budgets", "models", "addresses"} < names, "networks that clients are in"
    words = ("url", "uri", "host", "endpoint", "webhook", "callback", "path", "file")
    # Globs of our own paths.
    suspects = {name for name in names if any(word in name for word in words)}
    assert suspects == {"endpoints"}
