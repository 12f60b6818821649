"""The order in which a change reaches Envoy, against an Envoy that keeps a diary."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from extproc.config.compile import EnvoyFiles, wire
from extproc.config.file_names import BOOTSTRAP_FILE, WAITING_FILE
from extproc.server.rollout import Rollout, RolloutFailed, read_files


def files(
    names: Iterable[str], *, routes: str = "r", timeout: str = "5s", place: str = ""
) -> EnvoyFiles:
    clusters = [
        {"name": n, "connect_timeout": timeout, "secret": f"/x/sds-{n}{place}.json"}
        for n in sorted(names)
    ]
    return EnvoyFiles(
        bootstrap=b"{}",
        rds=f'"{routes}"'.encode(),
        cds=wire.dump({"resources": clusters}),
        ecds=f'"{routes}"'.encode(),
        secrets={f"sds-{n}{place}.json": f'"{n}{place}"'.encode() for n in names},
    )


class FakeEnvoy:
    """Reads the folder when asked, as Envoy does when notified; a look later it has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.here = True
        self.refuses = False
        self.deaf = False
        self.have: dict[str, object] = {}
        self.diary: list[tuple[frozenset[str], str, frozenset[str]]] = []
        self._taken = 0
        self._rejected = 0
        self._seen = b""

    def look(self) -> None:
        """Note what a request could meet: clusters on disk, routes, secrets."""
        found = read_files(self.folder)
        assert found is not None
        on_disk = {c["name"]: c for c in msgspec.json.decode(found.cds)["resources"]}
        self.diary.append(
            (frozenset(on_disk), found.rds.decode(), frozenset(found.secrets))
        )
        if found.cds == self._seen or self.deaf:
            return
        self._seen = found.cds
        if self.refuses:
            self._rejected += 1
            return
        changed = [n for n, c in on_disk.items() if self.have.get(n) != c]
        self._taken += len(changed)
        self.have = on_disk

    async def ready(self) -> bool:
        return self.here

    async def clusters(self) -> set[str]:
        return {*self.have, "sidecar", "none"}

    async def stats(self, pattern: str) -> dict[str, int]:
        del pattern
        self.look()
        return {
            "cluster_manager.cluster_added": self._taken,
            "cluster_manager.cds.update_rejected": self._rejected,
            "cluster_manager.warming_clusters": 0,
        }


class Case:
    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.folder = folder
        self.envoy = FakeEnvoy(folder)
        self.rollout = self.again()

    def again(self) -> Rollout:
        return Rollout(
            self.folder,
            self.envoy,
            lambda: self.now,
            clusters_seconds=0.2,
            grace_seconds=60,
        )

    def advance(self, new: EnvoyFiles) -> None:
        asyncio.run(self.rollout.advance(new))

    def on_disk(self) -> EnvoyFiles:
        found = read_files(self.folder)
        assert found is not None
        return found


@pytest.fixture
def case(tmp_path: Path) -> Case:
    case = Case(tmp_path / "xds")
    case.envoy.here = False
    case.advance(files("ab"))
    case.envoy.here = True
    case.envoy.look()
    case.envoy.diary.clear()
    return case


def test_before_envoy_runs_everything_is_written_at_once(case: Case) -> None:
    assert case.on_disk() == files("ab")
    assert case.rollout.clusters == {"a", "b"}


def test_clusters_come_before_routes_and_nothing_goes(case: Case) -> None:
    case.advance(files("bc", routes="new"))
    # At every moment that Envoy looked, the old routes were there and so was `a`; the
    # new cluster's secret was there before it.
    assert case.envoy.diary[0][0] == {"a", "b"}
    assert "sds-c.json" in case.envoy.diary[0][2]
    assert case.envoy.diary[-1][0] == {"a", "b", "c"}
    assert {routes for _, routes, _ in case.envoy.diary} == {'"r"'}
    assert set(case.envoy.have) == {"a", "b", "c"}
    assert case.on_disk().rds == b'"new"'
    assert "sds-a.json" in case.on_disk().secrets
    assert case.rollout.clusters == {"b", "c"}


def test_what_is_gone_is_removed_after_its_grace(case: Case) -> None:
    case.advance(files("bc"))
    assert case.rollout.has_retired
    case.now = 59
    assert case.rollout.prune() == []
    case.now = 60
    assert case.rollout.prune() == ["a"]
    assert case.on_disk() == files("bc")
    assert not case.rollout.has_retired


