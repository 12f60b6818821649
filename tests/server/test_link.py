"""The link between workers and control, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
import pytest
import uvloop

from extproc.exchange.completion import Completion
from extproc.routing.state import LiveDeployment
from extproc.runtime import Snapshot
from extproc.server import control_link, link, link_frames
from extproc.server.control_link import ControlLink
from extproc.server.journal import Journal, read, size_of
from extproc.server.link import WorkerLink
from extproc.server.link_frames import Live, Others
from extproc.server.notes import Notes


def completion(name: str) -> Completion:
    return Completion(
        id=name, operation="chat", started=1.0, duration=0.5, outcome="ok", status=200
    )


class Control:
    """A control that can be killed: it closes its sockets and says goodbye to nobody."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[str] = []
        self.batches: list[int] = []

    def keep(self, completions: Sequence[Completion]) -> None:
        self.records += [c.id for c in completions]
        self.batches.append(len(completions))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[ControlLink]:
        control = ControlLink(self.path, self.keep)
        listening = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(control.run(listening.set))
            await listening.wait()
            try:
                yield control
            finally:
                task.cancel()


@contextlib.asynccontextmanager
async def working(worker: WorkerLink) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(worker.run())
        try:
            yield
        finally:
            task.cancel()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


def ignore(snapshot: Snapshot) -> None:
    del snapshot


@pytest.fixture
def control(tmp_path: Path) -> Control:
    return Control(tmp_path / "link.sock")


def test_a_worker_gets_the_latest_snapshot_and_every_change(control: Control) -> None:
    async def main() -> None:
        seen: list[int] = []
        worker = WorkerLink(control.path, lambda s: seen.append(s.generation), name="w")
        async with control.running() as link_, working(worker):
            link_.publish(Snapshot(generation=7))
            await until(lambda: link_.peers and link_.peers[0].generation == 7)
            assert link_.peers[0].name == "w"
            link_.publish(Snapshot(generation=8))
            async with asyncio.timeout(5):
                await link_.applied(8)
            assert seen == [7, 8]

    asyncio.run(main())


def test_a_refused_snapshot_is_reported_and_the_link_stays(control: Control) -> None:
    def picky(snapshot: Snapshot) -> None:
        if snapshot.generation == 2:
            raise KeyError("nosuch")

    async def main() -> None:
        worker = WorkerLink(control.path, picky)
        async with control.running() as link_, working(worker):
            link_.publish(Snapshot(generation=1))
            await until(lambda: link_.peers and link_.peers[0].generation == 1)
            link_.publish(Snapshot(generation=2))
            await until(lambda: link_.peers[0].refused)
            assert link_.peers[0].refused == "generation 2: KeyError: 'nosuch'"
            assert link_.peers[0].generation == 1
            link_.publish(Snapshot(generation=3))
            await until(lambda: link_.peers[0].generation == 3)
            assert link_.peers[0].refused is None

    asyncio.run(main())


def test_records_are_kept_until_control_is_there_and_then_forgotten(
    control: Control,
) -> None:
    async def main() -> None:
        worker = WorkerLink(control.path, ignore)
        async with working(worker):
            for n in range(2500):
                worker.record(completion(f"r{n}"))
            await asyncio.sleep(0.02)
            assert worker.unacknowledged == 2500
            async with control.running(), asyncio.timeout(5):
                await worker.flushed()
            assert control.records == [f"r{n}" for n in range(2500)]
            assert max(control.batches) <= link.MAX_BATCH

    asyncio.run(main())


def test_control_killed_under_load_loses_nothing(control: Control) -> None:
    async def main() -> None:
        worker = WorkerLink(control.path, ignore)
        n = 0
        async with working(worker):
            for _ in range(3):
                async with control.running():
                    for _ in range(10):
                        n += 1
                        worker.record(completion(f"r{n}"))
                        await asyncio.sleep(0.01)
            async with control.running(), asyncio.timeout(5):
                await worker.flushed()
        # A batch whose acknowledgement died with its control comes twice: to another
        # control, which is why records carry ids.
        assert set(control.records) == {f"r{i}" for i in range(1, n + 1)}
        assert worker.lost == 0

    asyncio.run(main())


