"""The admin API as a program asks it: every route, every role, every wrong request."""

from __future__ import annotations

import csv
import io
from typing import Any
from urllib.parse import quote

import pytest
from openapi_spec_validator.schemas import openapi_v31_schema_validator
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from extproc.admin.access import FREE_FAILURES, WAIT_SECONDS
from extproc.admin.entries import KINDS
from extproc.db import usage
from tests.admin import litellm
from tests.admin.application import KEYS, ROLES
from tests.db.test_usage import DAY, row


def test_an_entry_lives_from_post_to_delete(api):
    made = api.ask("POST", "/admin/v1/keys", json={"id": "ci", "models": ["gpt-*"]})
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    key = made.json()["key"]
    shown = api.ask("GET", "/admin/v1/keys/ci").json()
    assert shown["models"] == ["gpt-*"]
    assert "key" not in shown
    changed = api.ask("PATCH", "/admin/v1/keys/ci", json={"tags": ["x"]})
    assert changed.json()["tags"] == ["x"]
    rotated = api.ask("POST", "/admin/v1/keys/ci/rotate", json={"grace": 10})
    assert rotated.json()["key"] != key
    listed = api.ask("GET", "/admin/v1/keys", params={"tag": "x"}).json()
    assert [entry["id"] for entry in listed["data"]] == ["ci"]
    assert listed["next"] is None
    assert api.ask("DELETE", "/admin/v1/keys/ci").status_code == 204
    assert api.ask("GET", "/admin/v1/keys/ci").status_code == 404
    log = api.ask("GET", "/admin/v1/audit", params={"subject": "ci"}).json()["data"]
    assert [entry["action"] for entry in log] == [
        "delete", "rotate", "update", "create",
    ]  # fmt: skip


def test_an_id_with_a_slash_is_one_id(api):
    made = api.ask("POST", "/admin/v1/end_users", json={"id": "crm/42 ü"})
    assert made.status_code == 201
    shown = api.ask("GET", "/admin/v1/end_users/crm%2F42%20%C3%BC")
    assert shown.json()["id"] == "crm/42 ü"


def test_everybody_may_ask_who_they_are(api):
    for role in ROLES:
        assert api.ask("GET", "/admin/v1/me", role).json() == {"id": role, "role": role}


DEEP = b"[" * 200_000 + b"]" * 200_000
LESS_DEEP = b"[" * 300 + b"]" * 300
"""As msgspec reads, and pydantic does not."""
SAME_HASH = [{"id": name, "sha256": "0" * 64} for name in "ab"]
WRONG = [
    ("POST", "/admin/v1/keys", {"content": b"{"}, 400, None),
    ("POST", "/admin/v1/keys", {"content": b"[]"}, 400, None),
    ("POST", "/admin/v1/keys", {"content": b"\xff"}, 400, None),
    ("POST", "/admin/v1/keys", {"content": b'{"a":"\xff"}'}, 400, None),
    ("POST", "/admin/v1/keys", {"content": b'{"a":' + DEEP + b"}"}, 400, None),
    ("POST", "/admin/v1/keys", {"content": b'{"a":' + LESS_DEEP + b"}"}, 400, None),
    ("POST", "/admin/v1/keys", {"json": {"id": 5}}, 400, "id"),
    ("POST", "/admin/v1/end_users", {"json": {"id": [5]}}, 400, "id"),
    ("POST", "/admin/v1/keys/bulk", {"json": [{"create": {"id": []}}]}, 400, "id"),
    ("POST", "/admin/v1/import", {"json": {"keys": 5}}, 400, "keys"),
    ("POST", "/admin/v1/import", {"json": {"keys": [5]}}, 400, "keys[0]"),
    ("POST", "/admin/v1/import", {"json": {"keys": SAME_HASH}}, 409, "sha256"),
    ("POST", "/admin/v1/keys", {"json": {"modles": []}}, 400, "modles"),
    ("POST", "/admin/v1/keys/bulk", {"json": {}}, 400, None),
    ("POST", "/admin/v1/keys/bulk", {"json": [1]}, 400, None),
    ("POST", "/admin/v1/keys/fixed/rotate", {"json": {"grace": "x"}}, 400, "grace"),
    ("POST", "/admin/v1/keys/fixed/rotate", {"json": {}}, 409, None),
    ("GET", "/admin/v1/keys?limit=0", {}, 400, "limit"),
    (
        "POST",
        "/admin/v1/keys",
        {"json": {"id": "k", "sha256": "0" * 64}},
        400,
        "sha256",
    ),
    ("PATCH", "/admin/v1/keys/fixed", {"json": {"source": "x"}}, 409, None),
    ("GET", f"/admin/v1/audit?before={10**30}", {}, 400, "before"),
    ("GET", "/admin/v1/keys?blocked=maybe", {}, 400, "blocked"),
    # Postgres has no text with a zero in it.
    ("GET", "/admin/v1/keys?team=%00", {}, 400, None),
    ("GET", "/admin/v1/usage?key=a%00", {}, 400, None),
    ("PATCH", "/admin/v1/teams/a%00b", {"json": {}}, 400, None),
    ("POST", "/admin/v1/end_users", {"json": {"id": "a\0"}}, 400, None),
    ("POST", "/admin/v1/keys", {"json": {"metadata": {"a\0": "b"}}}, 400, None),
    ("POST", "/admin/v1/keys", {"json": {"tags": ["t"] * 65}}, 400, "tags"),
    ("POST", "/admin/v1/keys", {"json": {"models": ["*a" * 300]}}, 400, "models[0]"),
    ("GET", "/admin/v1/spend?by=colour", {}, 400, "by"),
    ("GET", "/admin/v1/spend?by=day,day", {}, 400, "by"),
    ("GET", "/admin/v1/spend?since=yesterday", {}, 400, "since"),
    ("GET", "/admin/v1/spend?format=xls", {}, 400, "format"),
    ("GET", "/admin/v1/usage?after=here", {}, 400, "after"),
    ("GET", "/admin/v1/usage?after=x~y", {}, 400, "after"),
    ("GET", "/admin/v1/nothing", {}, 404, None),
    ("PUT", "/admin/v1/keys", {}, 405, None),
    ("GET", "/admin/docs/../../etc/passwd", {}, 404, None),
    ("GET", "/admin/docs/main.py", {}, 404, None),
]


