"""Dashboards and alerts ask for what there is: by the table, by promtool, by Prometheus."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.telemetry.instruments import INSTRUMENTS

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus"
DASHBOARD = json.loads((DEPLOY / "grafana" / "gateway.json").read_text())


def queries() -> list[tuple[str, str]]:
    return [
        (panel["title"], target["expr"])
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    ]


def alerts() -> list[tuple[str, str]]:
    [group] = yaml.safe_load((RULES / "rules.yml").read_text())["groups"]
    return [(rule["alert"], rule["expr"]) for rule in group["rules"]]


def exposed() -> dict[str, set[str]]:
    """Return the labels of every series that the gateway exposes, by its name."""
    found: dict[str, set[str]] = {}
    for one in INSTRUMENTS:
        labels = {label.replace(".", "_") for label in one.labels}
        name = one.prometheus
        match one.kind:
            case "counter":
                found[f"{name}_total"] = labels
            case "histogram":
                found[f"{name}_bucket"] = labels | {"le"}
            case _:
                found[name] = labels
    return found


@pytest.mark.parametrize(("title", "query"), [*queries(), *alerts()])
def test_a_query_names_series_and_labels_of_the_table(title: str, query: str) -> None:
    known = exposed()
    names = set(re.findall(r"\b(?:extproc|gen_ai)_[a-z0-9_]+", query))
    assert names, title
    assert names <= set(known), title
    labels = set(re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)\s*\"", query))
    for group in re.findall(r"\bby \(([^)]*)\)", query):
        labels |= {label.strip() for label in group.split(",")}
    assert labels <= set().union(*(known[name] for name in names)), title


def test_every_panel_has_its_own_place_and_name() -> None:
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    places = {(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels}
    assert len(places) == len(panels)
    rows = [panel["title"] for panel in panels if panel["type"] == "row"]
    assert rows == [
        "Traffic", "Latency", "Tokens and cost", "Budgets", "Providers",
        "The gateway itself",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "command", ["check rules rules.yml", "test rules rules.test.yml"]
)
def test_promtool_finds_the_rules_right(command: str) -> None:
    promtool = shutil.which("promtool")
    assert promtool, "install the Debian package prometheus"
    done = subprocess.run(
        [promtool, *command.split()],
        cwd=RULES,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


def test_every_alert_is_seen_to_fire_and_to_be_quiet_while_all_is_well() -> None:
    fires, quiet = yaml.safe_load((RULES / "rules.test.yml").read_text())["tests"]
    names = {name for name, _ in alerts()}
    fired = {one["alertname"] for one in fires["alert_rule_test"] if one["exp_alerts"]}
    assert fired == names
    silent = [one["alertname"] for one in quiet["alert_rule_test"]]
    assert sorted(silent) == sorted(names)
    assert not any(one["exp_alerts"] for one in quiet["alert_rule_test"])


def test_every_alert_is_documented() -> None:
    page = (DEPLOY.parent / "docs" / "telemetry.md").read_text()
    assert [name for name, _ in alerts() if f"`{name}`" not in page] == []
