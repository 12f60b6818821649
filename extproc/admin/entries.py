"""The kinds of entry that ``gateway.yaml`` and the database share.

An entry is written in the words of the file, whichever of the two it is in: one form for
each kind, one place that checks it, and one way from there to the workers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.orm import Session

from extproc.admin.errors import Invalid
from extproc.config.problems import dotted
from extproc.config.schema import Config, KeyConfig
from extproc.config.tenancy import (
    Allowed,
    EndUserConfig,
    KeyHolder,
    Name,
    OrganizationConfig,
    TeamConfig,
    UserConfig,
)
from extproc.db.tables import EndUser, Entry, Key, Organization, Team, User

Section = Literal["organizations", "teams", "users", "end_users", "keys"]
Settings = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class EntryKind:
    """One kind of entry."""

    section: Section
    """Its name in the file, in the database and in URLs."""
    noun: str
    table: type[Entry]
    form: type[Allowed]
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
    )
}

_NAME: Final[TypeAdapter[str]] = TypeAdapter(Name)


def check_id(kind: EntryKind, id_: str) -> str:
    """Return `id_`, if an entry may be called so.

    Raises:
        Invalid: it may not.
    """
    if kind.section == "end_users":
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


def check_settings(kind: EntryKind, settings: Mapping[str, Any]) -> Allowed:
    """Return what `settings` say, read as strictly as the file is.

    Raises:
        Invalid: the first thing that is wrong, by its place.
    """
    try:
        # In JSON mode a strict model takes lists for tuples.
        return kind.form.model_validate_json(msgspec.json.encode(settings))
    except ValidationError as exc:
        error = exc.errors(include_url=False, include_input=False)[0]
        place = dotted(error["loc"])
        message = error["msg"].removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            known = ", ".join(kind.form.model_fields)
            message = f"there is no such field; there are {known}"
        raise Invalid(f"{place}: {message}.", param=place) from None


def of_file(config: Config, section: Section) -> dict[str, Settings]:
    """Return the entries that ``gateway.yaml`` has, in its own words."""
    found: Mapping[str, Allowed]
    if section == "keys":
        found = {key.id: key for key in config.keys}
    else:
        found = getattr(config, section)
    return {id_: said(entry) for id_, entry in found.items()}


def said(entry: Allowed) -> Settings:
    """Return what was said of an entry, and nothing that is so anyway or is secret."""
    return entry.model_dump(
        mode="json",
        exclude_unset=True,
        exclude={"id", "key", "key_sha256"},
    )


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


def with_database(config: Config, session: Session, *, now: float) -> Config:
    """Return `config` as if the database's entries stood in it.

    What is in both is the file's. An entry that this version cannot read any more is left
    out, which for a key means that it opens nothing.
    """
    update: dict[str, Any] = {}
    for kind in KINDS.values():
        rows = session.scalars(sa.select(kind.table).order_by(kind.table.id)).all()
        taken = of_file(config, kind.section)
        new = [row for row in rows if row.id not in taken]
        if kind.section == "keys":
            keys = [key for row in new for key in _keys(kind, row, now)]
            update["keys"] = (*config.keys, *keys)
        elif new:
            entries = {row.id: _read(kind, row) for row in new}
            update[kind.section] = {
                **{id_: entry for id_, entry in entries.items() if entry is not None},
                **getattr(config, kind.section),
            }
    return config.model_copy(update=update)


def _read(kind: EntryKind, row: Entry) -> Allowed | None:
    try:
        return check_settings(kind, full_settings(kind, row))
    except Invalid:
        return None


def _keys(kind: EntryKind, row: Entry, now: float) -> Sequence[KeyConfig]:
    """Return the key, and the one before a rotation while it is still good."""
    holder = _read(kind, row)
    if holder is None or not isinstance(row, Key):
        return ()
    settings = {
        name: getattr(holder, name) for name in holder.model_fields_set
    }  # no dump: it is checked already
    keys = [KeyConfig.model_construct(id=row.id, key_sha256=row.sha256, **settings)]
    until = row.replaced_until
    if row.replaced_sha256 is not None and until is not None and now < until:
        own = settings.get("expires")
        settings["expires"] = until if own is None else min(own, until)
        old = row.replaced_sha256
        keys.append(KeyConfig.model_construct(id=row.id, key_sha256=old, **settings))
    return keys
