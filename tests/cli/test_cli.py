"""The command line: exit codes, one clear sentence, and what it does not import."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import yaml
from typer.testing import CliRunner

from extproc import __version__
from extproc.cli import app
from extproc.local import place
from extproc.runtime import Snapshot

ROOT = Path(__file__).parents[2]
GOOD = """
providers:
  openai: {type: openai, api_key: sk-x}
models:
  gpt-4o: {targets: [{provider: openai}]}
"""


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def extproc(*arguments: str, cwd: Path, **environ: str) -> Done:
    """Run the command line in this process: importing the compiler takes a second."""
    hidden = dict.fromkeys(
        name for name in os.environ if "_API_KEY" in name or name == "EXTPROC_STATE"
    )
    runner = CliRunner()
    with contextlib.chdir(cwd):
        done = runner.invoke(
            app, arguments, env={**hidden, **environ}, catch_exceptions=False
        )
    return Done(done.exit_code, done.stdout, done.stderr)


@pytest.fixture(autouse=True)
def _files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no limit of this machine be told."""
    monkeypatch.setattr(place, "allowed_files", lambda: None)


def test_check_says_where_there_are_too_few_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gateway.yaml").write_text(GOOD)
    for allowed, told in ((41_000, False), (20_000, True), (10, True)):
        monkeypatch.setattr(place, "allowed_files", lambda allowed=allowed: allowed)
        done = extproc("check", "gateway.yaml", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, "ok\n")
        assert ("limits.connections is 20000" in done.stderr) == told
        assert (f"and {allowed} are allowed" in done.stderr) == told
        assert ("set limits.connections to 1." in done.stderr) == (allowed == 10)


def test_version_and_help(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "extproc", "version"]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert done.stdout == f"{__version__}\n"
    shown = extproc("--help", cwd=tmp_path).stdout
    for command in ("run", "check", "compile", "keys", "version"):
        assert re.search(rf"^  {command} ", shown, re.MULTILINE)


def test_check_says_ok_or_every_problem(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(GOOD)
    good = extproc("check", "gateway.yaml", cwd=tmp_path)
    assert (good.returncode, good.stdout, good.stderr) == (0, "ok\n", "")
    file.write_text(GOOD.replace("targets", "tragets").replace("api_key", "api_kee"))
    bad = extproc("check", "gateway.yaml", cwd=tmp_path)
    assert bad.returncode == 2
    assert bad.stdout == ""
    assert "did you mean targets?" in bad.stderr
    assert "did you mean api_key?" in bad.stderr
    assert all(line.startswith("gateway.yaml:") for line in bad.stderr.splitlines())


def test_check_reads_a_file_that_is_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as what another program writes: ``extproc check <(…)``."""
    monkeypatch.setattr(place, "allowed_files", lambda: 41_000)
    reads, writes = os.pipe()
    os.write(writes, GOOD.encode())
    os.close(writes)
    try:
        done = extproc("check", f"/dev/fd/{reads}", cwd=tmp_path)
    finally:
        os.close(reads)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


def test_the_readme_shows_a_configuration_that_works(tmp_path: Path) -> None:
    shown = re.search(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert shown
    text = shown[1].replace("<sha256 of the key>", "0" * 64)
    assert yaml.safe_load(text)["models"]
    (tmp_path / "gateway.yaml").write_text(text)
    done = extproc(
        "check", "gateway.yaml", cwd=tmp_path,
        OPENAI_API_KEY="sk-a", ANTHROPIC_API_KEY="sk-b",
    )  # fmt: skip
    assert done.stderr == ""
    assert done.returncode == 0


def test_the_readme_names_files_that_are_there() -> None:
    text = (ROOT / "README.md").read_text()
    linked = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert len([name for name in linked if name.endswith(".py")]) == 6
    for name in linked:
        assert (ROOT / name).is_file(), name


def test_compile_writes_the_same_bytes_for_the_same_input(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(GOOD)
    for out in ("a", "b"):
        done = extproc("compile", "gateway.yaml", "-o", out, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    files = {path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*")}
    assert {str(file) for file in files} == {
        *(
            "xds/bootstrap.json",
            "xds/cds.json",
            "xds/ecds.json",
            "xds/rds.json",
            "xds/sds-openai-2f46b1a3.json",
        ),
        "snapshot.msgpack",
    }
    for file in files:
        content = (tmp_path / "a" / file).read_bytes()
        assert content == (tmp_path / "b" / file).read_bytes()
    snapshot = msgspec.msgpack.decode(
        (tmp_path / "a/snapshot.msgpack").read_bytes(), type=Snapshot
    )
    assert snapshot.models[0].name == "gpt-4o"


def test_keys_reset_shows_a_key_once(tmp_path: Path) -> None:
    first = extproc("keys", "reset", cwd=tmp_path)
    second = extproc("keys", "reset", cwd=tmp_path)
    assert re.fullmatch(r"sk-[\w-]{43}\n", first.stdout)
    assert first.stdout != second.stdout
    stored = tmp_path / ".extproc" / "8080" / "keys.json"
    assert stored.stat().st_mode & 0o777 == 0o600
    assert second.stdout.strip() not in stored.read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("check", "nosuch.yaml"), "nosuch.yaml: cannot be read: No such file"),
        (("check",), "no provider's key is set: OPENAI_API_KEY"),
        (("run", "--listen", "8080"), "'8080' must be IP:PORT, such as"),
        (("run", "--config", "nosuch.yaml"), "nosuch.yaml: cannot be read: No such"),
        (("keys", "reset", "--listen", "x"), "Cannot make a key: must be IP:PORT"),
    ],
)
def test_a_mistake_is_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    done = extproc(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_taken_port_is_one_sentence_and_shows_no_key(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = extproc("run", "--listen", address, "--state", "s", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"Cannot listen on {address}: address already in use")
    assert len(done.stderr.splitlines()) == 1
    # Or the next start would believe that somebody has seen it.
    assert not (tmp_path / "s" / "keys.json").exists()


def test_run_loads_little_before_its_children(tmp_path: Path) -> None:
    code = (
        "import sys, extproc.cli, extproc.local.supervisor\n"
        "heavy = {'pydantic', 'httpx', 'prometheus_client', 'yaml', 'starlette', 'grpc',"
        " 'uvicorn', 'envoy_data_plane', 'rich', 'uvloop'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout == "[]\n"