@pytest.mark.parametrize(("method", "path", "more", "status", "param"), WRONG)
def test_a_wrong_request_is_told_what_is_wrong_with_it(
    api, method, path, more, status, param
):
    said = api.ask(method, path, **more)
    assert said.status_code == status
    if path.startswith("/admin/v1"):
        error = said.json()["error"]
        assert error["message"]
        assert error["param"] == param


def test_wrong_keys_are_slowed_and_right_ones_elsewhere_are_not(api):
    wrong = {"authorization": "Bearer sk-wrong-0123456789abcdef"}
    for _ in range(FREE_FAILURES):
        said = api.http.get("/admin/v1/keys", headers=wrong)
        assert said.status_code == 401
        assert said.headers["www-authenticate"] == "Bearer"
    said = api.ask("GET", "/admin/v1/keys")  # a right key, from the same address
    assert said.status_code == 429
    assert int(said.headers["retry-after"]) >= WAIT_SECONDS
    elsewhere = TestClient(api.app, client=("192.0.2.1", 1))
    right = {"x-api-key": KEYS["viewer"]}
    assert elsewhere.get("/admin/v1/keys", headers=right).status_code == 200
    api.office.clock.now += WAIT_SECONDS + 1
    assert api.ask("GET", "/admin/v1/keys").status_code == 200


def test_a_blocked_staff_key_opens_nothing(api):
    made = api.ask("POST", "/admin/v1/keys", json={"id": "v", "role": "viewer"})
    key = {"x-api-key": made.json()["key"]}
    assert api.http.get("/admin/v1/me", headers=key).status_code == 200
    api.ask("PATCH", "/admin/v1/keys/v", json={"blocked": True})
    assert api.http.get("/admin/v1/me", headers=key).status_code == 401


def test_spend_is_grouped_exact_and_dated(api):
    with api.office.database.write() as session:
        usage.add(
            session,
            [
                row("a", cost=1_500_000_001, key="ci"),
                row("b", cost=2, key="ci", started_at=11 * DAY),
                row("c", cost=None, key=None, started_at=11 * DAY),
            ],
        )
    said = api.ask("GET", "/admin/v1/spend", params={"by": "key,day"})
    assert '"cost_usd":1.500000001' in said.text
    assert said.json()["data"] == [
        {"key": "ci", "day": "1970-01-11", "requests": 1, "input_tokens": 10,
         "output_tokens": 5, "cost_usd": 1.500000001, "unpriced_requests": 0},
        {"key": "ci", "day": "1970-01-12", "requests": 1, "input_tokens": 10,
         "output_tokens": 5, "cost_usd": 2e-9, "unpriced_requests": 0},
        {"key": None, "day": "1970-01-12", "requests": 1, "input_tokens": 10,
         "output_tokens": 5, "cost_usd": 0, "unpriced_requests": 1},
    ]  # fmt: skip
    since = api.ask("GET", "/admin/v1/spend", params={"since": "1970-01-12"})
    assert [group["requests"] for group in since.json()["data"]] == [2]


def test_the_usage_log_has_pages_and_filters(api):
    with api.office.database.write() as session:
        usage.add(session, [row(f"r{n}", started_at=float(n)) for n in range(5)])
    first = api.ask("GET", "/admin/v1/usage", params={"limit": 3}).json()
    second = api.ask(
        "GET", "/admin/v1/usage", params={"limit": 3, "after": first["next"]}
    ).json()
    assert [entry["id"] for entry in first["data"] + second["data"]] == [
        "r4", "r3", "r2", "r1", "r0",
    ]  # fmt: skip
    assert second["next"] is None
    none = api.ask("GET", "/admin/v1/usage", params={"until": "0"}).json()
    assert none["data"] == []


