"""Keys and owners from the command line: over a running gateway, and without one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from extproc.admin.access import MACHINE
from extproc.admin.api import make_app
from extproc.admin.directory import Directory
from extproc.admin.http import Admin
from extproc.cli import app
from extproc.config.load import loads
from extproc.db import usage
from extproc.db.database import Database
from extproc.identity import Allowance, Budget, Subject
from extproc.operators import CannotDo, settings
from extproc.runtime import Grant, Runtime, Snapshot
from extproc.server.control_http import HttpServer, listening
from extproc.server.keys import hash_key
from extproc.server.purses import budgets_router
from extproc.state.base import Balance
from tests.db.test_usage import DAY, row

FILE = """
providers: {openai: {type: openai, api_key: sk-x}}
models: {gpt-4o: {targets: [{provider: openai}]}}
keys: [{id: fixed, key: sk-file-0123456789abcdef0123456789}]
"""
OWNER = "sk-owner-0123456789abcdef0123456789"
SPENDS = Allowance(budgets=(Budget(1_000_000_000, "total"),))

Run = Callable[..., Any]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "gateway.yaml").write_text(FILE)
    return tmp_path


@pytest.fixture
def url(state: Path) -> Iterator[str]:
    """Control's HTTP side over the same database."""
    config = loads(FILE, {}, source="gateway.yaml", folder=Path())
    database = Database.in_folder(state)
    database.migrate()
    directory = Directory(
        database, config=lambda: config, clock=lambda: 1_000.0, changed=lambda: None
    )
    snapshot = Snapshot(1, grants=(Grant("me", hash_key(OWNER), role="owner"),))
    runtime = Runtime.of(snapshot)
    admin = Admin(directory, database, runtime=lambda: runtime, clock=lambda: 1_000.0)
    serving = msgspec.structs.replace(
        snapshot, subjects=tuple(Subject("team", f"t{n}", SPENDS) for n in range(3))
    )
    # What a running gateway has charged, by meter.
    charged = {"team/t1/total/UTC/0": Balance(750_000_000, ends=2**53)}
    purses = budgets_router(admin, lambda: serving, lambda: charged, list)
    server = HttpServer(make_app(admin, [purses]))
    sock = listening("127.0.0.1:0")
    thread = threading.Thread(target=lambda: asyncio.run(server.run(sock)))
    thread.start()
    yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    server.stop()
    thread.join()
    database.close()


@pytest.fixture(params=["database", "gateway"])
def extproc(request: pytest.FixtureRequest, state: Path) -> Run:
    """Run a command; return the JSON objects that it prints."""
    where = ["--state", str(state), "--config", str(state / "gateway.yaml")]
    environ: dict[str, str] = {}
    if request.param == "gateway":
        where = ["--url", request.getfixturevalue("url")]
        environ = {"EXTPROC_KEY": OWNER}

    def run(*arguments: str, code: int = 0) -> Any:
        result = CliRunner().invoke(app, [*arguments, *where], env=environ)
        assert result.exit_code == code, result.output
        if code:
            return result.stderr.strip()
        return [msgspec.json.decode(line) for line in result.stdout.splitlines()]

    return run


def test_a_key_lives_from_create_to_delete(extproc):
    [made] = extproc(
        "keys", "create", "ci",
        "--set", "models=[gpt-*]", "--set", "rate_limits.requests_per_minute=5",
    )  # fmt: skip
    assert made["key"].startswith("sk-")
    assert made["rate_limits"] == {"requests_per_minute": 5}
    [shown] = extproc("keys", "show", "ci")
    assert shown == {key: value for key, value in made.items() if key != "key"}
    [changed] = extproc(
        "keys", "update", "ci", "--set", "tags=[a]", "--unset", "rate_limits"
    )
    assert changed["tags"] == ["a"]
    assert "rate_limits" not in changed
    assert extproc("keys", "block", "ci")[0]["blocked"] is True
    assert extproc("keys", "unblock", "ci")[0]["blocked"] is False
    [rotated] = extproc("keys", "rotate", "ci", "--grace", "60")
    assert rotated["key"] != made["key"]
    assert "replaced_until" in rotated
    listed = extproc("keys", "list", "--json")
    assert [entry["id"] for entry in listed] == ["ci", "fixed"]
    assert [e["id"] for e in extproc("keys", "list", "--tag", "a", "--json")] == ["ci"]
    extproc("keys", "delete", "ci")
    assert extproc("keys", "show", "ci", code=2) == "There is no key 'ci'."


def test_owners_have_the_same_commands(extproc):
    extproc("organizations", "create", "acme")
    extproc("teams", "create", "core", "--set", "organization=acme")
    extproc("users", "create", "ann", "--set", "team=core")
    extproc("end-users", "create", "crm/1", "--set", "concurrency=2")
    assert extproc("end-users", "show", "crm/1")[0]["concurrency"] == 2
    [team] = extproc("teams", "list", "--organization", "acme", "--json")
    assert team["id"] == "core"
    assert "still has the user 'ann'" in extproc("teams", "delete", "core", code=2)


