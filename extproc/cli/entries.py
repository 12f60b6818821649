"""``extproc keys|teams|users|organizations|end-users|limits|prices …``, ``usage``, ``budgets``.

Tables for people, ``--json`` for programs: one object a line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from extproc.cli.common import ConfigOption, fail

if TYPE_CHECKING:
    from extproc.admin.entries import Section
    from extproc.operators import Gateway

UrlOption = Annotated[
    str | None,
    typer.Option(
        help="control of a running gateway, such as http://127.0.0.1:8081; "
        "its key in EXTPROC_KEY",
        metavar="URL",
        envvar="EXTPROC_URL",
    ),
]
StateOption = Annotated[
    Path | None,
    typer.Option(help="folder of the gateway's state", metavar="DIR"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="one object a line")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="as gateway.yaml says it, such as models=[gpt-*] or "
        "rate_limits.requests_per_minute=60",
    ),
]
IdArgument = Annotated[str, typer.Argument(metavar="ID")]


def entry_commands(app: typer.Typer, section: Section) -> None:
    """Give `app` the commands of one kind of entry."""

    @app.command("list")
    def list_(
        *,
        organization: str | None = None,
        team: str | None = None,
        user: str | None = None,
        tag: str | None = None,
        text: Annotated[str | None, typer.Option(help="part of the id")] = None,
        json: JsonOption = False,
        url: UrlOption = None,
        state: StateOption = None,
        config: ConfigOption = None,
    ) -> None:
        """List them, those of gateway.yaml too."""
        narrow = {
            "organization": organization, "team": team, "user": user, "tag": tag,
            "text": text,
        }  # fmt: skip
        with _gateway(url, state, config) as gateway:
            found = gateway.entries(section, **_given(narrow))
            _show(found, json=json, columns=_COLUMNS[section])

    @app.command()
    def show(
        id_: IdArgument,
        *,
        url: UrlOption = None,
        state: StateOption = None,
        config: ConfigOption = None,
    ) -> None:
        """Print one, as JSON."""
        with _gateway(url, state, config) as gateway:
            _print(gateway.get(section, id_))

    @app.command()
    def create(
        id_: Annotated[str | None, typer.Argument(metavar="[ID]")] = None,
        *,
        set_: SetOption = None,
        url: UrlOption = None,
        state: StateOption = None,
        config: ConfigOption = None,
    ) -> None:
        """Make one."""
        from extproc.operators import settings  # noqa: PLC0415

        with _gateway(url, state, config) as gateway:
            _print_once(gateway.create(section, id_, settings(set_ or [])))

    @app.command()
    def update(
        id_: IdArgument,
        *,
        set_: SetOption = None,
        unset: Annotated[list[str] | None, typer.Option(metavar="FIELD")] = None,
        url: UrlOption = None,
        state: StateOption = None,
        config: ConfigOption = None,
    ) -> None:
        """Change one."""
        from extproc.operators import settings  # noqa: PLC0415

        changes = [*(set_ or []), *(f"{field}=null" for field in unset or [])]
        with _gateway(url, state, config) as gateway:
            _print(gateway.update(section, id_, settings(changes)))

    @app.command()
    def delete(
        id_: IdArgument,
        *,
        url: UrlOption = None,
        state: StateOption = None,
        config: ConfigOption = None,
    ) -> None:
        """Delete one; what it spent stays in the books."""
        with _gateway(url, state, config) as gateway:
            gateway.delete(section, id_)


def key_commands(app: typer.Typer) -> None:
    """Give `app` what only keys have."""

    @app.command()
    def rotate(
        id_: IdArgument,
        *,
        grace: Annotated[
            float, typer.Option(help="seconds that the old one lives on", min=0)
        ] = 0,
        url: UrlOption = None,
        state: StateOption = None,
        config: ConfigOption = None,
    ) -> None:
        """Give a key a new secret."""
        with _gateway(url, state, config) as gateway:
            _print_once(gateway.rotate(id_, grace))

    _switch(app, "block", blocked=True)
    _switch(app, "unblock", blocked=False)


def _switch(app: typer.Typer, name: str, *, blocked: bool) -> None:
    @app.command(name, help=f"{name.capitalize()} a key.")
    def switch(
        id_: IdArgument,
        *,
        url: UrlOption = None,
        state: StateOption = None,
        config: ConfigOption = None,
    ) -> None:
        with _gateway(url, state, config) as gateway:
            _print(gateway.update("keys", id_, {"blocked": blocked}))


def usage(
    *,
    by: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="of key, user, team, organization, end_user, model, provider, "
            "operation, tag, day",
        ),
    ] = "day",
    since: Annotated[str | None, typer.Option(metavar="TIME")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME")] = None,
    key: str | None = None,
    team: str | None = None,
    user: str | None = None,
    model: str | None = None,
    json: JsonOption = False,
    url: UrlOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Add up what was used and spent."""
    where = {
        "since": since, "until": until, "key": key, "team": team, "user": user,
        "model": model,
    }  # fmt: skip
    with _gateway(url, state, config) as gateway:
        columns = [*filter(None, by.split(",")), "requests", "input_tokens"]
        columns += ["output_tokens", "cost_usd", "unpriced_requests"]
        _show(gateway.spend(by, **_given(where)), json=json, columns=columns)


