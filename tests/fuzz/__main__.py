"""``make fuzz``: coverage-guided, a million inputs to everything that reads what others write.

    python -m tests.fuzz [--runs N] [--record FILE] [--rest FILE] [target …]

Each target runs in a process of its own under atheris (libFuzzer), which keeps in
``.fuzz/<target>`` what led it to new code, and begins with that the next time. Inputs are
mutated as what they are, JSON as JSON, streams as events, and as mere bytes. Prints a
table; exit code 1 when anything but a declared error came out, whose input is in ``.fuzz``
and belongs into `found.py` when it is mended.

What is in the table of `--record` counts: a run that was broken off is gone on with.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import importlib
import random
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `atheris` instruments what is imported later.
    from tests.fuzz.shapes import Shape

FOLDER = Path(__file__).parents[2] / ".fuzz"
SECONDS_AN_INPUT = 25
MEGABYTES = 2048
"""An input that takes longer, or a process that grows larger, is a finding."""

LONGEST = 4000
"""Bytes of an input, where no seed is longer: what is found in more is found in these."""

SLICE = 200_000
"""Runs of one process: as much is lost when it is broken off."""

EACH = 500
"""Runs between two looks at whether to rest."""

HEAD = f"{'target':<34}{'runs':>9}{'cpu s':>8}{'corpus':>8}{'edges':>7}  findings"
ROW = re.compile(r"(.+?) +(\d+) +(\d+) +(\d+) +(\d+)  (.+)")


@dataclass(frozen=True)
class Row:
    """What came of one target."""

    name: str
    runs: int = 0
    seconds: float = 0.0
    """Of a processor: others may run beside it."""
    corpus: int = 0
    edges: int = 0
    finding: str = ""

    def __str__(self) -> str:
        return (
            f"{self.name:<34}{self.runs:>9}{self.seconds:>8.0f}{self.corpus:>8}"
            f"{self.edges:>7}  {self.finding or 'none'}"
        )

    def and_then(self, later: Row) -> Row:
        """Return what came of both runs."""
        return replace(
            later, runs=self.runs + later.runs, seconds=self.seconds + later.seconds
        )


def read_table(file: Path | None) -> dict[str, Row]:
    """Return the rows of a table on disk; what stands above it is no row."""
    if file is None or not file.exists():
        return {}
    _, _, table = file.read_text().partition(HEAD + "\n")
    found = [ROW.fullmatch(line) for line in table.splitlines()]
    return {
        one[1]: Row(one[1], int(one[2]), float(one[3]), int(one[4]), int(one[5]),
                    "" if one[6] == "none" else one[6])
        for one in found if one
    }  # fmt: skip


def record(file: Path, row: Row) -> None:
    """Put a row into a table on disk, in place of that of the same target."""
    rows = read_table(file) | {row.name: row}
    above = file.read_text().partition(HEAD)[0] if file.exists() else ""
    file.write_text(above + "\n".join((HEAD, *map(str, rows.values()))) + "\n")


def slug(name: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "-", name.lower())


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def fuzz(name: str, runs: int, seed: int, rest: Path | None) -> Row:
    """Run one target in a process of its own."""
    _rest(rest)
    began = _processor_seconds()
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--inside", name, "--runs", str(runs),
         "--seed", str(seed), *(("--rest", str(rest)) if rest else ())],
        cwd=FOLDER.parent, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    corpus = FOLDER / slug(name)
    finding = ""
    if done.returncode:
        (FOLDER / f"{slug(name)}.log").write_text(said[-20_000:])
        lines = [line for line in said.splitlines() if re.match(r"\w+(\.\w+)*: ", line)]
        finding = f"exit code {done.returncode}: {(lines or ['see its log'])[0][:200]}"
    return Row(
        name,
        max([0, *map(int, re.findall(r"^(?:Done |#)(\d+)", said, re.MULTILINE))]),
        _processor_seconds() - began,
        len(list(corpus.iterdir())) if corpus.exists() else 0,
        max([0, *map(int, re.findall(r" cov: (\d+)", said))]),
        finding,
    )


def inside(name: str, runs: int, seed: int, rest: Path | None) -> None:
    """Fuzz in this process; does not return."""
    import atheris  # noqa: PLC0415  here only

    with atheris.instrument_imports(include=["extproc"]):
        targets = importlib.import_module("tests.fuzz.targets")  # instrumented
    target = targets.TARGETS[name]
    corpus = FOLDER / slug(name)
    corpus.mkdir(parents=True, exist_ok=True)
    seeds = target.seeds()
    for one in seeds:
        (corpus / hashlib.sha1(one).hexdigest()).write_bytes(one)
        target.run(one)
    # All that is cached is there: a full collection would look at it for as long as a
    # hundred inputs take.
    gc.collect()
    gc.freeze()
    options = [
        f"-runs={runs}",
        f"-artifact_prefix={FOLDER}/{slug(name)}-",
        f"-timeout={SECONDS_AN_INPUT}",
        f"-rss_limit_mb={MEGABYTES}",
        f"-max_len={max(LONGEST, *map(len, seeds))}",
        f"-seed={seed}",
        "-print_final_stats=0",
    ]

    def mutate_bytes(data: bytes, longest: int) -> bytes:
        return bytes(atheris.Mutate(data, longest))  # it is another once `Fuzz` runs

    mutate = _mutation(target.shape, mutate_bytes, rest)
    atheris.Setup(["fuzz", *options, str(corpus)], target.run, custom_mutator=mutate)
    atheris.Fuzz()


def _rest(file: Path | None) -> None:
    while file is not None and file.exists():
        time.sleep(1)


def _mutation(
    shape: Shape, mutate_bytes: Callable[[bytes, int], bytes], rest: Path | None
) -> Callable[[bytes, int, int], bytes]:
    """Return what makes an input of another: as often of its bytes as of its shape."""
    chance, made = random.Random(), 0
    bare = shape.of_bytes

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        nonlocal made
        made += 1
        if not made % EACH:
            # Not in the target, where it would be an input that takes long.
            _rest(rest)
        if bare or seed & 1:
            return mutate_bytes(data, longest)
        chance.seed(seed)
        return shape.mutate(bytes(data), chance)[:longest]

    return mutate


def main() -> int:
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(prog="tests.fuzz")
    parser.add_argument("--runs", type=int, default=1_000_000, help="of each target")
    parser.add_argument("--record", type=Path, help="a table to put the rows into")
    parser.add_argument("--rest", type=Path, help="do nothing while this file exists")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", help="none: all")
    options = parser.parse_args()
    if options.inside:
        inside(options.inside, options.runs, options.seed, options.rest)
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415  not before the above

    FOLDER.mkdir(exist_ok=True)
    print(HEAD, flush=True)
    found = False
    for name in options.targets or TARGETS:
        row = replace(read_table(options.record).get(name, Row(name)), finding="")
        while row.runs < options.runs and not row.finding:
            more = min(SLICE, options.runs - row.runs)
            row = row.and_then(fuzz(name, more, row.runs + 1, options.rest))
            if options.record:
                record(options.record, row)
        print(row, flush=True)
        found = found or bool(row.finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
