"""Records and entries meet; what only Envoy tells of is settled, once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from extproc.exchange.completion import Completion
from extproc.exchange.local_reply import LOCAL
from extproc.exchange.slip import Slip, lost_with_worker
from extproc.telemetry import confirm
from extproc.telemetry.access import Entry
from extproc.telemetry.confirm import (
    GRACE_SECONDS,
    PATIENCE_SECONDS,
    RESET,
    TOLD_SECONDS,
    Confirmations,
    Ended,
    agree,
    local_reply,
    settled,
)
from extproc.usage import Usage
from tests.telemetry.slips import written


class World:
    def __init__(self) -> None:
        self.now = 1_000.0
        self.workers = {"gw-a-"}
        self.hung: set[str] = set()
        self.left: set[str] = set()
        self.join = Confirmations(
            clock=lambda: self.now,
            alive=lambda id_: any(id_.startswith(one) for one in self.workers),
            answers=lambda id_: any(
                id_.startswith(one) for one in self.workers - self.hung
            ),
            left=lambda id_: any(id_.startswith(one) for one in self.left),
            price=lambda _cluster, _model, usage: usage.total_tokens,
        )

    def later(self, seconds: float) -> list[Completion]:
        self.now += seconds
        return [one.completion for one in self.join.sweep()]


@pytest.fixture
def world() -> World:
    return World()


def record(id_: str = "gw-a-1", **changes: Any) -> Completion:
    values: dict[str, Any] = {
        "id": id_, "request_id": f"r-{id_}", "operation": "chat", "started": 1.0,
        "duration": 3.0, "outcome": "ok", "status": 200, "attempts": 1,
    }  # fmt: skip
    return Completion(**{**values, **changes})


SLIP = Slip(
    "chat", "app", (("openai", "eu", "gpt-4o"), ("anthropic", "a", "claude")),
    "gpt", "gpt-4o", True, "org", "team", "ann", "end", ("blue",), 700, (("m", 9),),
)  # fmt: skip


def entry(id_: str = "gw-a-1", **changes: Any) -> Entry:
    values: dict[str, Any] = {
        "id": id_, "slip": written(SLIP), "request_id": f"r-{id_}", "started": 1_000.0,
        "status": 200, "attempts": 1, "milliseconds": 500, "request_bytes": 40,
        "answer_bytes": 100,
    }  # fmt: skip
    return Entry(**{**values, **changes})


@pytest.mark.parametrize("record_first", [True, False])
def test_a_record_is_confirmed_whichever_comes_first(
    world: World, record_first: bool
) -> None:
    steps = [
        lambda: world.join.recorded([record()]),
        lambda: world.join.logged([entry()]),
    ]
    for step in steps if record_first else reversed(steps):
        step()
    assert world.join.results == {"confirmed": 1}
    assert world.join.waiting == 0
    assert world.later(PATIENCE_SECONDS) == []


@pytest.mark.parametrize("record_first", [True, False])
def test_what_was_refused_before_it_was_routed_is_known_by_envoys_id(
    world: World, record_first: bool
) -> None:
    steps = [
        lambda: world.join.recorded([record(attempts=0, status=401)]),
        lambda: world.join.logged(
            [entry("", request_id="r-gw-a-1", attempts=0, status=401)]
        ),
    ]
    for step in steps if record_first else reversed(steps):
        step()
    assert world.join.results == {"confirmed": 1}


@pytest.mark.parametrize(
    ("completion", "log", "same"),
    [
        (record(), entry(), True),
        (record(), entry(status=503), False),
        (record(), entry(attempts=2), False),
        (record(attempts=0, status=401), entry(status=401), True),
        (record(outcome="canceled"), entry(flags="DC"), True),
        (record(outcome="canceled", status=0), entry(status=0), True),
        (record(outcome="canceled"), entry(), False),
    ],
)
def test_both_must_tell_of_the_same_end(
    completion: Completion, log: Entry, same: bool
) -> None:
    assert agree(completion, log) is same


def test_the_exchange_of_a_worker_that_died_is_settled(world: World) -> None:
    world.join.logged([entry("gw-dead-1", attempts=2, flags="UC", status=503)])
    assert world.later(GRACE_SECONDS - 0.1) == []
    [made] = world.later(0.2)
    assert made.id == "gw-dead-1"
    assert (made.outcome, made.status, made.error) == (
        "gateway_error", 503, "worker_lost",
    )  # fmt: skip
    assert (made.provider, made.cluster, made.request_model) == (
        "anthropic", "a", "claude",
    )  # fmt: skip
    assert (made.key, made.team, made.tags) == ("app", "team", ("blue",))
    assert made.estimated
    assert made.usage is not None
    assert (made.usage.input_tokens, made.usage.output_tokens) == (11, 20)
    # What was held for it, for what came of it is not known.
    assert (made.cost, made.budgets) == (700, (("m", 9),))
    assert world.join.results == {"settled": 1}
    assert world.later(100) == []


def test_an_answer_that_its_dead_worker_left_unfinished_is_no_success() -> None:
    cut = entry("gw-dead-1", details="ext_proc_error_gRPC_error_13{reset}")
    assert settled(cut).outcome == "gateway_error"
    assert settled(entry("gw-dead-1")).outcome == "ok"


def test_without_a_budget_it_costs_what_its_bytes_would(world: World) -> None:
    slip = Slip("chat", "app", (("openai", "eu", "gpt-4o"),))
    world.join.logged([entry("gw-dead-1", slip=written(slip))])
    [made] = world.later(GRACE_SECONDS)
    assert made.usage is not None
    assert made.cost == made.usage.total_tokens
    assert made.budgets == ()


def test_what_no_provider_was_asked_for_costs_nothing() -> None:
    made = settled(entry("gw-dead-1", attempts=0, status=503))
    assert (made.usage, made.cost, made.budgets) == (None, None, ())


def test_a_slip_that_cannot_be_read_settles_all_the_same() -> None:
    made = settled(entry("gw-dead-1", slip="{"))
    assert (made.operation, made.key, made.cost) == ("unknown", None, None)


def test_a_worker_that_is_there_is_waited_for(world: World) -> None:
    world.join.logged([entry()])
    assert world.later(PATIENCE_SECONDS - 1) == []
    world.join.recorded([record()])
    assert world.join.results == {"confirmed": 1}


def test_a_worker_that_hangs_is_waited_for_and_then_settled_for(world: World) -> None:
    world.hung.add("gw-a-")
    world.join.logged([entry()])
    assert world.later(PATIENCE_SECONDS - 1) == []
    [made] = world.later(1)
    assert (made.id, made.error, made.estimated) == ("gw-a-1", "worker_lost", True)
    assert world.join.results == {"settled": 1}


def test_what_a_control_before_this_one_counted_is_not_counted_again(
    world: World,
) -> None:
    """Its worker lives and has no record of it left; or it ended before we began."""
    world.join.logged([entry(), entry("gw-dead-1", started=990.0)])
    assert world.later(PATIENCE_SECONDS) == []
    assert world.join.results == {"unmatched": 2}


def test_what_a_dead_worker_has_written_down_is_waited_for(world: World) -> None:
    """However long it takes until there is another worker to bring it."""
    world.left.add("gw-dead-")
    world.join.logged([entry("gw-dead-1"), entry("gw-gone-1")])
    assert [one.id for one in world.later(GRACE_SECONDS)] == ["gw-gone-1"]
    assert world.later(10 * PATIENCE_SECONDS) == []
    world.join.recorded([record("gw-dead-1")])
    world.left.clear()
    assert world.later(10 * PATIENCE_SECONDS) == []
    assert [one.outcome for one in world.join.ready()] == ["ok"]


@pytest.mark.parametrize("record_first", [True, False])
def test_how_it_ended_that_lost_its_worker_is_on_envoys_word(
    world: World, record_first: bool
) -> None:
    """What it is charged is on the worker's: the store is told the same."""
    lost = lost_with_worker(
        SLIP, id="gw-b-1", request_id="r-gw-b-1", started=999.0, duration=9.0,
        request_bytes=40,
    )  # fmt: skip
    lost = msgspec.structs.replace(lost, cost=900, reserved=900)
    steps = [
        lambda: world.join.recorded([lost]),
        lambda: world.join.logged([entry("gw-b-1", status=503)]),
    ]
    for step in steps if record_first else reversed(steps):
        step()
    [told] = world.join.ready()
    assert world.join.corrected() == [told]
    assert [one.completion for one in world.join.ended()] == [told]
    assert (told.status, told.outcome, told.duration) == (503, "gateway_error", 0.5)
    assert (told.cost, told.budgets, told.usage) == (900, (("m", 9),), Usage(11, 20))
    assert world.join.results == {"confirmed": 1}


