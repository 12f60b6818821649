"""``GET /admin/v1/health`` and ``/admin/health``: what the gateway stands on, and how that does.

Always a 200: it is for people and their scripts. Liveness (``/health/live``, ``/healthz``)
is that the process answers, whatever it stands on; readiness (``/health/ready``,
``/readyz``) that a request would be served.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from fastapi import APIRouter
from fastapi.responses import Response

from extproc.admin.access import Actor
from extproc.admin.http import Admin, allowed, json

Detail = Callable[[], Awaitable[tuple[bool, dict[str, object]]]]
Sinks = Callable[[], Mapping[str, Mapping[str, object]]]


def health_router(
    admin: Admin,
    detail: Detail,
    *,
    sinks: Sinks,
    keys_age: Callable[[], float | None],
    away: Callable[[], Mapping[str, bool]],
    unwell: Callable[[], Sequence[Mapping[str, object]]],
) -> APIRouter:
    """Return the routes, for whoever may read.

    Args:
        admin: who may.
        detail: whether a request would be served, and what there is to know.
        sinks: of each sink, what waits for it, what it has lost, and whether it is away.
        keys_age: seconds since keys were compared with the database; None: never.
        away: of each worker, whether it admits without the store.
        unwell: the deployments that are left alone now.
    """
    router = APIRouter(tags=["gateway"])
    reader = allowed(admin, "read")

    @router.get("/admin/v1/health", summary="What the gateway stands on")
    @router.get("/admin/health", include_in_schema=False)
    async def health(actor: Actor = reader) -> Response:  # noqa: ARG001
        ready, known = await detail()
        stores = away()
        return json(
            {
                "live": True,
                **known,
                "ready": ready,
                "store": {"away": any(stores.values()), "workers": dict(stores)},
                "sinks": {name: dict(told) for name, told in sinks().items()},
                "providers": {"unwell": list(unwell())},
                "key_snapshot_age_seconds": keys_age(),
            }
        )

    return router
