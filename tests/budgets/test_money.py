"""Two hundred at once against a dollar and against limits, through real Envoys.

Every answer costs 2 cents (20 tokens of a tenth of a cent) and may cost 4.
"""

from __future__ import annotations

import pytest

from extproc.exchange.completion import Completion
from extproc.pricing import show
from tests.budgets.conftest import FULL
from tests.budgets.world import (
    ANSWER_NANOS,
    ANSWER_TOKENS,
    WORST_TOKENS,
    Asked,
    chat,
    key_of,
)

pytestmark = pytest.mark.envoy

DOLLAR = 1_000_000_000
AT_ONCE = 200


def wave(name, number=AT_ONCE, *, streamed=(False,), leaving=0):
    """`number` requests, streamed or not in turn; every `leaving`-th client goes away."""
    return [
        {
            "key": key_of(name),
            "body": chat(stream=streamed[i % len(streamed)]),
            "leave_after": 200 if leaving and i % leaving == 0 else None,
        }
        for i in range(number)
    ]


DOLLARS = [("hard-json", (False,), 0), ("hard-mixed", (True, False), 4)]
if FULL:
    DOLLARS.append(("hard-stream", (True,), 0))


@pytest.mark.parametrize(("name", "streamed", "leaving"), DOLLARS)
def test_a_dollar_is_a_dollar(here, table, name, streamed, leaving):
    asked = answers = 0
    admitted = 0
    codes: set[str] = set()
    while "insufficient_quota" not in codes:
        seen = here.ask(wave(name, streamed=streamed, leaving=leaving))
        answers += 1
        asked += len(seen)
        fine = [one for one in seen if one.status == 200]
        admitted += len(fine)
        refused = [one for one in seen if one.status != 200]
        assert all(one.status in (402, 429) for one in refused)
        codes = {one.code for one in refused}
        assert codes <= {"insufficient_quota", "budget_reserved"}
        here.records(name, asked)
        assert answers < 30, "the dollar is never spent"
    records = here.records(name, asked)
    spent = sum(record.cost or 0 for record in records)
    over = max(0, spent - DOLLAR)
    table(f"$1 {name}", asked, admitted, f"${show(spent)}", "$1", f"${show(over)}")
    assert over == 0
    # Nothing is left that would have been enough for one more.
    assert spent > DOLLAR - WORST_TOKENS * 1_000_000
    whole = [r for r in records if r.outcome == "ok"]
    assert all(record.cost == ANSWER_NANOS for record in whole)
    if leaving:
        assert any(record.estimated for record in records)


def test_a_soft_dollar_is_overspent_by_no_more_than_what_was_under_way(here, table):
    seen: list[Asked] = []
    records: list[Completion] = []
    while not any(one.status == 402 for one in seen):
        seen += here.ask(wave("soft", streamed=(True, False)))
        records = here.records("soft", len(seen))
    admitted = sum(one.status == 200 for one in seen)
    spent = sum(record.cost or 0 for record in records)
    over = max(0, spent - DOLLAR)
    table("$1 soft", len(seen), admitted, f"${show(spent)}", "$1", f"${show(over)}")
    assert over <= ANSWER_NANOS


def test_a_limit_on_requests_is_exact(here, table):
    seen = here.ask(wave("rpm", streamed=(True, False), leaving=9))
    admitted = [one for one in seen if one.status == 200]
    table(
        "30 requests/h",
        len(seen),
        len(admitted),
        len(admitted),
        30,
        max(0, len(admitted) - 30),
    )
    assert len(admitted) == 30
    for one in seen:
        assert one.headers["x-ratelimit-limit-requests"] == "30"
        if one.status == 429:
            assert one.code == "rate_limit_exceeded"
            assert 0 < int(one.headers["retry-after"]) <= 3660
            assert one.headers["x-ratelimit-remaining-requests"] == "0"
    left = sorted(
        int(one.headers["x-ratelimit-remaining-requests"]) for one in admitted
    )
    assert left == list(range(30))


