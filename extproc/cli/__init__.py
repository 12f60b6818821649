"""The command line: it reads arguments and calls one function for each command.

Every command imports what it needs itself, so that `extproc run` starts its children
before anything heavy is loaded. Exit codes: 0, and 2 for what the user can mend; the
reasons are on standard error, one line each. `conformance` ends in 1 where it finds fault.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from extproc.cli import entries, gateway, providers

if TYPE_CHECKING:
    from extproc.admin.entries import Section

app = typer.Typer(
    name="extproc",
    help="An LLM gateway: Envoy in front, this ext_proc service as its brain.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(gateway.run)
app.command()(gateway.check)
app.command("compile")(gateway.compile_)
app.command()(gateway.explain)
app.command()(providers.conformance)
app.command()(entries.usage)
app.command()(entries.budgets)
app.add_typer(providers.commands, name="providers")
keys = typer.Typer(help="Keys: who may use the gateway.", no_args_is_help=True)
app.add_typer(keys, name="keys")
entries.entry_commands(keys, "keys")
entries.key_commands(keys)
keys.command()(gateway.reset)
_ENTRIES: tuple[tuple[Section, str], ...] = (
    ("organizations", "Organizations: who pays in the end."),
    ("teams", "Teams, each of an organization or none."),
    ("users", "Users: people and services that have keys."),
    ("end_users", "End users, by the ids that applications send for them."),
    ("limits", "Limits of everybody (global), model/NAME, deployment/PROVIDER/MODEL."),
    ("prices", "What models cost, by MODEL, PROVIDER/MODEL or a glob of either."),
)
for _section, _help in _ENTRIES:
    _commands = typer.Typer(help=_help, no_args_is_help=True)
    app.add_typer(_commands, name=_section.replace("_", "-"))
    entries.entry_commands(_commands, _section)


@app.command()
def version() -> None:
    """Print the version."""
    from extproc import __version__  # noqa: PLC0415

    print(__version__)


def main() -> None:
    """Run the command line."""
    app()
