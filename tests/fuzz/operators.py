"""What operators send to the admin API, and what Envoy tells control."""

from __future__ import annotations

import asyncio
import atexit
import functools
import tempfile
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import msgspec
from google.protobuf.message import DecodeError

from extproc.admin.api import make_app
from extproc.admin.entries import (
    KINDS,
    Entries,
    Stored,
    check_id,
    check_settings,
    with_entries,
)
from extproc.admin.errors import Invalid
from extproc.admin.http import Admin
from extproc.config.build import build
from extproc.config.load import loads
from extproc.config.schema import Config
from extproc.db.database import Database
from extproc.exchange.slip import read_slip
from extproc.runtime import Runtime
from extproc.telemetry.access import read_entries
from extproc.telemetry.confirm import Confirmations
from tests.fuzz.shapes import JSON
from tests.fuzz.target import Target, pick
from tests.telemetry.test_access import export

KEY = "sk-boss-0123456789abcdef0123456789abcdef"
CONFIG = f"""
providers: {{openai: {{type: openai, api_key: sk-x}}}}
models: {{gpt-4o: {{targets: [{{provider: openai}}]}}}}
organizations: {{acme: {{}}}}
teams: {{core: {{organization: acme}}}}
keys:
  - {{id: boss, key: {KEY}, role: owner}}
  - {{id: fixed, key: sk-file-0123456789abcdef0123456789, team: core}}
"""
SETTINGS: tuple[dict[str, Any], ...] = (
    {"id": "ci", "team": "core", "models": ["gpt-*"], "tags": ["a"]},
    {"id": "u", "rate_limits": {"requests_per_minute": 5, "tokens_per_day": 1000}},
    {"budget": {"usd": 5, "period": "month"}, "expires": "2030-01-01T00:00:00Z"},
    {"organization": "acme", "blocked": True, "role": "viewer", "priority": 1},
    {"allowed_ips": ["10.0.0.0/8"], "providers": ["openai"], "metadata": {"a": "b"}},
    {"budgets": [{"usd": 1, "period": "day", "time_zone": "Europe/Berlin"}]},
    {"user": None, "concurrency": 3, "blocked": False},
)


@functools.cache
def _config() -> Config:
    return loads(CONFIG, {}, source="gateway.yaml", folder=Path("/nowhere"))


def settings(data: bytes) -> None:
    """Read an entry; what can be read can be served."""
    kind = list(KINDS.values())[pick(data, len(KINDS))]
    try:
        said = msgspec.json.decode(data)
        if not isinstance(said, dict):
            return
        id_ = check_id(kind, str(said.pop("id", "a")))
        check_settings(kind, said)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Invalid):
        return
    stored = Stored(id_, said, sha256="0" * 64)
    entries = Entries(1, {kind.section: (stored,)})
    served = with_entries(_config(), entries, now=1_800_000_000.0)
    Runtime.of(build(served, grants=(), generation=1, created=1))


# ---------------------------------------------------------------- the application


