"""Three books of the same traffic: the store's, the database's, and the provider's own.

Four seconds of it in `make test`, ten minutes in `make test-budgets`.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx
import pytest

from extproc.exchange.slip import WORKER_LOST
from extproc.pricing import show
from extproc.server.ledger import LEDGER_FILE, read_balances
from tests.budgets.conftest import FULL
from tests.budgets.ledger import (
    KEYS,
    PROMPT,
    TEAMS,
    WORST_NANOS,
    WRONG_KEY,
    by_meter,
    is_whole,
    last_words,
    priced,
    read_rows,
    read_served,
    read_store,
    running,
    traffic,
)
from tests.budgets.world import Asked, key_of
from tests.harness import KEY, wait_for

pytestmark = pytest.mark.envoy

LATEST_SECONDS = 100.0
MOST_TWICE = 3
SECONDS = 600.0 if FULL else 4.0
ENOUGH = 1_000 if FULL else 20
"""Whole answers without which nothing is shown."""


@pytest.fixture(scope="module")
def books():
    with running() as run:
        seen = asyncio.run(traffic(run, SECONDS, control=FULL))

        last, written = last_words(run)
        seen |= last
        finished = time.monotonic()

        def settled():
            database = run.health().get("database", {})
            quiet = database.get("waiting_bytes") == 0 and not database.get("problem")
            store = read_store(run.redis)
            rows = read_rows(run.state)
            balances = read_balances(run.state / LEDGER_FILE)
            sums = +by_meter(rows)
            same = {m: b.nanos for m, b in balances.items()} == sums == spent_of(store)
            idle = not store.waiting and not store.expired and not run.written()
            # The tests say what it is that does not come.
            late = time.monotonic() > finished + LATEST_SECONDS
            done = late or (quiet and same and idle)
            return (store, rows, balances) if done else None

        store, rows, balances = wait_for(settled, run.process.output, 120)
        yield seen, store, rows, balances, read_served(run.served), run, written


def spent_of(store):
    return {meter: nanos for meter, nanos in store.spent.items() if nanos}


def test_no_exchange_is_in_the_books_twice(books):
    seen, _, rows, *_ = books
    lost = {row.end_user for row in rows if row.error == WORKER_LOST}
    marks = [r.end_user for r in rows if r.end_user and r.error != WORKER_LOST]
    assert len(marks) == len(set(marks))
    assert lost | set(marks) <= set(seen)
    # Whom Envoy gave to another worker: the first was killed as it was about to answer.
    assert len(lost & set(marks)) <= MOST_TWICE
    kinds = {row.outcome for row in rows}
    assert {"ok", "upstream_error", "canceled"} <= kinds, "the mix is not what it was"


def test_the_database_has_what_the_provider_served(books, rows):
    """Exact for every answer that came whole; what was estimated is listed."""
    seen, _, records, _, served, *_ = books
    exact = [r for r in records if r.outcome == "ok" and not r.estimated and r.cost]
    assert len(exact) > ENOUGH
    ours = theirs = 0
    for row in exact:
        line = next(
            one
            for one in served[row.end_user]
            if one["status"] == 200 and one["input"] is not None
        )
        assert (row.input_tokens, row.output_tokens) == (line["input"], line["output"])
        assert row.cost == priced(line, row.request_model), row.id
        ours += row.cost
        theirs += priced(line, row.request_model)
    assert ours == theirs
    rows(
        "redis-1", f"{SECONDS:g} s of chaos: exact", len(seen), len(exact),
        f"${show(ours)}", f"${show(theirs)}", "$0",
    )  # fmt: skip
    estimated = [row for row in records if row.estimated and row.cost]
    assert estimated
    for row in estimated:
        # Who left while the provider was being reached is charged for the prompt, and
        # what nobody lived to tell of as it was reserved.
        unreached = (row.outcome, row.output_tokens) == ("canceled", 0)
        assert served[row.end_user] or row.error == WORKER_LOST or unreached, row.id
        assert row.cost <= WORST_NANOS
    spent = sum(row.cost for row in estimated)
    rows(
        "redis-1", f"{SECONDS:g} s of chaos: estimated", len(seen), len(estimated),
        f"${show(spent)}", "-", "$0",
    )  # fmt: skip


def test_the_store_has_what_the_database_has(books, rows):
    """To the nano-dollar, for every budget, whoever was killed; and all that was served."""
    seen, store, records, balances, served, *_ = books
    assert not any(store.held.values()), "something is reserved for nobody"
    assert not store.expired, "nobody knows what was charged"
    sums = +by_meter(records)
    assert {m: b.nanos for m, b in balances.items()} == sums
    assert spent_of(store) == sums
    assert {row.id for row in records if row.cost} <= store.settled
    lost = [row for row in records if row.error == WORKER_LOST]
    assert all(row.estimated for row in lost)
    charged = show(sum(row.cost or 0 for row in lost))
    rows(
        "redis-1", f"{SECONDS:g} s of chaos: charged as reserved", len(seen),
        len(lost), f"${charged}", f"${charged}", "$0",
    )  # fmt: skip
    # What nobody lived to tell of is in the provider's books.
    marks = {row.end_user for row in records}
    untold = [mark for mark in seen if mark not in marks and served[mark]]
    whole = [line for mark in untold for line in served[mark] if is_whole(line)]
    theirs = sum(priced(line, line["model"] or "gemini-2.5-flash") for line in whole)
    rows(
        "redis-1", f"{SECONDS:g} s of chaos: its record died", len(seen), len(untold),
        "$0", f"${show(theirs)}", "$0",
    )  # fmt: skip
    assert untold == []


def test_who_dies_while_control_is_away_takes_no_record_along(books):
    """The records were in the journals of the killed alone."""
    _, _, records, _, served, _, written = books
    assert written
    for mark in written:
        [row] = [row for row in records if row.end_user == mark]
        [line] = [line for line in served[mark] if is_whole(line)]
        assert (row.outcome, row.estimated) == ("ok", False)
        assert row.cost == priced(line, row.request_model)


def test_budgets_held_all_the_while(books):
    _, store, *_ = books
    small = store.spent["key/small/total/UTC/0"]
    assert small <= 500_000_000 + 2 * 5_000_000, "over by more than two leases"
    assert store.spent["key/cut/total/UTC/0"] <= 100_000_000 + 2 * 1_000_000 + 1e8


def test_operators_are_told_what_the_store_has(books):
    _, store, _, _, _, run, _ = books
    answer = httpx.get(
        f"{run.control_url()}/admin/v1/budgets",
        headers={"authorization": f"Bearer {KEY}"},
    )
    told = {
        f"{one['kind']}/{one['id']}/total/UTC/0": one for one in answer.json()["data"]
    }
    assert len(told) == len(KEYS) + len(TEAMS)
    for meter, spent in store.spent.items():
        one = told[meter]
        assert round(one["spent_usd"] * 1e9) == spent
        assert one["reserved_usd"] == 0
        assert one["left_usd"] == pytest.approx(max(0, one["budget_usd"] - spent / 1e9))


CANARIES = {
    "the provider's key": "sk-mock-provider-secret",
    "the master key": KEY,
    "a wrong key": WRONG_KEY,
    "a prompt": PROMPT.split()[-1],
    **{f"the key {name!r}": key_of(name) for name in KEYS},
}
ADMIN = ("keys", "teams", "usage", "usage?format=csv", "spend?by=key", "audit", "budgets",
         "export", "me", "routing", "openapi.json")  # fmt: skip


def test_no_secret_and_no_prompt_is_left_anywhere(books):
    """In files, logs, the store, errors, metrics, health and what operators are told.

    Envoy's own dump of its configuration is one of them.
    """
    seen, _, _, _, _, run, _ = books
    chat = f"{run.url}/v1/chat/completions"
    for key, body in (
        (WRONG_KEY, {"model": "gpt-4o", "messages": []}),
        (KEY, {"model": "none", "messages": [{"role": "user", "content": PROMPT}]}),
        (KEY, {"model": "gpt-4o", "messages": PROMPT}),
    ):
        refused = httpx.post(
            chat, json=body, headers={"authorization": f"Bearer {key}"}
        )
        assert refused.status_code >= 400
        seen[f"refused-{len(seen)}"] = Asked(
            refused.status_code, dict(refused.headers), refused.content
        )
    control = run.control_url()
    places = {
        f"error for {mark}": one.body for mark, one in seen.items() if one.status >= 400
    }
    for path in ("/metrics", "/health/ready", *(f"/admin/v1/{path}" for path in ADMIN)):
        # Ten wrong ones would make this address wait.
        for key in (KEY, WRONG_KEY) if path.endswith("/keys") else (KEY,):
            answer = httpx.get(
                control + path, headers={"authorization": f"Bearer {key}"}
            )
            places[path] = places.get(path, b"") + answer.content
    for path in ("/config_dump?include_eds", "/clusters", "/stats", "/listeners"):
        places[f"envoy {path}"] = run.envoy(path)
    assert b"jwt_authn" in places["envoy /config_dump?include_eds"]
    private = {}
    for folder in (run.state, run.redis.folder):
        for file in folder.rglob("*"):
            if file.is_file() and not file.is_socket():
                private[file] = file.stat().st_mode & 0o077
                places[str(file)] = file.read_bytes()
    places["output"] = run.process.output().encode()
    assert len(places) > 30
    found = {
        (what, where)
        for where, content in places.items()
        for what, secret in CANARIES.items()
        if secret.encode() in content
    }
    # Envoy reads the credentials that it adds from here, and nobody else can.
    secrets = {pair for pair in found if "/xds/" in pair[1]}
    assert {what for what, _ in secrets} <= {"the provider's key"}
    assert not any(private[Path(where)] for _, where in secrets)
    assert found - secrets == set()
