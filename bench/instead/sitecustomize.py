"""Other parts in the place of the gateway's own, for `floor.py`: Python runs this first.

``FLOOR_WORKER`` says which worker: ``repeats`` serves ``FLOOR_WARM`` requests as ever, and from
then on says message by message the bytes that it said for the last of them; ``reads`` decodes
what it is told before it repeats (`parrot`); ``gateway`` is as it is. ``FLOOR_ENVOY=lean`` leaves out of
the compiled configuration what no answer needs: of the filters the ones that
drop headers, refuse what is too large and look at tokens and connections, the access log, the
replies in a client's dialect, the second try of a call.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

WORKER = os.environ.get("FLOOR_WORKER", "gateway")
LEAN = os.environ.get("FLOOR_ENVOY") == "lean"

KEPT = {
    "credential_injector", "ext_proc", "http_connection_manager", "lua", "router",
    "upstream_codec",
}  # fmt: skip
"""Filters without which no answer comes: Lua gives a request its length, for one."""

Change = Callable[[ModuleType], None]


class Changed:
    """Finds modules that are changed once they are loaded."""

    def __init__(self, changes: dict[str, Change]) -> None:
        self._changes = changes

    def find_spec(self, name: str, path: Any, _target: Any = None) -> Any:
        change = self._changes.get(name)
        if change is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def load_and_change(module: ModuleType) -> None:
            load(module)
            change(module)

        spec.loader.exec_module = load_and_change
        return spec


def put_the_parrot(module: ModuleType) -> None:
    import parrot

    parrot.put(module)


def lean(filters: list[Any]) -> list[Any]:
    return [one for one in filters if one.name.rpartition(".")[2] in KEPT]


def make_the_listener_lean(module: ModuleType) -> None:
    """Leave out of `extproc.config.compile.listener` what is not the call to the worker."""
    listener, http, sidecar = module.gateway_listener, module._http, module._sidecar

    def lean_listener(*arguments: Any) -> Any:
        made = listener(*arguments)
        made.listener_filters = []
        made.filter_chains[0].filters = lean(made.filter_chains[0].filters)
        return made

    def lean_http(*arguments: Any) -> Any:
        made = http(*arguments)
        made.http_filters = lean(made.http_filters)
        made.access_log, made.tracing, made.local_reply_config = [], None, None
        return made

    def lean_sidecar() -> Any:
        made = sidecar()
        made.grpc_service.retry_policy = None
        return made

    module.gateway_listener, module._http = lean_listener, lean_http
    module._sidecar = lean_sidecar


def make_the_clusters_lean(module: ModuleType) -> None:
    """The same, of what a request meets on its way to a provider."""
    filters = module.upstream_filters
    module.upstream_filters = lambda *arguments, **more: lean(
        filters(*arguments, **more)
    )


changes: dict[str, Change] = {}
if WORKER != "gateway" and "extproc.server.worker" in sys.orig_argv:
    changes["extproc.server.lean_connection"] = put_the_parrot
if LEAN:
    changes["extproc.config.compile.listener"] = make_the_listener_lean
    changes["extproc.config.compile.clusters"] = make_the_clusters_lean
if changes:
    sys.meta_path.insert(0, Changed(changes))