WRONG = [
    (("keys", "create", "fixed"), "There is a key 'fixed' already."),
    (("keys", "delete", "fixed"), "stands in gateway.yaml"),
    (("keys", "create", "--set", "modles=[]"), "modles: there is no such field"),
    (("keys", "create", "--set", "models"), "'models' is not FIELD=VALUE."),
    (("keys", "create", "--set", "models=["), "is not YAML"),
    (("usage", "--by", "colour"), "by: a list of key,"),
    (("usage", "--since", "soon"), "since must be a time"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_what_cannot_be_done_is_one_sentence_and_code_2(extproc, arguments, message):
    said = extproc(*arguments, code=2)
    assert message in said
    assert "Traceback" not in said


def test_what_was_spent_is_added_up(extproc, state):
    database = Database.in_folder(state)
    database.migrate()
    with database.write() as session:
        usage.add(
            session,
            [row("a", cost=250_000_000), row("b", started_at=11 * DAY, model="x")],
        )
    database.close()
    [day] = extproc("usage", "--until", "1970-01-12", "--json")
    assert (day["day"], day["cost_usd"]) == ("1970-01-11", 0.25)
    by_model = extproc("usage", "--by", "model", "--json")
    assert [group["model"] for group in by_model] == ["gpt-4o", "x"]
    [one] = extproc("usage", "--by", "key", "--model", "x", "--json")
    assert one["requests"] == 1


def test_tables_are_for_people(state):
    directory = Directory(
        Database.in_folder(state),
        config=lambda: loads(FILE, {}, source="x", folder=Path()),
        clock=lambda: 1.0,
        changed=lambda: None,
    )
    where = ["--state", str(state), "--config", str(state / "gateway.yaml")]
    CliRunner().invoke(app, ["keys", "list", *where])
    directory.create("teams", {"budgets": [{"usd": 5}]}, MACHINE, id_="core")
    result = CliRunner().invoke(app, ["teams", "list", *where])
    assert "core" in result.stdout
    assert "$5/month" in result.stdout


def test_a_gateway_needs_a_key_and_must_be_there():
    def said(**environ: str) -> str:
        where = ["keys", "list", "--url", "http://127.0.0.1:1"]
        result = CliRunner().invoke(app, where, env=environ)
        assert result.exit_code == 2
        return result.stderr

    assert "EXTPROC_KEY" in said(EXTPROC_KEY="")
    assert "cannot be reached" in said(EXTPROC_KEY=OWNER)


def test_settings_are_yaml_and_nested():
    assert settings(["a=1", "b.c=[x, 2]", "b.d=null", "e=f=g", "t='no'"]) == {
        "a": 1, "b": {"c": ["x", 2], "d": None}, "e": "f=g", "t": "no",
    }  # fmt: skip
    with pytest.raises(CannotDo):
        settings(["=1"])


def test_budgets_are_shown_as_a_running_gateway_counts_them(url: str) -> None:
    def said(*more: str) -> list[tuple[str, float, float]]:
        result = CliRunner().invoke(
            app, ["budgets", "--json", "--url", url, *more], env={"EXTPROC_KEY": OWNER}
        )
        assert result.exit_code == 0, result.output
        lines = map(msgspec.json.decode, result.stdout.splitlines())
        return [(one["id"], one["spent_usd"], one["left_usd"]) for one in lines]

    assert said() == [("t0", 0, 1), ("t1", 0.75, 0.25), ("t2", 0, 1)]
    assert said("--text", "T1") == [("t1", 0.75, 0.25)]
    assert said("--kind", "key") == []


def test_limits_and_prices_are_kept_like_entries(extproc):
    extproc("limits", "create", "model/gpt-4o", "--set", "rate_limits.tokens_per_day=5")
    extproc("prices", "create", "openai/gpt-4o", "--set", "input=0.25")
    [limit] = extproc("limits", "list", "--json")
    assert (limit["id"], limit["source"]) == ("model/gpt-4o", "database")
    assert extproc("prices", "show", "openai/gpt-4o")[0]["input"] == 0.25
    assert "id must be global" in extproc("limits", "create", "model/x", code=2)


def test_budgets_are_shown_from_the_database(state: Path) -> None:
    file = FILE + "budgets: [{usd: 2, period: total}]\n"
    (state / "gateway.yaml").write_text(file)
    where = ["--state", str(state), "--config", str(state / "gateway.yaml")]
    runner = CliRunner()
    made = runner.invoke(
        app, ["keys", "create", "ci", "--set", "budgets=[{usd: 1}]", *where]
    )
    assert made.exit_code == 0, made.output
    database = Database.in_folder(state)
    with database.write() as session:
        usage.add(
            session, [row("a", key="ci", started_at=1_900_000_000.0, cost=5 * 10**8)]
        )
    database.close()
    shown = runner.invoke(app, ["budgets", "--json", *where])
    lines = [msgspec.json.decode(line) for line in shown.stdout.splitlines()]
    assert [(one["kind"], one["id"], one["left_usd"]) for one in lines] == [
        ("global", "", 1.5),
        ("key", "ci", 0.5),
    ]
    table = runner.invoke(app, ["budgets", "--kind", "global", *where]).stdout
    assert "never" in table
    assert "key" not in table