def test_a_worker_that_loses_its_link_for_a_moment_is_not_dead(world: World) -> None:
    world.workers.clear()
    world.join.logged([entry()])
    assert world.later(GRACE_SECONDS / 2) == []
    world.workers.add("gw-a-")
    assert world.later(GRACE_SECONDS) == []
    world.join.recorded([record()])
    assert world.join.results == {"confirmed": 1}


def test_envoys_own_answers_are_counted_from_its_log(world: World) -> None:
    world.join.logged(
        [
            entry("", slip="", request_id="q", status=413, attempts=0,
                  details="request_payload_too_large", milliseconds=7),
        ]
    )  # fmt: skip
    [made] = world.later(GRACE_SECONDS)
    assert made == Completion(
        id="envoy-q", request_id="q", operation=LOCAL, started=1_000.0, duration=0.007,
        outcome="client_error", status=413, error="request_payload_too_large",
        request_bytes=40, answer_bytes=100,
    )  # fmt: skip
    assert world.join.results == {"local": 1}


@pytest.mark.parametrize(
    ("status", "flags", "details", "outcome", "error"),
    [
        (200, "", "direct_response", "ok", None),
        (405, "", "direct_response", "client_error", "direct_response"),
        (503, "", "ext_proc_error_gRPC_error_14{x}", "gateway_error",
         "ext_proc_error_gRPC_error_"),
        (503, "OM", "overload", "gateway_error", "overload"),
        (0, "DC", "downstream_remote_disconnect", "canceled", None),
        (200, "UT,DC", "via_upstream", "canceled", None),
        (400, "", "", "client_error", None),
    ],
)  # fmt: skip
def test_a_local_reply_has_an_outcome_and_a_word(
    status: int, flags: str, details: str, outcome: str, error: str | None
) -> None:
    made = local_reply(entry("", status=status, flags=flags, details=details))
    assert (made.outcome, made.error) == (outcome, error)


