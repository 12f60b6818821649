"""Which virtual model a name means, and whether the caller may know of it."""

from __future__ import annotations

from extproc.errors import NotFound
from extproc.runtime import Grant, Runtime, VirtualModel

MOST_NAME = 512
"""Characters; Bedrock's names, the longest, have some 150. A glob would take any name, and
much is remembered by it."""
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
    known = len(name) <= MOST_NAME and grant.may_use(name)
    model = runtime.model(name) if known else None
    if model is None:
        names = visible_models(runtime, grant)
        shown = ", ".join(names[:_NAMES_SHOWN])
        more = ", …" if len(names) > _NAMES_SHOWN else ""
        others = f" This key may use: {shown}{more}." if names else ""
        raise NotFound(
            f"The model {name[:200]!r} does not exist or you do not have access to it."
            + others,
            code="model_not_found",
            param="model",
        )
    return model
