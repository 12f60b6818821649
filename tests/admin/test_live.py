"""Keys and tokens of a gateway as it really runs, with its database and without."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from extproc.db.database import Database
from extproc.db.tables import UsageRecord
from tests.admin.live import AT_ONCE, FILE_KEY, PASSWORD, PROMPT, WEBHOOK, live
from tests.harness import KEY, wait_for

pytestmark = pytest.mark.envoy


@pytest.fixture(scope="module")
def run():
    with live() as made:
        yield made


@pytest.fixture(scope="module")
def secrets():
    """What must never be found anywhere, by what it is; tests add to it."""
    return {
        "the provider's key": "sk-mock-provider-secret",
        "the master key": KEY,
        "a key of the file": FILE_KEY,
        "the database's password": PASSWORD,
        "the webhook": WEBHOOK,
        "a prompt": PROMPT.split()[-1],
        "a wrong key": "sk-wrong-canary-0123456789abcdef0123456789",
    }


def made(run, secrets, id_, **settings):
    said = run.admin("POST", "/admin/v1/keys", json={"id": id_, **settings})
    secrets[f"the key {id_!r}"] = key = said.json()["key"]
    run.seconds_until(key, 200)
    return key


def cli(run, *arguments):
    """Change the database from another process, which control is not told of."""
    subprocess.run(
        [Path(sys.executable).parent / "extproc", *arguments,
         "--state", run.state, "--config", run.folder / "gateway.yaml"],
        env={**run.environ, "PATH": "/usr/bin:/bin"}, check=True, capture_output=True,
    )  # fmt: skip


def test_a_revoked_key_is_refused_by_every_worker_within_a_second(run, secrets):
    """Whoever revokes it, and however: over REST, and behind control's back."""
    by_rest = {
        "blocked": ("PATCH", {"blocked": True}),
        "deleted": ("DELETE", None),
        "expired": ("PATCH", {"expires": 1}),
    }
    took = []
    for id_, (method, body) in by_rest.items():
        key = made(run, secrets, id_)
        before = run.asked()
        assert len(before) == 2
        run.admin(method, f"/admin/v1/keys/{id_}", json=body)
        took.append(run.seconds_until(key, 401))
        # Both workers said so.
        assert all(number > before[name] for name, number in run.asked().items())
    key = made(run, secrets, "rotated")
    secrets["the rotated key"] = run.admin(
        "POST", "/admin/v1/keys/rotated/rotate", json={}
    ).json()["key"]
    took.append(run.seconds_until(key, 401))
    assert run.wave(secrets["the rotated key"]) == {200}
    key = made(run, secrets, "team", team="core")
    cli(run, "keys", "block", "team")
    took.append(run.seconds_until(key, 401))
    # The machine may be busy with something else once.
    assert statistics.median(took) < 1.0, took


def test_a_token_is_its_users_on_the_data_path_and_before_the_admin_api(run, secrets):
    token = run.idp.token(groups=["eng"], roles=["support", "none"])
    secrets["a token"], secrets["its signature"] = token, token.rpartition(".")[2]
    run.seconds_until(token, 200)
    assert run.chat(token, model="claude-sonnet-4-5").status_code == 404
    assert run.admin("GET", "/admin/v1/me", token).json()["role"] == "viewer"
    assert run.admin("GET", "/admin/v1/keys", token).status_code == 200
    refused = run.admin("POST", "/admin/v1/keys", token, json={"id": "never"})
    assert refused.status_code == 403
    staff = run.idp.token(sub="bob", roles=["ops"])
    secrets["another token"] = staff
    done = run.admin("POST", "/admin/v1/teams", staff, json={"id": "made-by-bob"})
    assert done.status_code == 201
    [change] = run.admin("GET", "/admin/v1/audit?subject=made-by-bob").json()["data"]
    assert (change["actor"], change["role"]) == ("corp:bob", "admin")

    def refused_one():
        found = run.admin("GET", "/admin/v1/usage?key=corp:ann").json()["data"]
        return next((row for row in found if row["status"] == 404), None)

    # What is refused has its owners, too.
    row = wait_for(refused_one, run.process.output)
    assert (row["user"], row["team"]) == ("ann", "core")


