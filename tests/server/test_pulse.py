"""A worker's seconds: each is told until somebody has it, and counts once."""

from __future__ import annotations

import asyncio
import time

import pytest

from extproc.server import link, link_frames, pulse
from extproc.server.pulse import Beat, Pulse, watch_lag
from tests.server.test_link import (
    Control,
    control as control,  # noqa: PLC0414  a fixture
    ignore,
    until,
    working,
)


def test_a_beat_has_what_came_since_the_last_one() -> None:
    made = Pulse(lambda: {"level": 7.0}, lambda: [(("more", "x"), 2)])
    made.count("a")
    made.count("a", amount=2)
    made.time("t", "verb", seconds=0.5)
    assert made.beat() == Beat(
        1, ((("a",), 3), (("more", "x"), 2)), ((("t", "verb"), (0.5,)),), {"level": 7.0}
    )
    made.kept(1)
    assert made.beat().counts == ((("more", "x"), 2),)


def test_a_yes_is_a_number_when_control_reads_it() -> None:
    made = Pulse(lambda: {"away": True, "kept": 3})
    sent = link_frames.encoder.encode(made.beat())
    heard = link_frames.from_worker(sent)
    assert isinstance(heard, Beat)
    assert heard.levels == {"away": 1.0, "kept": 3.0}


def test_a_beat_is_told_again_until_it_is_kept_and_loses_nothing() -> None:
    made = Pulse()
    made.count("a")
    first = made.beat()
    made.count("a")
    assert made.beat() is first
    made.kept(99)
    assert made.beat() is first
    made.kept(1)
    assert made.beat() == Beat(2, ((("a",), 1),))


def test_times_have_a_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "MAX_SAMPLES", 3)
    made = Pulse()
    for _ in range(5):
        made.time("t", seconds=1.0)
    assert made.beat().times == ((("t",), (1.0, 1.0, 1.0)),)


def test_a_loop_that_is_held_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "LAG_SECONDS", 0.01)
    made = Pulse()

    async def main() -> None:
        task = asyncio.ensure_future(watch_lag(made))
        await asyncio.sleep(0.001)
        time.sleep(0.1)
        await asyncio.sleep(0.05)
        task.cancel()

    asyncio.run(main())
    [(key, times)] = made.beat().times
    assert key == ("extproc_event_loop_lag_seconds",)
    assert max(times) > 0.08


def test_beats_cross_the_link_and_a_repeated_one_counts_once(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "BEAT_SECONDS", 0.01)
    counted: list[float] = []
    made = Pulse(lambda: {"level": 5.0})
    worker = link.WorkerLink(control.path, ignore, id="w", pulse=made)
    forgotten = iter([True, True, False])
    kept = made.kept
    monkeypatch.setattr(
        made, "kept", lambda number: next(forgotten, False) or kept(number)
    )

    async def main() -> None:
        async with control.running() as server, working(worker):
            server.on_beat = lambda counts, _: counted.extend(n for _, n in counts)
            made.count("a", amount=3)
            await until(lambda: counted)
            made.count("a", amount=4)
            await until(lambda: sum(counted) == 7)
            assert server.peers[0].levels == {"level": 5.0}

    asyncio.run(main())
    assert counted == [3, 4]
