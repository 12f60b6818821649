"""What the command line says instead of a configuration, and what is worth knowing of it."""

from __future__ import annotations

from extproc.config.endpoint import split_address
from extproc.config.schema import Config
from extproc.server.compiled import Compiled, Overrides


def overridden(config: Config, overrides: Overrides) -> Config:
    """Return `config` with what the command line says instead.

    Raises:
        ValueError: an address is none.
    """
    update: dict[str, object] = {}
    for name in ("listen", "control"):
        address = getattr(overrides, name)
        if address is not None:
            split_address(address)
            section = getattr(config, name)
            update[name] = section.model_copy(update={"address": address})
    if overrides.workers is not None:
        update["workers"] = overrides.workers
    return config.model_copy(update=update)


def summarize(config: Config, mock_url: str | None) -> Compiled:
    """Return what is worth knowing of `config` without reading it again."""
    mocked = mock_url is not None and any(
        (provider.base_url or "").startswith(mock_url)
        for provider in config.providers.values()
    )
    return Compiled(
        digest="",
        generation=0,
        listen=config.listen.address,
        control=config.control.address,
        workers=config.workers,
        drain_seconds=config.timeouts.drain,
        tls=config.listen.tls is not None,
        providers=tuple(config.providers),
        models=_example_models(config),
        mock_url=mock_url if mocked else None,
    )


def _example_models(config: Config) -> tuple[str, ...]:
    """Return names to try: those of each provider in turn, so that each is among them."""
    by_provider: dict[str, list[str]] = {}
    for name, model in config.models.items():
        names = model.listed or (() if "*" in name else (name,))
        by_provider.setdefault(model.targets[0].provider, []).extend(names)
    columns = list(by_provider.values())
    longest = max(map(len, columns), default=0)
    return tuple(
        names[i] for i in range(longest) for names in columns if i < len(names)
    )