def test_a_limit_on_tokens_reserves_and_settles(here, table):
    asked, tokens, admitted = 0, 0, 0
    while True:
        seen = here.ask(wave("tpm", 100, streamed=(True, False)))
        asked += len(seen)
        fine = [one for one in seen if one.status == 200]
        admitted += len(fine)
        tokens += sum(one.usage()["total_tokens"] for one in fine)
        here.records("tpm", asked)
        if not fine:
            break
    one_request = tokens // admitted
    table("1500 tokens/h", asked, admitted, tokens, 1500, max(0, tokens - 1500))
    assert tokens <= 1500 + one_request
    assert tokens >= 1500 - 3 * WORST_TOKENS - 3 * one_request
    assert one_request > ANSWER_TOKENS


def test_concurrency_is_a_ceiling_and_frees_itself(here, table):
    admitted = 0
    for _ in range(2):
        seen = here.ask(wave("parallel", 60, streamed=(True,)))
        admitted = sum(one.status == 200 for one in seen)
        # Those that came later may find a place that has become free.
        assert 7 <= admitted < 60
        assert {one.code for one in seen if one.status == 429} == {
            "concurrency_limit_exceeded"
        }
    here.ask(wave("parallel", 7))
    table("7 at once", 60, admitted, admitted, "-", 0)


def test_the_books_agree_with_the_provider(here, table):
    """What was settled, what the records say, and what the mock says it has counted."""
    here.mock.forget()
    seen = here.ask(wave("ledger", 120, streamed=(True, False, False)))
    assert [one.status for one in seen] == [200] * 120
    records = here.records("ledger", 120)
    told = [one.usage() for one in seen]
    assert sum(r.usage.input_tokens for r in records) == sum(
        u["prompt_tokens"] for u in told
    )
    assert sum(r.usage.output_tokens for r in records) == sum(
        u["completion_tokens"] for u in told
    )
    assert len(here.mock.requests()) == 120
    spent = sum(record.cost for record in records)
    assert spent == 120 * ANSWER_NANOS
    assert len({record.id for record in records}) == 120
    table(
        "books of 120",
        120,
        120,
        f"${show(spent)}",
        f"${show(120 * ANSWER_NANOS)}",
        "$0",
    )


def test_a_stream_is_cut_off_when_the_money_is_gone_and_ends_well(here, table):
    long = " ".join(f"w{n}" for n in range(2_000))
    (one,) = here.ask(
        [{"key": key_of("cut"), "body": chat(stream=True, text=long, max_tokens=5_000)}]
    )
    assert one.status == 200
    frames = one.body.split(b"\n\n")
    assert frames[-2:] == [b"data: [DONE]", b""]
    assert one.ended
    assert b'"finish_reason":"length"' in one.body
    (record,) = here.records("cut", 1)
    assert (record.outcome, record.estimated) == ("ok", True)
    assert record.usage is not None
    assert one.usage()["completion_tokens"] == record.usage.output_tokens
    over = max(0, record.cost - 300_000_000)
    table("$0.3, cut off", 1, 1, f"${show(record.cost)}", "$0.3", f"${show(over)}")
    assert 100_000_000 < record.cost <= 300_000_000


def test_a_restart_resets_nothing(here, table):
    """The ledger of before says that a cent is left; an answer may cost four."""
    (one,) = here.ask([{"key": key_of("restarted"), "body": chat()}])
    assert (one.status, one.code) == (402, "insufficient_quota")
    assert b"$0.01 of $1 are left" in one.body
    table("$1, restarted", 1, 0, "$0.99", "$1", "$0")


def test_whatever_is_answered_says_where_the_limits_are(here):
    fine, refused = here.ask(
        [
            {"key": key_of("told"), "body": chat()},
            {"key": key_of("told"), "body": chat(max_tokens=-1)},
        ]
    )
    for one in (fine, refused):
        assert one.headers["x-ratelimit-limit-tokens"] == "100000"
        assert int(one.headers["x-ratelimit-remaining-requests"]) >= 998
        assert one.headers["x-ratelimit-reset-requests"].endswith("s")
    assert fine.headers["x-extproc-cost"] == "0.02"
    assert "x-extproc-cost" not in refused.headers
