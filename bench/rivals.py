"""Other gateways beside this one: the same load, provider, cores and hour.

    .venv/bin/python bench/rivals.py --litellm PATH --portkey PATH [--output PATH]

``--litellm`` names the program of a virtual environment of its own (``pip install
'litellm[proxy]'``), ``--portkey`` the ``build/start-server.js`` of npm's
``@portkey-ai/gateway``. Each is asked for what it does best: LiteLLM with two workers and no
database, Portkey without any key of a client's to check. Bare Envoy is the measure of all.

What is printed are medians over the rounds, in each of which every gateway is asked the same
things once. CPU is that of all processes of a gateway, a request; memory, what they hold
resident at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import yaml

sys.path.insert(0, str(Path(__file__).parent))

import gateway
import stage

BARE = "bare Envoy"
CROWD = ("--connections", 32)
LINGER = 10
"""Seconds for what is under way when the time is up, which counts for nothing."""
SLOW_RATE = 20
"""Requests a second that each of them has time for."""
STREAMS_RATE = 5
STREAM: dict[str, object] = {"stream": True}
MODELS = {"passes": "gpt-4o", "translated": "claude-sonnet-4-5"}


class Gateway(msgspec.Struct):
    """One that is measured."""

    name: str
    url: str
    command: list[object]
    environ: dict[str, str] = {}
    headers: dict[str, dict[str, str]] = {}
    """More of a request's, by model."""


