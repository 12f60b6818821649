"""The admin application over an empty database, for the tests of its routes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from extproc.admin.access import WAIT_SECONDS
from extproc.admin.api import make_app
from extproc.admin.bearers import Bearers
from extproc.admin.http import Admin
from extproc.db.database import Database
from extproc.db.tables import Base
from extproc.server.health_view import health_router
from extproc.server.purses import budgets_router
from extproc.server.routing_view import routing_router
from tests.admin.document import Document
from tests.admin.test_directory import FILE, Office

ROLES = ("owner", "admin", "viewer", "member")
KEYS = {role: f"sk-{role}-0123456789abcdef0123456789" for role in ROLES}
STAFF = (
    FILE
    + "".join(
        f"  - {{id: {role}, key: {key}, role: {role}}}\n" for role, key in KEYS.items()
    )
    + """
jwt:
  corp:
    issuer: https://idp.example/
    audiences: [extproc]
    jwks_uri: https://idp.example/keys
    claims: {role: groups}
    roles: {ops: owner, support: viewer}
"""
)


class Api:
    """The application over an office."""

    def __init__(self, database: Any) -> None:
        self.office = Office(database, STAFF)
        admin = Admin(
            self.office.directory,
            database,
            runtime=self.office.runtime,
            clock=self.office.clock,
            bearers=Bearers(
                lambda: self.office.config.jwt,
                clock=self.office.clock,
                fetch=lambda _: self.fetch(),
            ),
        )
        self.fetch: Callable[[], bytes] = lambda: b'{"keys": []}'

        async def health() -> dict[str, object]:
            return {"live": True, "ready": True}

        self.app = make_app(
            admin,
            [
                routing_router(admin, self.office.snapshot, list),
                budgets_router(admin, self.office.snapshot, dict, list),
                health_router(admin, health),
            ],
        )
        self.http = TestClient(self.app, raise_server_exceptions=False)
        self.document = Document(self.http.get("/admin/v1/openapi.json").json())

    def ask(
        self, method: str, path: str, role: str | None = "owner", **more: Any
    ) -> Any:
        headers = more.pop("headers", {})
        if role:
            headers = {**headers, "authorization": f"Bearer {KEYS[role]}"}
        said = self.http.request(method, path, headers=headers, **more)
        self.document.check(said)
        return said


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """SQLite will do: what both databases must do alike is tried in `tests.db`."""
    database = Database.in_folder(tmp_path_factory.mktemp("admin"))
    database.migrate()
    api = Api(database)
    # Entered, it has one event loop for all requests, and not a thread for each.
    with api.http:
        yield api
    database.close()


@pytest.fixture
def api(served: Api) -> Iterator[Api]:
    """The application, empty, and forgiving what the test before did."""
    yield served
    with served.office.database.write() as session:
        for table in Base.metadata.sorted_tables:
            session.execute(sa.delete(table))
    served.office.clock.now += 2 * WAIT_SECONDS
