"""What virtual models say of each other: names that must exist, and no way round."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from extproc.config.models import ModelConfig
from extproc.config.problems import Found, suggestion
from extproc.config.schema import Config
from extproc.runtime import glob_pattern


def check_references(config: Config) -> Iterator[Found]:
    """Yield every name that leads nowhere, to itself, or to two places."""
    yield from _aliases(config)
    for name, model in config.models.items():
        yield from _names(config, name, model)
        yield from _stars(name, model)
    yield from _cycles(config)


def _aliases(config: Config) -> Iterator[Found]:
    taken = {name: f"models.{name}" for name in config.models}
    for name, model in config.models.items():
        for i, alias in enumerate(model.aliases):
            path = ("models", name, "aliases", i)
            if "*" in alias or "*" in name:
                yield path, "an alias is a whole name, of a model with a whole name"
            elif alias in taken:
                yield path, f"the same as {taken[alias]}"
            taken.setdefault(alias, f"an alias of models.{name}")


def _names(config: Config, name: str, model: ModelConfig) -> Iterator[Found]:
    lists: dict[tuple[str | int, ...], Iterable[str]] = {
        (kind,): getattr(model, kind)
        for kind in ("fallbacks", "context_fallbacks", "content_policy_fallbacks")
    }
    lists |= {("rules", i): rule.names for i, rule in enumerate(model.rules)}
    for place, names in lists.items():
        for i, other in enumerate(names):
            index = () if place[0] == "rules" else (i,)
            path = ("models", name, *place, *index)
            if other == name:
                yield path, f"{name!r} leads to itself"
            elif not _served(config, other):
                message = f"there is no model {other!r}"
                yield path, message + suggestion(other, config.models)


def _served(config: Config, name: str) -> bool:
    return any(
        name == known or name in model.aliases or glob_pattern(known).match(name)
        for known, model in config.models.items()
    )


def _stars(name: str, model: ModelConfig) -> Iterator[Found]:
    for i, target in enumerate(model.targets):
        if target.model is None or "*" not in target.model:
            continue
        path = ("models", name, "targets", i, "model")
        if target.model != "*":
            yield path, "is * or a whole name"
        elif name.count("*") != 1 or not name.endswith("*"):
            yield path, "* stands for the end of a name like openai/*"


def _cycles(config: Config) -> Iterator[Found]:
    """Yield the models whose rules lead back to them; fallbacks are not followed."""
    for name in config.models:
        way, seen = [name], {name}
        while way:
            model = config.models.get(way.pop())
            for rule in model.rules if model else ():
                if name in rule.names and model is not config.models[name]:
                    yield ("models", name, "rules"), "the rules lead back to this model"
                    return
                way += [other for other in rule.names if other not in seen]
                seen.update(rule.names)
