"""Which virtual model a name means, and whether the caller may know of it."""

from __future__ import annotations

from extproc.errors import NotFound
from extproc.runtime import Grant, Runtime, VirtualModel

_NAMES_SHOWN = 20
"""An error message is no catalog: ``/v1/models`` has them all."""


def visible_models(runtime: Runtime, grant: Grant) -> list[str]:
    """Return the names that this key may use, as far as they can be listed."""
    return [name for name in runtime.listed if grant.may_use(name)]


def pick(runtime: Runtime, grant: Grant, name: str) -> VirtualModel:
    """Return the virtual model that serves `name` to this key.

    Raises:
        NotFound: there is none, or the key may not know of it.
    """
    model = runtime.model(name) if grant.may_use(name) else None
    if model is None:
        names = visible_models(runtime, grant)
        shown = ", ".join(names[:_NAMES_SHOWN])
        more = ", …" if len(names) > _NAMES_SHOWN else ""
        known = f" This key may use: {shown}{more}." if names else ""
        raise NotFound(
            f"The model {name[:200]!r} does not exist or you do not have access to it."
            + known,
            code="model_not_found",
            param="model",
        )
    return model
