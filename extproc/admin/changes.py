"""Changes to entries, each with its line in the audit log, in one transaction."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from extproc.admin.access import Actor
from extproc.admin.entries import (
    KINDS,
    EntryKind,
    Section,
    Settings,
    check_id,
    check_settings,
    full_settings,
    of_file,
    said,
    view,
)
from extproc.admin.errors import InTheWay, Invalid, Missing
from extproc.config import standing
from extproc.config.schema import Config
from extproc.config.subjects import PREFIX_LENGTH
from extproc.config.tenancy import Allowed
from extproc.db.tables import AuditEntry, Entry, Key
from extproc.redact import SECRETS, Redactor

KEY_BYTES: Final = 32
"""256 random bits: a plain hash of a key says nothing of it."""
MAX_GRACE_SECONDS: Final = 30 * 86_400
"""How long a key may live on after its rotation."""

_PLURAL: Final[dict[str, Section]] = {
    "organization": "organizations",
    "team": "teams",
    "user": "users",
}
_NAMED: Final[dict[Section, str]] = {
    "end_users": "the application's own",
    "limits": "what they stand on",
    "prices": "the model",
}
"""Whose ids nobody can make up."""
_redactor = Redactor(SECRETS)


class Changes:
    """What one actor changes in one transaction.

    Args:
        session: of the transaction.
        config: ``gateway.yaml`` as it is served now.
        actor: who changes.
        now: Unix seconds.
        random: returns so many random bytes.
    """

    def __init__(
        self,
        session: Session,
        config: Config,
        actor: Actor,
        *,
        now: float,
        random: Callable[[int], bytes],
    ) -> None:
        self._session = session
        self._config = config
        self._actor = actor
        self._now = now
        self._random = random

    def create(
        self,
        kind: EntryKind,
        settings: Mapping[str, Any],
        id_: object = None,
        *,
        hashes: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """See `Directory.create`; a key with `hashes` has been made elsewhere."""
        self._allow(kind, settings)
        if id_ is None:
            if kind.section in _NAMED:
                raise Invalid(f"id is missing: {_NAMED[kind.section]}.", param="id")
            id_ = f"{kind.noun}-{self._random(8).hex()}"
        id_ = check_id(kind, id_)
        if kind.section == "limits" and not standing.exists(self._config, id_):
            raise Invalid(
                "id must be global, model/NAME or deployment/PROVIDER/MODEL, as "
                "gateway.yaml has them.",
                param="id",
            )
        if self.exists(kind, id_):
            raise InTheWay(f"There is a {kind.noun} {id_!r} already.", param="id")
        row = kind.table(id=id_, created_at=self._now, updated_at=self._now)
        self._say(kind, row, merged({}, settings))
        secret: dict[str, Any] = {}
        if isinstance(row, Key):
            if hashes:
                row.sha256 = self._unused(_checked_hash(hashes))
                row.prefix = str(hashes.get("prefix", ""))[:16]
            else:
                secret = {"key": self._new_secret(row)}
        self._session.add(row)
        # The next one of the same transaction must find it.
        self._session.flush()
        after = view(kind, row)
        self._note("create", kind, None, after)
        return {**after, **secret}

    def update(
        self, kind: EntryKind, id_: str, changes: Mapping[str, Any]
    ) -> dict[str, Any]:
        """See `Directory.update`."""
        row = self._row(kind, id_)
        before = view(kind, row)
        settings = merged(full_settings(kind, row), changes)
        # Neither may it be above the actor now, nor become so.
        self._allow(kind, row.settings)
        self._allow(kind, settings)
        self._say(kind, row, settings)
        row.updated_at = self._now
        after = view(kind, row)
        self._note("update", kind, before, after)
        return after

    def delete(self, kind: EntryKind, id_: str) -> None:
        """See `Directory.delete`."""
        row = self._row(kind, id_)
        self._allow(kind, row.settings)
        self._not_needed(kind, id_)
        self._note("delete", kind, view(kind, row), None)
        self._session.delete(row)
        self._session.flush()

    def rotate(self, id_: str, grace: float) -> dict[str, Any]:
        """See `Directory.rotate`."""
        if not 0 <= grace <= MAX_GRACE_SECONDS:
            raise Invalid("grace must be 0 to 2592000 seconds.", param="grace")
        kind = KINDS["keys"]
        row = self._row(kind, id_)
        self._allow(kind, row.settings)
        assert isinstance(row, Key)  # noqa: S101  the kind says so
        before = view(kind, row)
        row.replaced_sha256 = row.sha256 if grace else None
        row.replaced_until = self._now + grace if grace else None
        key = self._new_secret(row)
        row.updated_at = self._now
        after = view(kind, row)
        self._note("rotate", kind, before, after)
        return {**after, "key": key}

    def _unused(self, sha256: str) -> str:
        """Return `sha256`, if no other key is that of this hash.

        Raises:
            InTheWay: one is.
        """
        has = self._session.scalar(select(Key.id).where(Key.sha256 == sha256))
        if has is not None:
            raise InTheWay(f"The key {has!r} has this hash already.", param="sha256")
        return sha256

    def exists(self, kind: EntryKind, id_: str) -> bool:
        """Say whether there is such an entry, here or in ``gateway.yaml``."""
        return (
            id_ in of_file(self._config, kind.section)
            or self._session.get(kind.table, id_) is not None
        )

    def _row(self, kind: EntryKind, id_: str) -> Entry:
        if id_ in of_file(self._config, kind.section):
            raise InTheWay(
                f"The {kind.noun} {id_!r} stands in gateway.yaml and is changed there."
            )
        row = self._session.get(kind.table, id_)
        if row is None:
            raise Missing(f"There is no {kind.noun} {id_[:200]!r}.")
        return row

    def _allow(self, kind: EntryKind, settings: Mapping[str, Any]) -> None:
        if kind.section != "keys":
            self._actor.must("change")
        elif settings.get("role", "member") == "member":
            self._actor.must("change_keys")
        else:
            self._actor.must("change_staff")

    def _say(self, kind: EntryKind, row: Entry, settings: Mapping[str, Any]) -> None:
        """Write checked settings into `row`."""
        form = check_settings(kind, settings)
        if isinstance(form, Allowed):
            self._needs_store(form)
        own = said(form)
        for field in kind.owners:
            owner = own.pop(field, None)
            if owner is not None and not self.exists(KINDS[_PLURAL[field]], owner):
                raise Invalid(f"There is no {field} {owner!r}.", param=field)
            setattr(row, field, owner)
        row.settings = own

    def _needs_store(self, form: Allowed) -> None:
        config = self._config
        if form.allowance and config.workers > 1 and config.accounting.store is None:
            raise Invalid(
                "Limits and budgets are kept in the memory of one worker: more workers "
                "need accounting.store (redis://…) in gateway.yaml."
            )

    def _not_needed(self, kind: EntryKind, id_: str) -> None:
        for other in KINDS.values():
            if kind.noun not in other.owners:
                continue
            owner = getattr(other.table, kind.noun)
            found = self._session.scalars(
                select(other.table.id).where(owner == id_).limit(1)
            ).first()
            if found is None:
                file = of_file(self._config, other.section)
                having = (i for i, said in file.items() if said.get(kind.noun) == id_)
                found = next(having, None)
            if found is not None:
                raise InTheWay(
                    f"The {kind.noun} {id_!r} still has the {other.noun} {found!r}."
                )

    def _new_secret(self, row: Key) -> str:
        text = base64.urlsafe_b64encode(self._random(KEY_BYTES)).rstrip(b"=")
        key = f"sk-{text.decode()}"
        row.sha256 = hashlib.sha256(key.encode()).hexdigest()
        row.prefix = key[:PREFIX_LENGTH]
        return key

    def _note(
        self,
        action: str,
        kind: EntryKind,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:
        self._session.add(
            AuditEntry(
                at=self._now,
                actor=self._actor.id,
                role=self._actor.role,
                action=action,
                kind=kind.section,
                subject=(after or before or {})["id"],
                before=None if before is None else _redactor.fields(before),
                after=None if after is None else _redactor.fields(after),
            )
        )


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> Settings:
    """Return `settings` with `changes` in it: a merge patch (RFC 7396)."""
    out = dict(settings)
    for field, value in changes.items():
        if value is None:
            out.pop(field, None)
        elif isinstance(value, Mapping):
            old = out.get(field)
            out[field] = merged(old if isinstance(old, Mapping) else {}, value)
        else:
            out[field] = value
    return out


def _checked_hash(hashes: Mapping[str, str]) -> str:
    digest = str(hashes.get("sha256", "")).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise Invalid("sha256 is not the hash of a key.", param="sha256")
    return digest
