"""The command line: it reads arguments and calls one function for each command.

Every command imports what it needs itself, so that `extproc run` starts its children
before anything heavy is loaded. Exit codes: 0, and 2 for what the user can mend; the
reasons are on standard error, one line each. `conformance` ends in 1 where it finds fault.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from extproc.cli_entries import budgets, entry_commands, key_commands, usage

if TYPE_CHECKING:
    from extproc.admin.entries import Section
    from extproc.config.compile import EnvoyFiles
    from extproc.config.schema import Config
    from extproc.local.conformance import Row
    from extproc.runtime import Snapshot

app = typer.Typer(
    name="extproc",
    help="An LLM gateway: Envoy in front, this ext_proc service as its brain.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
keys = typer.Typer(help="Keys: who may use the gateway.", no_args_is_help=True)
app.add_typer(keys, name="keys")
entry_commands(keys, "keys")
key_commands(keys)
_ENTRIES: tuple[tuple[Section, str], ...] = (
    ("organizations", "Organizations: who pays in the end."),
    ("teams", "Teams, each of an organization or none."),
    ("users", "Users: people and services that have keys."),
    ("end_users", "End users, by the ids that applications send for them."),
    ("limits", "Limits of everybody (global), model/NAME, deployment/PROVIDER/MODEL."),
    ("prices", "What models cost, by MODEL, PROVIDER/MODEL or a glob of either."),
)
for _section, _help in _ENTRIES:
    _entries = typer.Typer(help=_help, no_args_is_help=True)
    app.add_typer(_entries, name=_section.replace("_", "-"))
    entry_commands(_entries, _section)
app.command()(usage)
app.command()(budgets)
providers = typer.Typer(help="Which providers there are, and whether one works.")
app.add_typer(providers, name="providers")

INSTALLED = Path("/var/lib/extproc")
"""Where the container images keep state and sockets."""
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
"""Debian's, which Envoy's image has."""

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="gateway.yaml", metavar="FILE")
]
ConfigArgument = Annotated[
    Path | None, typer.Argument(help="gateway.yaml; else the environment's keys")
]
ListenOption = Annotated[
    str | None, typer.Option(help="where applications connect", metavar="IP:PORT")
]
StateOption = Annotated[
    Path | None,
    typer.Option(
        help="folder of what outlives the process (default .extproc/PORT)",
        metavar="DIR",
        envvar="EXTPROC_STATE",
    ),
]


@app.command()
def run(
    *,
    config: ConfigOption = None,
    listen: ListenOption = None,
    control: Annotated[
        str | None,
        typer.Option(
            help="metrics and health (default: the port after --listen's)",
            metavar="IP:PORT",
        ),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, metavar="N")] = None,
    mock: Annotated[
        bool, typer.Option("--mock", help="the mock providers, whatever keys there are")
    ] = False,
    state: StateOption = None,
) -> None:
    """Run the gateway: Envoy, the workers and control, until Ctrl-C."""
    from extproc.local.launch import Options  # noqa: PLC0415
    from extproc.local.place import CannotRun  # noqa: PLC0415
    from extproc.local.supervisor import run as supervise  # noqa: PLC0415

    options = Options(
        config=config,
        listen=listen,
        control=control,
        workers=workers,
        mock=mock,
        state=state,
    )
    try:
        supervise(options, os.environ)
    except CannotRun as error:
        fail(str(error))


@app.command()
def check(file: ConfigArgument = None) -> None:
    """Say what is wrong with a configuration, or "ok"."""
    import tempfile  # noqa: PLC0415

    import certifi  # noqa: PLC0415

    from extproc.config.compile import write_files  # noqa: PLC0415
    from extproc.config.file_names import XDS_FOLDER  # noqa: PLC0415
    from extproc.local import envoy  # noqa: PLC0415
    from extproc.local.place import allowed_files  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="extproc-") as name:
        folder = Path(name)
        files, _ = _compiled(file, folder, Path(certifi.where()))
        write_files(files, folder / XDS_FOLDER)
        allowed = allowed_files()
        shortage = None if allowed is None else _loaded(file).limits.shortage(allowed)
        if shortage is not None:
            print(f"Here, {shortage}.", file=sys.stderr)
        try:
            envoy.validate(folder / XDS_FOLDER)
        except envoy.EnvoyMissing:
            print("ok (Envoy is not installed: its part was not tried)")
            return
        except envoy.EnvoyRefused as error:
            fail(f"Envoy refuses what this compiles to, which is our mistake: {error}")
    print("ok")


@app.command("compile")
def compile_(
    file: ConfigArgument = None,
    *,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="DIR", help="where to write")
    ],
    folder: Annotated[
        Path,
        typer.Option(metavar="DIR", help="where Envoy will find them, and sockets"),
    ] = INSTALLED,
    ca_bundle: Annotated[
        Path,
        typer.Option(metavar="FILE", help="certificate authorities, as Envoy sees"),
    ] = CA_BUNDLE,
) -> None:
    """Write Envoy's files and the workers' snapshot; the same input, the same bytes."""
    import msgspec  # noqa: PLC0415

    from extproc.config.compile import write_files  # noqa: PLC0415
    from extproc.config.file_names import XDS_FOLDER  # noqa: PLC0415
    from extproc.server.compiled import SNAPSHOT_FILE  # noqa: PLC0415
    from extproc.server.keys import write_private  # noqa: PLC0415

    files, snapshot = _compiled(file, folder, ca_bundle)
    try:
        write_files(files, out / XDS_FOLDER)
        write_private(out / SNAPSHOT_FILE, msgspec.msgpack.encode(snapshot))
    except OSError as error:
        fail(f"Cannot write to {out}: {error.strerror}.")
    print(f"wrote {out / XDS_FOLDER} and {out / SNAPSHOT_FILE}")


@app.command()
def explain(
    request: Annotated[Path, typer.Argument(help="a request's body, JSON")],
    *,
    config: ConfigOption = None,
    model: Annotated[
        str | None, typer.Option(help="in place of the body's own", metavar="M")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="the id of a key in the file", metavar="K")
    ] = None,
    api: Annotated[
        str, typer.Option(help="chat, responses or messages", metavar="API")
    ] = "chat",
    header: Annotated[
        list[str] | None,
        typer.Option(help="sent by the client; may be repeated", metavar="NAME=VALUE"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Show what would become of a request: who is asked, in which order, with what."""
    import msgspec  # noqa: PLC0415

    from extproc.local.explain import (  # noqa: PLC0415
        APIS,
        NoSuchKey,
        explain as explained,
        lines,
    )

    if api not in APIS:
        fail(f"There is no API {api!r}; there are {', '.join(APIS)}.")
    try:
        body = request.read_bytes()
    except OSError as error:
        fail(f"Cannot read {request}: {error.strerror}.")
    sent = dict(one.lower().partition("=")[::2] for one in header or ())
    try:
        found = explained(
            _loaded(config), body, api=api, model=model, key=key, headers=sent
        )
    except NoSuchKey:
        fail(f"There is no key {key!r} in the configuration.")
    if json:
        print(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        print("\n".join(lines(found)))
    raise typer.Exit(0 if found.attempts else 1)


@app.command()
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
        rows = _play_live(_loaded(config), provider, model, yes=yes)
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


@providers.callback(invoke_without_command=True)
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
    import msgspec  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from extproc.local.providers.catalogue import catalogue, table  # noqa: PLC0415

    entries = catalogue(_loaded(config) if config else None, os.environ)
    if json:
        print(msgspec.json.format(msgspec.json.encode(entries)).decode())
    else:
        Console().print(table(entries))


@providers.command("test")
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
    import msgspec  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from extproc.local.providers import through, trial  # noqa: PLC0415

    loaded = _loaded(config)
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
        print(msgspec.json.format(msgspec.json.encode(findings)).decode())
    else:
        Console().print(trial.table(findings))
    tried = any(one.outcome == "ok" for one in findings)
    raise typer.Exit(not tried or any(one.outcome == "failed" for one in findings))


@keys.command()
def reset(
    config: ConfigOption = None, listen: ListenOption = None, state: StateOption = None
) -> None:
    """Make a new key, which voids the one before; a running gateway takes it at once."""
    from extproc.local.place import state_folder  # noqa: PLC0415
    from extproc.server.keys import MASTER_VARIABLE, make_key  # noqa: PLC0415

    try:
        key = make_key(
            state_folder(state=state, listen=listen, config=config, environ=None)
        )
    except (OSError, ValueError) as error:
        fail(f"Cannot make a key: {error}.")
    print(key)
    print("It is not shown again.", file=sys.stderr)
    if os.environ.get(MASTER_VARIABLE):
        print(f"While {MASTER_VARIABLE} is set, only that is a key.", file=sys.stderr)


def _loaded(file: Path | None) -> Config:
    """Read a file, or the environment."""
    from extproc.config.load import ConfigError, autoconfig, load  # noqa: PLC0415

    try:
        if file is None:
            return autoconfig(os.environ, mock_url=None)
        return load(file, os.environ)
    except ConfigError as error:
        fail("\n".join(map(str, error.problems)))


def _compiled(
    file: Path | None, folder: Path, ca_bundle: Path
) -> tuple[EnvoyFiles, Snapshot]:
    """Compile a file or the environment, for an Envoy that finds things in `folder`."""
    from extproc.config.build import build  # noqa: PLC0415
    from extproc.config.compile import Layout, compile_envoy  # noqa: PLC0415
    from extproc.server.keys import read_grants  # noqa: PLC0415

    config = _loaded(file)
    layout = Layout.under(folder, ca_bundle=ca_bundle, workers=config.workers)
    grants = read_grants(folder, os.environ)
    snapshot = build(config, grants=grants, generation=1, created=0)
    return compile_envoy(config, layout), snapshot


@app.command()
def version() -> None:
    """Print the version."""
    from extproc import __version__  # noqa: PLC0415

    print(__version__)


def fail(message: str) -> NoReturn:
    """Say why, and exit with 2."""
    if message:
        print(message, file=sys.stderr)
    raise typer.Exit(2)


def main() -> None:
    """Run the command line."""
    app()
