"""``/team/…``, ``/user/…``, ``/organization/…``, ``/customer/…``."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from extproc.admin.access import Actor
from extproc.admin.document import listed, ref, tell
from extproc.admin.entries import Section
from extproc.admin.errors import Invalid
from extproc.admin.http import JsonObject, json
from extproc.admin.litellm import words
from extproc.admin.litellm.members import join
from extproc.admin.litellm.shop import (
    Entry,
    Shop,
    answer,
    show_key,
    text_of,
    texts_of,
)
from extproc.db.usage import Dimension


@dataclasses.dataclass(frozen=True, slots=True)
class Owner:
    """One kind of entry, as LiteLLM's URLs and bodies name it."""

    noun: str
    """In URLs."""
    section: Section
    dimension: Dimension
    field: str
    """Its id in bodies and queries."""
    has_keys: bool = True
    update: str = "POST"
    delete: str = "POST"
    asked: str = ""
    """Its id in the query of ``info``, where that is another."""


OWNERS: Final = (
    Owner("team", "teams", "team", "team_id"),
    Owner("user", "users", "user", "user_id"),
    Owner("organization", "organizations", "organization", "organization_id",
          update="PATCH", delete="DELETE"),
    Owner("customer", "end_users", "end_user", "user_id", has_keys=False,
          asked="end_user_id"),
)  # fmt: skip


def add(router: APIRouter, shop: Shop, owner: Owner) -> None:
    """Add the routes of one kind."""
    _changing(router, shop, owner)
    _reading(router, shop, owner)
    if owner.section == "teams":
        _switch(router, shop, owner, "block", blocked=True)
        _switch(router, shop, owner, "unblock", blocked=False)


def show(entry: Entry, owner: Owner, spent: Decimal | None) -> Entry:
    """Return an entry as LiteLLM shows one."""
    return {
        owner.field: entry["id"],
        owner.field.replace("_id", "_alias"): entry["id"],
        "organization_id": entry.get("organization"),
        "spend": spent or Decimal(0),
        **words.write(entry),
    }


def _changing(router: APIRouter, shop: Shop, owner: Owner) -> None:
    directory, section, field = shop.directory, owner.section, owner.field
    noun, writer = owner.noun, shop.writer
    body = ref("LiteLLMOwnerSettings")

    @router.post(
        f"/{noun}/new",
        summary=f"Make a {noun}",
        openapi_extra=tell(ref("LiteLLMOwner"), body=body),
    )
    def new(actor: Actor = writer, *, asked: JsonObject) -> Response:
        members = asked.pop("members_with_roles", None) or []
        if not isinstance(members, list):
            raise Invalid(
                "members_with_roles must be a list.", param="members_with_roles"
            )
        said = words.read(section, asked, now=shop.clock())
        made = directory.create(section, said.settings, actor, id_=said.id)
        content = show(made, owner, Decimal(0))
        # LiteLLM gives a new user a key, unless told otherwise.
        if section == "users" and asked.get("auto_create_key", True):
            key = directory.create("keys", {"user": made["id"]}, actor)
            content |= {"key": key["key"], "token_id": key["id"]}
        if section == "teams":
            content["members_with_roles"] = join(shop, made["id"], members, actor)
        return answer(content, said.dropped)

    @router.api_route(
        f"/{noun}/update",
        methods=[owner.update],
        summary=f"Change a {noun}",
        openapi_extra=tell(ref("LiteLLMOwnerUpdated"), body=body),
    )
    def update(actor: Actor = writer, *, asked: JsonObject) -> Response:
        id_ = text_of(asked, field)
        said = words.read(section, asked, now=shop.clock(), new=False)
        changed = directory.update(section, id_, said.settings, actor)
        shown = show(changed, owner, shop.spent(owner.dimension).get(id_))
        return answer({field: id_, "data": shown}, said.dropped)

    @router.api_route(
        f"/{noun}/delete",
        methods=[owner.delete],
        summary=f"Delete {section.replace('_', ' ')}, and their keys",
        openapi_extra=tell(ref("LiteLLMDeletedOwners"), body=ref("LiteLLMOwnerNames")),
    )
    def delete(actor: Actor = writer, *, asked: JsonObject) -> Response:
        ids = texts_of(asked, f"{field}s")
        for id_ in ids if owner.has_keys else []:
            keys = shop.all("keys", **{owner.dimension: id_})
            directory.bulk("keys", [{"delete": key["id"]} for key in keys], actor)
        directory.bulk(section, [{"delete": id_} for id_ in ids], actor)
        return json({f"deleted_{noun}s": ids})


def _switch(
    router: APIRouter, shop: Shop, owner: Owner, verb: str, *, blocked: bool
) -> None:
    @router.post(
        f"/{owner.noun}/{verb}",
        summary=f"{verb.capitalize()} a {owner.noun}",
        openapi_extra=tell(ref("LiteLLMOwner"), body=ref("LiteLLMOwnerSettings")),
    )
    def switch(actor: Actor = shop.writer, *, asked: JsonObject) -> Response:
        id_ = text_of(asked, owner.field)
        changed = shop.directory.update(owner.section, id_, {"blocked": blocked}, actor)
        return json(show(changed, owner, shop.spent(owner.dimension).get(id_)))


def _reading(router: APIRouter, shop: Shop, owner: Owner) -> None:
    directory, section, field = shop.directory, owner.section, owner.field
    noun, reader, dimension = owner.noun, shop.reader, owner.dimension
    asked_by = owner.asked or field
    extra = tell(ref("LiteLLMOwnerInfo"), query=asked_by)

    @router.get(f"/{noun}/info", summary=f"Show a {noun}", openapi_extra=extra)
    def info(
        request: Request,
        actor: Actor = reader,  # noqa: ARG001
    ) -> Response:
        id_ = request.query_params.get(asked_by)
        if id_ is None:
            raise Invalid(f"{asked_by} is missing.", param=asked_by)
        found = directory.get(section, id_)
        shown = show(found, owner, shop.spent(dimension).get(id_))
        if not owner.has_keys:
            return json(shown)
        spent = shop.spent("key")
        keys = shop.all("keys", **{dimension: id_})
        return json(
            {
                field: id_,
                f"{noun}_info": shown,
                "keys": [show_key(key, spent.get(key["id"])) for key in keys],
            }
        )

    many = listed(ref("LiteLLMOwner"))
    if section == "users":
        many = ref("LiteLLMUsers")

    @router.get(
        f"/{noun}/list",
        summary=f"List {section.replace('_', ' ')}",
        openapi_extra=tell(many),
    )
    def list_(actor: Actor = reader) -> Response:  # noqa: ARG001
        spent = shop.spent(dimension)
        found = [show(one, owner, spent.get(one["id"])) for one in shop.all(section)]
        return json({"users": found} if section == "users" else found)