def chosen(options: argparse.Namespace, folder: Path, upstream: int) -> list[Gateway]:
    """Return what is to be measured, its files written."""
    ports = [stage.free_port() for _ in range(5)]
    bare, ours, control, litellm, portkey = ports
    (folder / "bare.json").write_text(stage.bare_bootstrap({bare: upstream}))
    (folder / "gateway.yaml").write_text(stage.gateway_config(upstream, upstream))
    found = [
        Gateway(BARE, _url(bare), stage.bare_command(folder)),
        Gateway(
            "extproc",
            _url(ours),
            stage.gateway_command(ours, control),
            {"EXTPROC_MASTER_KEY": stage.KEY},
        ),
    ]
    if options.litellm:
        (folder / "litellm.yaml").write_text(litellm_config(upstream))
        found.append(
            Gateway(
                "LiteLLM", _url(litellm),
                [
                    options.litellm, "--config", "litellm.yaml", "--host", "127.0.0.1",
                    "--port", litellm, "--num_workers", 2, "--run_gunicorn",
                ],
                # Prices are fetched otherwise.
                {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"},
            )
        )  # fmt: skip
    if options.portkey:
        host = f"http://127.0.0.1:{upstream}/v1"
        found.append(
            Gateway(
                "Portkey", _url(portkey),
                ["node", options.portkey, f"--port={portkey}", "--headless"],
                headers={
                    model: {
                        "x-portkey-provider": provider,
                        "x-portkey-custom-host": host,
                    }
                    for model, provider in (
                        ("gpt-4o", "openai"), ("paced", "openai"),
                        ("claude-sonnet-4-5", "anthropic"),
                    )
                },
            )
        )  # fmt: skip
    return found


def litellm_config(upstream: int) -> str:
    """Return a configuration with the models of `stage.gateway_config`."""
    openai = {"api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": stage.KEY}
    anthropic = {"api_base": f"http://127.0.0.1:{upstream}", "api_key": stage.KEY}
    models = {
        "gpt-4o": {"model": "openai/gpt-4o", **openai},
        "paced": {"model": "openai/paced", **openai},
        "claude-sonnet-4-5": {"model": "anthropic/claude-sonnet-4-5", **anthropic},
    }
    return yaml.safe_dump(
        {
            "model_list": [
                {"model_name": name, "litellm_params": parameters}
                for name, parameters in models.items()
            ],
            "general_settings": {"master_key": stage.KEY},
        }
    )


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def running(one: Gateway, folder: Path) -> Iterator[psutil.Process]:
    """Start a gateway and wait until it answers."""
    with stage.child(
        *one.command, cwd=folder, env={**os.environ, **one.environ},
        # Not a pipe that nobody reads: who logs there would stand still once it is full.
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        until = time.monotonic() + 120
        while not ready(one):
            if time.monotonic() > until or process.poll() is not None:
                raise SystemExit(f"{one.name} does not answer")
            time.sleep(1)
        yield psutil.Process(process.pid)


def ready(one: Gateway) -> bool:
    """Say whether all processes of a gateway answer well, as far as that can be seen."""
    try:
        seen = ask(one, "gpt-4o", {}, "--connections", 8, "--seconds", 2)
    except subprocess.CalledProcessError:  # nobody listens yet
        return False
    return bool(seen["requests"] and not seen["failures"])


def ask(
    one: Gateway, model: str, more: dict[str, object], *how: object
) -> dict[str, Any]:
    """Load a gateway once."""
    headers = [
        part
        for name, value in one.headers.get(model, {}).items()
        for part in ("--header", f"{name}:{value}")
    ]
    text = stage.body(model, **more)
    # Nobody is made to deal with clients that break off, nor to keep what is idle.
    how = (*how, "--linger", LINGER, "--may-close")
    return gateway.load(one.url, text, *headers, *how, may_fail=True)


def tree(root: psutil.Process) -> list[psutil.Process]:
    """Return a process and all that it has started."""
    return [root, *root.children(recursive=True)]


def spent(root: psutil.Process) -> float:
    """Return the CPU seconds of a gateway."""
    return sum(stage.cpu(one.pid) for one in tree(root))


def measure(one: Gateway, root: psutil.Process, seconds: float) -> dict[str, float]:
    """Ask a gateway for everything once."""
    seen: dict[str, float] = {"failed": 0}

    def load(model: str, more: dict[str, object], *how: object) -> dict[str, Any]:
        found = ask(one, model, more, *how)
        seen["failed"] += found["failures"]
        return found

    models = {"passes": "gpt-4o"} if one.name == BARE else MODELS
    for kind, model in models.items():
        before = spent(root)
        crowd = load(model, {}, *CROWD, "--seconds", seconds)
        requests = max(1, crowd["requests"])
        seen[f"{kind}, requests/s"] = requests / crowd["seconds"]
        seen[f"{kind}, CPU µs"] = 1e6 * (spent(root) - before) / requests
        calm = load(model, {}, *CROWD, "--seconds", seconds, "--rate", SLOW_RATE)
        seen[f"{kind}, p50 ms"], seen[f"{kind}, p99 ms"] = calm["p50"], calm["p99"]
    paced = load("paced", STREAM, *CROWD, "--seconds", seconds, "--rate", STREAMS_RATE)
    seen["first byte, p50 ms"] = paced["first_p50"]
    # What is shared counts once, a part for each who shares it.
    seen["memory MB"] = (
        sum(process.memory_full_info().pss for process in tree(root)) / 1e6
    )
    return seen


def table(results: dict[str, dict[str, float]]) -> str:
    """Return the medians, a row for each figure."""
    names = list(results)
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for figure in next(row for name, row in results.items() if name != BARE):
        told = [results[name].get(figure) for name in names]
        cells = [
            "" if one is None else f"{one:,.{1 if one < 100 else 0}f}" for one in told
        ]
        lines.append(f"| {figure} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--litellm", type=Path)
    parser.add_argument("--portkey", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    found: dict[str, list[dict[str, float]]] = {}
    with (
        contextlib.ExitStack() as stack,
        stage.provider() as upstream,
    ):
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="rivals-"))
        )
        gateways = chosen(options, folder, upstream)
        for number in range(options.rounds):
            for one in gateways:
                # One at a time: what sleeps beside another wakes now and then.
                with running(one, folder) as root:
                    ask(one, "gpt-4o", {}, *CROWD, "--seconds", 2)
                    # What is loaded for the first stream counts for none.
                    ask(one, "paced", STREAM, *CROWD, "--seconds", 8, "--rate", 1)
                    seen = measure(one, root, options.seconds)
                found.setdefault(one.name, []).append(seen)
                print(f"round {number + 1}, {one.name}: {seen}", file=sys.stderr)
    text = (
        f"bench/rivals.py, {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}; medians of {options.rounds} rounds of "
        f"{options.seconds:g} s\n\n"
        + table({name: gateway.medians(rows) for name, rows in found.items()})
        + "\n"
    )
    print(text)
    if options.output:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
