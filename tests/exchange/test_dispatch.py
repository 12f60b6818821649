"""What an exchange tells routing, however it ends."""

from __future__ import annotations

import json

import msgspec
import pytest

from extproc.deployment import ModelRouting, RoutingNumbers
from extproc.exchange import events
from extproc.exchange.commands import Respond, Route
from extproc.exchange.exchange import Exchange
from extproc.routing.health import Phase
from extproc.routing.state import RoutingState, Still
from extproc.runtime import ModelSpec, Runtime, Snapshot
from tests.exchange.test_exchange import KEY, answered, chat, grant, headers
from tests.routing.world import target

RUNTIME = Runtime.of(
    Snapshot(
        generation=1,
        grants=(
            grant("all", KEY),
            msgspec.structs.replace(grant("low", "sk-low"), priority=-1),
        ),
        models=(
            ModelSpec("gpt", (target("a"), target("b", tier=1))),
            ModelSpec(
                "patient",
                (target("a", first_byte=7.0), target("b", tier=1, first_byte=3.0)),
            ),
            ModelSpec("mixed", (target("a", first_byte=7.0), target("b", tier=1))),
            ModelSpec("timed", (target("a", idle=3.0, total=10.0),)),
            ModelSpec("keyed", (target("a"), target("a.2"))),
            ModelSpec(
                "long", (target("a"),), routing=ModelRouting(context_fallbacks=("gpt",))
            ),
        ),
    )
)
OK = b'{"object": "chat.completion", "model": "m", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}'


class Played:
    """One exchange under a state that can be looked at."""

    def __init__(self, model: str = "gpt", state: RoutingState | None = None, **fields):
        self.state = state or RoutingState(Still())
        self.exchange = Exchange(
            RUNTIME, id="gw-1", started=0.0, now=100.0, routing=self.state
        )
        self.exchange.receive(headers(), 100.0)
        body = chat(model, **fields)
        self.routed = self.exchange.receive(events.RequestBody(body, end=True), 100.0)

    def receive(self, event, now=101.0):
        return self.exchange.receive(event, now)

    def health(self, name="a"):
        return self.state.health(f"{name}/m")


def test_an_answer_is_measured_and_gives_everything_back():
    played = Played()
    assert len(played.health().in_flight) == len(played.state.open) == 1
    played.receive(answered())
    played.receive(events.ResponseBody(OK, end=True), 103.0)
    assert (played.health().total, played.health().first_byte) == (3.0, None)
    assert played.health().tokens.total(103.0) == 7
    assert not played.health().in_flight
    assert not played.state.open


def test_a_stream_is_measured_by_its_first_byte():
    played = Played(stream=True)
    played.receive(answered(kind="text/event-stream"), 101.0)
    played.receive(events.ResponseBody(b"data: {}\n\n", end=False), 102.5)
    assert played.health().first_byte == 2.5
    played.receive(events.Closed(), 104.0)
    assert not played.health().in_flight


def test_failed_attempts_count_where_they_were_made():
    played = Played()
    failed = (events.FailedAttempt(1, 429, "20"),)
    played.receive(answered(attempts=2, failed=failed))
    assert played.health("a").phase(120.0) is Phase.LIMITED
    assert len(played.health("b").in_flight) == 1
    played.receive(events.ResponseBody(OK, end=True), 103.0)
    assert played.health("b").total is None  # when it began is not known


