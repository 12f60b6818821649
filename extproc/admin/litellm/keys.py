"""``/key/…``: https://docs.litellm.ai/docs/proxy/virtual_keys."""

from __future__ import annotations

from decimal import Decimal

from fastapi import APIRouter
from fastapi.responses import Response

from extproc.admin.access import Actor
from extproc.admin.document import ref, tell
from extproc.admin.errors import Invalid
from extproc.admin.http import JsonObject, json
from extproc.admin.litellm import words
from extproc.admin.litellm.shop import (
    Entry,
    Shop,
    answer,
    show_key,
    text_of,
    texts_of,
)

_KEY = ref("LiteLLMKey")


def add(router: APIRouter, shop: Shop) -> None:
    """Add the routes."""
    _changing(router, shop)
    _secrets(router, shop)
    _reading(router, shop)


def _changing(router: APIRouter, shop: Shop) -> None:
    directory, writer = shop.directory, shop.key_writer

    @router.post(
        "/key/service-account/generate",
        summary="Make a key that no user has",
        openapi_extra=tell(_KEY, body=ref("LiteLLMKeySettings")),
    )
    @router.post(
        "/key/generate",
        summary="Make a key",
        openapi_extra=tell(_KEY, body=ref("LiteLLMKeySettings")),
    )
    def generate(actor: Actor = writer, *, asked: JsonObject) -> Response:
        said = words.read("keys", asked, now=shop.clock())
        made = directory.create("keys", said.settings, actor, id_=said.id)
        return answer(show_key(made, Decimal(0)), said.dropped)

    @router.post(
        "/key/update",
        summary="Change a key",
        openapi_extra=tell(_KEY, body=ref("LiteLLMKeySettings")),
    )
    def update(actor: Actor = writer, *, asked: JsonObject) -> Response:
        id_ = shop.find_key(text_of(asked, "key"))
        said = words.read("keys", asked, now=shop.clock(), new=False)
        if said.id not in {None, id_}:
            raise Invalid(
                "A key keeps the alias that it was made with.", param="key_alias"
            )
        changed = directory.update("keys", id_, said.settings, actor)
        return answer(show_key(changed, shop.spent("key").get(id_)), said.dropped)

    @router.post(
        "/key/delete",
        summary="Delete keys",
        openapi_extra=tell(ref("LiteLLMDeletedKeys"), body=ref("LiteLLMKeyNames")),
    )
    def delete(actor: Actor = writer, *, asked: JsonObject) -> Response:
        names = [*texts_of(asked, "keys"), *texts_of(asked, "key_aliases")]
        if not names:
            raise Invalid("keys or key_aliases must name a key.", param="keys")
        ids = [shop.find_key(name) for name in names]
        directory.bulk("keys", [{"delete": id_} for id_ in ids], actor)
        return json({"deleted_keys": names})

    def block(path: str, *, blocked: bool) -> None:
        @router.post(
            path,
            summary="Block a key or let it in again",
            openapi_extra=tell(_KEY, body=ref("LiteLLMKeyName")),
        )
        def switch(actor: Actor = writer, *, asked: JsonObject) -> Response:
            id_ = shop.find_key(text_of(asked, "key"))
            changed = directory.update("keys", id_, {"blocked": blocked}, actor)
            return json(show_key(changed, shop.spent("key").get(id_)))

    block("/key/block", blocked=True)
    block("/key/unblock", blocked=False)


def _secrets(router: APIRouter, shop: Shop) -> None:
    extra = tell(_KEY, body=ref("LiteLLMRegeneration"))

    def regenerated(key: str, asked: Entry, actor: Actor) -> Response:
        grace = words.seconds(asked.get("grace_period") or 0, "grace_period")
        id_ = shop.find_key(key)
        said = words.read("keys", asked, now=shop.clock(), new=False)
        if said.settings:
            shop.directory.update("keys", id_, said.settings, actor)
        made = shop.directory.rotate(id_, grace, actor)
        return answer(show_key(made, shop.spent("key").get(id_)), said.dropped)

    @router.post(
        "/key/regenerate", summary="Give a key a new secret", openapi_extra=extra
    )
    def regenerate(actor: Actor = shop.key_writer, *, asked: JsonObject) -> Response:
        return regenerated(text_of(asked, "key"), asked, actor)

    @router.post(
        "/key/{key}/regenerate", summary="Give a key a new secret", openapi_extra=extra
    )
    def regenerate_named(
        key: str, actor: Actor = shop.key_writer, *, asked: JsonObject
    ) -> Response:
        return regenerated(key, asked, actor)


def _reading(router: APIRouter, shop: Shop) -> None:
    directory, reader = shop.directory, shop.reader

    @router.get(
        "/key/info", summary="Show a key", openapi_extra=tell(ref("LiteLLMKeyInfo"))
    )
    def info(key: str | None = None, actor: Actor = reader) -> Response:
        id_ = actor.id if key is None else shop.find_key(key)
        found = directory.get("keys", id_)
        return json({"key": key, "info": show_key(found, shop.spent("key").get(id_))})

    @router.post(
        "/v2/key/info",
        summary="Show several keys",
        openapi_extra=tell(ref("LiteLLMKeyInfos"), body=ref("LiteLLMKeyNames")),
    )
    def infos(actor: Actor = reader, *, asked: JsonObject) -> Response:  # noqa: ARG001
        names, spent = texts_of(asked, "keys"), shop.spent("key")
        ids = [shop.find_key(name) for name in names]
        shown = [show_key(directory.get("keys", id_), spent.get(id_)) for id_ in ids]
        return json({"key": names, "info": shown})

    @router.get(
        "/key/list", summary="List keys", openapi_extra=tell(ref("LiteLLMKeyPage"))
    )
    def list_(
        *,
        user_id: str | None = None,
        team_id: str | None = None,
        organization_id: str | None = None,
        key_alias: str | None = None,
        page: int = 1,
        size: int = 100,
        return_full_object: bool = False,
        actor: Actor = reader,  # noqa: ARG001
    ) -> Response:
        owner = {"user": user_id, "team": team_id, "organization": organization_id}
        given = {field: id_ for field, id_ in owner.items() if id_ is not None}
        found = shop.all("keys", **given)
        if key_alias is not None:
            named = {key_alias, words.id_of_alias(key_alias)}
            found = [key for key in found if key["id"] in named]
        size = max(1, min(size, 1000))
        shown = found[(max(page, 1) - 1) * size :][:size]
        spent = shop.spent("key") if return_full_object else {}
        keys = [
            show_key(key, spent.get(key["id"])) if return_full_object else key["id"]
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
