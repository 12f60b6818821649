"""The kinds of entry that ``gateway.yaml`` and the database share.

An entry is written in the words of the file, whichever of the two it is in: one form for
each kind, one place that checks it, and one way from there to the workers.
"""

from __future__ import annotations

import bisect
import dataclasses
import operator
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from itertools import chain
from typing import Any, Final, Literal

import msgspec
import sqlalchemy as sa
from pydantic import BaseModel, TypeAdapter, ValidationError
from sqlalchemy.orm import Session

from extproc.admin.errors import Invalid
from extproc.config import standing
from extproc.config.kept import Kept
from extproc.config.prices import PriceConfig
from extproc.config.problems import dotted
from extproc.config.schema import Config, KeyConfig
from extproc.config.tenancy import (
    EndUserConfig,
    KeyHolder,
    Name,
    OrganizationConfig,
    TeamConfig,
    UserConfig,
)
from extproc.db.tables import (
    AuditEntry,
    EndUser,
    Entry,
    Key,
    Limit,
    Organization,
    PriceOverride,
    Team,
    User,
)

Section = Literal[
    "organizations", "teams", "users", "end_users", "keys", "limits", "prices"
]
Settings = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class EntryKind:
    """One kind of entry."""

    section: Section
    """Its name in the file, in the database and in URLs."""
    noun: str
    table: type[Entry]
    form: type[BaseModel]
    """What may be said of one."""
    owners: tuple[str, ...] = ()
    """The fields that name another entry; columns of their own in the database."""


KINDS: Final[dict[Section, EntryKind]] = {
    kind.section: kind
    for kind in (
        EntryKind("organizations", "organization", Organization, OrganizationConfig),
        EntryKind("teams", "team", Team, TeamConfig, ("organization",)),
        EntryKind("users", "user", User, UserConfig, ("team", "organization")),
        EntryKind("end_users", "end user", EndUser, EndUserConfig),
        EntryKind("keys", "key", Key, KeyHolder, ("organization", "team", "user")),
        EntryKind("limits", "limit", Limit, standing.StandingConfig),
        EntryKind("prices", "price", PriceOverride, PriceConfig),
    )
}
"""Owners come before what they own."""

_NAME: Final[TypeAdapter[str]] = TypeAdapter(Name)


def check_id(kind: EntryKind, id_: object) -> str:
    """Return `id_`, if an entry may be called so.

    Raises:
        Invalid: it may not.
    """
    if not isinstance(id_, str):
        raise Invalid("id must be a string.", param="id")
    if kind.section in {"end_users", "limits", "prices"}:
        if not 0 < len(id_) <= 256:
            raise Invalid("id must have 1 to 256 characters.", param="id")
        return id_
    try:
        return _NAME.validate_python(id_)
    except ValidationError:
        raise Invalid(
            "id: a name has only letters, digits and . _ @ + - in it, 128 at most.",
            param="id",
        ) from None


def check_settings(kind: EntryKind, settings: Mapping[str, Any]) -> BaseModel:
    """Return what `settings` say, read as strictly as the file is.

    Raises:
        Invalid: the first thing that is wrong, by its place.
    """
    try:
        # In JSON mode a strict model takes lists for tuples.
        return kind.form.model_validate_json(msgspec.json.encode(settings))
    except ValidationError as exc:
        error = exc.errors(include_url=False, include_input=False)[0]
        place = dotted(tuple(part for part in error["loc"] if part != "[key]"))
        message = error["msg"].removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            known = ", ".join(kind.form.model_fields)
            message = f"there is no such field; there are {known}"
        # Of the whole, as where it is nested deeper than pydantic reads, there is no place.
        where = f"{place}: {message}" if place else message
        raise Invalid(f"{where}.", param=place or None) from None


