"""Organizations, teams, users, end users and keys: made, changed, deleted, audited.

Every change and its line in the audit log are one transaction. Everything here blocks.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from extproc.admin.access import Actor
from extproc.admin.changes import Changes
from extproc.admin.entries import (
    KINDS,
    EntryKind,
    Section,
    check_id,
    full_settings,
    of_file,
    view,
    view_of_file,
)
from extproc.admin.errors import Invalid, Missing
from extproc.config.schema import Config
from extproc.db.database import Database
from extproc.db.tables import AuditEntry, Entry, Key

MAX_PAGE: Final = 1000


class Page(msgspec.Struct, frozen=True):
    """Some of the entries, and where the next ones begin."""

    data: list[dict[str, Any]]
    next: str | None
    """The ``after`` of the next page; None: there is none."""


class Directory:
    """All entries, those of ``gateway.yaml`` among them.

    Args:
        database: migrated.
        config: returns ``gateway.yaml`` as it is served now.
        clock: Unix seconds.
        changed: called after every change, from whatever thread made it.
        random: returns so many random bytes.
    """

    def __init__(
        self,
        database: Database,
        *,
        config: Callable[[], Config],
        clock: Callable[[], float],
        changed: Callable[[], None],
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._database = database
        self._config = config
        self._clock = clock
        self._changed = changed
        self._random = random

    def page(
        self,
        section: Section,
        *,
        after: str = "",
        limit: int = 100,
        owner: Mapping[str, str] | None = None,
        text: str = "",
        tag: str | None = None,
        blocked: bool | None = None,
    ) -> Page:
        """Return entries by id, those after `after`.

        Args:
            section: which kind.
            after: an id; the entry itself is not in the page.
            limit: how many at most.
            owner: only those of this ``organization``, ``team``, ``user``.
            text: only those with this in their id.
            tag: only those with this tag.
            blocked: only those that are blocked, or that are not.
        """
        kind, limit = KINDS[section], max(1, min(limit, MAX_PAGE))

        def wanted(entry: dict[str, Any]) -> bool:
            return (
                text.lower() in entry["id"].lower()
                and all(entry.get(f) == value for f, value in (owner or {}).items())
                and (tag is None or tag in entry.get("tags", ()))
                and (blocked is None or bool(entry.get("blocked")) is blocked)
            )

        file = {
            id_: view_of_file(id_, settings)
            for id_, settings in of_file(self._config(), section).items()
        }
        views = [said for id_, said in file.items() if id_ > after and wanted(said)]
        with self._database.read() as session:
            for row in _rows(session, kind, after, owner or {}):
                found = view(kind, row)
                if row.id not in file and wanted(found):
                    views.append(found)
                    if len(views) > limit + len(file):
                        break
        views.sort(key=lambda entry: entry["id"])
        more = len(views) > limit
        return Page(views[:limit], views[limit - 1]["id"] if more else None)

    def get(self, section: Section, id_: str) -> dict[str, Any]:
        """Return one entry.

        Raises:
            Missing: there is none of this id.
        """
        settings = of_file(self._config(), section).get(id_)
        if settings is not None:
            return view_of_file(id_, settings)
        kind = KINDS[section]
        with self._database.read() as session:
            row = session.get(kind.table, id_)
        if row is None:
            raise Missing(f"There is no {kind.noun} {id_[:200]!r}.")
        return view(kind, row)

    def find_key(self, key: str) -> str | None:
        """Return the id of a key that is given by itself, by its hash or by its id."""
        digest = key if _is_hash(key) else hashlib.sha256(key.encode()).hexdigest()
        for found in self._config().keys:
            secret = found.key.get_secret_value() if found.key else ""
            known = found.key_sha256 or hashlib.sha256(secret.encode()).hexdigest()
            if known.lower() == digest or found.id == key:
                return found.id
        question = sa.select(Key.id).where(sa.or_(Key.sha256 == digest, Key.id == key))
        with self._database.read() as session:
            return session.scalars(question).first()

    def create(
        self,
        section: Section,
        settings: Mapping[str, Any],
        actor: Actor,
        *,
        id_: str | None = None,
    ) -> dict[str, Any]:
        """Make an entry; of a key, the answer alone has the ``key`` itself.

        Raises:
            Invalid: the settings, or who they name, cannot be.
            InTheWay: the id is taken.
            NotAllowed: the actor may not.
        """
        with self._changes(actor) as changes:
            return changes.create(KINDS[section], settings, id_)

    def update(
        self, section: Section, id_: str, changes: Mapping[str, Any], actor: Actor
    ) -> dict[str, Any]:
        """Change what `changes` names; null takes a field away (RFC 7396).

        Raises:
            Missing: there is none of this id.
            Invalid: what comes of it cannot be.
            InTheWay: it stands in ``gateway.yaml``.
            NotAllowed: the actor may not.
        """
        with self._changes(actor) as made:
            return made.update(KINDS[section], id_, changes)

    def delete(self, section: Section, id_: str, actor: Actor) -> None:
        """Delete an entry; what it spent stays in the books.

        Raises:
            Missing: there is none of this id.
            InTheWay: something else belongs to it, or it stands in ``gateway.yaml``.
            NotAllowed: the actor may not.
        """
        with self._changes(actor) as changes:
            changes.delete(KINDS[section], id_)

    def rotate(self, id_: str, grace: float, actor: Actor) -> dict[str, Any]:
        """Give a key a new secret; the old one is good for `grace` more seconds.

        Raises:
            Missing: there is no such key.
            Invalid: the grace is not between 0 and 30 days.
            NotAllowed: the actor may not.
        """
        with self._changes(actor) as changes:
            return changes.rotate(id_, grace)

    def bulk(
        self, section: Section, operations: Sequence[Mapping[str, Any]], actor: Actor
    ) -> list[dict[str, Any]]:
        """Carry out all of `operations`, or none.

        Each is ``{"create": {…}}``, ``{"update": ID, "set": {…}}`` or
        ``{"delete": ID}``.

        Raises:
            AdminError: one cannot be carried out; ``param`` says which.
        """
        kind = KINDS[section]
        results: list[dict[str, Any]] = []
        with self._changes(actor) as changes:
            for i, operation in enumerate(operations):
                match operation:
                    case {"create": dict(settings), **rest} if not rest:
                        named = {k: v for k, v in settings.items() if k != "id"}
                        made = changes.create(kind, named, settings.get("id"))
                    case {"update": str(id_), "set": dict(patch), **rest} if not rest:
                        made = changes.update(kind, id_, patch)
                    case {"delete": str(id_), **rest} if not rest:
                        changes.delete(kind, id_)
                        made = {"id": id_, "deleted": True}
                    case _:
                        raise Invalid(
                            'must be {"create": {…}}, {"update": ID, "set": {…}} or '
                            '{"delete": ID}.',
                            param=f"[{i}]",
                        )
                results.append(made)
        return results

    def audit(
        self, *, before: int | None = None, limit: int = 100, **narrow: str | None
    ) -> list[dict[str, Any]]:
        """Return changes, the newest first, those before the number `before`.

        `narrow` is what the ``actor``, ``action``, ``kind`` or ``subject`` must be.
        """
        question = sa.select(AuditEntry).order_by(AuditEntry.id.desc())
        if before is not None:
            question = question.where(AuditEntry.id < before)
        for field, value in narrow.items():
            if value is not None:
                question = question.where(getattr(AuditEntry, field) == value)
        with self._database.read() as session:
            found = session.scalars(question.limit(max(1, min(limit, MAX_PAGE))))
            return [
                {
                    "id": entry.id, "at": entry.at, "actor": entry.actor,
                    "role": entry.role, "action": entry.action, "kind": entry.kind,
                    "subject": entry.subject, "before": entry.before,
                    "after": entry.after,
                }
                for entry in found
            ]  # fmt: skip

    def export(self) -> dict[str, list[dict[str, Any]]]:
        """Return all that the database has; keys as their hashes."""
        out: dict[str, list[dict[str, Any]]] = {}
        with self._database.read() as session:
            for kind in KINDS.values():
                rows = session.scalars(sa.select(kind.table).order_by(kind.table.id))
                out[kind.section] = [
                    {"id": row.id, **full_settings(kind, row), **_hashes(row)}
                    for row in rows
                ]
        return out

    def import_(self, content: Mapping[str, Any], actor: Actor) -> dict[str, int]:
        """Add what `export` returned; what exists already is left as it is.

        Returns:
            How many of each were added.

        Raises:
            Invalid: something in it cannot be; nothing is added then.
        """
        actor.must("import")
        for section in content:
            if section not in KINDS:
                raise Invalid(f"There is no {section!r} to import.", param=section)
        added: dict[str, int] = {}
        with self._changes(actor) as changes:
            for kind in KINDS.values():  # owners come first
                added[kind.section] = 0
                for settings in _exported(content, kind):
                    id_ = check_id(kind, str(settings.pop("id", "")))
                    hashes: dict[str, Any] = {
                        field: settings.pop(field)
                        for field in ("sha256", "prefix")
                        if kind.table is Key and field in settings
                    }
                    if not changes.exists(kind, id_):
                        changes.create(kind, settings, id_, hashes=hashes)
                        added[kind.section] += 1
        return added

    @contextlib.contextmanager
    def _changes(self, actor: Actor) -> Iterator[Changes]:
        with self._database.write_alone() as session:
            yield Changes(
                session,
                self._config(),
                actor,
                now=self._clock(),
                random=self._random,
            )
        self._changed()


def _exported(content: Mapping[str, Any], kind: EntryKind) -> Iterator[dict[str, Any]]:
    entries = content.get(kind.section, [])
    if not isinstance(entries, list):
        raise Invalid(f"{kind.section} must be a list.", param=kind.section)
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            place = f"{kind.section}[{number}]"
            raise Invalid(f"{place} must be an object.", param=place)
        yield dict(entry)


def _is_hash(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None


def _rows(
    session: Session, kind: EntryKind, after: str, owner: Mapping[str, str]
) -> Iterator[Entry]:
    """Yield the entries after the id `after`, read in pieces: most ask for few."""
    question = sa.select(kind.table).order_by(kind.table.id).limit(MAX_PAGE)
    for field, value in owner.items():
        if field in kind.owners:
            question = question.where(getattr(kind.table, field) == value)
    while True:
        rows = session.scalars(question.where(kind.table.id > after)).all()
        yield from rows
        if len(rows) < MAX_PAGE:
            return
        after = rows[-1].id


def _hashes(row: object) -> dict[str, str]:
    return {"sha256": row.sha256, "prefix": row.prefix} if isinstance(row, Key) else {}
