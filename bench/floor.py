"""What a worker that did nothing would leave: the least that can be had of Envoy's call to one.

    .venv/bin/python bench/floor.py

The same gateway as in `gateway.py`, but its worker reads a request once and then repeats,
message by message, the bytes that it said for that one: no header is read, nobody is asked
for a key, nothing is recorded. What is left is Envoy's share, HTTP/2, the sockets and the
loop. What `gateway.py` measures beyond that is the worker's.

The first byte of a stream is also taken with a worker that reads what it is told before it
repeats: headers, the key's digest, the body, the head of the answer and the event in it, once
each, as the gateway reads them. It decides nothing and keeps nothing.
Beside both stands the gateway itself, in the same minutes.
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
WORKERS = ("repeats", "reads", "gateway")
PARROT = f"""
import hashlib
import importlib.machinery
import os
import sys

import msgspec

NAME, WARM = "extproc.server.lean_connection", {WARM}


class Repeated:
    \"\"\"A call that says what another has said.\"\"\"

    __slots__ = ("at", "finished")
    deadline, known_as = float("inf"), {{}}
    parting, turn, work = False, None, None

    def __init__(self):
        self.at, self.finished = 0, False

    def receive(self, message, now):
        if READS:
            read(message)
        said, self.finished = SAID[min(self.at, len(SAID) - 1)]
        self.at += 1
        return said

    def hear(self, messages, now, replies):
        for message in messages:
            replies += self.receive(message, now)

    def close(self, now, *, clean):
        pass


def read(message):
    event = DECODE[0](message)
    headers = getattr(event, "headers", None)
    if headers is None:
        body = event.data
        if body[:6] == b"data: ":
            body = body[6:body.find(b"\\n")]
        if body[:1] == b"{{":
            msgspec.json.decode(body)
    elif "authorization" in headers:
        hashlib.sha256(headers["authorization"].encode()).digest()


READS = os.environ.get("FLOOR") == "reads"
SAID, UNDER_WAY, SEEN, DECODE = [], {{}}, [], []


def patch(module):
    from extproc.server.call import Call
    from extproc.server.codec import decode

    DECODE.append(decode)
    receive, start = Call.receive, module.LeanConnection._start

    def hear(call, message, now):
        said = receive(call, message, now)
        UNDER_WAY.setdefault(call, []).append((list(said), call.finished))
        if call.finished:
            whole = UNDER_WAY.pop(call)
            SEEN.append(1)
            if len(SEEN) == WARM:
                SAID[:] = whole
        return said

    def begin(connection, stream_id, path):
        if SAID and path == module.PROCESS:
            connection._calls[stream_id] = Repeated()
        else:
            start(connection, stream_id, path)

    Call.receive, Call.hear = hear, Repeated.hear
    module.LeanConnection._start = begin


class Finder:
    def find_spec(self, name, path, target=None):
        if name != NAME:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module

        def and_patch(module):
            execute(module)
            patch(module)

        spec.loader.exec_module = and_patch
        return spec


if "extproc.server.worker" in sys.orig_argv and os.environ.get("FLOOR") != "gateway":
    sys.meta_path.insert(0, Finder())
"""
"""Python runs it before the worker."""


@contextlib.contextmanager
def parrot(
    port: int, warm: tuple[str, int], worker: str = "repeats"
) -> Iterator[gateway.Peers]:
    """Start bare Envoy and the gateway before the provider at `port`.

    `warm` is the request that the worker is to repeat, and how many to ask a second;
    `worker` one of `WORKERS`.
    """
    with tempfile.TemporaryDirectory(prefix="floor-") as name:
        folder = Path(name)
        listen = {one: stage.free_port() for one in ("bare", "gateway", "control")}
        urls = {one: f"http://127.0.0.1:{at}" for one, at in listen.items()}
        (folder / "gateway.yaml").write_text(stage.gateway_config(port, port))
        (folder / "bare.json").write_text(stage.bare_bootstrap({listen["bare"]: port}))
        (folder / "python").mkdir()
        (folder / "python" / "sitecustomize.py").write_text(PARROT)
        with (
            stage.child(
                *stage.bare_command(folder), stderr=subprocess.DEVNULL
            ) as plain,
            stage.run_gateway(
                folder,
                listen["gateway"],
                listen["control"],
                PYTHONPATH=str(folder / "python"),
                FLOOR=worker,
            ) as ours,
        ):
            for one in ("bare", "gateway"):
                stage.wait_for_answer(urls[one])
            time.sleep(2)
            text, rate = warm
            gateway.load(
                urls["gateway"],
                text,
                "--connections",
                32,
                "--seconds",
                4,
                "--rate",
                rate,
            )
            yield gateway.Peers(urls, plain.pid, ours)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=5, help="for the first byte")
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    whole, stream = stage.body("gpt-4o"), stage.body("paced", stream=True)
    with stage.provider() as port:
        print("| requests/s | | p50 ms | p99 ms | Envoy µs | worker µs |")
        print("|---|---|---|---|---|---|")
        with parrot(port, (whole, 100)) as peers:
            for rate in (None, *RATES):
                how: tuple[object, ...] = ("--connections", 32)
                if rate is not None:
                    how = ("--connections", 64, "--rate", rate)
                for subject in ("bare", "gateway"):
                    seen = gateway.measure(
                        peers, subject, whole, "--seconds", options.seconds, *how
                    )
                    print(
                        f"| {seen['rate']:.0f} | {subject} | {seen['p50']:.2f} | "
                        f"{seen['p99']:.2f} | {seen['envoy µs']:.0f} | "
                        f"{seen.get('worker µs', 0):.0f} |"
                    )
        first_bytes(port, stream, options)


def first_bytes(port: int, text: str, options: argparse.Namespace) -> None:
    """Print when a stream's first byte comes, by worker, and by bare Envoy beside each."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for worker in WORKERS * options.rounds:
        with parrot(port, (text, STREAMS_RATE), worker) as peers:
            bare, ours = [
                gateway.measure(
                    peers, subject, text, "--connections", 64,
                    "--seconds", options.seconds, "--rate", STREAMS_RATE,
                )
                for subject in ("bare", "gateway")
            ]  # fmt: skip
        added = ours["first_p50"] - bare["first_p50"]
        found.setdefault(worker, []).append(
            (ours["first_p50"], ours["first_p99"], added)
        )
    print(
        f"\n| {STREAMS_RATE} streams/s | first byte, p50 ms | p99 ms | more than bare |"
    )
    print("|---|---|---|---|")
    for worker, rounds in found.items():
        first, last, _ = map(statistics.median, zip(*rounds, strict=True))
        more = sorted(added for *_, added in rounds)
        print(
            f"| {worker} | {first:.2f} | {last:.2f} | {statistics.median(more):+.2f} "
            f"({more[0]:+.2f} to {more[-1]:+.2f}) |"
        )


if __name__ == "__main__":
    main()
