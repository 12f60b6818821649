"""What a worker that did nothing would leave: the least that can be had of Envoy's call to one.

    .venv/bin/python bench/floor.py

The same gateway as in `gateway.py`, but its worker reads a request once and then repeats,
message by message, the bytes that it said for that one: no header is read, nobody is asked
for a key, nothing is recorded. What is left is Envoy's share, HTTP/2, the sockets and the
loop. What `gateway.py` measures beyond that is the worker's.
"""

from __future__ import annotations

import argparse
import contextlib
import os
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
PARROT = f"""
import importlib.machinery
import sys

NAME, WARM = "extproc.server.lean_connection", {WARM}


class Repeated:
    \"\"\"A call that says what another has said.\"\"\"

    __slots__ = ("at", "finished")
    deadline, known_as = float("inf"), {{}}
    parting, turn, work = False, None, None

    def __init__(self):
        self.at, self.finished = 0, False

    def receive(self, message, now):
        said, self.finished = SAID[min(self.at, len(SAID) - 1)]
        self.at += 1
        return said

    def hear(self, messages, now, replies):
        for message in messages:
            replies += self.receive(message, now)

    def close(self, now, *, clean):
        pass


SAID, UNDER_WAY, SEEN = [], {{}}, []


def patch(module):
    from extproc.server.call import Call

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


if "extproc.server.worker" in sys.orig_argv:
    sys.meta_path.insert(0, Finder())
"""
"""Python runs it before the worker."""


@contextlib.contextmanager
def parrot(port: int, warm: tuple[str, int]) -> Iterator[gateway.Peers]:
    """Start bare Envoy and the gateway before the provider at `port`.

    `warm` is the request that the worker is to repeat, and how many to ask a second.
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
        print("\n| streams/s | | first byte, p50 ms | p99 ms |")
        print("|---|---|---|---|")
        with parrot(port, (stream, STREAMS_RATE)) as peers:
            for subject in ("bare", "gateway") * 3:
                seen = gateway.measure(
                    peers, subject, stream, "--connections", 64,
                    "--seconds", options.seconds, "--rate", STREAMS_RATE,
                )  # fmt: skip
                print(
                    f"| {STREAMS_RATE} | {subject} | {seen['first_p50']:.2f} | "
                    f"{seen['first_p99']:.2f} |"
                )


if __name__ == "__main__":
    main()