def test_every_change_in_the_meantime_keeps_each_ones_grace(case: Case) -> None:
    case.advance(files("bc"))
    case.now = 30
    case.advance(files("c"))
    case.now = 60
    assert case.rollout.prune() == ["a"]
    assert set(case.on_disk().secrets) == {"sds-b.json", "sds-c.json"}
    case.now = 90
    assert case.rollout.prune() == ["b"]
    assert case.on_disk() == files("c")


def test_a_cluster_that_comes_back_stays(case: Case) -> None:
    case.advance(files("b"))
    case.advance(files("ab"))
    case.now = 1000
    assert case.rollout.prune() == []
    assert case.on_disk() == files("ab")


def test_a_changed_cluster_is_waited_for_too(case: Case) -> None:
    case.envoy.deaf = True
    with pytest.raises(RolloutFailed, match=r"did not take the clusters in 0\.2 s"):
        case.advance(files("ab", timeout="7s", routes="new"))
    assert case.on_disk() == files("ab")


def test_what_envoy_refuses_leaves_everything_as_it_was(case: Case) -> None:
    case.envoy.refuses = True
    with pytest.raises(RolloutFailed, match="refuses the clusters"):
        case.advance(files("abc", routes="new"))
    assert case.on_disk() == files("ab")
    case.envoy.refuses = False
    case.advance(files("abc", routes="new"))
    assert case.on_disk() == files("abc", routes="new")


def test_a_changed_bootstrap_waits_for_the_next_start(case: Case) -> None:
    changed = dataclasses.replace(files("ab"), bootstrap=b'{"new":1}')
    waiting = []
    for case.envoy.here in (True, False):
        case.advance(changed)
        waiting.append(case.rollout.restart_needed)
        assert (case.on_disk().bootstrap == b"{}") is case.envoy.here
    assert waiting == [True, False]
    assert case.on_disk() == changed


def test_a_control_that_was_killed_in_between_removes_the_rest(case: Case) -> None:
    case.advance(files("bc"))
    case.rollout = case.again()
    case.advance(files("bc"))
    case.now = 60
    assert case.rollout.prune() == ["a"]
    assert case.on_disk() == files("bc")


def test_a_secret_is_renewed_where_it_is_and_nowhere_else(case: Case) -> None:
    case.rollout.renew({"sds-a.json": b"new", "sds-z.json": b"stray"})
    found = case.on_disk().secrets
    assert found["sds-a.json"] == b"new"
    assert found["sds-b.json"] == files("ab").secrets["sds-b.json"]
    assert "sds-z.json" not in found


def test_a_renewed_secret_outlives_the_grace_of_others(case: Case) -> None:
    case.advance(files("bc"))
    case.rollout.renew({"sds-b.json": b"new"})
    case.now = 60
    assert case.rollout.prune() == ["a"]
    assert case.on_disk().secrets["sds-b.json"] == b"new"


def test_the_secret_of_another_address_waits_for_the_cluster_and_the_old_one_goes(
    case: Case,
) -> None:
    """The old cluster reads the old name: no new key ever reaches the old address."""
    moved = files("ab", place="-moved")
    case.advance(moved)
    old = {"sds-a.json", "sds-b.json"}
    assert old <= case.envoy.diary[0][2]
    assert case.envoy.diary[0][2] >= set(moved.secrets)
    assert case.on_disk() == moved


def test_a_bootstrap_that_waited_and_is_taken_waits_no_more(case: Case) -> None:
    changed = dataclasses.replace(files("ab"), bootstrap=b'{"new":1}')
    case.advance(changed)
    waiting = case.folder / WAITING_FILE
    assert waiting.read_bytes() == b'{"new":1}'
    assert not case.rollout.taken()
    # As whoever starts another Envoy does.
    waiting.replace(case.folder / BOOTSTRAP_FILE)
    assert case.rollout.taken()
    case.rollout.renew({"sds-a.json": b"new"})
    assert case.on_disk().bootstrap == b'{"new":1}', "nothing puts the old one back"
    case.advance(changed)
    assert not case.rollout.restart_needed
    assert not case.rollout.taken()


def test_a_bootstrap_that_is_asked_for_no_more_does_not_wait(case: Case) -> None:
    case.advance(dataclasses.replace(files("ab"), bootstrap=b'{"new":1}'))
    case.advance(files("ab"))
    assert not case.rollout.restart_needed
    assert not (case.folder / WAITING_FILE).exists()
    assert case.on_disk() == files("ab")
