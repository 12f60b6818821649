"""Half-open deployments: of all workers one request at a time tries what was cooling down."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, strategies as st

from extproc.routing.ticket import Ticket
from extproc.routing.trials import LEASE_SECONDS, MOST_WANTED, Asking, Trials
from tests.routing.world import World, names, target


def cooled() -> World:
    """Return a worker whose deployment ``a`` may be tried now."""
    world = World(target("a", tier=0), target("b", tier=1))
    for _ in range(3):
        world.play(500, 200)
    world.now += 5
    return world


def test_a_worker_by_itself_tries_at_once():
    assert cooled().chain() == ["a", "b"]


def test_where_a_store_decides_requests_go_elsewhere_until_it_has():
    world = cooled()
    world.state.trials.shared = True
    told = world.told
    found = world.plan()
    assert names(found) == ["b", "a"]
    assert found.picks[1].why == "last resort: another worker tries it"
    assert world.told == told + 1, "the store is asked at once"
    assert world.chain() == ["b", "a"]
    assert world.told == told + 1, "and once"
    asked = world.state.ask_trials(world.now)
    assert asked.want == ("a/m",)
    world.state.trials.grant(asked, ["a/m"])
    trial = world.send()
    assert world.state.ask_trials(world.now).keep == ("a/m",)
    assert world.chain() == ["b", "a"], "one at a time"
    trial.answered([], 200, None, world.now)
    assert world.chain() == ["a", "b"]
    over = world.state.ask_trials(world.now)
    assert (over.want, over.keep, over.drop) == ((), (), ("a/m",))


def test_what_is_to_be_tried_is_nobodys_second_choice():
    """Two hundred requests that fail over to it at once would be no trial."""
    world = World(target("a", tier=0), target("b", tier=1), target("c", tier=2))
    for _ in range(3):
        world.health("b").failed(world.now, world.state.numbers, reason="500")
    assert world.chain() == ["a", "c", "b"]
    world.now += 5
    found = world.plan()
    assert names(found) == ["a", "c", "b"]
    assert found.picks[2].why == "last resort: to be tried by a request of its own"
    for _ in range(3):
        world.health("a").failed(world.now, world.state.numbers, reason="500")
    assert world.chain() == ["b", "c", "a"]
    world.send()
    assert world.chain() == ["c", "b", "a"]


def test_a_right_that_is_not_used_is_lost():
    world = cooled()
    world.state.trials.grant(Asking(at=world.now), ["a/m"])
    world.now += LEASE_SECONDS
    assert world.chain() == ["b", "a"]
    assert world.state.ask_trials(world.now).want == ("a/m",)


def test_what_is_the_only_way_is_gone_without_asking():
    world = World(target("a"))
    for _ in range(3):
        world.play(500)
    world.now += 5
    world.state.trials.shared = True
    assert world.chain() == ["a"]


def test_what_cools_down_is_not_asked_before_what_may_be_tried():
    world = cooled()
    for _ in range(3):
        world.health("b").failed(world.now, world.state.numbers, reason="500")
    world.state.trials.shared = True
    assert world.chain() == ["a", "b"]


def test_while_the_store_is_away_each_worker_tries_by_itself():
    world = cooled()
    world.state.trials.shared = True
    assert world.chain() == ["b", "a"]
    world.state.trials.lose(world.state.ask_trials(world.now))
    assert world.chain() == ["a", "b"]


def test_what_a_store_was_to_be_told_is_told_when_it_is_back():
    trials = Trials()
    trials.begin("a/m")
    trials.end("a/m")
    asked = trials.ask(0.0, ())
    assert asked.drop == ("a/m",)
    trials.lose(asked)
    assert trials.ask(1.0, ()).drop == ("a/m",)
    assert trials.ask(2.0, ()).drop == ()


def test_no_more_is_asked_for_at_a_time_than_so_much():
    trials = Trials()
    news = [trials.want(f"{i}/m", 0.0) for i in range(MOST_WANTED + 5)]
    assert news == [True] * MOST_WANTED + [False] * 5


def test_a_trial_that_went_well_ends_everybodys_caution():
    one, two, three = cooled(), cooled(), cooled()
    for world in (one, two, three):
        world.state.trials.shared = True
    one.state.trials.grant(Asking(at=one.now), ["a/m"])
    one.play(200)
    for world in (two, three):
        world.state.learn("one", *one.state.live(one.now), world.now)
        assert world.chain() == ["a", "b"]


def test_an_old_word_of_success_ends_no_later_cooldown():
    one, two = cooled(), cooled()
    one.play(200)
    word = one.state.live(one.now)
    for _ in range(3):
        two.health("a").failed(two.now, two.state.numbers, reason="500")
    two.state.learn("one", *word, two.now)
    assert two.chain() == ["b", "a"]
    one.now += 1.0
    assert not any(told.healed for told in one.state.live(one.now)[0])


@dataclass
class Store:
    """What `meet.lua` does of it."""

    now: float = 0.0
    held: dict[str, tuple[int, float]] = field(default_factory=dict)

    def claim(self, name: str, who: int) -> bool:
        holder, until = self.held.get(name, (who, 0.0))
        if holder != who and until > self.now:
            return False
        self.held[name] = who, self.now + LEASE_SECONDS
        return True

    def meet(self, who: int, world: World) -> None:
        asked = world.state.ask_trials(world.now)
        for name in asked.drop:
            if self.held.get(name, (None,))[0] == who:
                del self.held[name]
        for name in asked.keep:
            self.claim(name, who)
        granted = [name for name in asked.want if self.claim(name, who)]
        world.state.trials.grant(asked, granted)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from(["send", "meet", "meet", "fail", "leave", "wait"]),
        ),
        max_size=120,
    )
)
def test_however_the_workers_meet_there_is_one_trial_at_a_time(steps):
    store, worlds = Store(), [cooled() for _ in range(3)]
    trials: dict[int, list[Ticket]] = {0: [], 1: [], 2: []}
    for who, world in enumerate(worlds):
        world.state.trials.shared = True
        store.now = world.now
        store.meet(who, world)
    for who, act in steps:
        world, mine = worlds[who], trials[who]
        match act:
            case "send":
                if world.chain()[0] == "a":
                    mine.append(world.send())
            case "meet":
                store.meet(who, world)
            case "fail" if mine:
                mine.pop().answered([], 500, None, world.now)
            case "leave" if mine:
                mine.pop().end(world.now)
            case "wait":
                # Less than a lease, and everybody has met by then.
                store.now += LEASE_SECONDS / 2
                for other, its in enumerate(worlds):
                    its.now += LEASE_SECONDS / 2
                    store.meet(other, its)
            case _:
                continue  # nothing is under way
        assert sum(map(len, trials.values())) <= 1
