"""What the gateway stands on goes away: disk, database, Redis, control."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from collections import Counter
from functools import partial
from pathlib import Path

import redis

from extproc.server.books import QUEUE_FILE
from extproc.server.ledger import LEDGER_FILE
from tests.chaos.client import load
from tests.chaos.world import (
    LEASE_PERCENT,
    LIMIT,
    LIMITED_KEY,
    PATIENCE,
    Crowd,
    gather,
    status_of,
    until,
)

SECONDS = 2.0
"""How long something is gone, in short."""


async def _steady(crowd: Crowd, model: str, many: int, lost: float) -> list[str]:
    """Ask `model` all the while; return what was wrong with its answers."""
    seen = await load(crowd.port, model, rate=many / lost, seconds=lost)
    return [f"told {one.failure[:60]}" for one in seen if one.failure]


async def _kept(
    crowd: Crowd, model: str, many: int, patience: float = PATIENCE
) -> list[str]:
    """Wait for the records of `many` requests; return what is wrong with them."""
    await until(lambda: crowd.records(model) >= many, patience)
    found = crowd.records(model)
    return [] if found == many else [f"{found} records of {many} requests"]


def _seconds(crowd: Crowd) -> float:
    return SECONDS if crowd.short else 3 * SECONDS


async def disk_full(crowd: Crowd, many: int) -> tuple[str, list[str]]:
    """No byte more fits into the queue of records nor into the ledger."""
    lost = _seconds(crowd)
    files = [crowd.state / QUEUE_FILE, crowd.state / LEDGER_FILE]
    for file in files:
        assert await until(partial(_fill, file)), f"{file.name} is never idle"
    wrong = await _steady(crowd, "disk", many, lost)
    before = crowd.records("disk")
    for file in files:
        file.unlink()
    wrong += await _kept(crowd, "disk", many)
    return f"{before} of {many} records before there was room, all after", wrong


def _fill(file: Path) -> bool:
    """Let all that is written to `file` find a full disk."""
    with contextlib.suppress(FileExistsError):
        if file.name == LEDGER_FILE:
            file.unlink(missing_ok=True)
        file.symlink_to("/dev/full")
        return True
    return False


async def sql_locked(crowd: Crowd, many: int) -> tuple[str, list[str]]:
    """Somebody else holds the database's lock, longer than anybody waits for it."""
    lost = _seconds(crowd)
    with contextlib.closing(
        sqlite3.connect(crowd.database, timeout=20, check_same_thread=False)
    ) as books:
        await asyncio.to_thread(books.execute, "begin immediate")
        wrong = await _steady(crowd, "sql", many, lost)
        before = crowd.records("sql")
        books.rollback()
    wrong += await _kept(crowd, "sql", many)
    return f"{before} of {many} records while locked, all after", wrong


async def redis_full(crowd: Crowd, many: int) -> tuple[str, list[str]]:
    """Redis takes no more writes; nobody gets more than limit and leases."""
    with redis.Redis(unix_socket_path=str(crowd.stage.redis.socket)) as store:
        store.config_set("maxmemory-policy", "noeviction")
        first = Counter(await gather(many // 3, lambda _: _limited(crowd)))
        store.config_set("maxmemory", 1)
        full = Counter(await gather(many // 3, lambda _: _limited(crowd)))
        store.config_set("maxmemory", 0)
    last = Counter(await gather(many // 3, lambda _: _limited(crowd)))
    told = first + full + last
    most = LIMIT + 2 * LIMIT * LEASE_PERCENT / 100
    wrong = [
        f"{count} told {status}"
        for status, count in told.items()
        if status not in {200, 429, 503}
    ]
    if told[200] > most:
        wrong.append(f"{told[200]} answers of {LIMIT}")
    return f"{told[200]} answers of {LIMIT} allowed, {full[200]} while full", wrong


async def _limited(crowd: Crowd) -> int:
    body = json.dumps(
        {"model": "stand-in", "messages": [{"role": "user", "content": "Hi"}]}
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", crowd.port)
    writer.write(
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nconnection: close\r\n"
        f"authorization: Bearer {LIMITED_KEY}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n{body}".encode()
    )
    status = await status_of(reader)
    await reader.read()
    writer.close()
    return status


async def redis_slow(crowd: Crowd, many: int) -> tuple[str, list[str]]:
    """Redis answers nothing for a while; those without limits do not notice."""
    lost = _seconds(crowd)
    with redis.Redis(unix_socket_path=str(crowd.stage.redis.socket)) as store:
        store.execute_command("CLIENT", "PAUSE", int(1000 * lost), "ALL")
    began = time.monotonic()
    limited = await asyncio.gather(*(_limited(crowd) for _ in range(10)))
    took = time.monotonic() - began
    wrong = await _steady(crowd, "redis-slow", many, lost)
    wrong += [f"told {status}" for status in limited if status not in {200, 429, 503}]
    wrong += await _kept(crowd, "redis-slow", many)
    return f"ten with limits told {sorted(set(limited))} after {took:.2f} s", wrong


async def control_killed(crowd: Crowd, many: int) -> tuple[str, list[str]]:
    """Control is killed and comes back; what was asked meanwhile is in the books."""
    lost = _seconds(crowd)
    asking = asyncio.ensure_future(_steady(crowd, "control", many, lost))
    await asyncio.sleep(lost / 4)
    (control,) = crowd.processes["control"]
    control.kill()
    wrong = await asking
    # On a machine that does much else it takes a minute to start.
    wrong += await _kept(crowd, "control", many, 4 * PATIENCE)
    return f"{many} requests around its death, a record of each", wrong