def of_file(config: Config, section: Section) -> dict[str, Settings]:
    """Return the entries that ``gateway.yaml`` has, in its own words."""
    found: Mapping[str, BaseModel]
    if section == "keys":
        found = {key.id: key for key in config.keys}
    elif section == "limits":
        found = standing.said(config)
    else:
        found = getattr(config, section)
    return {id_: said(entry) for id_, entry in found.items()}


def said(entry: BaseModel) -> Settings:
    """Return what was said of an entry, and nothing that is so anyway or is secret."""
    return dict(
        _plain(
            entry.model_dump(
                exclude_unset=True,
                exclude={"id", "key", "key_sha256"},
            )
        )
    )


def _plain(value: Any) -> Any:  # noqa: ANN401  whatever a form has
    """Return what JSON has for it: money as a number where that is the same amount."""
    match value:
        case Decimal() if value == int(value):
            return int(value)
        case Decimal():
            near = float(value)
            return near if Decimal(repr(near)) == value else str(value)
        case Mapping():
            return {str(name): _plain(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case _:
            return value


def full_settings(kind: EntryKind, row: Entry) -> Settings:
    """Return what the database says of an entry, its owners included."""
    owners = {field: getattr(row, field) for field in kind.owners}
    return {
        **row.settings,
        **{field: owner for field, owner in owners.items() if owner is not None},
    }


def view(kind: EntryKind, row: Entry) -> dict[str, Any]:
    """Return an entry of the database as operators see it: never a hash."""
    key: dict[str, Any] = {}
    if isinstance(row, Key):
        key["prefix"] = row.prefix
        if row.replaced_until is not None:
            key["replaced_until"] = row.replaced_until
    return {
        "id": row.id,
        **key,
        **full_settings(kind, row),
        "source": "database",
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def view_of_file(id_: str, settings: Settings) -> dict[str, Any]:
    """Return an entry of ``gateway.yaml`` as operators see it."""
    return {"id": id_, **settings, "source": "file"}


class Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    """An entry of the database, as control remembers it while the database is away."""

    id: str
    settings: Settings
    """Its owners included."""
    sha256: str = ""
    replaced_sha256: str | None = None
    replaced_until: float | None = None


class Entries(msgspec.Struct, frozen=True):
    """All that the database has, at one moment."""

    version: int = 0
    """Of `version`, when this was read."""
    sections: dict[Section, tuple[Stored, ...]] = {}


def version(session: Session) -> int:
    """Return a number that every change makes larger: each has a line in the audit log."""
    return session.scalar(sa.select(sa.func.max(AuditEntry.id))) or 0


def read_entries(session: Session) -> Entries:
    """Read everything."""
    found: dict[Section, tuple[Stored, ...]] = {}
    # Before the rest: what changes meanwhile is read again, and not missed.
    at = version(session)
    for kind in KINDS.values():
        stored = (_stored(kind, row) for row in session.scalars(sa.select(kind.table)))
        found[kind.section] = tuple(sorted(stored, key=_id_of))
    return Entries(at, found)


def read_changes(session: Session, entries: Entries) -> Entries:
    """Read what has changed since `entries` were: each change is in the audit log."""
    at = version(session)
    question = (
        sa.select(AuditEntry.kind, AuditEntry.subject)
        .where(AuditEntry.id > entries.version)
        .limit(MOST_CHANGES + 1)
    )
    lines = session.execute(question).all()
    if not entries.version or at < entries.version or len(lines) > MOST_CHANGES:
        return read_entries(session)
    changed = {(kind, id_) for kind, id_ in lines}
    found = dict(entries.sections)
    for section, kind in KINDS.items():
        ids = {id_ for of, id_ in changed if of == section}
        if not ids:
            continue
        rows = session.scalars(sa.select(kind.table).where(kind.table.id.in_(ids)))
        known = {row.id: _stored(kind, row) for row in rows}
        found[section] = _changed(found.get(section, ()), ids, known)
    return Entries(at, found)


def _changed(
    before: Sequence[Stored], ids: Iterable[str], now: Mapping[str, Stored]
) -> tuple[Stored, ...]:
    """Return `before` with what `now` has of `ids`, by id as it was."""
    out = list(before)
    for id_ in ids:
        place = bisect.bisect_left(out, id_, key=_id_of)
        there = slice(place, place + (place < len(out) and out[place].id == id_))
        out[there] = [now[id_]] if id_ in now else []
    return tuple(out)


_id_of: Final = operator.attrgetter("id")

MOST_CHANGES: Final = 200
"""Of which each is looked up; more are read with all the rest."""


class Readings:
    """What entries were read as, so that a change of one reads no other again."""

    def __init__(self) -> None:
        self._kept: dict[Section, Kept[Stored, tuple[BaseModel, ...]]] = {
            section: Kept() for section in KINDS
        }

    def read(
        self, kind: EntryKind, stored: tuple[Stored, ...], now: float
    ) -> list[tuple[BaseModel, ...]]:
        """Return what each of `stored` says; nothing where it cannot be read.

        A key that was rotated says two while the old one is good.
        """
        return self._kept[kind.section].of(
            stored,
            partial(_said, kind, now),
            # Which of two keys are good, time decides.
            holds=lambda one: one.replaced_until is None,
            name=_id_of,
        )


def _said(kind: EntryKind, now: float, stored: Stored) -> tuple[BaseModel, ...]:
    read = _read(kind, stored)
    if kind.section == "keys":
        return tuple(_keys(read, stored, now))
    return () if read is None else (read,)


def with_entries(
    config: Config, entries: Entries, *, now: float, readings: Readings | None = None
) -> Config:
    """Return `config` as if the database's entries stood in it.

    What is in both is the file's. An entry that this version cannot read any more is left
    out, which for a key means that it opens nothing.
    """
    update: dict[str, Any] = {}
    readings = readings or Readings()
    for kind in KINDS.values():
        taken = of_file(config, kind.section)
        new = entries.sections.get(kind.section, ())
        if taken:
            new = tuple(stored for stored in new if stored.id not in taken)
        read = readings.read(kind, new, now)
        if kind.section == "keys":
            update["keys"] = (*config.keys, *chain.from_iterable(read))
        elif new:
            good = {
                stored.id: said[0]
                for stored, said in zip(new, read, strict=True)
                if said
            }
            if kind.section == "limits":
                update |= standing.with_standing(config, good)
            else:
                # The file's globs come first, too.
                update[kind.section] = {**getattr(config, kind.section), **good}
    return config.model_copy(update=update)


def _stored(kind: EntryKind, row: Entry) -> Stored:
    settings = full_settings(kind, row)
    if isinstance(row, Key):
        return Stored(
            row.id, settings, row.sha256, row.replaced_sha256, row.replaced_until
        )
    return Stored(row.id, settings)


def _read(kind: EntryKind, stored: Stored) -> BaseModel | None:
    try:
        holder = check_settings(kind, stored.settings)
    except Invalid:
        return None
    if kind.section != "keys":
        return holder
    # No dump: it is checked already.
    return KeyConfig.model_construct(
        id=stored.id, key_sha256=stored.sha256, **_given(holder)
    )


def _given(holder: BaseModel) -> dict[str, Any]:
    return {name: getattr(holder, name) for name in holder.model_fields_set}


def _keys(new: BaseModel | None, stored: Stored, now: float) -> Sequence[KeyConfig]:
    """Return the key, and the one before a rotation while it is still good."""
    if not isinstance(new, KeyConfig):
        return ()
    until = stored.replaced_until
    if stored.replaced_sha256 is None or until is None or now >= until:
        return (new,)
    settings = _given(new)
    for name in ("id", "key_sha256"):
        del settings[name]
    own = settings.pop("expires", None)
    old = KeyConfig.model_construct(
        id=stored.id,
        key_sha256=stored.replaced_sha256,
        expires=until if own is None else min(own, until),
        **settings,
    )
    return (new, old)