class Office:
    """The application over a database of its own, asked without any HTTP."""

    def __init__(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="fuzz-")
        atexit.register(folder.cleanup)
        database = Database.in_folder(Path(folder.name))
        database.migrate()
        runtime = Runtime.of(build(_config(), grants=(), generation=1, created=1))
        admin = Admin(
            self.directory(database), database,
            runtime=lambda: runtime, clock=lambda: 1_800_000_000.0,
        )  # fmt: skip
        self._app = make_app(admin)
        self._loop = asyncio.new_event_loop()
        atexit.register(self._loop.close)

    @staticmethod
    def directory(database: Database) -> Any:
        from extproc.admin.directory import Directory  # noqa: PLC0415

        return Directory(
            database,
            config=_config,
            clock=lambda: 1_800_000_000.0,
            changed=lambda: None,
        )

    def ask(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Return status and body of the answer."""
        return self._loop.run_until_complete(self._ask(method, path, body))

    async def _ask(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1",
            "method": method, "scheme": "http", "path": path, "query_string": b"",
            "raw_path": path.encode(), "root_path": "", "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 1),
            "headers": [
                (b"authorization", b"Bearer " + KEY.encode()),
                (b"content-type", b"application/json"),
            ],
        }  # fmt: skip
        said = [{"type": "http.request", "body": body, "more_body": False}]
        status, answer = 0, b""

        async def receive() -> MutableMapping[str, Any]:
            return said.pop() if said else {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            nonlocal status, answer
            status = message.get("status", status)
            answer += message.get("body", b"")

        await self._app(scope, receive, send)
        return status, answer


_office = functools.cache(Office)

WAYS = (
    *(("POST", f"/admin/v1/{section}") for section in KINDS),
    *(("POST", f"/admin/v1/{section}/bulk") for section in KINDS),
    *(("PATCH", f"/admin/v1/{section}/ci") for section in KINDS),
    ("POST", "/admin/v1/keys/ci/rotate"),
    ("POST", "/admin/v1/import"),
    *(("POST", f"/key/{verb}") for verb in ("generate", "update", "delete", "block")),
    *(("POST", f"/{noun}/new") for noun in ("team", "user", "organization")),
    *(("POST", f"/{noun}/update") for noun in ("team", "user", "organization")),
    *(("POST", f"/{noun}/delete") for noun in ("team", "user", "organization")),
)


def admin(data: bytes) -> None:
    """Send one body somewhere, and take away again what it has made."""
    method, path = WAYS[pick(data, len(WAYS))]
    status, answer = _office().ask(method, path, data)
    assert status in {200, 201, 400, 403, 404, 405, 409, 422}, (path, status, answer)
    said = msgspec.json.decode(answer)
    if status >= 400:
        assert said["error"]["message"] or said["error"]["param"]
    elif status == 201 and path.startswith("/admin/"):
        assert _office().ask("DELETE", f"{path}/{said['id']}", b"")[0] in {204, 409}


BODIES: tuple[object, ...] = (
    *SETTINGS,
    [{"create": {"id": "b"}}, {"update": "b", "set": {"tags": ["x"]}}, {"delete": "b"}],
    {"grace": 60},
    {"keys": [{"id": "i", "sha256": "0" * 64, "prefix": "sk-0000"}], "teams": []},
    {"key": "sk-a", "key_alias": "a", "max_budget": 1.5, "budget_duration": "30d"},
    {"models": ["gpt-4o"], "tpm_limit": 5, "rpm_limit": 1, "duration": "1h"},
    {"team_id": "t", "team_alias": "T", "user_id": "u", "user_email": "u@example.com"},
    {"keys": ["sk-a"], "team_ids": ["t"], "user_ids": ["u"]},
)

# ---------------------------------------------------------------- Envoy's access log


def access_log(data: bytes) -> None:
    confirmations = Confirmations(clock=lambda: 0.0)
    try:
        entries = read_entries(data)
    except DecodeError:
        return
    confirmations.logged(entries)
    confirmations.logged(entries)
    confirmations.release()


def _exports() -> list[bytes]:
    slip = '["chat","ci",[["openai","openai","m"]],"m","v",true]'
    entry = {
        "id": "gw-1", "slip": slip, "request_id": "1", "method": "POST", "route": "chat",
        "status": "200", "flags": "DC", "details": "via_upstream", "cluster": "openai",
        "attempts": "2", "milliseconds": "12", "answer_bytes": "9",
    }  # fmt: skip
    return [export(entry), export(entry, {**entry, "slip": "-"}), export({}), export()]


def slips(data: bytes) -> None:
    try:
        read_slip(data.decode("utf-8", "surrogateescape"))
    except (msgspec.DecodeError, UnicodeEncodeError):
        return


SLIPS = (
    b'["chat","ci",[["openai","openai","m"]],"m","v",true]',
    b'["chat",null,[],null,null,false,"o","t","u","e",["a"],5,[["m",1]]]',
)

TARGETS = (
    Target(
        "admin settings",
        lambda: [msgspec.json.encode(one) for one in SETTINGS],
        settings,
        JSON,
        few=2,
    ),
    Target(
        "admin api",
        lambda: [msgspec.json.encode(one) for one in BODIES],
        admin,
        JSON,
        few=20,
    ),
    Target("access log", _exports, access_log),
    Target("slip", lambda: SLIPS, slips, JSON),
)
