"""Whether a request would be served: by what Envoy has, and by what workers say of themselves.

A dependency that is away, a database, a store, a sink, a provider, is no part of it: what
does without it says so in ``/admin/health``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from extproc.server.control_link import Peer
from extproc.telemetry.deployments import Deployment

BEHIND_SECONDS: Final = 10.0
"""That workers may take to serve a new generation: the one before serves until then."""
HALF: Final = 50
"""The score of a deployment of which half of what it is asked fails, about."""


def serves(
    peers: Iterable[Peer], *, now: float, generation: int | None, age: float
) -> bool:
    """Say whether some worker answers, and serves what is configured.

    Args:
        peers: the workers.
        now: by the loop's clock.
        generation: of the configuration; None: there is none.
        age: seconds since it was told to them.
    """
    return any(
        peer.answers(now)
        and generation is not None
        and (
            peer.generation == generation
            or (peer.generation >= 0 and age < BEHIND_SECONDS)
        )
        for peer in peers
    )


def workers(peers: Iterable[Peer], now: float) -> list[dict[str, object]]:
    """Return what there is to know of each."""
    return [
        {
            "name": peer.name,
            "pid": peer.pid,
            "answers": peer.answers(now),
            "silent_seconds": round(max(0.0, now - peer.heard), 1),
            "generation": peer.generation,
            "refused": peer.refused,
        }
        for peer in peers
    ]


def stores(peers: Iterable[Peer]) -> dict[str, object]:
    """Return which workers admit without the store."""
    away = {
        peer.name: bool(peer.levels.get("extproc_worker_store_away")) for peer in peers
    }
    return {"away": any(away.values()), "workers": away}


def unwell(deployments: Sequence[Deployment]) -> list[dict[str, object]]:
    """Return the deployments that are left alone now or fail mostly, and why."""
    return [
        {
            "provider": one.provider,
            "model": one.model,
            "state": one.phase,
            "score": one.score,
            "reason": "credential" if one.benched else one.reason,
            "cooling_seconds": round(one.cooling_seconds, 1),
        }
        for one in deployments
        if one.benched or one.phase not in ("closed", "limited") or one.score < HALF
    ]
