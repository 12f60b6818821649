"""A client in a process of its own: calls go in, what they came to comes out.

`tests/node/*.mjs` and `tests/clients/serve.py` are the other ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ANSWER_SECONDS = 120
"""Above the 20 s after which every client gives up, and what a busy machine imports."""

PRIVATE = (
    "OPENAI_",
    "ANTHROPIC_",
    "LANGCHAIN_",
    "LANGSMITH_",
    "NODE_",
    "AWS_",
    "HTTP",
    "http",
    "ALL_PROXY",
)
"""Clients read keys, organisations, proxies and more from variables of their own."""


class Caller:
    """The client in its process."""

    def __init__(
        self, process: subprocess.Popen[str], log: Path, prefix: str = ""
    ) -> None:
        self._process = process
        self._log = log
        self._prefix = prefix

    def part(self, name: str) -> Caller:
        """Return one of several clients that share the process."""
        return Caller(self._process, self._log, f"{name}.")

    def together(self, *calls: dict[str, Any]) -> list[dict[str, Any]]:
        """Make `calls` at the same time; return ``{"value": …}`` or ``{"error": …}``."""
        assert self._process.stdin
        assert self._process.stdout
        named = [{**call, "call": self._prefix + call["call"]} for call in calls]
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(named) + "\n")
            self._process.stdin.flush()
        # One line answers one line, so nothing waits in Python's own buffer.
        ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_SECONDS)
        line = self._process.stdout.readline() if ready else ""
        assert line, f"no answer: {self._log.read_text()[-3000:]}"
        outcomes = json.loads(line)
        assert len(outcomes) == len(calls)
        return list(outcomes)

    def value(self, call: str, client: Any = None, **ask: Any) -> Any:
        """Make one call that succeeds."""
        (outcome,) = self.together({"call": call, "ask": ask, "client": client})
        assert "error" not in outcome, outcome["error"]
        return outcome["value"]

    def error(self, call: str, client: Any = None, **ask: Any) -> dict[str, Any]:
        """Make one call that fails."""
        (outcome,) = self.together({"call": call, "ask": ask, "client": client})
        assert "error" in outcome, outcome
        assert outcome["error"]["class"] != "Stranger", outcome
        return dict(outcome["error"])


@contextlib.contextmanager
def running_client(
    command: Sequence[str | Path], log: Path, env: Mapping[str, str]
) -> Iterator[Caller]:
    """Run `command`; what it complains of goes to `log`."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(PRIVATE)
    }
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True,
            env={**inherited, **env},
        ) as process,
    ):  # fmt: skip
        try:
            yield Caller(process, log)
            assert process.stdin
            process.stdin.close()
            process.wait(5)
        finally:
            process.kill()
