"""The list of models: https://docs.anthropic.com/en/api/models-list.

All of them on one page: `has_more` is always false.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import msgspec

from extproc.canonical import ListedModel


class _Model(msgspec.Struct, frozen=True):
    id: str
    display_name: str
    created_at: dt.datetime
    lifecycle: str = "active"
    type: str = "model"


class _Page(msgspec.Struct, frozen=True):
    data: list[_Model]
    first_id: str | None
    last_id: str | None
    has_more: bool = False


def write_model(model: ListedModel) -> bytes:
    """Write the answer to ``GET /v1/models/{id}``."""
    return msgspec.json.encode(_model(model))


def write_models(models: Sequence[ListedModel]) -> bytes:
    """Write the answer to ``GET /v1/models``."""
    data = [_model(model) for model in models]
    ends = (data[0].id, data[-1].id) if data else (None, None)
    return msgspec.json.encode(_Page(data, *ends))


def _model(model: ListedModel) -> _Model:
    created = dt.datetime.fromtimestamp(model.created, dt.UTC)
    return _Model(model.id, model.id, created)
