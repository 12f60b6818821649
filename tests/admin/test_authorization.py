"""Every route that control serves, asked by every role: what may be done is, nothing else.

The routes are those of the application itself, so that a new one cannot be forgotten; what
each needs is said here by rule, and not read from the code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from extproc.admin.access import MATRIX, Action
from extproc.admin.entries import KINDS
from extproc.db.tables import Base
from extproc.server.control import Control
from extproc.server.control_http import make_app
from extproc.server.options import Options
from tests.admin.application import ROLES
from tests.admin.test_directory import OWNER

OPEN = {
    "/metrics", "/health/live", "/health/ready", "/healthz", "/livez", "/readyz",
    "/admin/v1/openapi.json", "/admin/docs", "/admin/docs/{name}",
}  # fmt: skip
"""What control tells whoever can reach it: nothing of anybody."""
NEEDS: dict[tuple[str, str], Action | None] = {
    ("GET", "/admin/v1/me"): None,
    ("GET", "/admin/v1/audit"): "read_audit",
    ("GET", "/admin/v1/export"): "export",
    ("POST", "/admin/v1/import"): "import",
    ("POST", "/v2/key/info"): "read",
}
"""Where the rule does not hold: reading is `read`, all else is a change, of keys or not."""
READERS = ["viewer", "member", None]


def needed(method: str, path: str) -> Action | None:
    if (method, path) in NEEDS:
        return NEEDS[method, path]
    if method == "GET":
        return "read"
    keys = path.startswith(("/key/", "/admin/v1/keys"))
    return "change_keys" if keys else "change"


def every(routes: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Yield the method and path of each route, those that the schema hides among them."""
    for route in routes:
        inner = getattr(route, "original_router", None) or getattr(route, "app", None)
        if (within := getattr(inner, "routes", None)) is not None:
            yield from every(within)
        else:
            for method in route.methods - {"HEAD"}:
                yield method, route.path_format


class Nothing:
    """An Envoy that is not there."""

    async def ready(self) -> bool:
        return False

    async def clusters(self) -> set[str]:
        return set()

    async def stats(self, pattern: str) -> dict[str, int]:
        return {pattern: 0}


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """The routes of control's own application."""
    folder = tmp_path_factory.mktemp("control")
    made = Control(
        Options(state=folder, run=folder), envoy=Nothing(), environ={},
        monotonic=lambda: 0.0, wall_clock=lambda: 0.0,
    )  # fmt: skip
    return set(every(make_app(bytes, made.ready, made._admin()).routes))


@pytest.fixture
def guarded(api, control):
    """All routes but the open ones; the application that we ask has the same."""
    here = {route for route in every(api.app.routes) if route[1] not in OPEN}
    assert here == {route for route in control if route[1] not in OPEN}
    assert {path for _, path in control} >= OPEN
    return sorted(here)


@pytest.fixture
def asked(api, guarded):
    """Ask every route in a role, about things that there are; return the statuses."""
    for section in KINDS:
        id_ = "global" if section == "limits" else "x"
        api.office.directory.create(section, {}, OWNER, id_=id_)

    def ask(role: str | None, **more: Any) -> dict[tuple[str, str], Any]:
        out = {}
        for method, path in guarded:
            name = "global" if "/limits/" in path else "x"
            where = path.replace("{id}", name).replace("{key}", "x")
            said: dict[str, Any] = {"json": [] if path.endswith("/bulk") else {}}
            if not may(role, method, path):
                # Nobody reads it: 16 MB of JSON are 400 MB of objects.
                said = {"content": b"{"}
            out[method, path] = api.ask(method, where, role, **said, **more)
        return out

    return ask


def may(role: Any, method: str, path: str) -> bool:
    needs = needed(method, path)
    return role is not None and (needs is None or needs in MATRIX[role])


def rows(api: Any) -> list[Any]:
    with api.office.database.read() as session:
        return [
            session.execute(sa.select(t)).all() for t in Base.metadata.sorted_tables
        ]


