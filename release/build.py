"""``make dist``: sdist and wheel, built twice; exit code 1 when the two differ.

    python release/build.py [folder]

What is built depends on the commit alone: times in the archives are the commit's.
https://reproducible-builds.org/docs/source-date-epoch/
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "extproc")
"""What a distribution is made of; whatever else lies about stays out."""


def commit_time() -> str:
    """Return when the commit was made, in Unix seconds."""
    said = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return said.stdout.strip()


def build(out: Path, at: str) -> None:
    """Build both distributions into `out`, from a copy of the sources."""
    with tempfile.TemporaryDirectory() as folder:
        for name in SOURCES:
            source = ROOT / name
            if source.is_dir():
                skip = shutil.ignore_patterns("__pycache__", "*.egg-info")
                shutil.copytree(source, Path(folder, name), ignore=skip)
            else:
                shutil.copy(source, folder)
        subprocess.run(
            [sys.executable, "-m", "build", "--outdir", out, folder],
            check=True, env={**os.environ, "SOURCE_DATE_EPOCH": at}, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    for sdist in out.glob("*.tar.gz"):
        settle(sdist, int(at))


def settle(sdist: Path, at: int) -> None:
    """Give the members of an sdist one time and owner, which setuptools does not."""
    with tarfile.open(sdist) as archive:
        members = sorted(archive.getmembers(), key=lambda one: one.name)
        contents = {
            one.name: file.read()
            for one in members
            if (file := archive.extractfile(one)) is not None
        }
    with (
        sdist.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=at) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for one in members:
            one.mtime, one.uid, one.gid, one.uname, one.gname = at, 0, 0, "", ""
            one.mode = 0o755 if one.isdir() or one.mode & 0o100 else 0o644
            one.pax_headers = {}
            data = contents.get(one.name)
            archive.addfile(one, None if data is None else io.BytesIO(data))


def digests(folder: Path) -> dict[str, str]:
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.iterdir())
    }


def main(folder: str = "dist") -> int:
    at = commit_time()
    out = Path(folder)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    build(out, at)
    with tempfile.TemporaryDirectory() as again:
        build(Path(again), at)
        same = digests(Path(again)) == digests(out)
    for name, digest in digests(out).items():
        print(f"{digest}  {name}")
    print("built twice, the same" if same else "built twice, not the same")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
