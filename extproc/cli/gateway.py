"""``extproc run|check|compile|explain``, ``keys reset``: what is done with a configuration."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from extproc.cli.common import (
    ConfigArgument,
    ConfigOption,
    ListenOption,
    StateOption,
    fail,
    load_config,
    print_json,
)

if TYPE_CHECKING:
    from extproc.config.compile import EnvoyFiles
    from extproc.config.schema import Config
    from extproc.runtime import Snapshot

INSTALLED = Path("/var/lib/extproc")
"""Where the container images keep state and sockets."""
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
"""Debian's, which Envoy's image has."""


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


def check(file: ConfigArgument = None) -> None:
    """Say what is wrong with a configuration, or "ok"."""
    import tempfile  # noqa: PLC0415

    import certifi  # noqa: PLC0415

    from extproc.config.compile import write_files  # noqa: PLC0415
    from extproc.config.file_names import XDS_FOLDER  # noqa: PLC0415
    from extproc.local import envoy  # noqa: PLC0415
    from extproc.local.place import allowed_files  # noqa: PLC0415

    config = load_config(file)
    with tempfile.TemporaryDirectory(prefix="extproc-") as name:
        folder = Path(name)
        files, _ = _compiled(config, folder, Path(certifi.where()))
        write_files(files, folder / XDS_FOLDER)
        allowed = allowed_files()
        shortage = None if allowed is None else config.limits.shortage(allowed)
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

    files, snapshot = _compiled(load_config(file), folder, ca_bundle)
    try:
        write_files(files, out / XDS_FOLDER)
        write_private(out / SNAPSHOT_FILE, msgspec.msgpack.encode(snapshot))
    except OSError as error:
        fail(f"Cannot write to {out}: {error.strerror}.")
    print(f"wrote {out / XDS_FOLDER} and {out / SNAPSHOT_FILE}")


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
            load_config(config), body, api=api, model=model, key=key, headers=sent
        )
    except NoSuchKey:
        fail(f"There is no key {key!r} in the configuration.")
    if json:
        print_json(found)
    else:
        print("\n".join(lines(found)))
    raise typer.Exit(0 if found.attempts else 1)


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


def _compiled(
    config: Config, folder: Path, ca_bundle: Path
) -> tuple[EnvoyFiles, Snapshot]:
    """Compile a configuration, for an Envoy that finds things in `folder`."""
    from extproc.config.build import build  # noqa: PLC0415
    from extproc.config.compile import Layout, compile_envoy  # noqa: PLC0415
    from extproc.server.keys import read_grants  # noqa: PLC0415

    layout = Layout.under(folder, ca_bundle=ca_bundle, workers=config.workers)
    grants = read_grants(folder, os.environ)
    snapshot = build(config, grants=grants, generation=1, created=0)
    return compile_envoy(config, layout), snapshot