@pytest.mark.parametrize("role", [*ROLES, None])
def test_every_cell_of_the_matrix_holds_at_every_route(api, asked, role):
    before = rows(api)
    for (method, path), said in asked(role).items():
        if role is None:
            assert said.status_code == 401, (method, path)
        elif may(role, method, path):
            assert said.status_code in {200, 201, 204, 400, 404}, (path, said.text)
        else:
            assert said.status_code == 403, (method, path)
    assert (rows(api) == before) is (role in READERS)


def test_the_document_says_what_each_route_needs(api, guarded):
    said = {
        where: operation.get("x-extproc-action")
        for where, operation in api.document.operations.items()
    }
    assert said == {where: needed(*where) for where in said}
    hidden = {("GET", "/admin/routing"), ("GET", "/admin/health")}
    assert set(guarded) - set(said) == hidden


def test_what_is_open_tells_nothing_of_anybody(api):
    api.office.directory.create("keys", {"tags": ["canary"]}, OWNER, id_="canary")
    for path in OPEN:
        said = api.http.get(path.replace("{name}", "swagger-ui.css"))
        assert said.status_code == (200 if path.startswith("/admin") else 404)
        assert "canary" not in said.text


@pytest.mark.parametrize("change", [{"blocked": True}, {"expires": 999}, None])
def test_a_key_that_holds_no_more_opens_no_route(api, asked, change):
    """Blocked, expired, or deleted."""
    made = api.ask("POST", "/admin/v1/keys", json={"id": "gone", "role": "owner"})
    if change:
        api.ask("PATCH", "/admin/v1/keys/gone", json=change)
    else:
        api.ask("DELETE", "/admin/v1/keys/gone")
    before = rows(api)
    for path, said in asked(None, headers={"x-api-key": made.json()["key"]}).items():
        assert said.status_code in {401, 429}, path
    assert rows(api) == before


@pytest.mark.parametrize("role", [*ROLES, None])
def test_keys_with_a_role_are_given_and_taken_by_who_may_change_staff(api, role):
    api.office.directory.create("keys", {"role": "viewer"}, OWNER, id_="x")
    may = role is not None and "change_staff" in MATRIX[role]
    for method, path, body in (
        ("POST", "/admin/v1/keys", {"role": "viewer"}),
        ("PATCH", "/admin/v1/keys/x", {"tags": ["a"]}),
        ("POST", "/admin/v1/keys/x/rotate", {}),
        ("POST", "/admin/v1/keys/bulk", [{"create": {"role": "admin"}}]),
        ("POST", "/key/block", {"key": "x"}),
        ("POST", "/key/update", {"key": "x", "tags": ["b"]}),
        ("POST", "/key/regenerate", {"key": "x"}),
        ("POST", "/key/delete", {"keys": ["x"]}),
    ):
        said = api.ask(method, path, role, json=body)
        fine = said.status_code in {200, 201, 204}
        assert fine if may else said.status_code == (403 if role else 401), path


def test_no_page_of_another_site_can_use_a_browser_against_us(api, asked):
    foreign = {"origin": "https://elsewhere.example"}
    # Without its key a browser sends nothing that opens anything.
    for role in (None, "owner"):
        for said in asked(role, headers=foreign).values():
            assert role or said.status_code == 401
            assert "set-cookie" not in said.headers
            assert not [h for h in said.headers if h.startswith("access-control-")]
    preflight = {**foreign, "access-control-request-method": "POST"}
    said = api.http.options("/admin/v1/keys", headers=preflight)
    assert said.status_code == 405
    assert "access-control-allow-origin" not in said.headers


def test_the_folder_of_the_state_is_all_that_opens_without_a_key(tmp_path: Path):
    """As `extproc keys reset` does: nobody who may write there is locked out."""
    from extproc.server.keys import hash_key, make_key, read_grants  # noqa: PLC0415

    first, second = make_key(tmp_path), make_key(tmp_path)
    [grant] = read_grants(tmp_path, {})
    assert (grant.role, grant.sha256) == ("owner", hash_key(second))
    [master] = read_grants(tmp_path, {"EXTPROC_MASTER_KEY": "sk-master"})
    assert (master.role, master.sha256) == ("owner", hash_key("sk-master"))
    left = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in (first, second, "sk-master"):
        assert secret.encode() not in left
