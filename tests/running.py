"""`extproc run` as a process of a test, and a load on it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from extproc.server.compiled import ADDRESS_FILE
from tests.harness import KEY, Mock, Process, mock_config, wait_for

LOAD = Path(__file__).parents[1] / "bench" / "load.py"
SAY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}


class Run:
    """`extproc run` over a file in `folder`, and what is asked of it there.

    Attributes:
        url: of the gateway, without `/v1`.
    """

    def __init__(
        self,
        folder: Path,
        config: object,
        *,
        listen: str | None = "127.0.0.1:0",
        workers: int | None = None,
        seconds: float = 60,
        **environ: str,
    ) -> None:
        """Start it and wait until it listens there (None: where the file says)."""
        self.folder, self.state = folder, folder / "state"
        self.file = folder / "gateway.yaml"
        self.save(config)
        self.process = Process(
            Path(sys.executable).parent / "extproc", "run", "--config", self.file,
            *(("--listen", listen) if listen else ()), "--control", "127.0.0.1:0",
            *(("--workers", str(workers)) if workers else ()), "--state", self.state,
            log=folder / "run.log", env={"EXTPROC_MASTER_KEY": KEY, **environ},
        )  # fmt: skip
        try:
            self.url = str(wait_for(self._address, self.process.output, seconds))
        except BaseException:
            self.process.stop()
            raise

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

    def control_url(self) -> str:
        """Return where control listens, the one that runs now.

        Raises:
            OSError: none does yet.
        """
        return f"http://{(self.state / ADDRESS_FILE).read_text()}"

    def processes(self, module: str) -> list[psutil.Process]:
        """Return those whose command line names `module`."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or ())
            if module in line and str(self.folder) in line and "tether" not in line:
                found.append(process)
        return found

    def kill(self, module: str) -> None:
        """Kill one of the gateway's processes; the supervisor starts another."""
        self.processes(module)[0].send_signal(signal.SIGKILL)


class Running(Run):
    """A gateway before the mock, whose file the test rewrites."""

    def __init__(self, folder: Path, listen: str | None = "127.0.0.1:0") -> None:
        self.mock = Mock(folder)
        self.base = self.first(mock_config(self.mock.url))
        super().__init__(folder, self.base, listen=listen)

    def first(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return what it starts with, of a configuration for the mock."""
        return config

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