def test_csv_has_every_row_and_no_cell_that_runs(api):
    rows = [row(f"r{n:04}", started_at=float(n), end_user="=1+1") for n in range(1_203)]
    with api.office.database.write() as session:
        usage.add(session, rows)
    said = api.ask("GET", "/admin/v1/usage", params={"format": "csv"})
    assert said.headers["content-type"] == "text/csv; charset=utf-8"
    read = list(csv.DictReader(io.StringIO(said.text)))
    assert [line["id"] for line in read] == [f"r{n:04}" for n in range(1_202, -1, -1)]
    assert read[0]["end_user"] == "'=1+1"
    assert read[0]["cost_usd"] in {"1E-7", "0.0000001"}
    spend = api.ask("GET", "/admin/v1/spend", params={"format": "csv", "by": "model"})
    assert spend.text.splitlines()[1].startswith("gpt-4o,1203,")


def test_the_schema_is_openapi_3_1_and_names_every_form(api):
    schema = api.document.content
    assert schema["openapi"].startswith("3.1")
    wrong = openapi_v31_schema_validator.iter_errors(schema)
    assert [f"{error.json_path}: {error.message}" for error in wrong] == []
    for kind in KINDS.values():
        form = schema["components"]["schemas"][kind.form.__name__]
        assert set(form["properties"]) == set(kind.form.model_fields)
    found = list(api.document.operations.values())
    assert all(operation["summary"] for operation in found)
    assert len({operation["operationId"] for operation in found}) == len(found)


def test_every_operation_is_asked_and_answered_as_the_document_says(api):
    """`Api.ask` holds each answer, and each body that is taken, against the document."""
    ask = api.ask
    for section, id_ in (
        ("organizations", "o"), ("teams", "t"), ("users", "u"), ("keys", "k"),
        ("end_users", "crm/1"), ("limits", "global"), ("prices", "openai/gpt-4o"),
    ):  # fmt: skip
        base, there = (
            f"/admin/v1/{section}",
            f"/admin/v1/{section}/{quote(id_, safe='')}",
        )
        said = {"input": 0.1, "over": {"100": {"output": 2}}}
        if section != "prices":
            said = {
                "budgets": [{"usd": "0.25", "period": "day", "zone": "Europe/Berlin"}],
                "rate_limits": {"tokens_per_day": 5},
            }
        if section == "keys":
            said |= {
                "expires": "2099-01-31", "team": "t", "user": "u", "role": "viewer",
                "addresses": ["10.0.0.0/8"], "metadata": {"a": "b"},
            }  # fmt: skip
        made = ask("POST", base, json={"id": id_, **said})
        assert made.status_code == 201, made.text
        assert ask("PATCH", there, json={}).status_code == 200
        if section == "keys":
            rotated = ask("POST", f"{there}/rotate", json={"grace": 5})
            assert rotated.status_code == 200
        assert ask("GET", there).status_code == 200
        assert len(ask("GET", base).json()["data"]) > 0
        kept = ask("GET", "/admin/v1/export").json()
        assert ask("DELETE", there).status_code == 204
        assert ask("POST", "/admin/v1/import", json=kept).json()["added"][section] == 1
        patch = {"update": id_, "set": {}}
        bulk = ask("POST", f"{base}/bulk", json=[patch, {"delete": id_}])
        assert bulk.status_code == 200, bulk.text
        assert ask("POST", f"{base}/bulk", json=[{"create": {"id": id_, **said}}])
    with api.office.database.write() as session:
        usage.add(session, [row("a", key="k", tags=["x"]), row("b", cost=None)])
    dimensions = "key,user,team,organization,end_user,model,provider,operation,day,tag"
    for path in (
        f"spend?by={dimensions}", "spend?format=csv", "usage", "usage?format=csv",
        "budgets", "audit?actor=owner&kind=keys&action=rotate", "me", "routing", "health",
    ):  # fmt: skip
        found = ask("GET", f"/admin/v1/{path}")
        assert found.status_code == 200, found.text
        if path.startswith("audit"):
            assert [entry["subject"] for entry in found.json()["data"]] == ["k"]
    litellm.play(api)
    assert api.document.operations.keys() - api.document.seen == set()


def test_the_documentation_loads_nothing_from_elsewhere(api):
    page = api.http.get("/admin/docs").text
    assert "https://" not in page.replace("https://fastapi.tiangolo.com", "")
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f"/admin/docs/{name}" in page
        assert len(api.http.get(f"/admin/docs/{name}").content) > 100_000


def test_a_database_that_is_away_is_a_503_without_its_address(api, monkeypatch):
    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("SELECT 1", {}, Exception("host db.internal is down"))

    monkeypatch.setattr(api.office.directory, "page", away)
    said = api.ask("GET", "/admin/v1/keys")
    assert said.status_code == 503
    assert "db.internal" not in said.text
