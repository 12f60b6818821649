"""The npm SDKs, each in a Node.js process of its own, called from Python.

``*_calls.mjs`` say what can be called. Packages are installed once, beside them; the
Node.js that they want, which is newer than Debian's, is one of the packages.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.process import Caller, running_client

FOLDER = Path(__file__).parent
INSTALL_SECONDS = 180


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other test sessions of this checkout out of `folder`."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def program(name: str, package: str) -> str:
    """Return where `name` is; Debian's `package` brings it."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(
            f"{name!r} is not on PATH: install it (Debian: apt-get install {package}), "
            "or leave these tests out with -m 'not node'",
            pytrace=False,
        )
    return found


def installed() -> Path:
    """Return the path of Node.js, with the pinned packages in place."""
    program("node", "nodejs")
    modules = FOLDER / "node_modules"
    stamp = modules / ".stamp"
    wanted = hashlib.sha256((FOLDER / "package.json").read_bytes()).hexdigest()
    with locked(FOLDER):
        if not stamp.exists() or stamp.read_text() != wanted:
            stamp.unlink(missing_ok=True)
            npm = subprocess.run(
                [program("npm", "npm"), "install", "--no-audit", "--no-fund",
                 "--ignore-scripts", "--no-package-lock", "--loglevel=error"],
                cwd=FOLDER, capture_output=True, text=True, check=False,
                stdin=subprocess.DEVNULL, timeout=INSTALL_SECONDS,
            )  # fmt: skip
            if npm.returncode:
                pytest.fail(
                    f"npm could not install {FOLDER / 'package.json'} (it needs its "
                    f"registry, or a cache, once):\n{npm.stderr[-2000:]}",
                    pytrace=False,
                )
            stamp.write_text(wanted)
    machine = {"x86_64": "x64", "aarch64": "arm64"}[platform.machine()]
    return modules / f"node-linux-{machine}" / "bin" / "node"


def running_sdk(
    sdk: str, log: Path, base_url: str, key: str
) -> contextlib.AbstractContextManager[Caller]:
    """Run ``{sdk}_calls.mjs`` against `base_url`; what it complains of goes to `log`."""
    command = [installed(), FOLDER / f"{sdk}_calls.mjs"]
    env = {"BASE_URL": base_url, "KEY": key, "AI_SDK_DISABLE_TELEMETRY": "1"}
    return running_client(command, log, env)


if __name__ == "__main__":
    installed()
