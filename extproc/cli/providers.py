"""``extproc providers``, ``providers test``, ``conformance``: what providers there are, and whether they work."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from extproc.cli.common import ConfigOption, fail, load_config, print_json

if TYPE_CHECKING:
    from extproc.config.schema import Config
    from extproc.local.conformance import Row

commands = typer.Typer(help="Which providers there are, and whether one works.")


def conformance(
    *,
    provider: Annotated[
        str | None, typer.Option(help="only this one", metavar="TYPE")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="rows instead of tables")
    ] = False,
    live: Annotated[
        bool, typer.Option("--live", help="ask the configured providers: costs money")
    ] = False,
    config: ConfigOption = None,
    model: Annotated[
        str | None, typer.Option(help="what to ask for, with --live", metavar="MODEL")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="do not ask before money is spent")
    ] = False,
) -> None:
    """Try every feature between every client API and provider; 1 if any fails.

    The providers are the built-in mocks, and nothing leaves this process; with --live
    they are those of gateway.yaml or of the environment's keys.
    """
    import msgspec  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from extproc.local.conformance import PLAYED, play, tables  # noqa: PLC0415

    if live:
        rows = _play_live(load_config(config), provider, model, yes=yes)
    elif provider is not None and provider not in PLAYED:
        fail(f"There is no provider {provider!r}; there are {', '.join(PLAYED)}.")
    else:
        rows = play([provider] if provider else PLAYED)
    if json:
        print("\n".join(msgspec.json.encode(row).decode() for row in rows))
    else:
        Console().print(*tables(rows))
    raise typer.Exit(any(row.outcome == "fail" for row in rows))


def _play_live(
    config: Config, only: str | None, model: str | None, *, yes: bool
) -> list[Row]:
    """Say what it will cost, and ask the configured providers if that is all right."""
    from extproc.local.conformance.live import (  # noqa: PLC0415
        accounts,
        estimate,
        play_live,
    )

    asked, skipped = accounts(config, only, model)
    for why in skipped:
        print(f"not asked: {why}", file=sys.stderr)
    if not asked:
        fail("No configured provider can be asked: see `extproc providers`.")
    print(estimate(asked), file=sys.stderr)
    if not yes:
        typer.confirm("Ask them?", abort=True, err=True)
    return list(play_live(asked))


@commands.callback(invoke_without_command=True)
def list_providers(
    context: typer.Context,
    *,
    config: ConfigOption = None,
    json: Annotated[
        bool, typer.Option("--json", help="entries instead of a table")
    ] = False,
) -> None:
    """List the providers that are configured, and those that could be."""
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console  # noqa: PLC0415

    from extproc.local.providers.catalogue import catalogue, table  # noqa: PLC0415

    entries = catalogue(load_config(config) if config else None, os.environ)
    if json:
        print_json(entries)
    else:
        Console().print(table(entries))


@commands.command("test")
def try_provider(
    name: Annotated[str, typer.Argument(help="as the configuration calls it")],
    *,
    config: ConfigOption = None,
    model: Annotated[
        str | None, typer.Option(help="the model to ask for", metavar="MODEL")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            help="a running gateway to ask, with the key in EXTPROC_KEY", metavar="URL"
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(help="for each of two answers", metavar="SECONDS", min=0.1),
    ] = 60.0,
    json: Annotated[
        bool, typer.Option("--json", help="findings instead of a table")
    ] = False,
) -> None:
    """Say whether a provider's address, key, model and streams work; 1 if any does not.

    What Envoy signs, or control fetches tokens for, can only be tried through a gateway
    that runs (--url); MODEL is then one of the gateway's.
    """
    from rich.console import Console  # noqa: PLC0415

    from extproc.local.providers import through, trial  # noqa: PLC0415

    loaded = load_config(config)
    if name not in loaded.providers:
        fail(f"There is no provider {name!r}; there are {', '.join(loaded.providers)}.")
    asked = model or trial.default_model(loaded, name)
    if asked is None:
        fail("Which model? Say --model.")
    if url is None:
        findings = trial.direct(loaded, name, asked, seconds=timeout)
    else:
        key = os.environ.get("EXTPROC_KEY", "")
        virtual = model or through.virtual_model(loaded, name, asked)
        findings = through.through(url, key, virtual, provider=name, seconds=timeout)
    if json:
        print_json(findings)
    else:
        Console().print(trial.table(findings))
    tried = any(one.outcome == "ok" for one in findings)
    raise typer.Exit(not tried or any(one.outcome == "failed" for one in findings))
