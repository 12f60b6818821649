"""What is to be sent is sent in order, later if it must be, and what is lost is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from extproc.telemetry import outbox
from extproc.telemetry.outbox import Outbox


class Somebody:
    """Takes batches, unless it is away."""

    def __init__(self) -> None:
        self.away = False
        self.got: list[int] = []
        self.batches: list[int] = []
        self.told: list[bool] = []

    def send(self, batch: Sequence[int]) -> bool:
        if self.away:
            return False
        self.got += batch
        self.batches.append(len(batch))
        return True


def make(somebody: Somebody, most: int = 10) -> Outbox[int]:
    return Outbox(
        "somebody",
        somebody.send,
        most=most,
        batch=4,
        gather=0,
        pauses=(0.001,),
        told=lambda _, well: somebody.told.append(well),
    )


def test_everything_arrives_in_batches_and_in_order() -> None:
    async def main() -> None:
        somebody = Somebody()
        box = make(somebody)
        box.put(range(9))
        task = asyncio.create_task(box.run())
        await box.flushed()
        assert somebody.got == list(range(9))
        assert somebody.batches == [4, 4, 1]
        assert (box.lost, box.waiting) == (0, 0)
        task.cancel()

    asyncio.run(main())


def test_who_is_away_gets_it_later_and_the_oldest_are_lost_and_counted() -> None:
    async def main() -> None:
        somebody = Somebody()
        somebody.away = True
        box = make(somebody, most=6)
        task = asyncio.create_task(box.run())
        box.put([0, 1])
        while not somebody.told:
            await asyncio.sleep(0.001)
        # Two are being sent; of the other seven there is room for four.
        box.put(range(2, 9))
        assert (box.lost, box.waiting) == (3, 6)
        somebody.away = False
        await box.flushed()
        assert somebody.got == [0, 1, 5, 6, 7, 8]
        assert somebody.told[0] is False
        assert somebody.told[-1] is True
        task.cancel()

    asyncio.run(main())


def test_nobody_waits_for_it() -> None:
    somebody = Somebody()
    box = make(somebody, most=3)
    box.put(range(100))
    assert (box.lost, box.waiting) == (97, 3)


def test_what_is_heavy_is_sent_in_smaller_batches_and_the_oldest_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "MOST_WEIGHT", 30)
    monkeypatch.setattr(outbox, "BATCH_WEIGHT", 10)

    async def main() -> None:
        somebody = Somebody()
        box = Outbox("somebody", somebody.send, gather=0, weigh=lambda one: one)
        box.put([9, 20, 6, 4, 5, 0, 40])
        # Whoever is alone is sent, however heavy.
        assert (box.waiting, box.lost) == (1, 6)
        box.put([6, 4, 5, 5, 0])
        task = asyncio.create_task(box.run())
        await box.flushed()
        assert somebody.got == [6, 4, 5, 5, 0]
        assert somebody.batches == [2, 3]
        assert box.lost == 7
        task.cancel()

    asyncio.run(main())