def rows(run):
    database = Database(run.postgres.url)
    with database.read() as session:
        found = session.scalar(sa.select(sa.func.count(UsageRecord.id)))
    database.close()
    return found


def test_requests_go_on_while_the_database_is_away_and_nothing_is_lost(run, secrets):
    key = made(run, secrets, "kept", tags=["kept"])
    run.postgres.stop()
    assert run.wave(key) == {200}
    away = wait_for(
        lambda: (
            run.health()["database"] if run.health()["database"]["problem"] else None
        ),
        run.process.output,
    )
    assert PASSWORD not in str(away)
    said = run.admin("GET", "/admin/v1/keys")
    assert said.status_code == 503
    # Whoever starts anew meanwhile knows the keys, too.
    for module in ("extproc.local.control", "w0.sock"):
        run.kill(module)
    wait_for(lambda: run.health().get("ready") or None, run.process.output, 60)
    run.seconds_until(key, 200)
    run.seconds_until(secrets["a wrong key"], 401)
    asked = 3 * AT_ONCE
    run.postgres.start()

    def arrived():
        found = run.admin("GET", "/admin/v1/spend?key=kept").json().get("data")
        return (found and found[0]["requests"] >= asked) or None

    wait_for(arrived, run.process.output, 60)
    assert rows(run) > asked


def test_no_secret_is_left_in_the_database_its_log_or_anything_else(run, secrets):
    """After keys were made, rotated and used, tokens too, and an outage."""
    made(run, secrets, "canary", team="core", tags=["no-secret"])
    rotated = run.admin("POST", "/admin/v1/keys/canary/rotate", json={"grace": 60})
    secrets["a rotated key"] = rotated.json()["key"]
    token = run.idp.token(sub="canary", roles=["ops"])
    secrets["a token of staff"] = token
    secrets["its own signature"] = token.rpartition(".")[2]
    run.seconds_until(token, 200)
    noted = {"metadata": {"note": f"my key is {FILE_KEY}"}, "blocked": True}
    run.admin("PATCH", "/admin/v1/keys/canary", token, json={"blocked": True})
    run.postgres.stop()
    assert run.admin("PATCH", "/admin/v1/keys/canary", json=noted).status_code == 503
    run.postgres.start()
    wait_for(
        lambda: run.admin("GET", "/admin/v1/keys").is_success or None,
        run.process.output,
    )
    run.admin("GET", "/admin/v1/keys", secrets["a wrong key"])
    private = {}
    places = {"output": run.process.output().encode()}
    for path in ("keys", "teams", "usage", "usage?format=csv", "spend?by=key", "audit",
                 "budgets", "export", "me", "routing", "health", "openapi.json"):  # fmt: skip
        places[path] = run.admin("GET", f"/admin/v1/{path}").content
    for path in ("/metrics", "/health/ready"):
        places[path] = run.admin("GET", path).content
    for path in ("/config_dump?include_eds", "/clusters", "/stats", "/listeners"):
        places[f"envoy {path}"] = run.envoy(path)
    places["its error"] = run.chat(secrets["a wrong key"]).content
    # Before its files: what it has in memory is in them then.
    engine = sa.create_engine(run.postgres.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text("CHECKPOINT"))
    engine.dispose()
    for folder in (run.state, run.postgres.folder):
        for file in folder.rglob("*"):
            if file.is_file() and not file.is_socket():
                private[str(file)] = file.stat().st_mode & 0o077
                places[str(file)] = file.read_bytes()
    places["the database's log"] = run.postgres.log.read_bytes()
    assert len(places) > 100
    found = {
        (what, where)
        for where, content in places.items()
        for what, secret in secrets.items()
        if secret.encode() in content
    }
    # Envoy reads the credentials that it adds from here, and nobody else can.
    xds = {pair for pair in found if "/xds/" in pair[1]}
    assert {what for what, _ in xds} <= {"the provider's key"}
    assert not any(private[where] for _, where in xds)
    assert found - xds == set()
    # It would have been found: what is not secret is there.
    assert sum(b"no-secret" in content for content in places.values()) > 1
