"""Runs the calls of frameworks in a process and an environment of their own.

``python serve.py langchain pydantic_ai``. A line of stdin is a JSON array of calls that are
made at the same time::

    [{"call": "langchain.say", "ask": {…}}]

and is answered by a line of stdout, an array with an outcome for each::

    [{"value": …}] or [{"error": {…}}]

The end of stdin is the end. Nothing but this machine can be reached: a framework that
tries to (telemetry, tracing, price lists) fails every call with what it wanted.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import ipaddress
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

Calls = dict[str, Callable[..., Awaitable[Any]]]
"""By name: `call(**ask)`."""

STRANGERS: list[str] = []
"""Hosts that somebody wanted to talk to."""


def here(host: object) -> bool:
    """Say whether `host` is this machine."""
    if isinstance(host, bytes):
        host = host.decode()
    if host in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


def stay_home(event: str, args: tuple[Any, ...]) -> None:
    """Refuse what goes to another machine, before it does."""
    if event == "socket.connect" and isinstance(args[1], tuple):
        host = args[1][0]
    elif event == "socket.getaddrinfo":
        host = args[0]
    else:
        return
    if not here(host):
        STRANGERS.append(str(host))
        raise OSError(f"{host} is not this machine")


def describe(error: BaseException) -> dict[str, Any]:
    """Tell of an error what a program that catches it can see."""
    cause = error.__cause__
    return {
        "class": type(error).__name__,
        "kinds": [kind.__name__ for kind in type(error).__mro__],
        "message": str(error),
        "status": getattr(error, "status_code", None),
        "cause": describe(cause) if cause is not None else None,
    }


async def outcome(calls: Calls, call: str, ask: dict[str, Any]) -> dict[str, Any]:
    """Make one call."""
    try:
        value = await calls[call](**ask)
    except Exception as error:  # noqa: BLE001 - the test judges it
        made = {"error": describe(error)}
    else:
        made = {"value": value}
    if STRANGERS:
        return {"error": {"class": "Stranger", "message": f"contacted {STRANGERS}"}}
    return made


async def main(frameworks: list[str]) -> None:
    """Answer lines until there are no more."""
    # What a framework prints is no answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # A third of their time would go into looking for garbage in what stays.
    gc.disable()
    calls: Calls = {
        f"{framework}.{name}": call
        for framework in frameworks
        for name, call in importlib.import_module(f"{framework}_calls").CALLS.items()
    }
    gc.freeze()
    gc.enable()
    while line := await asyncio.to_thread(sys.stdin.readline):
        outcomes = await asyncio.gather(
            *(outcome(calls, asked["call"], asked["ask"]) for asked in json.loads(line))
        )
        answers.write(json.dumps(outcomes, default=str) + "\n")
        answers.flush()


if __name__ == "__main__":
    sys.addaudithook(stay_home)
    asyncio.run(main(sys.argv[1:]))
    # Threads that some of them keep would be waited for.
    os._exit(0)
