"""What `gateway.py` prints of what it has measured: the README's tables, and every aim."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from stage import body

CHUNKS = 500
PACED_CHUNKS = 25
SUBJECTS = {
    "bare": ("bare", body("gpt-4o")),
    "pass-through": ("gateway", body("gpt-4o")),
    "translated": ("gateway", body("claude-sonnet-4-5")),
}
# The same with a provider that costs what one in Python costs: the built-in mock. Its
# share of the machine is the same for bare Envoy and for us.
MOCKED = {
    "bare, mock provider": ("bare-mock", body("gpt-4o")),
    "pass-through, mock provider": ("gateway", body("mock-gpt")),
    "translated, mock provider": ("gateway", body("mock-claude")),
}
STREAMS = {
    "bare, streamed": ("bare", body("gpt-4o", stream=True)),
    "pass-through, streamed": ("gateway", body("gpt-4o", stream=True)),
    "translated, streamed": ("gateway", body("claude-sonnet-4-5", stream=True)),
}
# An event every 20 ms: in a burst the first byte waits for what is read along with it.
PACED = {
    "bare, streamed": ("bare", body("paced", stream=True)),
    "pass-through, streamed": ("gateway", body("paced", stream=True)),
    "translated, streamed": ("gateway", body("paced-claude", stream=True)),
}


def table(results: dict[str, Any]) -> str:
    """Write the results as the README's table."""
    rounds, lines = results["rounds"], []
    lines.append(
        "| | req/s | x bare | Envoy µs | worker µs | control µs | added p50 ms | "
        "added p99 ms |"
    )
    lines.append("|---|---|---|---|---|---|---|---|")
    half = results["half load"]
    for name in SUBJECTS:
        seen = rounds[name]
        added = [half[name][p] - half["bare"][p] for p in ("p50", "p99")]
        lines.append(
            f"| {name} | {seen['rate']:.0f} | {seen['rate'] / rounds['bare']['rate']:.2f} | "
            f"{seen['envoy µs']:.0f} | {seen.get('worker µs', 0):.0f} | "
            f"{seen.get('control µs', 0):.0f} | "
            f"{added[0]:.2f} | {added[1]:.2f} |"
        )
    for name in MOCKED:
        seen, against = rounds[name], rounds["bare, mock provider"]
        lines.append(
            f"| {name} | {seen['rate']:.0f} | {seen['rate'] / against['rate']:.2f} | "
            f"{seen['envoy µs']:.0f} | {seen.get('worker µs', 0):.0f} | "
            f"{seen.get('control µs', 0):.0f} | | |"
        )
    lines += [
        "",
        f"| {CHUNKS} chunks | streams/s | x bare | chunks/s | Envoy µs | worker µs |",
        "|---|---|---|---|---|---|",
    ]
    for name in STREAMS:
        seen = rounds[name]
        lines.append(
            f"| {name} | {seen['rate']:.1f} | "
            f"{seen['rate'] / rounds['bare, streamed']['rate']:.2f} | "
            f"{seen['rate'] * CHUNKS:.0f} | {seen['envoy µs'] / CHUNKS:.1f} | "
            f"{seen.get('worker µs', 0) / CHUNKS:.1f} |"
        )
    lines += [
        "",
        f"| {PACED_CHUNKS} chunks, 20 ms apart | p50 ms | p99 ms | Envoy µs | worker µs |",
        "|---|---|---|---|---|",
    ]
    for name, seen in results["first byte ms"].items():
        lines.append(
            f"| {name} | {seen['p50']:.2f} | {seen['p99']:.2f} | "
            f"{seen['envoy µs']:.0f} | {seen.get('worker µs', 0):.0f} |"
        )
    lines += [
        "",
        "| requests/s | | p50 ms | p99 ms | Envoy µs | worker µs |",
        "|---|---|---|---|---|---|",
    ]
    for rate, subjects in (
        *results["at requests/s"].items(),
        (f"{half['rate']:.0f}", half),
    ):
        for name in SUBJECTS:
            seen = subjects[name]
            lines.append(
                f"| {rate} | {name} | {seen['p50']:.2f} | {seen['p99']:.2f} | "
                f"{seen['envoy µs']:.0f} | {seen.get('worker µs', 0):.0f} |"
            )
    lines.append("")
    lines += ["| | aimed at | measured | |", "|---|---|---|---|"]
    for what, aim, measured, unit, reached in targets(results):
        mark = "reached" if reached else "not reached"
        figure = f"{measured:,.0f}" if abs(measured) >= 100 else f"{measured:.2f}"
        lines.append(f"| {what} | {aim} | {figure}{unit} | {mark} |")
    return "\n".join(lines)


Target = tuple[str, str, float, str, bool]
"""What, aimed at, measured, unit, and whether it is reached."""


def targets(results: dict[str, Any]) -> list[Target]:
    """Return every target with what came of it."""
    rounds, half, first = (
        results[name] for name in ("rounds", "half load", "first byte ms")
    )
    found: list[Target] = []

    def least(what: str, aim: float, measured: float, unit: str = "") -> None:
        found.append((what, f"≥ {aim:,g}{unit}", measured, unit, measured >= aim))

    def most(what: str, aim: float, measured: float, unit: str = "") -> None:
        found.append((what, f"≤ {aim:,g}{unit}", measured, unit, measured <= aim))

    for name, aim, cost in (("pass-through", 0.5, 160), ("translated", 0.42, 220)):
        least(f"{name}, x bare", aim, rounds[name]["rate"] / rounds["bare"]["rate"])
        mocked = f"{name}, mock provider"
        against = rounds["bare, mock provider"]["rate"]
        least(f"{mocked}, x bare", aim, rounds[mocked]["rate"] / against)
        most(f"{name}, worker CPU a request", cost, rounds[name]["worker µs"], " µs")
        for quantile, limit in (("p50", 0.5), ("p99", 2)):
            added = half[name][quantile] - half["bare"][quantile]
            most(f"{name}, added {quantile} at half load", limit, added, " ms")
        added = first[f"{name}, streamed"]["p50"] - first["bare, streamed"]["p50"]
        most(f"{name}, added to the first byte, p50", 1, added, " ms")
    burst = rounds["translated, streamed"]
    spent = (burst["envoy µs"] + burst["worker µs"]) / CHUNKS
    least("translated chunks a second and core, Envoy's too", 40_000, 1e6 / spent)
    chunk = results["worker alone"]["costs"]["translated stream"]["us_per_chunk"]
    most("a translated chunk that comes alone", 25, chunk, " µs")
    idle, opened = results["rss idle MB"], results["rss with streams MB"]
    count = results["streams"]
    # Against idle: what the load before has freed, the streams take first.
    held = 1000 * (opened["worker"] - idle["worker"]) / count
    most(f"worker memory of each of {count:,} open streams", 20, held, " kB")
    most("worker RSS, idle", 60, idle["worker"], " MB")
    if count == 1000:
        most("worker RSS, 1,000 open streams", 100, opened["worker"], " MB")
    most("worker ready", 0.3, results["worker ready s"], " s")
    most("first answer", 1.5, results["first answer s"]["compiled"], " s")
    megabytes = list(results["CPU µs a MB"].values())
    most("CPU of a MB, of 30 MB against 1 MB", 1.2, megabytes[-1] / megabytes[0], " x")
    long = results["worker alone"]["flat"]["translated stream"]
    slower = long["last_tenth_us"] / long["first_tenth_us"]
    most("a chunk, the last 10,000 of 100,000 against the first", 1.2, slower, " x")
    return found
