"""Cooldowns, half-open trials and the score, under a clock that is moved by hand."""

from __future__ import annotations

import pytest

from extproc.deployment import RoutingNumbers
from extproc.routing.health import Health, Phase, Window
from extproc.routing.state import RoutingState, Still
from tests.routing.world import World, names, target

NUMBERS = RoutingNumbers()


def failing(health: Health, now: float, times: int = 3) -> None:
    for _ in range(times):
        health.failed(now, NUMBERS, reason="500")


def test_three_failures_in_a_row_begin_a_cooldown_that_doubles_with_each_failed_trial():
    health, now = Health("a/m"), 0.0
    failing(health, now, 2)
    assert health.phase(now) is Phase.CLOSED
    failing(health, now, 1)
    for seconds in (5, 10, 20, 40, 60, 60):
        assert health.phase(now + seconds - 0.01) is Phase.COOLING
        now += seconds
        assert health.phase(now) is Phase.TRIAL
        failing(health, now, 1)


def test_a_success_in_between_breaks_the_row():
    health = Health("a/m")
    for _ in range(9):
        failing(health, 0.0, 2)
        for _ in range(4):
            health.succeeded(0.0, NUMBERS)
    assert health.phase(0.0) is Phase.CLOSED


def test_half_of_ten_recent_outcomes_begin_a_cooldown():
    health = Health("a/m")
    for _ in range(4):
        health.succeeded(0.0, NUMBERS)
        failing(health, 0.0, 1)
    assert health.phase(0.0) is Phase.CLOSED
    health.succeeded(0.0, NUMBERS)
    failing(health, 0.0, 1)
    assert health.phase(0.0) is Phase.COOLING


def test_old_outcomes_do_not_count():
    health = Health("a/m")
    for _ in range(6):
        health.succeeded(0.0, NUMBERS)
    for _ in range(3):
        failing(health, 0.0, 1)
        health.succeeded(0.0, NUMBERS)
    failing(health, 60.0, 2)
    assert health.phase(60.0) is Phase.CLOSED


def test_one_request_at_a_time_tries_what_was_cooling_down():
    world = World(target("a", tier=0), target("b", tier=1))
    for _ in range(3):
        world.play(500, 200)
    assert world.chain() == ["b", "a"]
    world.now += 5
    trial = world.send()
    assert names(world.plan()) == ["b", "a"]
    trial.answered([], 200, None, world.now)
    assert world.chain() == ["a", "b"]


def test_a_trial_whose_client_leaves_is_free_again():
    world = World(target("a", tier=0), target("b", tier=1))
    for _ in range(3):
        world.play(500, 200)
    world.now += 5
    trial = world.send()
    assert world.chain()[0] == "b"
    trial.end(world.now)
    assert world.chain()[0] == "a"


def test_a_failed_trial_cools_down_for_longer():
    world = World(target("a", tier=0), target("b", tier=1))
    for _ in range(3):
        world.play(0, 200)
    world.now += 5
    assert world.play(503, 200) == ["a", "b"]
    world.now += 9.9
    assert world.chain() == ["b", "a"]
    world.now += 0.1
    assert world.chain() == ["a", "b"]


def test_retry_after_is_respected_to_the_second_and_by_its_key_alone():
    world = World(target("a", tier=0), target("a.2", tier=0), target("b", tier=1))
    world.play(429, 200, retry_after="20")
    assert "a" not in world.chain()
    assert world.chain() == ["a.2", "b"]
    world.now += 19.9
    assert "a" not in world.chain()
    world.now += 0.2
    assert "a" in world.chain()


def test_retry_after_is_believed_up_to_a_limit():
    health = Health("a/m")
    health.limited(0.0, NUMBERS, retry_after=1e9)
    assert health.phase(299.0) is Phase.LIMITED
    assert health.phase(300.0) is Phase.TRIAL


def test_a_429_without_a_time_is_a_soft_cooldown():
    world = World(target("a"))
    world.play(429)
    assert world.chain() == ["a"]
    assert world.health("a").phase(world.now) is Phase.COOLING


def test_late_failures_of_one_outage_do_not_lengthen_its_cooldown():
    health = Health("a/m")
    failing(health, 0.0, 200)
    assert health.phase(4.9) is Phase.COOLING
    assert health.phase(5.0) is Phase.TRIAL


def test_a_callers_own_mistakes_say_nothing_against_a_target():
    world = World(target("a"))
    for status in (400, 404, 413, 422, 403) * 20:
        world.play(status)
    assert world.health("a").phase(world.now) is Phase.CLOSED
    assert world.health("a").score(world.now, NUMBERS) == 100