ENDINGS = {
    "the client leaves before the answer": [events.Closed()],
    "the client leaves in the middle": [answered(), events.Closed()],
    "the worker's own deadline": [events.Expired()],
    "envoy gives up": [
        answered(503, details="upstream_reset_before", attempts=2, end=True)
    ],
    "an error": [answered(500, attempts=2), events.ResponseBody(b"{}", end=True)],
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_however_it_ends_nothing_stays_occupied(ending):
    played = Played()
    for event in ENDINGS[ending]:
        played.receive(event)
    for name in "ab":
        assert not played.health(name).in_flight
    assert not played.state.open


def test_who_leaves_says_nothing_against_a_target():
    played = Played()
    for _ in range(10):
        played = Played(state=played.state)
        played.receive(events.Closed())
    assert played.health().phase(101.0) is Phase.CLOSED


def test_a_stream_that_breaks_off_is_a_failure():
    state = RoutingState(Still(), RoutingNumbers(failures=1))
    played = Played(state=state, stream=True)
    played.receive(answered(kind="text/event-stream"))
    played.receive(
        events.ResponseBody(b'data: {"error": {"message": "x"}}\n\n', end=True)
    )
    health = state.health("a/m")
    assert (health.phase(101.0), health.reason) == (Phase.COOLING, "broken stream")


def test_a_stream_that_envoy_says_was_broken_off_is_one_too():
    told: list[str] = []
    state = RoutingState(
        Still(), RoutingNumbers(failures=2), on_change=lambda: told.append("")
    )
    played = Played(state=state, stream=True)
    played.receive(answered(kind="text/event-stream"))
    played.receive(events.Closed())
    health = state.health("a/m")
    state.broke("a/m", 101.0)
    assert (health.phase(101.0), told) == (Phase.CLOSED, [])
    state.broke("a/m", 101.0)
    assert (health.phase(101.0), health.reason) == (Phase.COOLING, "broken stream")
    assert told == [""]
    assert state.cooldowns == {("a", "broken stream"): 1}


def test_all_attempts_have_the_longest_time_of_the_chain():
    (route,) = Played("patient").routed
    assert isinstance(route, Route)
    assert route.first_byte == 7.0
    played = Played("patient")
    assert played.exchange.deadline == 100.0 + 2 * (7.0 + 5.0)
    (route,) = Played().routed
    assert isinstance(route, Route)
    assert route.first_byte is None


def test_who_says_nothing_has_the_gateways_own_time():
    (route,) = Played("mixed").routed
    assert isinstance(route, Route)
    assert route.first_byte == RUNTIME.limits.attempt_seconds


@pytest.mark.parametrize(
    ("began", "ends"), [(95.0, 105.0), (-1e9, 111.0), (7000.0, 111.0)]
)
def test_an_answer_may_be_silent_and_take_as_long_as_its_target_says(began, ends):
    """From when the attempt was sent, if that is known and can be true."""
    played = Played("timed", stream=True)
    head = answered(kind="text/event-stream")
    at = began - 100.0  # on the wall, where the exchange began at 0.0
    played.receive(msgspec.structs.replace(head, attempts_at=(at,)))
    assert played.exchange.deadline == 104.0
    for now in (103.5, 104.5):
        played.receive(events.ResponseBody(b": ping\n\n", end=False), now)
    assert played.exchange.deadline == min(107.5, ends)
    told = played.receive(events.Expired(), played.exchange.deadline)
    words = b"took too long" if ends < 107.5 else b"silent for too long"
    assert words in told[0].data


def test_a_full_worker_answers_low_priorities_at_once():
    state = RoutingState(Still(), RoutingNumbers(max_in_flight=10))
    state.open.update(range(8))
    exchange = Exchange(RUNTIME, id="gw-1", started=0.0, now=0.0, routing=state)
    shed, *_ = exchange.receive(headers(key="sk-low"), 0.0)
    assert isinstance(shed, Respond)
    assert shed.status == 503
    assert ("retry-after", "1") in shed.headers
    assert json.loads(shed.body)["error"]["code"] == "gateway_unavailable"
    assert len(state.open) == 8
    assert Played(state=state).routed


def test_letters_travel_with_the_chain():
    (route,) = Played("keyed").routed
    assert isinstance(route, Route)
    assert [attempt.flags for attempt in route.chain] == ["k", ""]
    (route,) = Played("long").routed
    assert isinstance(route, Route)
    assert [attempt.flags for attempt in route.chain] == ["xl", "c"]


def test_an_attempt_that_was_not_made_is_nobodys_failure():
    played = Played("long")
    failed = (events.FailedAttempt(1, 500, None),)
    played.receive(
        answered(503, attempts=2, failed=failed, details="lua_response", end=True)
    )
    assert played.health("b").row == 0
    assert played.health("a").row == 1
