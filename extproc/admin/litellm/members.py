"""``/team/member_add`` and ``/team/member_delete``: here a user has one team.

https://docs.litellm.ai/docs/proxy/users#team-members
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from extproc.admin.access import Actor
from extproc.admin.document import ref, tell
from extproc.admin.errors import InTheWay, Invalid, Missing
from extproc.admin.http import JsonObject, json
from extproc.admin.litellm.shop import Entry, Shop, text_of


def add(router: APIRouter, shop: Shop) -> None:
    """Add the routes."""

    @router.post(
        "/team/member_add",
        summary="Give a team a user, who is made if need be",
        openapi_extra=tell(ref("LiteLLMMembers"), body=ref("LiteLLMMembership")),
    )
    def member_add(actor: Actor = shop.writer, *, asked: JsonObject) -> Response:
        team = text_of(asked, "team_id")
        member = asked.get("member")
        members = member if isinstance(member, list) else [member]
        most = asked.get("max_budget_in_team")
        shop.directory.get("teams", team)
        joined = join(shop, team, members, actor, most=most)
        return json({"team_id": team, "members_with_roles": joined})

    @router.post(
        "/team/member_delete",
        summary="Take a user out of a team",
        openapi_extra=tell(ref("LiteLLMMembers"), body=ref("LiteLLMMembership")),
    )
    def member_delete(actor: Actor = shop.writer, *, asked: JsonObject) -> Response:
        team, user = text_of(asked, "team_id"), _user_of(asked, "user_id")
        if shop.directory.get("users", user).get("team") != team:
            raise Missing(f"The team {team!r} has no user {user!r}.", param="user_id")
        shop.directory.update("users", user, {"team": None}, actor)
        left = shop.all("users", team=team)
        return json({"team_id": team, "members_with_roles": [_shown(u) for u in left]})


def join(
    shop: Shop, team: str, members: list[Any], actor: Actor, *, most: object = None
) -> list[Entry]:
    """Put users into `team`, and return who is in it.

    Args:
        shop: what the routes share.
        team: its id.
        members: each with a ``user_id`` or a ``user_email``.
        actor: who does it.
        most: dollars that each may spend there, ever.

    Raises:
        Invalid: one of them names nobody.
        InTheWay: one of them is in another team.
    """
    patch: Entry = {"team": team}
    if most is not None:
        patch["budgets"] = [{"usd": most, "period": "total"}]
    operations: list[Entry] = []
    for member in members:
        user = _user_of(member if isinstance(member, Mapping) else {}, "member")
        try:
            known = shop.directory.get("users", user)
        except Missing:
            operations.append({"create": {"id": user, **patch}})
            continue
        if known.get("team") not in {None, team}:
            raise InTheWay(
                f"The user {user!r} is in the team {known['team']!r}: here a user has "
                "one team.",
                param="member",
            )
        operations.append({"update": user, "set": patch})
    if operations:
        shop.directory.bulk("users", operations, actor)
    return [_shown(user) for user in shop.all("users", team=team)]


def _shown(user: Entry) -> Entry:
    return {"user_id": user["id"], "role": "user"}


def _user_of(said: Mapping[str, Any], param: str) -> str:
    for field in ("user_id", "user_email"):
        if isinstance(said.get(field), str):
            return str(said[field])
    raise Invalid("user_id or user_email must name a user.", param=param)
