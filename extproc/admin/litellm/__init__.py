"""The routes of LiteLLM's proxy that scripts use most, over this gateway's own entries.

https://docs.litellm.ai/docs/proxy/virtual_keys and the pages beside it. What such a
request says that has no meaning here is left out and named in ``x-extproc-dropped``,
where that changes nothing that the caller could rely on; what restricts somebody and is
not known here is refused by name. `docs/admin.md` lists what is served.
"""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter

from extproc.admin.http import Admin
from extproc.admin.litellm import keys, members, owners, spend
from extproc.admin.litellm.shapes import components
from extproc.admin.litellm.shop import Shop

__all__ = ["components", "routes"]


def routes(admin: Admin, clock: Callable[[], float]) -> APIRouter:
    """Return the routes; `clock` is in Unix seconds."""
    router = APIRouter(tags=["LiteLLM"])
    shop = Shop(admin, clock)
    keys.add(router, shop)
    for kind in owners.OWNERS:
        owners.add(router, shop, kind)
    members.add(router, shop)
    spend.add(router, shop)
    return router
