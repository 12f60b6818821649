"""``GET /admin/v1/routing`` and ``/admin/routing``: the live state of all workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastapi import APIRouter
from fastapi.responses import Response

from extproc.admin.access import Actor
from extproc.admin.document import ref, tell
from extproc.admin.http import Admin, allowed, json
from extproc.runtime import Snapshot
from extproc.server.control_link import Peer
from extproc.telemetry.deployments import deployments, models, refused


def routing_router(
    admin: Admin,
    snapshot: Callable[[], Snapshot | None],
    peers: Callable[[], Sequence[Peer]],
) -> APIRouter:
    """Return the routes, for whoever may read."""
    router = APIRouter(tags=["gateway"])
    reader = allowed(admin, "read")

    @router.get(
        "/admin/v1/routing",
        summary="How every deployment does now",
        openapi_extra=tell(ref("Routing")),
    )
    @router.get("/admin/routing", include_in_schema=False)
    def routing(actor: Actor = reader) -> Response:  # noqa: ARG001
        return json(view(snapshot(), peers()))

    return router


def view(snapshot: Snapshot | None, peers: Sequence[Peer]) -> dict[str, object]:
    """Return what is configured, and what the workers say of it."""
    if snapshot is None:
        return {"models": [], "deployments": [], "workers": []}
    live = [(peer.live.deployments, peer.live.benches) for peer in peers]
    return {
        "generation": snapshot.generation,
        "models": models(snapshot),
        "deployments": deployments(snapshot, live),
        "keys_refused": refused(snapshot, live),
        "numbers": {
            name: getattr(snapshot.routing, name)
            for name in snapshot.routing.__struct_fields__
        },
        "workers": [
            {
                "name": peer.name,
                "open": peer.live.open,
                "retries_left": round(peer.live.retries_left, 1),
            }
            for peer in peers
        ],
    }
