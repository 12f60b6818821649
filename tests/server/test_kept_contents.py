"""Contents go with their records, and make room before the records do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from extproc.exchange.content import Content
from extproc.server.control_link import ControlLink
from extproc.server.kept_contents import KeptContents
from extproc.server.link import WorkerLink
from tests.server.test_link import completion, ignore, until, working


def content(name: str, size: int = 1) -> Content:
    return Content(name, "openai_chat", b"x" * size, size)


def names(kept: KeptContents, sequence: int = 1_000) -> list[str]:
    return [
        msgspec.msgpack.decode(bytes(raw), type=Content).id
        for raw in kept.before(sequence)
    ]


def test_those_of_a_batch_are_those_before_its_end() -> None:
    kept = KeptContents()
    for number in (3, 4, 7):
        kept.keep(number, content(f"gw-{number}"))
    assert names(kept, 7) == ["gw-3", "gw-4"]
    kept.forget(4)
    assert names(kept) == ["gw-4", "gw-7"]
    assert kept.lost == 0


def test_the_oldest_go_first_and_are_counted() -> None:
    kept = KeptContents(max_bytes=2_500)
    for number in range(4):
        kept.keep(number, content(f"gw-{number}", 1_000))
    assert names(kept) == ["gw-2", "gw-3"]
    assert kept.lost == 2
    kept.forget(1_000)
    kept.keep(9, content("gw-9", 2_000))
    assert names(kept) == ["gw-9"]


def test_control_has_them_with_their_records_once(tmp_path: Path) -> None:
    heard: list[str] = []

    async def main() -> None:
        path = tmp_path / "link.sock"
        control = ControlLink(path, lambda new: heard.extend(one.id for one in new))
        control.on_contents = lambda new: heard.extend(f"said {one.id}" for one in new)
        worker = WorkerLink(path, ignore)
        worker.record(completion("a"))
        worker.keep(content("b"))
        worker.record(completion("b"))
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(control.run())
            async with working(worker):
                await until(lambda: worker.unacknowledged == 0 and heard)
                worker.keep(content("c"))
                worker.record(completion("c"))
                await until(lambda: "c" in heard)
            task.cancel()

    asyncio.run(main())
    assert heard == ["said b", "a", "b", "said c", "c"]
