"""``/spend/…``, ``/global/spend…``, ``/user/daily/activity``.

https://docs.litellm.ai/docs/proxy/cost_tracking
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from extproc.admin import spending
from extproc.admin.access import Actor
from extproc.admin.document import listed, ref, tell
from extproc.admin.errors import Invalid
from extproc.admin.http import json
from extproc.admin.litellm import words
from extproc.admin.litellm.shop import Entry, Shop
from extproc.db.usage import Dimension, Filter

_REPORTS: Final[Mapping[str, Dimension]] = {
    "team": "team",
    "customer": "end_user",
    "api_key": "key",
    "internal_user": "user",
    "model": "model",
}


def add(router: APIRouter, shop: Shop) -> None:
    """Add the routes."""
    _totals(router, shop)
    _reports(router, shop)
    _activity(router, shop)
    _logs(router, shop)


def _period(start_date: str | None = None, end_date: str | None = None) -> Filter:
    """Read two dates; the last day is within."""
    until = spending.moment(end_date, "end_date")
    if (
        until is not None
        and end_date is not None
        and len(end_date) == len("2026-11-25")
    ):
        until += 86_400
    return Filter(since=spending.moment(start_date, "start_date"), until=until)


Period = Annotated[Filter, Depends(_period)]


def _totals(router: APIRouter, shop: Shop) -> None:
    reader = shop.reader

    @router.get(
        "/global/spend",
        summary="What everybody has spent",
        openapi_extra=tell(ref("LiteLLMTotal")),
    )
    def total(actor: Actor = reader) -> Response:  # noqa: ARG001
        [everything] = spending.spend(shop.database, [], Filter())
        return json({"spend": everything["cost_usd"], "max_budget": None})

    def each(path: str, dimension: Dimension, name: str) -> None:
        @router.get(
            path,
            summary=f"What each {name} has spent",
            openapi_extra=tell(listed(ref("LiteLLMSpent"))),
        )
        def spent(actor: Actor = reader) -> Response:  # noqa: ARG001
            groups = spending.spend(shop.database, [dimension], Filter())
            return json(
                [
                    {name: group[dimension], "total_spend": group["cost_usd"]}
                    for group in groups
                ]
            )

    each("/spend/keys", "key", "api_key")
    each("/spend/users", "user", "user_id")
    each("/global/spend/models", "model", "model")
    each("/global/spend/teams", "team", "team_id")
    each("/global/spend/keys", "key", "api_key")
    each("/global/spend/end_users", "end_user", "end_user")
    each("/global/spend/provider", "provider", "provider")

    @router.get(
        "/global/spend/tags",
        summary="What was spent under each tag",
        openapi_extra=tell(listed(ref("LiteLLMTagged"))),
    )
    @router.get(
        "/spend/tags",
        summary="What was spent under each tag",
        openapi_extra=tell(listed(ref("LiteLLMTagged"))),
    )
    def tagged(period: Period, actor: Actor = reader) -> Response:  # noqa: ARG001
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


def _reports(router: APIRouter, shop: Shop) -> None:
    @router.get(
        "/global/spend/report",
        summary="What was spent, day by day",
        openapi_extra=tell(listed({"type": "object"})),
    )
    def report(
        period: Period,
        *,
        actor: Actor = shop.reader,  # noqa: ARG001
        group_by: Annotated[str, Query(description=", ".join(_REPORTS))] = "team",
        api_key: str | None = None,
        internal_user_id: str | None = None,
        team_id: str | None = None,
        customer_id: str | None = None,
    ) -> Response:
        dimension = _REPORTS.get(group_by)
        if dimension is None:
            raise Invalid(
                f"group_by must be one of {', '.join(_REPORTS)}.", param="group_by"
            )
        where = msgspec.structs.replace(
            period,
            key=shop.find_key(api_key) if api_key else None,
            user=internal_user_id,
            team=team_id,
            end_user=customer_id,
        )
        if api_key or internal_user_id:
            by: list[Dimension] = ["key", "model"]
            return json(_by_key(spending.spend(shop.database, by, where)))
        split = [*dict.fromkeys(["day", dimension, "model", "key"])]
        groups = spending.spend(shop.database, split, where)
        return json(_by_day(groups, group_by, dimension))


def _by_key(groups: Iterable[Entry]) -> list[Entry]:
    return [
        {
            "api_key": key,
            "total_cost": _sum(found, "cost_usd"),
            "total_input_tokens": _sum(found, "input_tokens"),
            "total_output_tokens": _sum(found, "output_tokens"),
            "model_details": [
                {
                    "model": group["model"],
                    "total_cost": group["cost_usd"],
                    "total_input_tokens": group["input_tokens"],
                    "total_output_tokens": group["output_tokens"],
                }
                for group in found
            ],
        }
        for key, found in _sorted_by(groups, "key").items()
    ]


def _by_day(
    groups: Iterable[Entry], group_by: str, dimension: Dimension
) -> list[Entry]:
    return [
        {
            "group_by_day": f"{day}T00:00:00+00:00",
            f"{group_by}s": [
                {
                    # LiteLLM calls a team by its name, all others by their own noun.
                    **({"team_name": name} if group_by == "team" else {}),
                    group_by: name,
                    "total_spend": _sum(found, "cost_usd"),
                    "total_input_tokens": _sum(found, "input_tokens"),
                    "total_output_tokens": _sum(found, "output_tokens"),
                    "total_requests": _sum(found, "requests"),
                    "metadata": [
                        {
                            "model": group["model"],
                            "spend": group["cost_usd"],
                            "total_tokens": group["input_tokens"]
                            + group["output_tokens"],
                            "api_key": group["key"],
                        }
                        for group in found
                    ],
                }
                for name, found in _sorted_by(that_day, dimension).items()
            ],
        }
        for day, that_day in sorted(_sorted_by(groups, "day").items(), key=str)
    ]


def _activity(router: APIRouter, shop: Shop) -> None:
    def daily(path: str, parameter: str, dimension: Dimension) -> None:
        @router.get(
            path,
            summary="What was used day by day, by model, provider and key",
            openapi_extra=tell(ref("LiteLLMActivity"), query=parameter),
        )
        def activity(
            request: Request,
            period: Period,
            actor: Actor = shop.reader,  # noqa: ARG001
        ) -> Response:
            named = request.query_params.get(parameter)
            where = msgspec.structs.replace(period, **{dimension: named})
            groups = spending.spend(
                shop.database, ["day", "model", "provider", "key"], where
            )
            days = sorted(_sorted_by(groups, "day").items(), key=str, reverse=True)
            totals = _metrics(groups)
            return json(
                {
                    "results": [
                        {
                            "date": day,
                            "metrics": _metrics(found),
                            "breakdown": {
                                "models": _each(found, "model"),
                                "providers": _each(found, "provider"),
                                "api_keys": _each(found, "key"),
                            },
                        }
                        for day, found in days
                    ],
                    "metadata": {f"total_{name}": n for name, n in totals.items()},
                }
            )

    daily("/user/daily/activity", "user_id", "user")
    daily("/team/daily/activity", "team_ids", "team")


def _each(groups: Sequence[Entry], dimension: Dimension) -> Entry:
    return {
        str(name): {"metrics": _metrics(found)}
        for name, found in _sorted_by(groups, dimension).items()
        if name is not None
    }


def _metrics(groups: Sequence[Entry]) -> Entry:
    given, made = _sum(groups, "input_tokens"), _sum(groups, "output_tokens")
    return {
        "spend": _sum(groups, "cost_usd"),
        "prompt_tokens": given,
        "completion_tokens": made,
        "total_tokens": given + made,
        "api_requests": _sum(groups, "requests"),
    }


def _sum(groups: Iterable[Entry], field: str) -> Any:  # noqa: ANN401  dollars or a count
    return sum(
        (group[field] for group in groups), Decimal(0) if field == "cost_usd" else 0
    )


def _sorted_by(groups: Iterable[Entry], field: str) -> dict[Any, list[Entry]]:
    out: dict[Any, list[Entry]] = {}
    for group in groups:
        out.setdefault(group[field], []).append(group)
    return out


def _logs(router: APIRouter, shop: Shop) -> None:
    @router.get(
        "/spend/logs",
        summary="Requests, the newest first",
        openapi_extra=tell(listed(ref("LiteLLMLogLine"))),
    )
    def logs(
        period: Period,
        *,
        api_key: str | None = None,
        user_id: str | None = None,
        request_id: str | None = None,
        limit: int = 1000,
        actor: Actor = shop.reader,  # noqa: ARG001
    ) -> Response:
        where = msgspec.structs.replace(
            period,
            key=shop.find_key(api_key) if api_key else None,
            user=user_id,
            id=request_id,
        )
        rows, _ = spending.log(shop.database, where, limit=limit)
        return json([words.log_line(row) for row in rows])
