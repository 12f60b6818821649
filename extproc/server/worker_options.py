"""The command line of a worker."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="extproc.server.worker")
    parser.add_argument("--socket", help="unix socket to serve ext_proc on")
    parser.add_argument(
        "--listen", help="HOST:PORT to serve on instead; gRPC edge only"
    )
    parser.add_argument("--control", type=Path, required=True, help="control's socket")
    parser.add_argument("--snapshot", type=Path, help="snapshot file to start from")
    parser.add_argument("--journals", type=Path, help="folder of what outlives workers")
    parser.add_argument("--edge", choices=("lean", "grpc"), default="lean")
    parser.add_argument("--tls-certificate", type=Path)
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--tls-client-ca", type=Path)
    options = parser.parse_args(arguments)
    if bool(options.socket) == bool(options.listen):
        parser.error("give one of --socket and --listen")
    if options.listen and options.edge != "grpc":
        parser.error("--listen needs --edge grpc")
    if bool(options.tls_certificate) != bool(options.tls_key):
        parser.error("--tls-certificate and --tls-key go together")
    return options
