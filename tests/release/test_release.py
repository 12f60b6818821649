"""What a release is made by: a wheel that runs by itself, an audit that finds what is there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.version import Version

import extproc
from release.advisories import affects, read

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.prefix, "release", "bin")
"""Their own environment: `make install`."""


def advisory(name, *events, versions=()):
    ranges = [{"type": "ECOSYSTEM", "events": [dict([event]) for event in events]}]
    package = {"ecosystem": "PyPI", "name": name}
    return {
        "id": "PYSEC-2099-1", "summary": "s", "details": "d",
        "modified": "2099-01-01T00:00:00Z", "published": "2099-01-01T00:00:00Z",
        "affected": [{"package": package, "ranges": ranges, "versions": list(versions)}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("events", "inside", "outside"),
    [
        ((("introduced", "0"), ("fixed", "2.0")), ["1.9.9", "2.0rc1"], ["2.0", "3"]),
        ((("introduced", "1.0"), ("last_affected", "1.5")), ["1.0", "1.5"], ["0.9", "1.6"]),
        (
            (("introduced", "0"), ("fixed", "1"), ("introduced", "2"), ("fixed", "2.1")),
            ["0.1", "2.0.5"],
            ["1", "1.9", "2.1"],
        ),
        ((("introduced", "0"), ("fixed", "not-a-version")), ["1"], []),
        ((), [], ["1"]),
    ],
)  # fmt: skip
def test_a_version_is_vulnerable_from_its_introduction_to_its_mending(
    events, inside, outside
):
    one = advisory("A_b", *events)
    assert [v for v in (*inside, *outside) if affects(one, "a-b", Version(v))] == inside
    assert not any(affects(one, "other", Version(v)) for v in inside)
    listed = advisory("a-b", versions=["7.0"])
    assert affects(listed, "a-b", Version("7.0"))


def test_an_audit_without_a_network_finds_what_the_export_says(tmp_path):
    export = tmp_path / "all.zip"
    (tmp_path / "pins.txt").write_text("h11==0.16.0\nhpack==4.2.0\n")
    withdrawn = advisory("hpack", ("introduced", "0")) | {"withdrawn": "2099-01-01"}
    for fixed, code in (("0.16.0", 0), ("0.16.1", 1)):
        with zipfile.ZipFile(export, "w") as archive:
            found = advisory("H11", ("introduced", "0"), ("fixed", fixed))
            archive.writestr("1.json", json.dumps(found))
            archive.writestr("2.json", json.dumps(withdrawn))
        assert list(read(export)) == ["h11"]
        done = subprocess.run(
            [TOOLS / "python", ROOT / "release" / "advisories.py", export,
             "-r", tmp_path / "pins.txt"], capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        assert ("PYSEC-2099-1" in done.stdout) is bool(code)


def test_the_wheel_has_all_that_it_needs_and_runs_by_itself(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "extproc"):
        (source / name).symlink_to(ROOT / name)
    subprocess.run(
        [TOOLS / "python", "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path,
         source], check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "extproc").rglob("*")
        if file.is_file() and file.suffix in {".py", ".lua", ".typed", ".mako"}
    }
    assert wanted <= names
    assert not [
        name for name in names if name.startswith(("tests", "bench", "release"))
    ]
    clean = tmp_path / "clean"
    venv.create(clean, with_pip=False)
    python = clean / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check",
         "--python", python, "install", "--no-deps", wheel], check=True,
    )  # fmt: skip
    # What it depends on is as it is here; our own sources, which are editable, are not.
    packages = next(clean.glob("lib/python*/site-packages"))
    (packages / "here.pth").write_text(sysconfig.get_path("purelib"))
    said = subprocess.run(
        [clean / "bin" / "extproc", "version"], capture_output=True, text=True,
        check=True, cwd=tmp_path,
    )  # fmt: skip
    assert extproc.__version__ in said.stdout
    where = subprocess.run(
        [python, "-c", "import extproc; print(extproc.__file__)"], capture_output=True,
        text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert str(packages) in where.stdout


@pytest.fixture
def signed(tmp_path):
    """Sign as the page says; return a function that verifies as it says."""
    page = (ROOT / "docs" / "releasing.md").read_text().partition("an SSH key")[2]
    blocks = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    sign, verify = (
        block.replace("$ ", "", 1).replace("\n$ ", "\n") for block in blocks[:2]
    )

    def run(script):
        return subprocess.run(
            ["bash", "-ec", script], cwd=tmp_path, env={**os.environ, "KEY": "key"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    (tmp_path / "dist").mkdir()
    for name in ("e.whl", "e.tar.gz", "e.cdx.json"):
        (tmp_path / "dist" / name).write_text(name)
    run("ssh-keygen -q -t ed25519 -N '' -f key")
    (tmp_path / "allowed_signers").write_text(
        f"release {(tmp_path / 'key.pub').read_text()}"
    )
    done = run(sign)
    assert done.returncode == 0, done.stderr
    return lambda: run(verify).returncode


def test_what_is_signed_as_the_page_says_is_verified_as_it_says(signed):
    assert signed() == 0


@pytest.mark.parametrize(
    "changed", ["dist/e.whl", "dist/SHA256SUMS", "allowed_signers"]
)
def test_what_was_changed_since_is_not_verified(signed, tmp_path, changed):
    path = tmp_path / changed
    path.write_text(path.read_text().replace("e", "f", 1))
    assert signed() != 0
