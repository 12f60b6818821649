"""``make fuzz``: coverage-guided, a million inputs to everything that reads what others write.

    python -m tests.fuzz [--runs N] [--record FILE] [target …]

Each target runs in a process of its own under atheris (libFuzzer), which keeps in
``.fuzz/<target>`` what led it to new code, and begins with that the next time. Inputs are
mutated as what they are: JSON as JSON, streams as events. Prints a table; exit code 1 when
anything but a declared error came out, whose input is in ``.fuzz`` and belongs into
`found.py` when it is mended.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".fuzz"
SECONDS_AN_INPUT = 25
MEGABYTES = 2048
"""An input that takes longer, or a process that grows larger, is a finding."""

HEAD = f"{'target':<28}{'runs':>10}{'seconds':>9}{'corpus':>8}{'edges':>8}  findings"


@dataclass(frozen=True)
class Row:
    """What came of one target."""

    name: str
    runs: int
    seconds: float
    corpus: int
    edges: int
    finding: str

    def __str__(self) -> str:
        return (
            f"{self.name:<28}{self.runs:>10}{self.seconds:>9.0f}{self.corpus:>8}"
            f"{self.edges:>8}  {self.finding or 'none'}"
        )


def slug(name: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "-", name.lower())


def fuzz(name: str, runs: int) -> Row:
    """Run one target in a process of its own."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--inside", name, "--runs", str(runs)],
        cwd=FOLDER.parent, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    seconds = time.monotonic() - began
    corpus = FOLDER / slug(name)
    finding = ""
    if done.returncode:
        (FOLDER / f"{slug(name)}.log").write_text(said[-20_000:])
        lines = [line for line in said.splitlines() if re.match(r"\w+(\.\w+)*: ", line)]
        finding = f"exit code {done.returncode}: {(lines or ['see its log'])[0][:200]}"
    return Row(
        name,
        max([0, *map(int, re.findall(r"^(?:Done |#)(\d+)", said, re.MULTILINE))]),
        seconds,
        len(list(corpus.iterdir())) if corpus.exists() else 0,
        max([0, *map(int, re.findall(r" cov: (\d+)", said))]),
        finding,
    )


def inside(name: str, runs: int) -> None:
    """Fuzz in this process; does not return."""
    import atheris  # noqa: PLC0415  here only

    with atheris.instrument_imports(include=["extproc"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415  instrumented
    target = TARGETS[name]
    corpus = FOLDER / slug(name)
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.2:
            return bytes(atheris.Mutate(data, longest))
        return target.shape.mutate(bytes(data), chance)[:longest]

    options = [
        f"-runs={runs}",
        f"-artifact_prefix={FOLDER}/{slug(name)}-",
        f"-timeout={SECONDS_AN_INPUT}",
        f"-rss_limit_mb={MEGABYTES}",
        "-max_len=20000",
        "-seed=1",
        "-print_final_stats=0",
    ]
    atheris.Setup(["fuzz", *options, str(corpus)], target.run, custom_mutator=mutate)
    atheris.Fuzz()


def record(file: Path, rows: Sequence[Row]) -> None:
    """Put rows into a table on disk, in place of those of the same targets."""
    kept = {}
    if file.exists():
        lines = file.read_text().splitlines()
        table = lines[lines.index(HEAD) + 1 :] if HEAD in lines else []
        kept = {line[:28].strip(): line for line in table if line.strip()}
    kept |= {row.name: str(row) for row in rows}
    file.write_text("\n".join((HEAD, *kept.values())) + "\n")


def main() -> int:
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(prog="tests.fuzz")
    parser.add_argument("--runs", type=int, default=1_000_000, help="of each target")
    parser.add_argument("--record", type=Path, help="a table to put the rows into")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", help="none: all")
    options = parser.parse_args()
    if options.inside:
        inside(options.inside, options.runs)
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415  not before the above

    FOLDER.mkdir(exist_ok=True)
    wanted = options.targets or list(TARGETS)
    print(HEAD, flush=True)
    found = False
    for name in wanted:
        row = fuzz(name, options.runs)
        print(row, flush=True)
        if options.record:
            record(options.record, [row])
        found = found or bool(row.finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
