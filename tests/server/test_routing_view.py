"""``GET /admin/routing`` for who may read, and for nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from extproc.admin.api import make_app
from extproc.admin.http import Admin
from extproc.db.database import Database
from extproc.routing.state import LiveBench, LiveDeployment
from extproc.server.control_link import Peer
from extproc.server.link_frames import Live
from extproc.server.routing_view import routing_router, view
from tests.admin.application import KEYS, ROLES, STAFF
from tests.admin.test_directory import Office
from tests.telemetry.test_deployments import SNAPSHOT

BENCHES = (LiveBench("a", "c1", 40.0),)
PEERS = [
    Peer(1, "w0", live=Live((LiveDeployment("a/m", in_flight=1),), BENCHES, 7, 99.96)),
    Peer(2, "w1", live=Live((LiveDeployment("a/m", in_flight=2),))),
]


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    database = Database.in_folder(tmp_path_factory.mktemp("admin"))
    database.migrate()
    office = Office(database, STAFF)
    admin = Admin(
        office.directory, database, runtime=office.runtime, clock=office.clock
    )
    router = routing_router(admin, lambda: SNAPSHOT, lambda: PEERS)
    yield TestClient(make_app(admin, [router]))
    database.close()


@pytest.mark.parametrize("path", ["/admin/routing", "/admin/v1/routing"])
def test_the_live_state_is_shown(http, path):
    answer = http.get(path, headers={"x-api-key": KEYS["viewer"]})
    shown = answer.json()
    assert shown["workers"][0] == {"name": "w0", "open": 7, "retries_left": 100.0}
    assert shown["deployments"][0]["in_flight"] == 3
    assert shown["keys_refused"] == [{"provider": "a", "key": "1", "seconds": 40.0}]
    assert shown["numbers"]["credential_cooldown"] == 300
    assert [model["name"] for model in shown["models"]] == ["v", "w-*", "plain"]


@pytest.mark.parametrize("role", ROLES)
def test_only_staff_may_look(http, role):
    answer = http.get("/admin/routing", headers={"x-api-key": KEYS[role]})
    assert answer.status_code == (403 if role == "member" else 200)
    assert http.get("/admin/routing").status_code == 401


def test_without_a_configuration_there_is_nothing_to_show():
    assert view(None, PEERS) == {"models": [], "deployments": [], "workers": []}
