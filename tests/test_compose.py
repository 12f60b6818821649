"""The container files name programs, options, files and sockets that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from extproc.config.compile import Layout, compile_envoy
from extproc.config.load import autoconfig
from extproc.local import control
from extproc.local.mock.__main__ import parse as parse_mock
from extproc.server.worker_options import parse as parse_worker

ROOT = Path(__file__).parent.parent
STATE = Path("/var/lib/extproc")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert set(loaded) == {"x-sidecar", "services", "volumes"}
    return dict(loaded["services"])


@pytest.fixture(scope="module")
def own(services: dict[str, Any]) -> dict[str, Any]:
    """Those that run without a profile."""
    return {name: one for name, one in services.items() if "profiles" not in one}


def module_arguments(service: dict[str, Any], module: str) -> list[str]:
    assert service["command"][:3] == ["python", "-m", module]
    return list(service["command"][3:])


def test_every_service_is_confined(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["user"] == "65532:65532", name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        if "profiles" in service:
            assert all(one.endswith(":ro") for one in service["volumes"]), name
        else:
            assert service["volumes"] == [f"state:{STATE}"], name


def test_only_loopback_is_published(services: dict[str, Any]) -> None:
    published = [port for s in services.values() for port in s.get("ports", ())]
    assert published[:2] == ["127.0.0.1:8081:8081", "127.0.0.1:8080:8080"]
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_who_watches_is_asked_for_and_finds_its_files(
    services: dict[str, Any], own: dict[str, Any]
) -> None:
    assert set(own) == {"control", "worker", "envoy", "mock"}
    watching = {name: one for name, one in services.items() if name not in own}
    assert set(watching) == {"prometheus", "grafana"}
    inside: dict[str, Path] = {}
    for service in watching.values():
        assert service["profiles"] == ["observability"]
        assert ":" in service["image"]
        for mount in service["volumes"]:
            there, here, _ = mount.split(":")
            assert (ROOT / there).exists(), there
            inside[here] = ROOT / there

    # Prometheus reads what is mounted, and scrapes control where it listens.
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    [rules] = scraped["rule_files"]
    assert (inside["/etc/prometheus"] / Path(rules).name).exists()
    options, _ = control.parse(
        module_arguments(services["control"], "extproc.local.control")
    )
    [[target]] = [
        job["targets"] for job in scraped["scrape_configs"][0]["static_configs"]
    ]
    assert target == f"control:{str(options.overrides.control).rpartition(':')[2]}"
    promtool = shutil.which("promtool")
    assert promtool, "install the Debian package prometheus"
    done = subprocess.run(
        [promtool, "check", "config", "--syntax-only", "prometheus.yml"],
        cwd=ROOT / "deploy/prometheus", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    # Grafana is given the source that every panel names, and our dashboard.
    folder = inside["/etc/grafana/provisioning"]
    [source] = yaml.safe_load((folder / "datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    assert source["type"] == "prometheus"
    [provider] = yaml.safe_load((folder / "dashboards/gateway.yml").read_text())[
        "providers"
    ]
    file = Path(provider["options"]["path"]) / "gateway.json"
    dashboard = msgspec.json.decode(inside[str(file)].read_bytes())
    [choice] = dashboard["templating"]["list"]
    assert (choice["type"], choice["query"]) == ("datasource", source["type"])
    panels = [one for one in dashboard["panels"] if one["type"] != "row"]
    named = {(one["datasource"]["type"], one["datasource"]["uid"]) for one in panels}
    assert named == {(source["type"], f"${{{choice['name']}}}")}


def test_the_processes_agree_on_where_everything_is(services: dict[str, Any]) -> None:
    """What control compiles with these options is what the others are started with."""
    options, _ = control.parse(
        module_arguments(services["control"], "extproc.local.control")
    )
    mock = parse_mock(module_arguments(services["mock"], "extproc.local.mock"))
    worker = parse_worker(module_arguments(services["worker"], "extproc.server.worker"))
    assert (options.state, options.run) == (STATE, STATE)
    assert options.mock_url == f"http://127.0.0.1:{mock.port}"
    assert services["mock"]["network_mode"] == "service:envoy"
    assert options.ca_bundle is not None

    layout = Layout.under(STATE, ca_bundle=options.ca_bundle)
    files = compile_envoy(autoconfig({}, mock_url=options.mock_url), layout)
    pipes = re.findall(rb'"path": "([^"]+\.sock)"', files.bootstrap)
    assert str(worker.socket).encode() in pipes
    assert worker.control == options.run / "control.sock"
    assert worker.snapshot == options.state / "snapshot.msgpack"

    envoy = services["envoy"]["command"]
    assert envoy[envoy.index("--config-path") + 1] == str(STATE / "xds/bootstrap.json")
    assert services["envoy"]["image"] == "envoyproxy/envoy:v1.40.0"
    assert msgspec.json.decode(files.cds)["resources"]


def test_the_image_is_built_of_files_that_are_there() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    sources = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignored, source
    users = re.findall(r"^USER (\S+)$", dockerfile, re.MULTILINE)
    assert users == ["65532:65532"]
