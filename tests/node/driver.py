"""The official npm SDK in a Node.js process of its own, called from Python.

`openai_calls.mjs` says what can be called. Packages are installed once, beside it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent
INSTALL_SECONDS = 180
ANSWER_SECONDS = 40
"""Above the 20 s after which the SDK itself gives up."""


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


def installed() -> str:
    """Return the path of Node.js, with the pinned packages in place."""
    node = program("node", "nodejs")
    modules = FOLDER / "node_modules"
    stamp = modules / ".stamp"
    wanted = hashlib.sha256((FOLDER / "package.json").read_bytes()).hexdigest()
    with locked(FOLDER):
        if not stamp.exists() or stamp.read_text() != wanted:
            stamp.unlink(missing_ok=True)
            npm = subprocess.run(
                [program("npm", "npm"), "install", "--no-audit", "--no-fund",
                 "--ignore-scripts"],
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
    return node


class Sdk:
    """The SDK in its process."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log

    def together(self, *calls: dict[str, Any]) -> list[dict[str, Any]]:
        """Make `calls` at the same time; return ``{"value": …}`` or ``{"error": …}``."""
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(calls) + "\n")
            self._process.stdin.flush()
        # One line answers one line, so nothing waits in Python's own buffer.
        ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_SECONDS)
        line = self._process.stdout.readline() if ready else ""
        assert line, f"no answer from Node.js: {self._log.read_text()[-3000:]}"
        outcomes = json.loads(line)
        assert len(outcomes) == len(calls)
        return list(outcomes)

    def value(self, call: str, client: Any = None, **ask: Any) -> Any:
        """Make one call that succeeds."""
        (outcome,) = self.together({"call": call, "ask": ask, "client": client})
        assert "error" not in outcome, outcome["error"]
        return outcome["value"]

    def error(self, call: str, client: Any = None, **ask: Any) -> dict[str, Any]:
        """Make one call that rejects."""
        (outcome,) = self.together({"call": call, "ask": ask, "client": client})
        assert "error" in outcome, outcome
        return dict(outcome["error"])


@contextlib.contextmanager
def running_sdk(node: str, log: Path, base_url: str, key: str) -> Iterator[Sdk]:
    """Run the SDK on `node` against `base_url`; what it complains of goes to `log`."""
    # The SDK reads organisation, project and more from variables of its own.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OPENAI_", "NODE_"))
    }
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            [node, FOLDER / "openai_calls.mjs"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True,
            env={**inherited, "BASE_URL": base_url, "KEY": key},
        ) as process,
    ):  # fmt: skip
        try:
            yield Sdk(process, log)
            assert process.stdin
            process.stdin.close()
            process.wait(5)
        finally:
            process.kill()
