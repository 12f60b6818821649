"""One suite for all stores; the time is whatever the test says."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from extproc.policy.claims import NOTHING, Admission, Admitted, Claim, Denied, Spent
from extproc.state.base import Balance

NOW = 1_800_000_000.0
_ids = itertools.count()


def rate(limit, amount=1, *, seconds=60, counts="requests", meter="t"):
    return Claim(f"{meter}/{counts}/{seconds}", counts, limit, amount, seconds=seconds)


def budget(limit, amount, *, meter="team/a/month/0", ends=int(NOW) + 1000):
    return Claim(meter, "nanos", limit, amount, ends=ends)


def running(limit, *, meter="team/a/running"):
    return Claim(meter, "running", limit, 1)


def asking(*claims, id_=None):
    return Admission(id_ or f"gw-{next(_ids)}", claims)


def admit(store, admission, now=NOW, hold=900.0):
    return store.admit(admission, now=now, expires=now + hold)


def admitted(store, *claims, now=NOW):
    return isinstance(admit(store, asking(*claims), now), Admitted)


def test_a_limit_admits_as_many_as_it_says_and_tells_what_is_left(store):
    verdicts = [admit(store, asking(rate(3))) for _ in range(4)]
    assert [v.left[0].remaining for v in verdicts[:3]] == [2, 1, 0]
    refused = verdicts[3]
    assert isinstance(refused, Denied)
    assert (refused.claim, refused.left.remaining) == (0, 0)
    assert refused.retry_after is not None
    assert 60 <= refused.retry_after <= 61


def test_a_window_slides(store):
    assert [admitted(store, rate(2), now=NOW + t) for t in (0, 30, 59)] == [
        True,
        True,
        False,
    ]
    assert admitted(store, rate(2), now=NOW + 61)
    assert not admitted(store, rate(2), now=NOW + 62)
    assert admitted(store, rate(2), now=NOW + 91)


def test_a_clock_that_was_ahead_closes_a_limit_for_no_longer_than_its_window(store):
    for ahead in (3600, 3630):
        assert admitted(store, rate(2), now=NOW + ahead)
    refused = admit(store, asking(rate(2)))
    assert isinstance(refused, Denied), "it was a moment ago that they were admitted"
    assert refused.retry_after is not None
    assert 60 <= refused.retry_after <= 61
    assert admitted(store, rate(2), now=NOW + 61)
    assert admitted(store, rate(2), now=NOW + 61)
    assert not admitted(store, rate(2), now=NOW + 61)


@pytest.mark.parametrize("moved", [False, True])
def test_what_was_taken_by_a_clock_that_was_ahead_is_given_back(store, moved):
    one = asking(rate(30, 20, counts="total_tokens"))
    assert isinstance(admit(store, one, NOW + 3600), Admitted)
    if moved:
        assert not admitted(store, rate(30, 20, counts="total_tokens"))
    store.settle(one, Spent(input_tokens=5), now=NOW + 10)
    verdict = admit(store, asking(rate(30, 20, counts="total_tokens")), NOW + 11)
    assert isinstance(verdict, Admitted)
    assert verdict.left[0].remaining == 5


def test_clocks_that_differ_by_a_slot_are_the_same(store):
    for second in (1, 0, 3, 2):
        assert admitted(store, rate(4), now=NOW + second)
    assert [admitted(store, rate(4), now=NOW + t) for t in (60, 61, 61, 62)] == [
        False, True, False, True,
    ]  # fmt: skip


def test_retry_after_is_when_it_is_admitted(store):
    for at in (0, 7, 13):
        assert admitted(store, rate(30, 10), now=NOW + at)
    for amount in (1, 11, 30):
        refused = admit(store, asking(rate(30, amount)), NOW + 20)
        assert isinstance(refused, Denied)
        assert refused.retry_after is not None
        later = NOW + 20 + refused.retry_after
        probe = asking(rate(30, amount))
        assert isinstance(admit(store, probe, later - 0.01), Denied)
        assert isinstance(admit(store, probe, later + 0.001), Admitted)
        store.release(probe, now=later + 0.001)


def test_more_than_the_limit_at_once_is_never_admitted(store):
    refused = admit(store, asking(rate(5, 6, counts="total_tokens")))
    assert isinstance(refused, Denied)
    assert refused.retry_after is None


def test_one_refused_claim_reserves_none(store):
    claims = (rate(10), budget(100, 30), rate(10, 11, counts="total_tokens"))
    refused = admit(store, asking(*claims))
    assert isinstance(refused, Denied)
    assert refused.claim == 2
    verdict = admit(store, asking(rate(10), budget(100, 30), running(1)))
    assert [left.remaining for left in verdict.left] == [9, 70, 0]


def test_a_budget_counts_what_is_held(store):
    first = asking(budget(100, 60))
    assert isinstance(admit(store, first), Admitted)
    refused = admit(store, asking(budget(100, 60)))
    assert isinstance(refused, Denied)
    assert refused.left.remaining == 40
    # The first may turn out to be cheaper than that.
    assert (refused.waiting, refused.retry_after) == (True, 1.0)
    store.settle(first, Spent(nanos=10), now=NOW)
    assert store.spent(("team/a/month/0",)) == (10,)
    left = admit(store, asking(budget(100, 60))).left[0]
    assert (left.remaining, left.reset, left.spent) == (30, 1000, 10)


def test_money_that_is_spent_is_not_waited_for(store):
    first = asking(budget(100, 60))
    admit(store, first)
    store.settle(first, Spent(nanos=60), now=NOW)
    refused = admit(store, asking(budget(100, 60)))
    assert isinstance(refused, Denied)
    assert (refused.waiting, refused.retry_after) == (False, 1000)


def test_tokens_are_corrected_where_they_were_taken(store):
    asked = asking(rate(100, 80, counts="total_tokens"))
    admit(store, asked)
    store.settle(asked, Spent(input_tokens=10, output_tokens=20), now=NOW + 5)
    assert admitted(store, rate(100, 70, counts="total_tokens"), now=NOW + 6)
    assert not admitted(store, rate(100, 1, counts="total_tokens"), now=NOW + 6)
    # What came with the first is free when its own minute is over.
    assert admitted(store, rate(100, 30, counts="total_tokens"), now=NOW + 62)


def test_tokens_that_come_after_their_window_count_now(store):
    asked = asking(rate(100, 10, counts="output_tokens"))
    admit(store, asked)
    store.settle(asked, Spent(output_tokens=100), now=NOW + 300)
    assert admitted(store, rate(100, 10, counts="output_tokens"), now=NOW + 300)
    assert not admitted(store, rate(100, 1, counts="output_tokens"), now=NOW + 301)


def test_fewer_tokens_after_their_window_give_nothing_back(store):
    asked = asking(rate(100, 90, counts="output_tokens"))
    admit(store, asked)
    later = NOW + 300
    assert admitted(store, rate(100, 50, counts="output_tokens"), now=later)
    store.settle(asked, Spent(output_tokens=0), now=later)
    verdict = admit(store, asking(rate(100, 0, counts="output_tokens")), later)
    assert verdict.left[0].remaining == 50


def test_a_release_leaves_no_trace(store):
    claims = (rate(5), budget(100, 30), running(2), rate(50, 20, counts="input_tokens"))
    asked = asking(*claims)
    before = [left.remaining for left in admit(store, asked).left]
    store.release(asked, now=NOW + 1)
    again = asking(*claims)
    assert [left.remaining for left in admit(store, again, NOW + 1).left] == before


def test_concurrency_is_given_back_at_the_end(store):
    one, two = asking(running(2)), asking(running(2))
    assert isinstance(admit(store, one), Admitted)
    assert isinstance(admit(store, two), Admitted)
    refused = admit(store, asking(running(2)))
    assert isinstance(refused, Denied)
    assert refused.retry_after == 1.0
    store.settle(one, Spent(), now=NOW)
    assert admitted(store, running(2))


@pytest.mark.parametrize("last", ["settle", "release"])
def test_what_is_over_counts_once(store, last):
    asked = asking(budget(100, 50), running(5), rate(9))
    admit(store, asked)
    assert store.settle(asked, Spent(nanos=20), now=NOW)
    if last == "settle":
        assert not store.settle(asked, Spent(nanos=20), now=NOW)
    else:
        assert not store.release(asked, now=NOW)
    assert store.spent(("team/a/month/0",)) == (20,)
    verdict = admit(store, asking(budget(100, 0), running(5), rate(9)))
    assert [left.remaining for left in verdict.left] == [80, 4, 7]


def test_an_admission_that_comes_twice_reserves_once(store):
    asked = asking(budget(100, 60))
    assert isinstance(admit(store, asked), Admitted)
    assert isinstance(admit(store, asked), Admitted)
    assert store.spent(("team/a/month/0",)) == (60,)
    store.settle(asked, Spent(nanos=5), now=NOW)
    assert isinstance(admit(store, asked), Admitted)
    assert store.spent(("team/a/month/0",)) == (5,)


def test_a_settlement_that_came_first_keeps_the_admission_from_reserving(store):
    asked = asking(budget(100, 60), running(1))
    store.release(asked, now=NOW)
    admit(store, asked)
    assert store.spent(("team/a/month/0",)) == (0,)
    assert admitted(store, running(1))


def test_a_settlement_without_a_hold_charges_in_full(store):
    asked = asking(budget(100, 60), rate(100, 9, counts="total_tokens"), running(3))
    store.settle(asked, Spent(nanos=70, input_tokens=40), now=NOW)
    verdict = admit(
        store, asking(budget(100, 0), rate(100, 0, counts="total_tokens"), running(3))
    )
    assert [left.remaining for left in verdict.left] == [30, 60, 2]


def test_a_hold_is_topped_up_as_long_as_all_budgets_have_money(store):
    asked = asking(budget(100, 10), budget(50, 10, meter="key/k/day/0"))
    admit(store, asked)
    assert store.top_up(asked, 40, now=NOW, expires=NOW + 900)
    assert not store.top_up(asked, 1, now=NOW, expires=NOW + 900)
    assert store.spent(("team/a/month/0", "key/k/day/0")) == (50, 50)
    store.settle(asked, Spent(nanos=45), now=NOW)
    assert store.spent(("team/a/month/0", "key/k/day/0")) == (45, 45)


def test_topping_up_nothing_only_extends(store):
    asked = asking(budget(10, 10))
    admit(store, asked, hold=10)
    assert store.top_up(asked, 0, now=NOW + 9, expires=NOW + 99)
    assert store.expire(now=NOW + 50) == 0
    assert store.expire(now=NOW + 100) == 1
    assert not store.top_up(asked, 0, now=NOW + 100, expires=NOW + 200)


def test_an_expired_hold_is_charged_as_it_was_reserved(store):
    asked = asking(budget(100, 60), running(1), rate(5))
    admit(store, asked, hold=10)
    assert store.expire(now=NOW + 9) == 0
    assert store.expire(now=NOW + 10) == 1
    assert store.expire(now=NOW + 10) == 0
    assert store.spent(("team/a/month/0",)) == (60,)
    assert admitted(store, running(1))


def test_a_settlement_after_expiry_corrects_the_charge(store):
    asked = asking(budget(100, 60), running(1))
    admit(store, asked, hold=10)
    store.expire(now=NOW + 11)
    other = asking(running(1))
    admit(store, other, NOW + 12)
    assert store.settle(asked, Spent(nanos=25), now=NOW + 13)
    assert store.spent(("team/a/month/0",)) == (25,)
    assert not admitted(store, running(1), now=NOW + 13)


def test_a_seed_only_raises(store):
    meter = "team/a/month/0"
    store.seed({meter: Balance(40, int(NOW) + 1000)}, now=NOW)
    store.seed({meter: Balance(30, int(NOW) + 1000)}, now=NOW)
    assert store.spent((meter,)) == (40,)
    assert not admitted(store, budget(100, 61))
    assert admitted(store, budget(100, 60))


def test_an_epoch_lasts_until_something_is_lost(store):
    assert store.epoch(0.0, now=NOW) == NOW
    assert store.epoch(NOW, now=NOW + 5) == NOW
    assert store.epoch(0.0, now=NOW + 6) == NOW, "a newcomer has lost nothing"


def test_what_is_recovered_comes_under_what_is_charged_since(store):
    meter, ends = "team/a/month/0", int(NOW) + 1000
    store.epoch(0.0, now=NOW)
    admit(store, early := asking(budget(1000, 5)))
    store.settle(early, Spent(nanos=3), now=NOW)
    for known in (70, 90, 80):
        store.recover({meter: Balance(known, ends)}, [], now=NOW)
    assert store.spent((meter,)) == (93,)


def test_what_is_under_way_is_held_again_once(store):
    known, lost, over = (
        asking(budget(100, n), running(9), rate(50)) for n in (10, 20, 30)
    )
    store.epoch(0.0, now=NOW)
    admit(store, known)
    store.settle(over, Spent(nanos=1), now=NOW)
    held = [(one, NOW + 900) for one in (known, lost, over)]
    store.recover({}, held, now=NOW)
    store.recover({}, held, now=NOW)
    assert store.spent(("team/a/month/0",)) == (31,)
    assert store.settle(lost, Spent(nanos=4), now=NOW)
    assert store.settle(known, Spent(nanos=4), now=NOW)
    assert store.spent(("team/a/month/0",)) == (9,)
    assert store.expire(now=NOW + 901) == 0


def test_a_settlement_says_what_is_charged_now(store):
    asked = asking(rate(5), budget(100, 10), running(3))
    admit(store, asked)
    assert store.settle(asked, Spent(nanos=7), now=NOW) == (0, 7, 0)
    late = asking(budget(100, 10))
    assert store.settle(late, Spent(nanos=2), now=NOW) == (9,)


def test_large_sums_stay_exact(store):
    most = 9_000_000 * 10**9
    asked = asking(budget(most, most - 1))
    assert admit(store, asked).left[0].remaining == 1
    store.settle(asked, Spent(nanos=most - 2), now=NOW)
    assert store.spent(("team/a/month/0",)) == (most - 2,)
    assert not admitted(store, budget(most, 3))
    assert admitted(store, budget(most, 2))


def test_two_hundred_at_once_get_what_there_is(store):
    asked = [asking(budget(1000, 30), rate(25)) for _ in range(200)]
    calls = [("admit", (a,), {"now": NOW, "expires": NOW + 900}) for a in asked]
    verdicts = store.all(calls)
    assert sum(isinstance(v, Admitted) for v in verdicts) == 25
    assert store.spent(("team/a/month/0",)) == (750,)


STEPS = st.lists(
    st.tuples(st.sampled_from([0, 0, 0.3, 1, 7, 20, 59, 61, 130]), st.integers(1, 40)),
    min_size=1,
    max_size=40,
)


@given(STEPS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_window_ever_holds_more_than_the_limit(store, steps):
    meter, now = f"p{next(_ids)}", NOW
    taken: list[tuple[float, int]] = []
    for pause, amount in steps:
        now += pause
        claim = rate(50, amount, counts="total_tokens", meter=meter)
        verdict = admit(store, asking(claim), now)
        strict = sum(n for at, n in taken if at > now - 60)
        wide = sum(n for at, n in taken if at > now - 61.001)
        if isinstance(verdict, Admitted):
            assert strict + amount <= 50
            taken.append((now, amount))
        else:
            assert wide + amount > 50


@given(st.integers(0, 2**32))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
def test_money_is_neither_lost_nor_made(store, seed):
    """Any order of verbs: what is spent is what was settled, and nothing stays held."""
    dice, meter, now = random.Random(seed), f"m{next(_ids)}", NOW
    open_, spent = [], 0
    for _ in range(60):
        now += dice.choice([0, 1, 5])
        verb = dice.choice(["admit", "admit", "settle", "release", "top_up", "expire"])
        if verb == "admit":
            asked = asking(budget(1000, dice.randrange(200), meter=meter))
            if isinstance(admit(store, asked, now, hold=20), Admitted):
                open_.append(asked)
        elif verb == "expire":
            store.expire(now=now)
        elif open_:
            asked = open_.pop(dice.randrange(len(open_)))
            if verb == "top_up":
                store.top_up(asked, dice.randrange(50), now=now, expires=now + 20)
                open_.append(asked)
            elif verb == "settle":
                cost = dice.randrange(200)
                spent += cost
                assert store.settle(asked, Spent(nanos=cost), now=now)
            else:
                assert store.release(asked, now=now)
    for asked in open_:
        store.settle(asked, NOTHING, now=now)
    assert store.spent((meter,)) == (spent,)
