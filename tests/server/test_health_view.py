"""``GET /admin/health`` for who may read, and for nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from extproc.admin.api import make_app
from extproc.admin.http import Admin
from extproc.db.database import Database
from extproc.server.health_view import health_router
from tests.admin.application import KEYS, ROLES, STAFF
from tests.admin.test_directory import Office

KNOWN = {"live": True, "ready": False, "database": {"problem": "OperationalError"}}


async def known() -> dict[str, object]:
    return dict(KNOWN)


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    database = Database.in_folder(tmp_path_factory.mktemp("admin"))
    database.migrate()
    office = Office(database, STAFF)
    admin = Admin(
        office.directory, database, runtime=office.runtime, clock=office.clock
    )
    router = health_router(admin, known)
    yield TestClient(make_app(admin, [router]))
    database.close()


@pytest.mark.parametrize("path", ["/admin/health", "/admin/v1/health"])
def test_it_answers_and_says_what_is_away(http, path):
    answer = http.get(path, headers={"x-api-key": KEYS["viewer"]})
    assert answer.status_code == 200
    assert answer.json() == KNOWN


@pytest.mark.parametrize("role", ROLES)
def test_only_staff_may_look(http, role):
    answer = http.get("/admin/health", headers={"x-api-key": KEYS[role]})
    assert answer.status_code == (403 if role == "member" else 200)
    assert http.get("/admin/health").status_code == 401
