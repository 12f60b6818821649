"""What runs beside the streams is tried again, and says nothing of anybody's values."""

from __future__ import annotations

import asyncio

from extproc.server import upkeep


def test_what_fails_beside_the_streams_is_tried_again_and_ends_none(
    monkeypatch, caplog
):
    monkeypatch.setattr(upkeep, "RESTART_SECONDS", 0.0)
    secret, runs = "sk-of-a-client", []

    async def run():
        runs.append(1)
        if len(runs) < 3:
            async with asyncio.TaskGroup():
                raise KeyError(secret)

    asyncio.run(upkeep.kept("fleet", run))
    assert len(runs) == 3
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert said[0].startswith("the fleet failed: KeyError in run, line ")
    assert secret not in "".join(said)
