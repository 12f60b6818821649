"""What the control process is started with."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

from extproc.server.compiled import Overrides

NO_OVERRIDES: Final = Overrides()


class CannotStart(Exception):
    """There is no configuration to serve; `problems` has every reason."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where things are, and what the command line says."""

    state: Path
    """The folder of what outlives the process."""
    run: Path
    """The folder of the sockets, whose path is short."""
    config: Path | None = None
    """``gateway.yaml``; None configures what the environment has keys for."""
    overrides: Overrides = NO_OVERRIDES
    mock_url: str | None = None
    """Where the mock providers are; they serve when the environment has no key."""
    concurrency: int = 2
    """Envoy's worker threads."""
    ca_bundle: Path | None = None
    """The public certificate authorities, where Envoy finds them; None: certifi's."""
    files: int | None = None
    """How many files Envoy may open; None: it is started elsewhere."""
    resume: bool = False
    """Whether what is on disk serves already, so that a bad file changes nothing."""