def test_a_record_that_nobody_confirms_stays_what_it_is(world: World) -> None:
    world.join.recorded([record()])
    assert world.later(PATIENCE_SECONDS) == []
    assert world.join.results == {"unconfirmed": 1}
    assert world.join.waiting == 0


@pytest.mark.parametrize("record_first", [True, False])
@pytest.mark.parametrize(
    ("flags", "outcome", "error"),
    [
        ("UC", "upstream_error", RESET),
        ("UR", "upstream_error", RESET),
        ("DC", "canceled", None),
        ("UC,DC", "canceled", None),
        ("", "canceled", None),
    ],
)
def test_envoy_knows_who_broke_an_answer_off(
    world: World, flags: str, outcome: str, error: str | None, record_first: bool
) -> None:
    """Counted once, with the right end; the books are told of it only if it is another."""
    ready: list[Completion] = []

    def step(what: Any, *arguments: Any) -> None:
        what(*arguments)
        ready.extend(world.join.ready())

    steps = [
        (world.join.recorded, [record(outcome="canceled")]),
        (world.join.logged, [entry(flags=flags)]),
    ]
    for one in steps if record_first else reversed(steps):
        step(*one)
    step(world.later, PATIENCE_SECONDS)
    assert [(one.outcome, one.error) for one in ready] == [(outcome, error)]
    assert world.join.corrected() == (ready if error else [])
    assert world.join.corrected() == []


