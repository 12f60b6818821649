"""What an admission costs: claims made, decided by the memory store, and settled.

    .venv/bin/python bench/admission.py [--rounds 20000] [--redis]

In one process and one thread, as in a worker: microseconds of CPU, best of five runs.
A request whose key alone has a limit; one of a key and a team with limits on requests and
tokens and a budget each: 6 claims; and one whose organization and user have them too, as
everybody and the model: 18. `limits` is all that they add to a request without any.

With `--redis` instead: how long each verb of the store takes at a real redis-server on a
unix socket, by the clock, seen by one worker that does nothing else, with 1, 8 and 64
requests at once, each of which begins its next verb when the last is answered (what shares
a round trip waits for all of it). `late` took longer than the deadline (20 ms): of `admit`,
the only verb that a request waits for, a worker's own lease decides those.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import statistics
import sys
import time
from collections.abc import Awaitable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from extproc.exchange import events
from extproc.exchange.commands import Reserve
from extproc.exchange.exchange import Exchange
from extproc.identity import (
    NANOS,
    Accounting,
    Allowance,
    Budget,
    Grant,
    Kind,
    RateLimit,
    Subject,
)
from extproc.policy.books import Books
from extproc.policy.claims import Admission, Spent
from extproc.pricing import Level, Price, PriceRow
from extproc.runtime import ModelSpec, Runtime, Snapshot, TargetSpec
from extproc.state.memory import MemoryStore
from extproc.state.redis import RedisStore, connect
from tests.redis_server import RedisServer

NOW = 1_800_000_000.0
MANY = Allowance(
    (RateLimit("requests", 10**9, 60), RateLimit("total_tokens", 10**12, 60)),
    None,
    (Budget(10**6 * NANOS, "month"),),
)
ONE = Allowance((RateLimit("requests", 10**9, 60),))
KEY = "sk-bench"
HEADERS = {
    ":method": "POST",
    ":path": "/v1/chat/completions",
    "authorization": f"Bearer {KEY}",
}
BODY = json.dumps(
    {
        "model": "gpt",
        "messages": [{"role": "user", "content": "Hello " * 40}],
        "max_tokens": 64,
    }
).encode()


NAMED: tuple[tuple[Kind, str], ...] = (
    ("team", "t"),
    ("global", ""),
    ("organization", "acme"),
    ("user", "u"),
    ("model", "gpt"),
)


def runtime(allowance: Allowance, *, subjects: int = 0) -> Runtime:
    return Runtime.of(
        Snapshot(
            1,
            grants=(
                Grant(
                    "k", hashlib.sha256(KEY.encode()).hexdigest(), organization="acme",
                    team="t", user="u", allowance=allowance,
                ),
            ),
            models=(ModelSpec("gpt", (TargetSpec("openai", "openai", "openai", "a", "/v1"),)),),
            prices=(PriceRow("openai", Price((Level(0, 10**9, 10**9),)), ("gpt",)),),
            subjects=tuple(Subject(k, n, MANY) for k, n in NAMED[:subjects]),
        )
    )  # fmt: skip


def measure(rt: Runtime, rounds: int) -> dict[str, float]:
    store, books = MemoryStore(), Books()
    half = [
        Exchange(rt, id=f"gw-{n}", started=NOW, now=0.0, books=books)
        for n in range(rounds)
    ]
    for ex in half:
        ex.receive(events.RequestHeaders(HEADERS, end=False), 0.0)
    body = events.RequestBody(BODY, end=True)
    start = time.process_time()
    asked = [ex.receive(body, 0.0)[0] for ex in half]
    rendered = time.process_time()
    if not isinstance(asked[0], Reserve):
        return {"request half": (rendered - start) / rounds * 1e6}
    verdicts = [store.admit(one.admission, now=NOW, expires=NOW + 900) for one in asked]
    admitted = time.process_time()
    for ex, verdict in zip(half, verdicts, strict=True):
        ex.receive(verdict, 0.0)
    routed = time.process_time()
    for one in asked:
        store.settle(one.admission, Spent(1, 100, 50, 150_000), now=NOW)
    settled = time.process_time()
    return {
        "claims": len(asked[0].admission.claims),
        "request half": (rendered - start) / rounds * 1e6,
        "admit": (admitted - rendered) / rounds * 1e6,
        "told": (routed - admitted) / rounds * 1e6,
        "settle": (settled - routed) / rounds * 1e6,
    }


def asked(rt: Runtime, rounds: int) -> list[Admission]:
    """Return what as many requests ask of the store."""
    found = []
    for n in range(rounds):
        ex = Exchange(rt, id=f"gw-{n}", started=NOW, now=0.0, books=Books())
        ex.receive(events.RequestHeaders(HEADERS, end=False), 0.0)
        (reserve,) = ex.receive(events.RequestBody(BODY, end=True), 0.0)
        assert isinstance(reserve, Reserve)
        found.append(reserve.admission)
    return found


async def ask(
    url: str, tag: str, admissions: list[Admission], at_once: int
) -> dict[str, list[float]]:
    """Return the milliseconds that each verb took."""
    store = RedisStore(connect(url, timeout=5), tag=tag)
    took: dict[str, list[float]] = {"admit": [], "top_up": [], "settle": []}

    async def timed(verb: str, reply: Awaitable[object]) -> None:
        began = time.perf_counter()
        await reply
        took[verb].append((time.perf_counter() - began) * 1e3)

    async def request(one: Admission) -> None:
        expires = NOW + 900
        await timed("admit", store.admit(one, now=NOW, expires=expires))
        await timed("top_up", store.top_up(one, 1, now=NOW, expires=expires))
        await timed("settle", store.settle(one, Spent(1, 100, 50, 150_000), now=NOW))

    async def line(mine: list[Admission]) -> None:
        for one in mine:
            await request(one)

    try:
        await request(admissions[0])  # which connects, and sends the scripts
        for times in took.values():
            times.clear()
        rest = admissions[1:]
        await asyncio.gather(*(line(rest[n::at_once]) for n in range(at_once)))
    finally:
        await store.close()
    return took


def ask_redis(rounds: int) -> None:
    """Print the table."""
    deadline = Accounting().deadline_seconds * 1e3
    server = RedisServer()
    print("| claims | at once | verb | calls | p50 ms | p99 ms | most ms | late |")
    print("|--:|--:|---|--:|--:|--:|--:|--:|")
    try:
        for rt in (
            runtime(ONE),
            runtime(MANY, subjects=1),
            runtime(MANY, subjects=5),
        ):
            admissions = asked(rt, rounds + 1)
            claims = len(admissions[0].claims)
            for at_once in (1, 8, 64):
                tag = f"{{{claims}-{at_once}}}"
                took = asyncio.run(ask(server.url, tag, admissions, at_once))
                for verb, times in took.items():
                    late = sum(ms > deadline for ms in times)
                    cuts = statistics.quantiles(times, n=100, method="inclusive")
                    print(
                        f"| {claims} | {at_once} | {verb} | {len(times)} |"
                        f" {cuts[49]:.2f} | {cuts[98]:.2f} | {max(times):.2f} | {late} |"
                    )
    finally:
        server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5_000)
    parser.add_argument("--redis", action="store_true")
    options = parser.parse_args()
    rounds = options.rounds
    if options.redis:
        ask_redis(rounds)
        return
    nothing = 0.0
    for name, rt in (
        ("no limit", runtime(Allowance())),
        ("one limit", runtime(ONE)),
        ("six claims", runtime(MANY, subjects=1)),
        ("everything", runtime(MANY, subjects=5)),
    ):
        runs = [measure(rt, rounds) for _ in range(5)]
        best = {key: min(run[key] for run in runs) for key in runs[0]}
        whole = sum(us for key, us in best.items() if key != "claims")
        nothing = nothing or whole
        best["limits"] = whole - nothing
        print(f"{name:12}", "  ".join(f"{k} {v:.1f}" for k, v in best.items()))


if __name__ == "__main__":
    main()
