"""The file of requests: a JSON line for each, redacted, rotated by size.

``requests.jsonl`` is written to; ``requests.jsonl.1`` is the one before, and so on. Lines
are those of `extproc.telemetry.request_lines`, with the time at which the request began.
"""

from __future__ import annotations

import datetime as dt
import itertools
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from extproc.redact import Redactor
from extproc.telemetry.content import Display
from extproc.telemetry.request_lines import OWN, Told, line_of


class RequestFile:
    """One file and those before it; blocks, so it belongs in a thread."""

    def __init__(
        self,
        path: Path,
        redactor: Redactor,
        *,
        max_bytes: int,
        keep: int,
        display: Display | None = None,
    ) -> None:
        """Keep `keep` files of `max_bytes` each behind the one that is written.

        With `display` the lines have what was said.
        """
        self._display = display
        self._path = path
        self._redactor = redactor
        self._max_bytes = max_bytes
        self._keep = keep

    def write(self, said: Sequence[Told]) -> bool:
        """Append a line for each; say whether that went well.

        What was written of a batch before a disk was full is written again with it.
        """
        lines = b"".join(
            self._line(one) for one in said if one.completion.operation not in OWN
        )
        if not lines:
            return True
        try:
            self._rotate(len(lines))
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            with os.fdopen(os.open(self._path, flags, 0o600), "ab") as file:
                file.write(lines)
        except OSError:
            return False
        return True

    def _line(self, told: Told) -> bytes:
        one = told.completion
        moment = dt.datetime.fromtimestamp(one.started, dt.UTC)
        time = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fields = self._redactor.fields({"time": time, **line_of(one)})
        if self._display is not None and told.content is not None:
            shown = self._display.show(told.content)
            fields |= {
                "system_instructions": shown.system,
                "input_messages": shown.asked,
                "output_messages": shown.answered,
            }
            if shown.tools:
                fields["tool_definitions"] = shown.tools
        return msgspec.json.encode(fields) + b"\n"

    def _rotate(self, more: int) -> None:
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return
        if size == 0 or size + more <= self._max_bytes:
            return
        names = [self._path, *(self._numbered(n) for n in range(1, self._keep + 1))]
        if self._keep == 0:
            self._path.unlink()
        for newer, older in reversed(list(itertools.pairwise(names))):
            if newer.exists():
                newer.replace(older)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