def budgets(
    *,
    kind: Annotated[
        str | None,
        typer.Option(
            help="global, organization, team, user, key, end_user, model, deployment"
        ),
    ] = None,
    text: Annotated[str | None, typer.Option(help="part of the id")] = None,
    json: JsonOption = False,
    url: UrlOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """Show each budget: what is spent, reserved and left, and until when."""
    with _gateway(url, state, config) as gateway:
        found = gateway.budgets(**_given({"kind": kind, "text": text}))
        if not json:
            found = ({**one, "ends": _date(one["ends"])} for one in found)
        _show(found, json=json, columns=_BUDGET_COLUMNS)


_BUDGET_COLUMNS = (
    "kind", "id", "period", "mode", "budget_usd", "spent_usd", "reserved_usd", "left_usd",
    "ends",
)  # fmt: skip

_COLUMNS: dict[Section, Sequence[str]] = {
    "organizations": ("id", "blocked", "models", "budgets", "source"),
    "teams": ("id", "organization", "blocked", "models", "budgets", "source"),
    "users": ("id", "team", "organization", "blocked", "budgets", "source"),
    "end_users": ("id", "budgets", "source"),
    "keys": ("id", "prefix", "role", "team", "user", "models", "blocked", "source"),
    "limits": ("id", "rate_limits", "concurrency", "budgets", "source"),
    "prices": ("id", "input", "output", "cache_read", "request", "second", "source"),
}


@contextmanager
def _gateway(
    url: str | None, state: Path | None, config: Path | None
) -> Iterator[Gateway]:
    from extproc.local.place import STATE_VARIABLE, state_folder  # noqa: PLC0415
    from extproc.operators import CannotDo, gateway  # noqa: PLC0415

    folder = state_folder(
        state=state,
        listen=None,
        config=config,
        environ=os.environ.get(STATE_VARIABLE),
    )
    try:
        with gateway(url, state=folder, config=config, environ=os.environ) as found:
            yield found
    except CannotDo as error:
        fail(str(error))


def _given(narrow: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in narrow.items() if value is not None}


def _date(at: int | None) -> str:
    return (
        "never" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}Z"
    )


def _print(content: dict[str, Any]) -> None:
    from extproc.admin.spending import encoder  # noqa: PLC0415

    print(encoder.encode(content).decode())


def _print_once(content: dict[str, Any]) -> None:
    """Print what has a new key in it, and say that it is the only time."""
    _print(content)
    if "key" in content:
        print("The key is not shown again.", file=sys.stderr)


def _show(
    rows: Iterable[dict[str, Any]], *, json: bool, columns: Sequence[str]
) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    if json:
        for row in rows:
            _print(row)
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    Console().print(table)


def _cell(value: object) -> str:
    match value:
        case None | False:
            return ""
        case True:
            return "yes"
        case list():
            return ", ".join(map(_cell, value))
        case {"usd": usd, **rest}:
            return f"${usd}/{rest.get('period', 'month')}"
        case dict():
            return ", ".join(f"{name}={said}" for name, said in value.items())
        case _:
            return str(value)
