"""`extproc run` with two workers, a Postgres and an identity provider, all of them real."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from tests.budgets.ledger import Running
from tests.databases import Postgres
from tests.envoy.test_jwt import ISSUER, Idp, provider
from tests.harness import (
    FORGIVING,
    KEY,
    Mock,
    mock_config,
    temporary_folder,
)
from tests.running import Run

PASSWORD = "canary-of-the-database-4711"
WEBHOOK = "canary-of-the-webhook-4712"
PROMPT = "The canary sings 4713-prompt-canary"
FILE_KEY = "sk-file-canary-0123456789abcdef0123456789"
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": PROMPT}]}
WORKERS = 2
AT_ONCE = 16
"""So many that no worker that serves is left out."""


class Live(Running):
    """The gateway, and what there is to read of it."""

    def __init__(self, folder: Path, idp: Idp, stack: contextlib.ExitStack) -> None:
        self.idp = idp
        self._http = httpx.Client(timeout=30, verify=False)
        stack.callback(self._http.close)
        self.postgres = Postgres()
        stack.callback(self.postgres.close)
        self.mock = Mock(folder)
        stack.callback(self.mock.stop)
        config = mock_config(
            self.mock.url,
            keys=[{"id": "fixed", "key": FILE_KEY}],
            jwt={
                "corp": {
                    "issuer": ISSUER,
                    "audiences": ["extproc"],
                    "jwks_uri": idp.url,
                    "refresh": 1,
                    "claims": {"team": "groups", "role": "roles"},
                    "teams": {"eng": "core"},
                    "roles": {"ops": "admin", "support": "viewer"},
                    "grant": {"models": ["gpt-*"]},
                }
            },
            teams={"core": {}},
            accounting={"webhook": f"http://127.0.0.1:1/{WEBHOOK}"},
            **FORGIVING,
        )
        url = self.postgres.url.replace("extproc@", f"extproc:{PASSWORD}@")
        self.environ = {"EXTPROC_MASTER_KEY": KEY, "EXTPROC_DATABASE_URL": url}
        Run.__init__(self, folder, config, workers=WORKERS, seconds=120, **self.environ)
        stack.callback(self.process.stop)

    def admin(self, method: str, path: str, key: str = KEY, **more: Any) -> Any:
        """Ask control, wherever it is now."""
        headers = {"authorization": f"Bearer {key}"}
        url = f"{self.control_url()}{path}"
        return self._http.request(method, url, headers=headers, **more)

    def chat(self, key: str, **more: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"}
        url = f"{self.url}/v1/chat/completions"
        return self._http.post(url, json=CHAT | more, headers=headers)

    def wave(self, key: str) -> set[int]:
        """Ask so often at once that most often every worker is; return the statuses."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(self.chat, [key] * AT_ONCE))
        return {answer.status_code for answer in answers}

    def seconds_until(self, key: str, status: int) -> float:
        """Return how long it takes until each of the workers answers `key` so."""
        began = time.monotonic()
        while True:
            asked = time.monotonic() - began
            before = self.asked()
            if self.wave(key) == {status} and self._all_asked_since(before):
                return asked
            assert asked < 60, "never"

    def _all_asked_since(self, before: dict[str, int]) -> bool:
        # One that was busy with something else for a second is asked nothing for a while.
        now = self.asked()
        return len(before) == WORKERS and all(
            now[name] > before[name] for name in before
        )

    def asked(self) -> dict[str, int]:
        """Return how often each worker was asked, by Envoy's own count."""
        lines = self.envoy("/clusters").decode().splitlines()
        found = (line.split("::") for line in lines if "::rq_total::" in line)
        return {
            parts[1].rpartition("/")[2]: int(parts[3])
            for parts in found
            if parts[1].endswith(".sock") and parts[1].rpartition("/")[2][0] == "w"
        }


@contextlib.contextmanager
def live() -> Iterator[Live]:
    with (
        temporary_folder() as folder,
        provider() as idp,
        contextlib.ExitStack() as stack,
    ):
        run = Live(folder, idp, stack)
        # One worker is enough to serve; the other may still be on its way here.
        run.seconds_until(KEY, 200)
        yield run
