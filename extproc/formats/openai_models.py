"""The list of models: https://platform.openai.com/docs/api-reference/models/object."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from extproc.canonical import ListedModel


class _Model(msgspec.Struct, frozen=True):
    id: str
    created: int
    owned_by: str
    object: str = "model"


class _ModelList(msgspec.Struct, frozen=True):
    data: list[_Model]
    object: str = "list"


def write_model(model: ListedModel) -> bytes:
    """Write the answer to ``GET /v1/models/{id}``."""
    return msgspec.json.encode(_model(model))


def write_models(models: Sequence[ListedModel]) -> bytes:
    """Write the answer to ``GET /v1/models``."""
    return msgspec.json.encode(_ModelList([_model(model) for model in models]))


def _model(model: ListedModel) -> _Model:
    return _Model(model.id, model.created, model.owned_by)
