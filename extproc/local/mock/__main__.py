"""`python -m extproc.local.mock`: the mock providers as a process of their own."""

from __future__ import annotations

import argparse
import asyncio
import signal
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from extproc.local.mock.identity.api import LIFE
from extproc.local.mock.server import DEFAULT_KEYS, DEFAULT_PACE, PROVIDERS, serve


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the command line's options; exits on a mistake."""
    parser = argparse.ArgumentParser(
        prog="python -m extproc.local.mock",
        description="Mock LLM providers, as strict as the real ones.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--provider", choices=("all", *PROVIDERS), default="all")
    parser.add_argument(
        "--pace-ms",
        type=float,
        default=DEFAULT_PACE * 1000,
        help="milliseconds between the events of a stream",
    )
    parser.add_argument(
        "--key",
        action="append",
        metavar="KEY",
        help=f"an accepted credential, or a prefix with '*' (default {DEFAULT_KEYS[0]})",
    )
    parser.add_argument(
        "--token-seconds",
        type=float,
        default=LIFE,
        help="how long access tokens are good for",
    )
    parser.add_argument(
        "--books", type=Path, metavar="FILE", help="gets a line for each answer"
    )
    parser.add_argument("--tls-cert", help="PEM file; serves HTTPS")
    parser.add_argument("--tls-key", help="PEM file")
    options = parser.parse_args(arguments)
    if (options.tls_cert is None) != (options.tls_key is None):
        parser.error("--tls-cert and --tls-key go together")
    return options


async def run(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    tls = None
    if options.tls_cert is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(options.tls_cert, options.tls_key)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await serve(
        host=options.host,
        port=options.port,
        pace=options.pace_ms / 1000,
        providers=PROVIDERS if options.provider == "all" else (options.provider,),
        keys=options.key or DEFAULT_KEYS,
        tls=tls,
        token_seconds=options.token_seconds,
        books=options.books,
    )
    async with server:
        sys.stdout.write(f"listening on {server.url}\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    uvloop.run(run(parse(sys.argv[1:])))
