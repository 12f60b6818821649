"""What has changed is read again, and nothing else."""

from __future__ import annotations

import random

from extproc.admin import entries as module
from extproc.admin.entries import (
    Entries,
    Readings,
    Section,
    read_changes,
    read_entries,
    with_entries,
)
from extproc.config.build import build
from extproc.config.subjects import Granted
from tests.admin.test_directory import OWNER, Office


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