def test_who_is_thought_to_have_left_is_counted_after_a_moment_or_at_the_end(
    world: World,
) -> None:
    world.join.recorded([record(outcome="canceled"), record("gw-a-2")])
    assert [one.id for one in world.join.ready()] == ["gw-a-2"]
    world.later(TOLD_SECONDS - 0.1)
    assert world.join.ready() == []
    world.later(0.2)
    assert [one.id for one in world.join.ready()] == ["gw-a-1"]
    # Envoy's word comes too late then: it is counted.
    world.join.logged([entry(flags="UC")])
    assert (world.join.ready(), world.join.corrected()) == ([], [])
    world.join.recorded([record("gw-a-3", outcome="canceled")])
    world.join.release()
    assert [one.id for one in world.join.ready()] == ["gw-a-3"]


@pytest.mark.parametrize("record_first", [True, False])
def test_a_line_is_written_when_both_have_spoken(
    world: World, record_first: bool
) -> None:
    steps = [
        lambda: world.join.recorded([record()]),
        lambda: world.join.logged([entry(flags="UC")]),
    ]
    first, second = steps if record_first else reversed(steps)
    first()
    assert world.join.ended() == []
    second()
    assert world.join.ended() == [Ended(record(), entry(flags="UC"))]
    world.later(PATIENCE_SECONDS)
    assert world.join.ended() == []


def test_a_line_is_written_without_envoys_word_after_a_moment(world: World) -> None:
    world.join.recorded([record()])
    world.later(TOLD_SECONDS - 0.1)
    assert world.join.ended() == []
    world.later(0.2)
    assert world.join.ended() == [Ended(record())]
    world.join.logged([entry(flags="UC")])
    assert world.join.ended() == []


def test_what_is_held_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirm, "MAX_HELD", 3)
    world.join.recorded(record(f"gw-a-{n}") for n in range(5))
    world.join.logged(entry(f"gw-b-{n}") for n in range(5))
    assert world.join.waiting == 6
    assert world.join.results == {"unconfirmed": 2, "unmatched": 2}


@given(st.data())
def test_every_exchange_counts_once_whatever_comes_and_in_which_order(
    data: st.DataObject,
) -> None:
    """Of each: a record that is lost with its worker, an entry that Envoy drops."""
    world = World()
    names = [
        f"gw-{'a' if alive else 'dead'}-{n}"
        for n, alive in enumerate([True] * 3 + [False] * 3)
    ]
    arrivals = []
    for name in names:
        recorded = name.startswith("gw-a") or data.draw(st.booleans())
        logged = data.draw(st.booleans())
        arrivals += [("record", name)] * recorded + [("entry", name)] * logged
    for what, name in data.draw(st.permutations(arrivals)):
        if what == "record":
            left = data.draw(st.booleans())
            world.join.recorded([record(name, outcome="canceled" if left else "ok")])
        else:
            world.join.logged([entry(name)])
    settled = [one.id for one in world.later(PATIENCE_SECONDS)]
    counted = settled + [one.id for one in world.join.ready()]
    # A line is written of each once, too, at the latest now.
    told = settled + [one.completion.id for one in world.join.ended()]
    heard = {name for _, name in arrivals}
    assert sorted(counted) == sorted(told) == sorted(heard)


@pytest.mark.parametrize("status", [0, 200])
def test_an_answer_that_its_provider_broke_off_is_confirmed_by_envoys_word(status):
    join = Confirmations(clock=lambda: 1.0)
    left = Completion(
        id="gw-1", operation="chat", started=1.0, duration=1.0, outcome="canceled",
        status=status, attempts=1, streamed=True, provider="p",
    )  # fmt: skip
    join.recorded([left])
    join.logged([Entry(id="gw-1", status=200, flags="UR", attempts=1)])
    assert dict(join.results) == {"confirmed": 1}
    assert [one.outcome for one in join.ready()] == ["upstream_error"]
