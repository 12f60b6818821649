"""`extproc run` over a file that the test rewrites, and a load on it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.harness import KEY, Mock, Process, mock_config, wait_for

LOAD = Path(__file__).parents[1] / "bench" / "load.py"
SAY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}


class Running:
    """`extproc run` over a file that the test rewrites."""

    def __init__(self, folder: Path, listen: str | None = "127.0.0.1:0") -> None:
        """Listen there; None: where the file says."""
        self.state = folder / "state"
        self.file = folder / "gateway.yaml"
        self.mock = Mock(folder)
        self.base = self.first(mock_config(self.mock.url))
        self.save(self.base)
        self.process = Process(
            Path(sys.executable).parent / "extproc", "run", "--config", self.file,
            *(("--listen", listen) if listen else ()), "--control", "127.0.0.1:0",
            "--state", self.state,
            log=folder / "run.log", env={"EXTPROC_MASTER_KEY": KEY},
        )  # fmt: skip
        self.url = str(wait_for(self._address, self.process.output, 60))

    def first(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return what it starts with, of a configuration for the mock."""
        return config

    def _address(self) -> str | None:
        for line in self.process.output().splitlines():
            if line.startswith("Gateway "):
                return line.split()[1].removesuffix("/v1")
        return None

    def save(self, config: object) -> None:
        """Replace the file, as an editor does."""
        new = self.file.with_suffix(".new")
        new.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
        new.rename(self.file)

    def ask(self, model: str) -> httpx.Response:
        return httpx.post(
            f"{self.url}/v1/chat/completions",
            json={**SAY, "model": model},
            headers={"authorization": f"Bearer {KEY}"},
            timeout=20,
        )

    def served(self, model: str, seconds: float = 10) -> None:
        wait_for(
            lambda: True if self.ask(model).status_code == 200 else None,
            self.process.output,
            seconds,
        )

    def stop(self) -> None:
        self.process.stop()
        self.mock.stop()


def load(url: str, *, rate: int, seconds: float) -> dict[str, Any]:
    """Ask as often for as long; return what `bench/load.py` saw."""
    done = subprocess.run(
        [
            sys.executable, str(LOAD), f"{url}/v1/chat/completions", KEY,
            json.dumps(SAY), "--rate", str(rate), "--seconds", str(seconds),
        ],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen
