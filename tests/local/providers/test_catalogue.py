"""What is known and configured, and the page that says it.

``EXTPROC_GOLDEN=write`` rewrites `docs/providers.md`; the diff is what is reviewed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from typer.testing import CliRunner

from extproc.cli import app
from extproc.config.load import loads
from extproc.local.providers.catalogue import catalogue, document
from extproc.providers import PROVIDERS

PAGE = Path(__file__).parents[3] / "docs" / "providers.md"
SECRET = "gsk_0123456789abcdef0123456789"

CONFIG = f"""\
providers:
  fast: {{type: groq, api_key: {SECRET}}}
  lan: {{type: vllm, base_url: "http://127.0.0.1:9000/v1", quirks: [no_n]}}
models:
  m: {{targets: [{{provider: fast}}]}}
"""


def test_the_page_is_fresh():
    if os.environ.get("EXTPROC_GOLDEN") == "write":
        PAGE.write_text(document())
    assert PAGE.read_text() == document(), "run make golden"


def test_what_the_environment_has_comes_first_and_everything_is_there():
    entries = catalogue(
        None, {"GROQ_API_KEY": SECRET, "VLLM_BASE_URL": "http://[::1]/v1"}
    )
    assert [(e.name, e.credential) for e in entries if e.configured] == [
        ("groq", True),
        ("vllm", False),
    ]
    assert {e.type for e in entries} == set(PROVIDERS)
    assert entries[1].base_url == "http://[::1]/v1"


def test_what_a_file_has_is_called_as_the_file_calls_it(tmp_path):
    config = loads(CONFIG, {}, source="g.yaml", folder=tmp_path)
    entries = catalogue(config, {"OPENAI_API_KEY": "k"})
    assert [(e.name, e.type, e.credential) for e in entries if e.configured] == [
        ("fast", "groq", True),
        ("lan", "vllm", False),
    ]
    assert entries[1].quirks == ("no_n",)
    assert SECRET not in repr(entries)


def test_the_command_shows_a_table_or_json_and_never_a_key(tmp_path):
    file = tmp_path / "gateway.yaml"
    file.write_text(CONFIG)
    runner = CliRunner()
    shown = runner.invoke(app, ["providers", "--config", str(file)])
    assert shown.exit_code == 0
    assert "fast" in shown.output
    told = runner.invoke(app, ["providers", "--json"], env={"GROQ_API_KEY": SECRET})
    entries = json.loads(told.output)
    assert next(e for e in entries if e["type"] == "groq")["credential"] is True
    assert SECRET not in shown.output + told.output


def test_a_wrong_file_is_explained(tmp_path):
    file = tmp_path / "gateway.yaml"
    file.write_text("providers: {}\n")
    told = CliRunner().invoke(app, ["providers", "--config", str(file)])
    assert told.exit_code == 2
    assert "providers" in told.stderr