def test_a_control_that_dies_between_two_words_does_not_fail_the_link(
    control: Control,
) -> None:
    """uvloop's transports, which workers have, raise at a word to who is gone."""

    class Late(WorkerLink):
        async def _listen(
            self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            try:
                await super()._listen(reader, writer)
            finally:
                await asyncio.sleep(0.1)

    async def main() -> None:
        worker = Late(control.path, ignore)
        async with control.running(), working(worker), asyncio.timeout(5):
            for n in range(3):
                await until(lambda: worker.connected)
                assert worker._writer is not None
                worker._writer.transport.abort()
                await asyncio.sleep(0.01)
                worker.record(completion(f"r{n}"))
                worker.tell()
                await worker.flushed()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    assert set(control.records) == {"r0", "r1", "r2"}


def test_an_unacknowledged_batch_is_sent_again_and_known_by_its_ids(
    control: Control,
) -> None:
    """A peer that takes the batch and dies before answering, then the real control."""

    async def main() -> None:
        taken: list[bytes] = []

        async def take(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            await link_frames.read_frame(reader)
            taken.append(await link_frames.read_frame(reader))
            writer.close()

        worker = WorkerLink(control.path, ignore)
        worker.record(completion("a"))
        async with working(worker):
            server = await asyncio.start_unix_server(take, control.path)
            await until(lambda: taken)
            server.close()
            assert worker.unacknowledged == 1
            async with control.running(), asyncio.timeout(5):
                await worker.flushed()
        assert control.records == ["a"]

    asyncio.run(main())


def test_a_record_that_comes_twice_counts_once(control: Control) -> None:
    async def main() -> None:
        async with control.running() as link_:
            reader, writer = await asyncio.open_unix_connection(control.path)
            writer.write(link_frames.frame(link_frames.Hello(1, "w")))
            for _ in range(2):
                writer.write(
                    link_frames.frame(link_frames.Records(0, (completion("a"),)))
                )
            assert link_frames.from_control(await link_frames.read_frame(reader)) == (
                link_frames.RecordsKept(1)
            )
            await link_frames.read_frame(reader)
            assert len(link_.peers) == 1
            writer.close()
            await writer.wait_closed()
        assert control.records == ["a"]

    asyncio.run(main())


def test_only_so_many_ids_are_remembered(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_link, "REMEMBERED_IDS", 3)
    server = ControlLink(control.path, control.keep)
    new = [server.unseen([completion(name)]) for name in "abcda"]
    assert [len(records) for records in new] == [1, 1, 1, 1, 1]
    assert server.unseen([completion("d")]) == []


def test_when_the_buffer_is_full_the_oldest_go_and_are_counted(
    control: Control,
) -> None:
    async def main() -> None:
        worker = WorkerLink(control.path, ignore, max_kept=3)
        for name in "abcde":
            worker.record(completion(name))
        assert worker.lost == 2
        async with control.running() as link_:
            async with working(worker), asyncio.timeout(5):
                await worker.flushed()
            # The same worker again: what it lost is not counted a second time.
            worker.record(completion("f"))
            async with working(worker), asyncio.timeout(5):
                await worker.flushed()
            assert link_.lost == 2
        assert control.records == ["c", "d", "e", "f"]

    asyncio.run(main())


def test_records_dropped_while_their_batch_is_under_way_do_not_stall(
    control: Control,
) -> None:
    async def main() -> None:
        worker = WorkerLink(control.path, ignore, max_kept=2)
        worker.record(completion("a"))
        async with working(worker), control.running(), asyncio.timeout(5):
            await until(lambda: worker.connected)
            for n in range(50):
                worker.record(completion(f"r{n}"))
                await asyncio.sleep(0)
            await worker.flushed()
        assert control.records[-1] == "r49"
        # What was dropped while it was under way may have arrived all the same.
        assert len(control.records) + worker.lost >= 51
        assert len(set(control.records)) == len(control.records)

    asyncio.run(main())


def test_what_dead_workers_left_goes_first_and_is_told_from_our_own(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In batches of two; who inherits hears once that control has all of it."""
    monkeypatch.setattr(link, "MAX_BATCH", 2)
    done: list[int] = []
    told: list[bool] = []

    async def main() -> None:
        worker = WorkerLink(control.path, ignore)
        worker.inherit(
            [completion(name) for name in "abc"],
            lambda: done.append(len(control.records)),
        )
        worker.record(completion("d"))
        assert worker.unacknowledged == 4
        async with control.running() as link_:
            monkeypatch.setattr(link_, "rebalance", lambda: told.append(True))
            async with working(worker), asyncio.timeout(5):
                while not worker.connected:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.2)
                assert control.records == []  # not before the store has the bills
                worker.release()
                await worker.flushed()
        assert control.records == ["a", "b", "c", "d"]

    asyncio.run(main())
    assert done == [4]
    assert told == [True, True]


def test_who_inherits_nothing_is_told_at_once(control: Control) -> None:
    done: list[bool] = []
    WorkerLink(control.path, ignore).inherit([], lambda: done.append(True))
    assert done == [True]


def test_a_record_is_written_down_until_control_has_it(control: Control) -> None:
    memory = bytearray(size_of(8))

    def written() -> list[str]:
        entries, _ = read(memory)
        return [msgspec.msgpack.decode(one.data)["id"] for one in entries]

    async def main() -> None:
        notes = Notes(Journal(memory, 8))
        worker = WorkerLink(control.path, ignore, notes=notes, max_kept=3)
        worker.inherit([completion("left")], lambda: None)
        for name in "abcd":
            worker.record(completion(name))
        assert worker.lost == 2  # what was left, and the oldest
        assert written() == ["b", "c", "d"]
        async with control.running(), working(worker), asyncio.timeout(5):
            worker.release()
            await worker.flushed()
            assert written() == []
        assert notes.empty

    asyncio.run(main())


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        link_frames.frame(link_frames.Applied(1)),
        (3).to_bytes(4, "big") + b"\xff\xff\xff",
        link_frames.frame(link_frames.Hello(1, "w")) * 2,
        b"\x00",
    ],
    ids=["http", "no hello", "not msgpack", "two hellos", "half a length"],
)
def test_a_stray_peer_is_dropped_and_nobody_else(
    control: Control, garbage: bytes
) -> None:
    async def main() -> None:
        worker = WorkerLink(control.path, ignore)
        async with control.running() as link_, working(worker):
            await until(lambda: link_.peers)
            reader, writer = await asyncio.open_unix_connection(control.path)
            writer.write(garbage)
            writer.write_eof()
            async with asyncio.timeout(5):
                assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
            await until(lambda: len(link_.peers) == 1)
            worker.record(completion("a"))
            async with asyncio.timeout(5):
                await worker.flushed()
        assert control.records == ["a"]

    asyncio.run(main())


def test_a_frame_beyond_the_limit_is_not_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link_frames, "MAX_FRAME_BYTES", 4)
    with pytest.raises(ValueError, match=r"Hello of .* bytes is too long"):
        link_frames.frame(link_frames.Hello(1, "worker"))


def test_the_socket_is_private_and_goes_with_control(control: Control) -> None:
    async def main() -> None:
        async with control.running():
            assert control.path.stat().st_mode & 0o777 == 0o600
        assert not control.path.exists()

    asyncio.run(main())


def test_the_link_brings_nothing_heavy_into_a_worker() -> None:
    heavy = "pydantic httpx prometheus_client yaml starlette uvicorn grpc typer rich"
    code = (
        "import sys, extproc.server.link\n"
        f"sys.exit(str([m for m in {heavy.split()!r} if m in sys.modules] or ''))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert done.stderr.strip() == ""


def hot(seconds: float = 9.0) -> Live:
    return Live((LiveDeployment("a/m", in_flight=2, cooling=seconds, hard=True),))


def test_what_a_worker_learns_reaches_the_others_at_once_and_not_itself(
    control: Control,
) -> None:
    async def main() -> None:
        heard: dict[str, list[Others]] = {"one": [], "two": []}
        live = {"one": Live(), "two": Live()}

        def worker(name: str) -> WorkerLink:
            return WorkerLink(
                control.path, ignore, name=name,
                live=lambda: live[name], on_others=heard[name].append,
            )  # fmt: skip

        one, two = worker("one"), worker("two")
        async with control.running() as link_, working(one), working(two):
            await until(lambda: len(link_.peers) == 2)
            live["one"] = hot()
            began = asyncio.get_running_loop().time()
            one.tell()
            await until(lambda: heard["two"])
            assert asyncio.get_running_loop().time() - began < link.LIVE_SECONDS
            assert heard["two"][-1].live == live["one"]
            assert heard["two"][-1].peer.startswith("one.")
            assert not heard["one"]
            assert {peer.name: peer.live for peer in link_.peers} == live

    asyncio.run(main())


def test_a_worker_that_is_gone_is_idle_to_the_others(control: Control) -> None:
    async def main() -> None:
        heard: list[Others] = []
        one = WorkerLink(control.path, ignore, name="one", live=hot)
        two = WorkerLink(control.path, ignore, name="two", on_others=heard.append)
        async with control.running() as link_, working(two):
            async with working(one):
                await until(lambda: heard)
            await until(lambda: len(link_.peers) == 1)
            await until(lambda: heard[-1].live == Live())

    asyncio.run(main())


def test_what_has_not_changed_is_not_told_again_but_to_a_new_control(
    control: Control,
) -> None:
    async def main() -> None:
        heard: list[Others] = []

        def reached(count: int) -> bool:
            return len(heard) >= count

        one = WorkerLink(control.path, ignore, name="one", live=hot)
        two = WorkerLink(control.path, ignore, name="two", on_others=heard.append)
        async with working(one), working(two):
            for expected in (1, 2):
                async with control.running() as link_:
                    await until(lambda: len(link_.peers) == 2)
                    await until(partial(reached, expected))
                    one.tell()
                    await asyncio.sleep(2 * link.LIVE_SECONDS)
                    told = [o for o in heard if o.live != Live()]
                    assert len(told) == expected

    asyncio.run(main())
