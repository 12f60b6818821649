"""What has been charged to each budget, on disk: so that a restart resets nothing.

Control appends a line for each record that was charged, and says the sums to a worker
that connects; a worker that starts without control reads the file itself. Rewritten,
shorter, when it has grown; the last ids are kept, for a record may come twice.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from extproc.exchange.completion import Completion
from extproc.server.keys import write_private
from extproc.state.base import Balance
from extproc.state.memory import KEPT_SECONDS

LEDGER_FILE: Final = "ledger.jsonl"
LONGEST: Final = 4 * 1024 * 1024
"""Bytes that are appended before the file is rewritten: some 20,000 requests."""
REMEMBERED: Final = 64_000
"""As many as the link's own memory, which a restart of control forgets."""


class Charge(msgspec.Struct, frozen=True, tag="charge"):
    """One line: a record's cost, and what it is charged to."""

    id: str
    cost: int
    budgets: tuple[tuple[str, int], ...]


class Sums(msgspec.Struct, frozen=True, tag="sums"):
    """The first line of a file that was rewritten."""

    balances: dict[str, Balance]
    ids: tuple[str, ...] = ()


_line: msgspec.json.Decoder[Charge | Sums] = msgspec.json.Decoder(Charge | Sums)


class Ledger:
    """One file; `clock` gives Unix seconds.

    Attributes:
        balances: by meter.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self.balances, self._ids, self._size = _read(path)
        self._torn = _is_torn(path)
        self._behind = False
        """The file lacks what the disk had no room for; it is written anew, not on."""

    def charge(self, completions: Iterable[Completion]) -> None:
        """Add what `completions` cost, each once.

        Raises:
            OSError: the file cannot be written; what is charged is known all the same,
                and is written with what comes next.
        """
        lines = []
        for one in completions:
            if not one.cost or not one.budgets or one.id in self._ids:
                continue
            charge = Charge(one.id, one.cost, one.budgets)
            _add(self.balances, self._ids, charge)
            lines.append(msgspec.json.encode(charge) + b"\n")
        if not lines and not self._behind:
            return
        data = b"\n" * self._torn + b"".join(lines)
        self._size += len(data)
        anew = self._behind or self._size > LONGEST
        self._behind = True
        if anew:
            self._rewrite()
        else:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            with os.fdopen(os.open(self._path, flags, 0o600), "ab") as file:
                file.write(data)
        self._behind = self._torn = False

    def _rewrite(self) -> None:
        now = self._clock()
        self.balances = {
            meter: balance
            for meter, balance in self.balances.items()
            if balance.ends + KEPT_SECONDS > now
        }
        surplus = max(0, len(self._ids) - REMEMBERED)
        for oldest in list(islice(self._ids, surplus)):
            del self._ids[oldest]
        sums = Sums(self.balances, tuple(self._ids))
        write_private(self._path, msgspec.json.encode(sums) + b"\n")
        self._size = 0


def read_balances(path: Path) -> dict[str, Balance]:
    """Return the sums of the ledger at `path`; none when there is no use in it."""
    return _read(path)[0]


def _is_torn(path: Path) -> bool:
    """Say whether the last line has no end: what is appended must not become a part of it."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"
    return False


def _read(path: Path) -> tuple[dict[str, Balance], dict[str, None], int]:
    balances: dict[str, Balance] = {}
    ids: dict[str, None] = {}
    size = 0
    with contextlib.suppress(OSError), path.open("rb") as file:
        for raw in file:
            try:
                line = _line.decode(raw)
            except msgspec.MsgspecError:
                continue  # torn: control was killed while it wrote
            if isinstance(line, Sums):
                balances.update(line.balances)
                ids.update(dict.fromkeys(line.ids))
            elif line.id not in ids:
                size += len(raw)
                _add(balances, ids, line)
    return balances, ids, size


def _add(balances: dict[str, Balance], ids: dict[str, None], charge: Charge) -> None:
    ids[charge.id] = None
    for meter, ends in charge.budgets:
        known = balances.get(meter)
        nanos = charge.cost + (known.nanos if known is not None else 0)
        balances[meter] = Balance(nanos, ends)
