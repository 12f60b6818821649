"""``GET /admin/v1/budgets``: how the budgets stand that a running gateway charges."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from extproc.admin.access import Actor
from extproc.admin.budgets import Counted, Purses, budgets
from extproc.admin.document import ref, tell
from extproc.admin.http import Admin, Limit, allowed, json
from extproc.runtime import Snapshot
from extproc.server.control_link import Peer
from extproc.state.base import Balance

STORE_SECONDS = 2.0
"""For Redis to say how things stand; after that control says what it knows itself."""
AT_ONCE = 500
"""Budgets in one round trip."""


def budgets_router(
    admin: Admin,
    snapshot: Callable[[], Snapshot | None],
    balances: Callable[[], Mapping[str, Balance]],
    peers: Callable[[], Sequence[Peer]],
) -> APIRouter:
    """Return the route, for whoever may read."""
    router = APIRouter(prefix="/admin/v1", tags=["spend"])
    reader = allowed(admin, "read")

    @router.get(
        "/budgets",
        summary="Every budget: spent, reserved, left, until when",
        openapi_extra=tell(ref("BudgetPage")),
    )
    def page(
        actor: Actor = reader,  # noqa: ARG001
        *,
        kind: str | None = None,
        text: str = "",
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Limit = 100,
    ) -> Response:
        serving = snapshot()
        if serving is None:
            return json({"data": [], "next": None})
        purses = _purses(serving, balances(), peers())
        found = budgets(serving, purses, now=admin.clock(), kind=kind)
        wanted = (one for one in found if text.lower() in one["id"].lower())
        data = list(islice(wanted, offset, offset + limit + 1))
        more = len(data) > limit
        return json({"data": data[:limit], "next": offset + limit if more else None})

    return router


def _purses(
    snapshot: Snapshot, balances: Mapping[str, Balance], peers: Sequence[Peer]
) -> Purses:
    spent = {meter: balance.nanos for meter, balance in dict(balances).items()}
    if snapshot.accounting.store is None:
        held: Counter[str] = Counter()
        for peer in peers:
            held.update(peer.live.held)
        return Counted(spent, held)
    stored = _stored(snapshot.accounting.store)
    return Counted(*stored) if stored is not None else Counted(spent, None)


def _stored(url: str) -> tuple[dict[str, int], dict[str, int]] | None:
    """Return what the store that all gateways share has charged and holds.

    None: it is away. Read in pieces, so that it serves requests in between.
    """
    import redis  # noqa: PLC0415  only where it is configured

    from extproc.state.redis import TAG  # noqa: PLC0415

    spent: dict[str, int] = {}
    held: dict[str, int] = {}
    with (
        contextlib.suppress(redis.RedisError, OSError),
        redis.Redis.from_url(
            url, socket_timeout=STORE_SECONDS, socket_connect_timeout=STORE_SECONDS
        ) as client,
    ):
        before = f"{TAG}b:"
        keys = client.scan_iter(f"{before}*", count=AT_ONCE)
        while batch := list(islice(keys, AT_ONCE)):
            asking = client.pipeline(transaction=False)
            for key in batch:
                asking.hmget(key, ["s", "h"])
            for key, money in zip(batch, asking.execute(), strict=True):
                meter = key.decode().removeprefix(before)
                spent[meter], held[meter] = (int(n or 0) for n in money)
        return spent, held
    return None
