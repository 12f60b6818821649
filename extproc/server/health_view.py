"""``GET /admin/v1/health`` and ``/admin/health``: what the gateway stands on, and how that does.

Always a 200: it is for people and their scripts. Liveness (``/health/live``, ``/healthz``)
is that the process answers, whatever it stands on; readiness (``/health/ready``,
``/readyz``) that a request would be served.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from fastapi import APIRouter
from fastapi.responses import Response

from extproc.admin.access import Actor
from extproc.admin.document import ref, tell
from extproc.admin.http import Admin, allowed, json

Known = Callable[[], Awaitable[Mapping[str, object]]]


def health_router(admin: Admin, known: Known) -> APIRouter:
    """Return the routes, for whoever may read; `known` is what there is to know."""
    router = APIRouter(tags=["gateway"])
    reader = allowed(admin, "read")

    @router.get(
        "/admin/v1/health",
        summary="What the gateway stands on",
        openapi_extra=tell(ref("Health")),
    )
    @router.get("/admin/health", include_in_schema=False)
    async def health(actor: Actor = reader) -> Response:  # noqa: ARG001
        return json(await known())

    return router
