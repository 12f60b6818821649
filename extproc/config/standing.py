"""Limits and budgets that stand on no owner: on everybody, a model, a deployment.

In ``gateway.yaml`` they stand where the thing itself does; the database has them by an id:
``global``, ``model/NAME``, ``deployment/PROVIDER/MODEL``. Where the file says anything of
a thing, the file holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from extproc.config.models import ModelConfig, TargetConfig
from extproc.config.schema import Config
from extproc.config.tenancy import Allowed

T = TypeVar("T", bound=Allowed)

GLOBAL: Final = "global"
_FIELDS: Final = tuple(Allowed.model_fields)


class StandingConfig(Allowed):
    """Limits and budgets of everybody, a model or a deployment."""


def exists(config: Config, id_: str) -> bool:
    """Say whether `config` has what limits of this id would stand on."""
    return id_ == GLOBAL or any(id_ == named for named, _ in _things(config))


def said(config: Config) -> dict[str, StandingConfig]:
    """Return what the file itself says, by id."""
    found = {id_: _of(thing) for id_, thing in _things(config) if thing.allowance}
    everybody = _of(config)
    return {GLOBAL: everybody, **found} if everybody.allowance else found


def with_standing(config: Config, entries: Mapping[str, BaseModel]) -> dict[str, Any]:
    """Return the fields of `config` that `entries` change, changed."""
    update: dict[str, Any] = {}
    if GLOBAL in entries:
        update |= _given(entries[GLOBAL])
    models = {
        name: _with_targets(name, _with(model, entries.get(f"model/{name}")), entries)
        for name, model in config.models.items()
    }
    if any(model is not config.models[name] for name, model in models.items()):
        update["models"] = models
    return update


def _with_targets(
    name: str, model: ModelConfig, entries: Mapping[str, BaseModel]
) -> ModelConfig:
    targets = tuple(
        _with(target, entries.get(_deployment(name, target)))
        for target in model.targets
    )
    if all(new is old for new, old in zip(targets, model.targets, strict=True)):
        return model
    return model.model_copy(update={"targets": targets})


def _with(thing: T, entry: BaseModel | None) -> T:
    if entry is None or thing.allowance:
        return thing
    return thing.model_copy(update=_given(entry))


def _things(config: Config) -> Iterator[tuple[str, Allowed]]:
    for name, model in config.models.items():
        yield f"model/{name}", model
        for target in model.targets:
            yield _deployment(name, target), target


def _deployment(name: str, target: TargetConfig) -> str:
    return f"deployment/{target.provider}/{target.model or name}"


def _of(thing: BaseModel) -> StandingConfig:
    return StandingConfig.model_construct(
        **{name: value for name, value in _given(thing).items() if name in _FIELDS}
    )


def _given(thing: BaseModel) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in thing.model_fields_set}
