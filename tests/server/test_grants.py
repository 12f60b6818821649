"""Workers have every grant, and a change costs as much as what has changed."""

from __future__ import annotations

import asyncio
import hashlib
from functools import partial

import msgspec
from hypothesis import given, strategies as st

from extproc.identity import Grant, GrantBook, Subject, grant_book
from extproc.runtime import Runtime, Snapshot
from extproc.server.grants import PART, Edition, GrantsPart, take
from extproc.server.link import WorkerLink
from tests.server.test_link import Control, control, until, working

__all__ = ["control"]

MANY = 100_000


def grant(number: int, **said: object) -> Grant:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return Grant(f"key-{number}", digest, **said)  # type: ignore[arg-type]


def edition(*grants: Grant, generation: int = 1) -> Edition:
    return Edition(Snapshot(generation, grants=grants))


def test_a_key_that_is_blocked_is_one_grant_of_a_hundred_thousand():
    grants = tuple(map(grant, range(MANY)))
    first = edition(*grants)
    whole = list(first.parts(None))
    assert len(whole) == MANY // PART
    assert max(len(part.grants) for part in whole) == PART
    book: GrantBook = {}
    for part in whole:
        take(book, part)
    assert len(book) == MANY
    blocked = msgspec.structs.replace(grants[7], blocked=True)
    second = edition(*grants[:7], blocked, *grants[8:], generation=2)
    [change] = second.parts(first)
    assert change == GrantsPart((blocked,))
    sent = msgspec.msgpack.encode(change) + msgspec.msgpack.encode(second.rest)
    assert len(sent) < 2_000
    take(book, change)
    assert book == grant_book(second.snapshot.grants)
    third = edition(*grants[:7], *grants[8:], generation=3)
    assert list(third.parts(second)) == [GrantsPart(gone=(blocked.sha256,))]
    assert third.parts(second) is third.parts(second), "made once for all workers"


numbered = st.dictionaries(st.integers(0, 9), st.booleans(), max_size=8)


@given(st.lists(numbered, min_size=1, max_size=5))
def test_a_worker_that_follows_has_what_the_last_one_says(steps):
    book: GrantBook = {b"of an older control": grant(77)}
    before = None
    for step in steps:
        new = edition(*(grant(n, blocked=blocked) for n, blocked in step.items()))
        for part in new.parts(before):
            take(
                book,
                msgspec.msgpack.decode(msgspec.msgpack.encode(part), type=GrantsPart),
            )
        assert book == grant_book(new.snapshot.grants)
        before = new


def test_grants_travel_in_front_of_the_snapshot_and_only_once(control: Control) -> None:
    async def main() -> None:
        parts: list[GrantsPart] = []
        generations: list[int] = []
        book: GrantBook = {}

        def keep(part: GrantsPart) -> None:
            parts.append(part)
            take(book, part)

        def apply(snapshot: Snapshot) -> None:
            assert not snapshot.grants
            generations.append(snapshot.generation)

        worker = WorkerLink(control.path, apply, on_grants=keep)
        grants = tuple(map(grant, range(2 * PART + 1)))
        async with control.running() as link, working(worker):
            link.publish(Snapshot(1, grants=grants))
            await until(partial(generations.__contains__, 1))
            assert [len(part.grants) for part in parts] == [PART, PART, 1]
            assert len(book) == len(grants)
            link.publish(Snapshot(2, grants=grants[1:]))
            await until(partial(generations.__contains__, 2))
            assert parts[3:] == [GrantsPart(gone=(grants[0].sha256,))]
            assert book == grant_book(grants[1:])

    asyncio.run(main())


def test_a_key_is_bound_to_its_owners_when_it_is_asked_for():
    owned = Grant("k", hashlib.sha256(b"sk-a").hexdigest(), team="t")
    others = tuple(map(grant, range(100)))
    for blocked in (False, True):
        team = Subject("team", "t", models=("gpt-*",), blocked=blocked)
        runtime = Runtime.of(Snapshot(1, grants=(owned, *others), subjects=(team,)))
        assert not runtime._bound
        found = runtime.grant("sk-a")
        assert found is not None
        assert (found.within, found.blocked) == ((("gpt-*",),), blocked)
        assert runtime.grant("sk-a") is found
        assert len(runtime._bound) == 1
        assert runtime.grant("sk-b") is None