def test_a_refused_key_is_benched_until_it_is_another():
    world = World(target("a", credential="1"), target("a.2", credential="2"))
    world.play(401, 200)
    assert world.chain() == ["a.2"]
    assert world.told == 1
    replaced = World(target("a", credential="3"), target("a.2", credential="2"))
    replaced.state = world.state
    assert sorted(replaced.chain()) == ["a", "a.2"]
    world.now += NUMBERS.credential_cooldown
    assert sorted(world.chain()) == ["a", "a.2"]


def test_with_every_key_refused_the_providers_own_answer_is_asked_for():
    world = World(target("a"))
    world.play(401)
    assert world.chain() == ["a"]


SCORES = [
    ({}, 100),
    ({"failed": 1, "succeeded": 8}, 81),
    ({"failed": 1, "succeeded": 1}, 44),
    ({"first_byte": 10.0}, 50),
    ({"load": 100}, 50),
    ({"load": 10, "cap": 10}, 50),
    ({"failed": 3}, 0),
    ({"limited": 1}, 0),
]


@pytest.mark.parametrize(("given", "score"), SCORES)
def test_the_score_is_the_product_that_the_docs_say(given, score):
    health = Health("a/m")
    for _ in range(given.get("succeeded", 0)):
        health.succeeded(0.0, NUMBERS)
    for _ in range(given.get("failed", 0)):
        health.failed(0.0, NUMBERS, reason="500")
    for _ in range(given.get("limited", 0)):
        health.limited(0.0, NUMBERS, retry_after=None)
    if "first_byte" in given:
        health.measure(0.0, first_byte=given["first_byte"])
    health.in_flight.update(range(given.get("load", 0)))
    health.cap = given.get("cap")
    assert health.score(0.0, NUMBERS) == score


def test_a_window_is_a_minute():
    window = Window()
    window.add(3, 100.0)
    window.add(4, 130.0)
    assert [window.total(now) for now in (130.0, 154.9, 160.0, 190.0, 9e9)] == [
        7,
        7,
        4,
        0,
        0,
    ]


def test_what_one_worker_learns_the_others_respect_and_do_not_echo():
    one, two = (
        World(target("a", tier=0), target("b", tier=1)),
        World(target("a", tier=0), target("b", tier=1)),
    )
    one.play(429, 200, retry_after="30")
    two.now = 5000.0  # another process, another clock
    two.state.learn("w0", *one.state.live(one.now), two.now)
    assert two.chain() == ["b"]
    deployments, _ = two.state.live(two.now)
    assert [told.cooling for told in deployments if told.id == "a/m"] == [0.0]
    two.now += 30
    assert two.chain() == ["a", "b"]


def test_a_key_is_reported_when_it_is_benched_and_not_again_for_each_request():
    world, told = World(target("a"), target("b")), []
    world.state.on_bench = lambda *said: told.append(said)
    for _ in range(2):
        world.state.bench("a", "c1", world.now)
    assert told == [("a", 300.0)]
    world.state.bench("a", "c2", world.now)
    world.now += 300
    world.state.bench("a", "c2", world.now)
    assert told == [("a", 300.0)] * 3


def test_a_benched_key_is_benched_everywhere():
    one, two = World(target("a"), target("b")), World(target("a"), target("b"))
    one.play(401, 200)
    two.state.learn("w0", *one.state.live(one.now), two.now)
    assert two.chain() == ["b"]


def test_loads_of_other_workers_count_until_they_are_gone():
    one, two = World(target("a")), World(target("a"))
    tickets = [one.send() for _ in range(3)]
    two.state.learn("w0", *one.state.live(one.now), two.now)
    assert two.health("a").load == 3
    tickets[0].end(one.now)
    two.state.learn("w0", *one.state.live(one.now), two.now)
    assert two.health("a").load == 2
    two.state.forget_peer("w0")
    assert two.health("a").load == 0


def test_deployments_that_nobody_asks_for_are_forgotten(monkeypatch):
    monkeypatch.setattr("extproc.routing.state.MAX_DEPLOYMENTS", 100)
    state = RoutingState(Still())
    state.health("kept/m").in_flight.add(1)
    for number in range(1000):
        state.health(f"a/{number}")
    assert len(state._deployments) <= 100
    assert state.health("kept/m").in_flight


def test_low_priorities_leave_room_for_higher_ones():
    state = RoutingState(Still(), RoutingNumbers(max_in_flight=100))
    rooms: dict[int, int] = {}
    for taken in range(101):
        for priority in (-1, 0, 1):
            if not state.has_room(priority):
                rooms.setdefault(priority, taken)
        state.open.add(taken)
    assert rooms == {-1: 80, 0: 95, 1: 100}


def test_an_answer_of_a_second_attempt_counts_from_when_that_was_begun():
    world = World(target("a"), target("b"))
    for began, measured in ((world.now + 4, 1.0), (None, None)):
        ticket = world.send()
        world.health("b").total = None
        at = world.now + 5
        ticket.answered([(500, None)], 200, None, at, began=began)
        ticket.end(at, whole=True)
        assert world.health("b").total == measured
