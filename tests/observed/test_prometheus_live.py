"""A real Prometheus scrapes a loaded gateway, and every panel of the dashboard has data."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness import Process, wait_for
from tests.observed.gateway import Observed, until
from tests.observed.test_dashboards import queries

pytestmark = pytest.mark.envoy


@pytest.fixture(scope="module")
def prometheus(gateway: Observed, tmp_path_factory: Any) -> Iterator[httpx.Client]:
    binary = shutil.which("prometheus")
    assert binary, "install the Debian package prometheus"
    folder: Path = tmp_path_factory.mktemp("prometheus")
    target = gateway.control.removeprefix("http://")
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        f"  - {{job_name: extproc, static_configs: [{{targets: ['{target}']}}]}}\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = Process(
        binary,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        log=folder / "log",
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:

            def ready() -> bool | None:
                try:
                    return http.get("/-/ready").status_code == 200 or None
                except httpx.HTTPError:
                    return None

            wait_for(ready, process.output)
            yield http
    finally:
        process.stop()


def test_every_panel_has_data(gateway: Observed, prometheus: httpx.Client) -> None:
    wanted = dict.fromkeys(query for _, query in queries())

    def missing() -> list[str]:
        for model in ("gpt-4o", "flaky", "refused", "limited"):
            gateway.ask(model)
        gateway.ask(stream=True)
        gateway.ask("silent")
        gateway.http.post("/v1/nothing")
        gateway.http.get("/nothing")
        for query in list(wanted):
            answer = prometheus.get(
                "/api/v1/query",
                params={"query": query.replace("$__rate_interval", "1m")},
            ).json()
            assert answer["status"] == "success", answer
            if answer["data"]["result"]:
                del wanted[query]
        return list(wanted)

    try:
        until(lambda: not missing(), 60)
    except AssertionError:
        raise AssertionError(f"no data: {list(wanted)}") from None
