"""What a worker that did nothing would leave: the least that can be had of Envoy's call to one.

    .venv/bin/python bench/floor.py

The same gateway as in `gateway.py`, but its worker reads a request once and then repeats,
message by message, the bytes that it said for that one: no header is read, nobody is asked
for a key, nothing is recorded (`instead/sitecustomize.py`). What is left is Envoy's share,
HTTP/2, the sockets and the loop. What `gateway.py` measures beyond that is the worker's.

The same again behind a lean Envoy, whose configuration has little but the call to the worker:
Lua and the credential put in place what it says.

The first byte of a stream is also taken with a worker that reads what it is told before it
repeats: headers, the key's digest, the body, the head of the answer and the event in it, once
each, as the gateway reads them. It decides nothing and keeps nothing.
Beside all of them stands the gateway itself, in the same minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import gateway
import stage

WARM = 60
"""Requests that are served as ever; the last one is repeated from then on."""
RATES = (250, 500, 1350)
"""The last is some half of what the gateway serves at most, translated."""
STREAMS_RATE = 30
KINDS = {
    "repeats": ("repeats", "ours"),
    "repeats, lean Envoy": ("repeats", "lean"),
    "reads": ("reads", "ours"),
    "gateway": ("gateway", "ours"),
}
"""By what the table calls them: the worker and the Envoy, see `instead/sitecustomize.py`."""


@contextlib.contextmanager
def parrot(
    port: int, warm: tuple[str, int], worker: str, envoy: str, seconds: float = 4
) -> Iterator[gateway.Peers]:
    """Start bare Envoy and the gateway before the provider at `port`.

    `warm` is the request that the worker is to repeat, and how many to ask a second, for
    `seconds`. `worker` and `envoy` are those of `KINDS`.
    """
    with tempfile.TemporaryDirectory(prefix="floor-") as name:
        folder, repeats = Path(name), worker != "gateway"
        listen = {one: stage.free_port() for one in ("bare", "gateway", "control")}
        urls = {one: f"http://127.0.0.1:{at}" for one, at in listen.items()}
        (folder / "gateway.yaml").write_text(stage.gateway_config(port, port))
        (folder / "bare.json").write_text(stage.bare_bootstrap({listen["bare"]: port}))
        with (
            stage.child(
                *stage.bare_command(folder), stderr=subprocess.DEVNULL
            ) as plain,
            stage.run_gateway(
                folder,
                listen["gateway"],
                listen["control"],
                PYTHONPATH=str(stage.HERE / "instead"),
                FLOOR_WORKER=worker,
                FLOOR_ENVOY=envoy,
                FLOOR_WARM=str(WARM),
            ) as ours,
        ):
            for one in ("bare", "gateway"):
                stage.wait_for_answer(urls[one])
            time.sleep(2)
            text, rate = warm
            for _ in range(5):
                gateway.load(
                    urls["gateway"], text, "--connections", 32, "--seconds", seconds,
                    "--rate", rate,
                )  # fmt: skip
                # Who repeats asks nobody for a key.
                if (stage.ask(urls["gateway"], text, key="none") == 200) is repeats:
                    break
            else:
                raise SystemExit(f"the worker that {worker!r} names does not serve")
            yield gateway.Peers(urls, plain.pid, ours)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with stage.provider() as port:
        at_rates(port, stage.body("gpt-4o"), options)
        first_bytes(port, stage.body("paced", stream=True), options)


def at_rates(port: int, text: str, options: argparse.Namespace) -> None:
    """Print what a request takes at full speed and at each rate, and bare Envoy beside."""
    found: dict[tuple[int | None, str], list[dict[str, float]]] = {}
    for kind in ("repeats", "repeats, lean Envoy") * options.rounds:
        with parrot(port, (text, 100), *KINDS[kind]) as peers:
            for rate in (None, *RATES):
                how: tuple[object, ...] = ("--connections", 32)
                if rate is not None:
                    how = ("--connections", 64, "--rate", rate)
                for subject in ("bare", "gateway"):
                    seen = gateway.measure(
                        peers, subject, text, "--seconds", options.seconds, *how
                    )
                    name = f"bare, beside {kind}" if subject == "bare" else kind
                    found.setdefault((rate, name), []).append(seen)
    print("| requests/s | | p50 ms | p99 ms | Envoy µs | worker µs |")
    print("|---|---|---|---|---|---|")
    for (_, name), rounds in found.items():
        seen = gateway.medians(rounds)
        print(
            f"| {seen['rate']:.0f} | {name} | {seen['p50']:.2f} | "
            f"{seen['p99']:.2f} | {seen['envoy µs']:.0f} | "
            f"{seen.get('worker µs', 0):.0f} |"
        )


def first_bytes(port: int, text: str, options: argparse.Namespace) -> None:
    """Print when a stream's first byte comes, by worker, and by bare Envoy beside each."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for kind in list(KINDS) * options.rounds:
        with parrot(port, (text, STREAMS_RATE), *KINDS[kind]) as peers:
            bare, ours = [
                gateway.measure(
                    peers, subject, text, "--connections", 64,
                    "--seconds", options.seconds, "--rate", STREAMS_RATE,
                )
                for subject in ("bare", "gateway")
            ]  # fmt: skip
        added = ours["first_p50"] - bare["first_p50"]
        found.setdefault(kind, []).append((ours["first_p50"], ours["first_p99"], added))
    print(
        f"\n| {STREAMS_RATE} streams/s | first byte, p50 ms | p99 ms | more than bare |"
    )
    print("|---|---|---|---|")
    for kind, rounds in found.items():
        first, last, _ = map(statistics.median, zip(*rounds, strict=True))
        more = sorted(added for *_, added in rounds)
        print(
            f"| {kind} | {first:.2f} | {last:.2f} | {statistics.median(more):+.2f} "
            f"({more[0]:+.2f} to {more[-1]:+.2f}) |"
        )


if __name__ == "__main__":
    main()
