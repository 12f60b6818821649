"""The routes of LiteLLM's proxy that scripts use most, over this gateway's own entries.

https://docs.litellm.ai/docs/proxy/virtual_keys and the pages beside it. What such a
request says that has no meaning here is left out and named in ``x-extproc-dropped``,
where that changes nothing that the caller could rely on; what restricts somebody and is
not known here is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends
from fastapi.responses import Response

from extproc.admin import litellm_words as words, spending
from extproc.admin.access import Actor
from extproc.admin.entries import Section
from extproc.admin.errors import Invalid, Missing
from extproc.admin.http import Admin, JsonObject, allowed, json
from extproc.db.usage import Dimension, Filter

Entry = dict[str, Any]


def routes(admin: Admin, clock: Callable[[], float]) -> APIRouter:
    """Return the routes; `clock` is in Unix seconds."""
    router = APIRouter(tags=["LiteLLM"])
    shop = _Shop(admin, clock)
    _keys(router, shop)
    _owners(router, shop, "teams", "team")
    _owners(router, shop, "users", "user")
    _spend(router, shop)
    return router


class _Shop:
    """What the routes share."""

    def __init__(self, admin: Admin, clock: Callable[[], float]) -> None:
        self.directory = admin.directory
        self.database = admin.database
        self.clock = clock
        self.reader = allowed(admin, "read")
        self.writer = allowed(admin, "change_keys")

    def find_key(self, key: str) -> str:
        """Return the id of a key, named by itself, by its id or by its hash."""
        id_ = self.directory.find_key(key)
        if id_ is None:
            raise Missing("There is no such key.", param="key")
        return id_

    def spent(self, dimension: Dimension) -> dict[str | None, Decimal]:
        """Return what each of a kind has spent, ever."""
        groups = spending.spend(self.database, [dimension], Filter())
        return {group[dimension]: group["cost_usd"] for group in groups}

    def all(self, section: Section, **owner: str) -> list[Entry]:
        """Return all entries of a kind."""
        found: list[Entry] = []
        after: str | None = ""
        while after is not None:
            page = self.directory.page(section, after=after, limit=1000, owner=owner)
            found += page.data
            after = page.next
        return found


def _keys(router: APIRouter, shop: _Shop) -> None:
    directory, reader, writer = shop.directory, shop.reader, shop.writer

    @router.post("/key/generate", summary="Make a key")
    def generate(asked: JsonObject, actor: Actor = writer) -> Response:
        said = words.read("keys", asked, now=shop.clock())
        made = directory.create("keys", said.settings, actor, id_=said.id)
        return _answer(_key(made, Decimal(0)), said.dropped)

    @router.post("/key/update", summary="Change a key")
    def update(asked: JsonObject, actor: Actor = writer) -> Response:
        id_ = shop.find_key(_text(asked, "key"))
        said = words.read("keys", asked, now=shop.clock())
        changed = directory.update("keys", id_, said.settings, actor)
        return _answer(_key(changed, shop.spent("key").get(id_)), said.dropped)

    @router.post("/key/delete", summary="Delete keys")
    def delete(asked: JsonObject, actor: Actor = writer) -> Response:
        names = [*_texts(asked, "keys"), *_texts(asked, "key_aliases")]
        ids = [shop.find_key(name) for name in names]
        directory.bulk("keys", [{"delete": id_} for id_ in ids], actor)
        return json({"deleted_keys": names})

    def block(path: str, *, blocked: bool) -> None:
        @router.post(path, summary="Block a key or let it in again")
        def switch(asked: JsonObject, actor: Actor = writer) -> Response:
            id_ = shop.find_key(_text(asked, "key"))
            changed = directory.update("keys", id_, {"blocked": blocked}, actor)
            return json(_key(changed, shop.spent("key").get(id_)))

    block("/key/block", blocked=True)
    block("/key/unblock", blocked=False)

    @router.post("/key/regenerate", summary="Give a key a new secret")
    def regenerate(asked: JsonObject, actor: Actor = writer) -> Response:
        return _regenerated(shop, _text(asked, "key"), asked, actor)

    @router.post("/key/{key}/regenerate", summary="Give a key a new secret")
    def regenerate_named(
        key: str, asked: JsonObject, actor: Actor = writer
    ) -> Response:
        return _regenerated(shop, key, asked, actor)

    @router.get("/key/info", summary="Show a key")
    def info(key: str | None = None, actor: Actor = reader) -> Response:
        id_ = actor.id if key is None else shop.find_key(key)
        found = directory.get("keys", id_)
        return json({"key": key, "info": _key(found, shop.spent("key").get(id_))})

    @router.get("/key/list", summary="List keys")
    def list_(
        *,
        user_id: str | None = None,
        team_id: str | None = None,
        page: int = 1,
        size: int = 100,
        return_full_object: bool = False,
        actor: Actor = reader,  # noqa: ARG001
    ) -> Response:
        owner = {"user": user_id, "team": team_id}
        given = {field: id_ for field, id_ in owner.items() if id_ is not None}
        found = shop.all("keys", **given)
        size = max(1, min(size, 1000))
        shown = found[(max(page, 1) - 1) * size :][:size]
        spent = shop.spent("key") if return_full_object else {}
        keys = [
            _key(key, spent.get(key["id"])) if return_full_object else key["id"]
            for key in shown
        ]
        return json(
            {
                "keys": keys,
                "total_count": len(found),
                "current_page": page,
                "total_pages": -(-len(found) // size),
            }
        )


def _regenerated(shop: _Shop, key: str, asked: Entry, actor: Actor) -> Response:
    grace = words.seconds(asked.get("grace_period") or 0, "grace_period")
    made = shop.directory.rotate(shop.find_key(key), grace, actor)
    return json(_key(made, shop.spent("key").get(made["id"])))


def _owners(
    router: APIRouter, shop: _Shop, section: Section, dimension: Dimension
) -> None:
    directory, reader, writer = shop.directory, shop.reader, shop.writer
    noun, field = dimension, f"{dimension}_id"

    @router.post(f"/{noun}/new", summary=f"Make a {noun}")
    def new(asked: JsonObject, actor: Actor = writer) -> Response:
        said = words.read(section, asked, now=shop.clock())
        made = directory.create(section, said.settings, actor, id_=said.id)
        answer = _owner(made, field, Decimal(0))
        # LiteLLM gives a new user a key, unless told otherwise.
        if section == "users" and asked.get("auto_create_key", True):
            key = directory.create("keys", {"user": made["id"]}, actor)
            answer |= {"key": key["key"], "token_id": key["id"]}
        return _answer(answer, said.dropped)

    @router.post(f"/{noun}/update", summary=f"Change a {noun}")
    def update(asked: JsonObject, actor: Actor = writer) -> Response:
        id_ = _text(asked, field)
        said = words.read(section, asked, now=shop.clock())
        changed = directory.update(section, id_, said.settings, actor)
        return _answer(
            {"data": _owner(changed, field, shop.spent(dimension).get(id_))},
            said.dropped,
        )

    @router.post(f"/{noun}/delete", summary=f"Delete {section}, and their keys")
    def delete(asked: JsonObject, actor: Actor = writer) -> Response:
        ids = _texts(asked, f"{field}s")
        for id_ in ids:
            keys = shop.all("keys", **{dimension: id_})
            directory.bulk("keys", [{"delete": key["id"]} for key in keys], actor)
        directory.bulk(section, [{"delete": id_} for id_ in ids], actor)
        return json({f"deleted_{section}": ids})

    @router.get(f"/{noun}/info", summary=f"Show a {noun} and its keys")
    def info(
        actor: Actor = reader,  # noqa: ARG001
        team_id: str | None = None,
        user_id: str | None = None,
    ) -> Response:
        id_ = team_id if section == "teams" else user_id
        if id_ is None:
            raise Invalid(f"{field} is missing.", param=field)
        found = directory.get(section, id_)
        spent = shop.spent("key")
        keys = shop.all("keys", **{dimension: id_})
        return json(
            {
                field: id_,
                f"{noun}_info": _owner(found, field, shop.spent(dimension).get(id_)),
                "keys": [_key(key, spent.get(key["id"])) for key in keys],
            }
        )

    @router.get(f"/{noun}/list", summary=f"List {section}")
    def list_(actor: Actor = reader) -> Response:  # noqa: ARG001
        spent = shop.spent(dimension)
        found = [
            _owner(entry, field, spent.get(entry["id"])) for entry in shop.all(section)
        ]
        return json(found if section == "teams" else {"users": found})


_REPORTS: Final[Mapping[str, Dimension]] = {
    "team": "team",
    "customer": "end_user",
    "api_key": "key",
    "internal_user": "user",
    "model": "model",
}


def _spend(router: APIRouter, shop: _Shop) -> None:
    reader = shop.reader

    @router.get("/global/spend", summary="What everybody has spent")
    def total(actor: Actor = reader) -> Response:  # noqa: ARG001
        [everything] = spending.spend(shop.database, [], Filter())
        return json({"spend": everything["cost_usd"], "max_budget": None})

    @router.get("/global/spend/report", summary="What was spent, day by day")
    def report(
        actor: Actor = reader,  # noqa: ARG001
        start_date: str | None = None,
        end_date: str | None = None,
        group_by: str = "team",
    ) -> Response:
        dimension = _REPORTS.get(group_by)
        if dimension is None:
            raise Invalid(
                f"group_by must be one of {', '.join(_REPORTS)}.", param="group_by"
            )
        groups = spending.spend(
            shop.database, ["day", dimension], _between(start_date, end_date)
        )
        days: dict[str, list[Entry]] = {}
        for group in sorted(groups, key=lambda group: str(group["day"])):
            days.setdefault(group["day"], []).append(
                {
                    group_by: group[dimension],
                    "total_spend": group["cost_usd"],
                    "total_input_tokens": group["input_tokens"],
                    "total_output_tokens": group["output_tokens"],
                    "total_requests": group["requests"],
                }
            )
        return json(
            [{"group_by_day": day, f"{group_by}s": rows} for day, rows in days.items()]
        )

    def listed(path: str, dimension: Dimension, name: str) -> None:
        @router.get(path, summary=f"What each {name} has spent")
        def each(actor: Actor = reader) -> Response:  # noqa: ARG001
            groups = spending.spend(shop.database, [dimension], Filter())
            return json(
                [
                    {name: group[dimension], "total_spend": group["cost_usd"]}
                    for group in groups
                ]
            )

    listed("/spend/keys", "key", "api_key")
    listed("/spend/users", "user", "user_id")
    listed("/global/spend/models", "model", "model")
    listed("/global/spend/teams", "team", "team_id")
    listed("/global/spend/keys", "key", "api_key")

    @router.get("/global/spend/tags", summary="What was spent under each tag")
    @router.get("/spend/tags", summary="What was spent under each tag")
    def tagged(
        period: Annotated[Filter, Depends(_period)],
        actor: Actor = reader,  # noqa: ARG001
    ) -> Response:
        groups = spending.spend(shop.database, ["tag"], period)
        return json(
            [
                {
                    "individual_request_tag": group["tag"],
                    "log_count": group["requests"],
                    "total_spend": group["cost_usd"],
                }
                for group in groups
                if group["tag"] is not None
            ]
        )

    @router.get("/spend/logs", summary="Requests, the newest first")
    def logs(
        period: Annotated[Filter, Depends(_period)],
        *,
        api_key: str | None = None,
        user_id: str | None = None,
        request_id: str | None = None,
        limit: int = 1000,
        actor: Actor = reader,  # noqa: ARG001
    ) -> Response:
        where = msgspec.structs.replace(
            period, key=shop.find_key(api_key) if api_key else None, user=user_id
        )
        rows, _ = spending.log(shop.database, where, limit=limit)
        return json(
            [
                words.log_line(row)
                for row in rows
                if request_id is None or row["id"] == request_id
            ]
        )


def _period(start_date: str | None = None, end_date: str | None = None) -> Filter:
    return _between(start_date, end_date)


def _between(start: str | None, end: str | None) -> Filter:
    """Read two dates; the last day is within."""
    until = spending.moment(end, "end_date")
    if until is not None and end is not None and len(end) == len("2026-11-25"):
        until += 86_400
    return Filter(since=spending.moment(start, "start_date"), until=until)


def _answer(content: Entry, dropped: tuple[str, ...]) -> Response:
    response = json(content)
    if dropped:
        response.headers["x-extproc-dropped"] = ", ".join(dropped)
    return response


def _key(entry: Entry, spent: Decimal | None) -> Entry:
    said = words.write(entry)
    secret = {"key": entry["key"]} if "key" in entry else {}
    expires = entry.get("expires")
    if isinstance(expires, int | float):
        expires = datetime.fromtimestamp(expires, UTC).isoformat()
    return {
        **secret,
        "token_id": entry["id"],
        "key_alias": entry["id"],
        "key_name": f"{entry.get('prefix', 'sk-')}...",
        "expires": expires,
        "user_id": entry.get("user"),
        "team_id": entry.get("team"),
        "organization_id": entry.get("organization"),
        "spend": spent or Decimal(0),
        **said,
    }


def _owner(entry: Entry, field: str, spent: Decimal | None) -> Entry:
    return {
        field: entry["id"],
        field.replace("_id", "_alias"): entry["id"],
        "organization_id": entry.get("organization"),
        "spend": spent or Decimal(0),
        **words.write(entry),
    }


def _text(asked: Entry, field: str) -> str:
    value = asked.get(field)
    if not isinstance(value, str):
        raise Invalid(f"{field} must be a string.", param=field)
    return value


def _texts(asked: Entry, field: str) -> list[str]:
    value = asked.get(field) or []
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise Invalid(f"{field} must be a list of strings.", param=field)
    return value
