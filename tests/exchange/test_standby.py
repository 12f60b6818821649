"""Limits of the deployments of a chain: who is held, who is charged, who is passed over."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, strategies as st

from extproc.exchange import events
from extproc.exchange.commands import Complete, Reserve, Respond, Route, Settle
from extproc.exchange.exchange import Exchange
from extproc.identity import NANOS, Budget, Subject
from extproc.policy.claims import Admission, Admitted, Claim
from extproc.routing.state import RoutingState, Still
from extproc.state.memory import MemoryStore
from tests.exchange.test_account import KEY, STARTED, allow, runtime
from tests.exchange.test_exchange import ANSWER, MESSAGE, answered

FIRST, SECOND = "openai/gpt", "anthropic/claude"
BODIES = [json.dumps(ANSWER).encode(), json.dumps(MESSAGE).encode()]
"""What each attempt of the chain answers."""
REQUEST = {
    "model": "both",
    "max_tokens": 10,
    "messages": [{"role": "user", "content": "Hi"}],
}
LIMIT = 10


class World:
    """Exchanges over a chain of two deployments, and a store that is really kept.

    `failing` is whether the first of them is, so that the second stands by.
    """

    def __init__(self, *, key=None, failing=True, **deployments):
        names = {"first": FIRST, "second": SECOND}
        subjects = tuple(
            Subject("deployment", names[name], one) for name, one in deployments.items()
        )
        self.rt = runtime(key, subjects) if key else runtime(subjects=subjects)
        self.store = MemoryStore()
        self.routing = RoutingState(Still())
        if failing:
            # As far as it may before it is left alone.
            for _ in range(2):
                health = self.routing.health("openai/gpt")
                health.failed(0.0, self.routing.numbers, reason="500")
        self.records = []
        self._ids = itertools.count()

    def begin(self, model="both"):
        """Return an exchange, and where it is sent (clusters) or what it is told."""
        self.routing.credits.clear()  # the same one is always first
        ex = Exchange(
            self.rt, id=f"gw-{next(self._ids)}", started=STARTED, now=0.0,
            routing=self.routing,
        )  # fmt: skip
        head = {
            ":method": "POST",
            ":path": "/v1/chat/completions",
            "authorization": f"Bearer {KEY}",
        }
        ex.receive(events.RequestHeaders(head, end=False), 0.0)
        body = json.dumps({**REQUEST, "model": model}).encode()
        said = self.carry(ex, ex.receive(events.RequestBody(body, end=True), 0.1))
        first = said[0]
        if isinstance(first, Route):
            return ex, [one.cluster for one in first.chain]
        assert isinstance(first, Respond)
        return ex, first.status

    def carry(self, ex, commands):
        while commands and isinstance(last := commands[-1], Reserve):
            verdict = self.store.admit(
                last.admission, now=STARTED, expires=STARTED + 600
            )
            commands = ex.receive(verdict, 0.2)
        for command in commands:
            if isinstance(command, Settle):
                self.settle(command.settlement)
            elif isinstance(command, Complete):
                self.records.append(command.completion)
                for one in (command.settlement, *command.more):
                    if one is not None:
                        self.settle(one)
        return commands

    def settle(self, one):
        charged = self.store.settle(one.admission, one.spent, now=STARTED)
        assert charged is not None, "settled once"

    def head(self, ex, attempt, status=200):
        """Let this attempt begin its answer, those before it having failed."""
        failed = tuple(events.FailedAttempt(n, 500, None) for n in range(1, attempt))
        event = answered(status, attempts=attempt, failed=failed)
        self.carry(ex, ex.receive(event, 0.3))

    def body(self, ex, attempt):
        event = events.ResponseBody(BODIES[attempt - 1], end=True)
        self.carry(ex, ex.receive(event, 0.4))

    def used(self, name, counts="requests"):
        """Return how much of a limit is held or used."""
        running = counts == "running"
        meter = (
            f"deployment/{name}/running"
            if running
            else f"deployment/{name}/{counts}/60"
        )
        claim = Claim(meter, counts, 10**9, 0, seconds=0 if running else 60)
        probe = Admission(f"probe-{next(self._ids)}", (claim,))
        verdict = self.store.admit(probe, now=STARTED, expires=STARTED + 600)
        assert isinstance(verdict, Admitted)
        return 10**9 - verdict.left[0].remaining


@pytest.fixture
def both():
    one = allow(requests=LIMIT, total_tokens=1_000_000, concurrency=4)
    return World(first=one, second=one)


def test_a_request_is_held_at_both_until_one_answers_and_then_there_alone(both):
    ex, chain = both.begin()
    assert chain == ["openai", "anthropic"]
    for name in (FIRST, SECOND):
        assert (both.used(name), both.used(name, "running")) == (1, 1)
    both.head(ex, 1)
    assert (both.used(SECOND), both.used(SECOND, "running")) == (0, 0)
    assert both.used(SECOND, "total_tokens") == 0
    assert both.used(FIRST, "running") == 1
    both.body(ex, 1)
    assert (both.used(FIRST), both.used(FIRST, "total_tokens")) == (1, 11)
    assert both.used(FIRST, "running") == 0


def test_who_failed_is_charged_the_attempt_and_who_answered_the_answer(both):
    ex, _ = both.begin()
    both.head(ex, 2)
    both.body(ex, 2)
    assert (both.used(FIRST), both.used(FIRST, "total_tokens")) == (1, 0)
    tokens = both.records[0].usage.total_tokens
    assert tokens > 0
    assert (both.used(SECOND), both.used(SECOND, "total_tokens")) == (1, tokens)
    assert both.used(FIRST, "running") == both.used(SECOND, "running") == 0


def test_while_the_first_is_well_no_place_is_held_elsewhere_and_all_is_charged():
    """So what waits at a healthy target takes no place of what its fallback is asked."""
    one = allow(requests=LIMIT, total_tokens=1_000_000, concurrency=1)
    world = World(first=allow(requests=99), second=one, failing=False)
    under_way = [world.begin() for _ in range(3)]
    assert [chain for _, chain in under_way] == [["openai", "anthropic"]] * 3
    assert (world.used(SECOND), world.used(SECOND, "running")) == (0, 0)
    for ex, _ in under_way:
        world.head(ex, 2)
        world.body(ex, 2)
    tokens = sum(record.usage.total_tokens for record in world.records)
    assert (world.used(SECOND), world.used(SECOND, "total_tokens")) == (3, tokens)
    assert world.used(FIRST) == 3


def test_a_client_that_leaves_takes_nothing_of_who_was_not_asked(both):
    ex, _ = both.begin()
    both.carry(ex, ex.receive(events.Closed(), 0.3))
    assert (both.used(FIRST), both.used(SECOND)) == (1, 0)
    assert both.used(FIRST, "running") == both.used(SECOND, "running") == 0


def test_a_first_deployment_that_is_full_is_passed_over(both):
    for _ in range(4):
        assert both.begin()[1] == ["openai", "anthropic"]
    # Of both the four places are taken.
    assert both.begin()[1] == 429
    only_first = World(first=allow(concurrency=2))
    chains = [only_first.begin()[1] for _ in range(3)]
    assert chains == [["openai", "anthropic"]] * 2 + [["anthropic"]]
    assert only_first.used(FIRST, "running") == 2


def test_a_later_deployment_that_is_full_costs_that_attempt_alone():
    world = World(second=allow(requests=1))
    assert world.begin()[1] == ["openai", "anthropic"]
    ex, chain = world.begin()
    assert chain == ["openai"]
    world.head(ex, 1)
    world.body(ex, 1)
    assert world.records[0].skipped == ("anthropic:limit",)


def test_a_keys_own_limit_refuses_whoever_there_is():
    world = World(key=allow(requests=1), second=allow(requests=9))
    assert world.begin()[1] == ["openai", "anthropic"]
    assert world.begin()[1] == 429
    assert world.used(SECOND) == 1


def test_where_every_deployment_is_full_the_first_ones_limit_is_the_answer():
    world = World(first=allow(requests=0), second=allow(requests=0))
    assert world.begin()[1] == 429
    assert world.begin("gpt")[1] == 429


def test_money_is_charged_to_the_budget_of_who_answered():
    budget = (Budget(NANOS, "month"),)
    world = World(first=allow(budgets=budget), second=allow(budgets=budget))
    ex, _ = world.begin()
    world.head(ex, 2)
    world.body(ex, 2)
    [record] = world.records
    assert record.cost > 0
    [(meter, _)] = record.budgets
    assert meter.startswith(f"deployment/{SECOND}/month/")
    first = meter.replace(SECOND, FIRST)
    assert world.store.spent((meter, first)) == (record.cost, 0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["begin", "one", "two", "end", "leave"]), st.integers(0, 9)
        ),
        max_size=40,
    )
)
def test_no_cap_is_exceeded_whichever_attempt_answers_and_all_is_given_back(steps):
    """As soon as a target fails what it may be asked next is at most its `concurrency`."""
    caps = {FIRST: 3, SECOND: 2}
    world = World(
        first=allow(concurrency=caps[FIRST]), second=allow(concurrency=caps[SECOND])
    )
    waiting, answering = [], []
    for act, which in steps:
        match act:
            case "begin":
                health = world.routing.health("openai/gpt")
                health._failed = 2.0  # as things stay, whatever the two answer here
                health.row, health._ok = 0, 0.0
                ex, chain = world.begin()
                if chain != 429:
                    waiting.append((ex, chain))
            case "one" | "two" if waiting:
                ex, chain = waiting.pop(which % len(waiting))
                attempt = min(len(chain), 1 if act == "one" else 2)
                world.head(ex, attempt)
                answering.append((ex, chain[attempt - 1]))
            case "end" | "leave" if answering:
                ex, cluster = answering.pop(which % len(answering))
                if act == "end":
                    world.body(ex, 1 if cluster == "openai" else 2)
                else:
                    world.carry(ex, ex.receive(events.Closed(), 0.5))
            case _:
                continue
        for name, cap in caps.items():
            cluster = name.partition("/")[0]
            could = sum(cluster in chain for _, chain in waiting)
            does = sum(cluster == its for _, its in answering)
            assert could + does <= world.used(name, "running") <= cap
    for ex, _ in (*waiting, *answering):
        world.carry(ex, ex.receive(events.Closed(), 0.6))
    assert world.used(FIRST, "running") == world.used(SECOND, "running") == 0
