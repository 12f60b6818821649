"""The command line's way to keys, their owners and the books.

Over the admin API of a running gateway (``--url``, its key in ``EXTPROC_KEY``), else in
the database itself, which a gateway on the same machine notices within a second.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, cast
from urllib.parse import quote

import httpx
import msgspec
import yaml
from sqlalchemy.exc import SQLAlchemyError

from extproc.admin import spending
from extproc.admin.access import MACHINE
from extproc.admin.budgets import Booked, budgets
from extproc.admin.directory import Directory
from extproc.admin.entries import Section, read_entries, with_entries
from extproc.admin.errors import AdminError
from extproc.admin.routes import read_dimensions
from extproc.config.build import build
from extproc.config.load import ConfigError, autoconfig, load
from extproc.config.schema import Config
from extproc.db.database import Database
from extproc.db.usage import Filter
from extproc.server.registry import open_database

KEY_VARIABLE: Final = "EXTPROC_KEY"
SECONDS: Final = 30.0
"""For one answer of the admin API."""


class CannotDo(Exception):
    """The message is one sentence for the user."""


class Gateway(Protocol):
    """What operators do, wherever it is done. Entries are as the admin API has them."""

    def entries(self, section: Section, **narrow: str) -> Iterator[dict[str, Any]]:
        """Yield all entries that match."""

    def get(self, section: Section, id_: str) -> dict[str, Any]:
        """Return one entry."""

    def create(
        self, section: Section, id_: str | None, settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Make an entry."""

    def update(
        self, section: Section, id_: str, changes: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Change an entry; None takes a field away."""

    def delete(self, section: Section, id_: str) -> None:
        """Delete an entry."""

    def rotate(self, id_: str, grace: float) -> dict[str, Any]:
        """Give a key a new secret."""

    def spend(self, by: str, **where: str) -> list[dict[str, Any]]:
        """Add up what was spent."""

    def budgets(self, **narrow: str) -> Iterator[dict[str, Any]]:
        """Yield how each budget stands; of one ``kind``, with ``text`` in its id."""


@contextlib.contextmanager
def gateway(
    url: str | None, *, state: Path, config: Path | None, environ: Mapping[str, str]
) -> Iterator[Gateway]:
    """Give the gateway at `url`, else the database of `state`.

    Raises:
        CannotDo: it cannot be reached, or refuses.
    """
    try:
        if url is not None:
            key = environ.get(KEY_VARIABLE)
            if not key:
                raise CannotDo(f"Put a key with a role into {KEY_VARIABLE}.")
            with httpx.Client(
                base_url=url.rstrip("/") + "/admin/v1",
                headers={"authorization": f"Bearer {key}"},
                timeout=SECONDS,
            ) as http:
                yield Remote(http)
        else:
            with contextlib.closing(open_database(state, environ)) as database:
                database.migrate()
                yield Local(database, _config(config, environ))
    except AdminError as error:
        raise CannotDo(error.message) from None
    except httpx.HTTPError as error:
        raise CannotDo(f"The gateway cannot be reached: {error}.") from None
    except (SQLAlchemyError, OSError) as error:
        reason = type(getattr(error, "orig", None) or error).__name__
        raise CannotDo(f"The database cannot be used: {reason}.") from None


class Remote:
    """A running gateway."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def entries(self, section: Section, **narrow: str) -> Iterator[dict[str, Any]]:
        """See `Gateway`."""
        after: str | None = ""
        while after is not None:
            query = {**narrow, "after": after, "limit": "1000"}
            page = self._ask("GET", f"/{section}", params=query)
            yield from page["data"]
            after = page["next"]

    def get(self, section: Section, id_: str) -> dict[str, Any]:
        """See `Gateway`."""
        return self._ask("GET", _path(section, id_))

    def create(
        self, section: Section, id_: str | None, settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        """See `Gateway`."""
        named = {} if id_ is None else {"id": id_}
        return self._ask("POST", f"/{section}", json={**settings, **named})

    def update(
        self, section: Section, id_: str, changes: Mapping[str, Any]
    ) -> dict[str, Any]:
        """See `Gateway`."""
        return self._ask("PATCH", _path(section, id_), json=changes)

    def delete(self, section: Section, id_: str) -> None:
        """See `Gateway`."""
        self._ask("DELETE", _path(section, id_))

    def rotate(self, id_: str, grace: float) -> dict[str, Any]:
        """See `Gateway`."""
        path = _path("keys", id_) + "/rotate"
        return self._ask("POST", path, json={"grace": grace})

    def spend(self, by: str, **where: str) -> list[dict[str, Any]]:
        """See `Gateway`."""
        found = self._ask("GET", "/spend", params={"by": by, **where})
        return cast("list[dict[str, Any]]", found["data"])

    def budgets(self, **narrow: str) -> Iterator[dict[str, Any]]:
        """See `Gateway`."""
        offset: int | None = 0
        while offset is not None:
            query = {**narrow, "offset": str(offset), "limit": "1000"}
            page = self._ask("GET", "/budgets", params=query)
            yield from page["data"]
            offset = page["next"]

    def _ask(self, method: str, path: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
        answer = self._http.request(method, path, **more)
        if answer.is_success:
            return msgspec.json.decode(answer.content or b"{}", type=dict[str, Any])
        try:
            message = answer.json()["error"]["message"]
        except (ValueError, LookupError, TypeError):
            message = f"The gateway answered {answer.status_code}."
        raise CannotDo(message)


class Local:
    """The database itself."""

    def __init__(self, database: Database, config: Callable[[], Config]) -> None:
        self._config = config
        self._database = database
        self._directory = Directory(
            self._database,
            config=config,
            clock=time.time,  # noqa: TID251  the command line owns the clock
            changed=lambda: None,
        )

    def entries(self, section: Section, **narrow: str) -> Iterator[dict[str, Any]]:
        """See `Gateway`."""
        after: str | None = ""
        owner = {
            k: v for k, v in narrow.items() if k in {"organization", "team", "user"}
        }
        while after is not None:
            page = self._directory.page(
                section,
                after=after,
                limit=1000,
                owner=owner,
                text=narrow.get("text", ""),
                tag=narrow.get("tag"),
            )
            yield from page.data
            after = page.next

    def get(self, section: Section, id_: str) -> dict[str, Any]:
        """See `Gateway`."""
        return self._directory.get(section, id_)

    def create(
        self, section: Section, id_: str | None, settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        """See `Gateway`."""
        return self._directory.create(section, settings, MACHINE, id_=id_)

    def update(
        self, section: Section, id_: str, changes: Mapping[str, Any]
    ) -> dict[str, Any]:
        """See `Gateway`."""
        return self._directory.update(section, id_, changes, MACHINE)

    def delete(self, section: Section, id_: str) -> None:
        """See `Gateway`."""
        self._directory.delete(section, id_, MACHINE)

    def rotate(self, id_: str, grace: float) -> dict[str, Any]:
        """See `Gateway`."""
        return self._directory.rotate(id_, grace, MACHINE)

    def spend(self, by: str, **where: str) -> list[dict[str, Any]]:
        """See `Gateway`."""
        told: dict[str, Any] = dict(where)
        for name in ("since", "until"):
            told[name] = spending.moment(where.get(name), name)
        narrowed = msgspec.convert(told, Filter)
        return spending.spend(self._database, read_dimensions(by), narrowed)

    def budgets(self, **narrow: str) -> Iterator[dict[str, Any]]:
        """See `Gateway`; what is reserved only a running gateway knows."""
        now = time.time()  # noqa: TID251  the command line owns the clock
        with self._database.read() as session:
            entries = read_entries(session)
        config = with_entries(self._config(), entries, now=now)
        snapshot = build(config, grants=(), generation=1, created=int(now))
        found = budgets(
            snapshot, Booked(self._database), now=now, kind=narrow.get("kind")
        )
        text = narrow.get("text", "").lower()
        yield from (one for one in found if text in one["id"].lower())


def _path(section: Section, id_: str) -> str:
    return f"/{section}/{quote(id_, safe='')}"


def _config(file: Path | None, environ: Mapping[str, str]) -> Callable[[], Config]:
    """Return a reader of what the file, or the environment, says of entries."""

    def read() -> Config:
        try:
            if file is not None:
                return load(file, environ)
            # Of a start without a file no entry stands anywhere but in the database.
            return autoconfig({}, mock_url="http://127.0.0.1:1")
        except ConfigError as error:
            raise CannotDo("\n".join(map(str, error.problems))) from None

    return read


def settings(pairs: list[str]) -> dict[str, Any]:
    """Read ``field=value`` and ``field.inner=value``; a value is YAML, as in the file.

    Raises:
        CannotDo: one of them is not such a pair.
    """
    out: dict[str, Any] = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        *outer, last = name.split(".")
        if not sign or not last:
            raise CannotDo(f"{pair!r} is not FIELD=VALUE.")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise CannotDo(f"{name}: {text!r} is not YAML.") from None
        place = out
        for part in outer:
            place = place.setdefault(part, {})
        place[last] = value
    return out
