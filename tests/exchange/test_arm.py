"""Letters for the upstream Lua: which answers go on to the next attempt."""

from __future__ import annotations

import pytest

from extproc.exchange.arm import arm
from extproc.exchange.commands import Attempt
from extproc.exchange.render import Leg
from extproc.formats import openai_chat
from extproc.routing.health import Health
from extproc.routing.plan import Pick
from extproc.routing.strategies import Candidate
from extproc.runtime import ModelSpec, Runtime, Snapshot
from extproc.target import Heading
from tests.routing.world import target


def leg(name: str, conditional: str = "") -> Leg:
    runtime = Runtime.of(Snapshot(1, models=(ModelSpec("v", (target(name),)),)))
    model = runtime.model("v")
    assert model is not None
    made = model.targets[0]
    lane = made.lane("m", runtime.prices)
    return Leg(
        target=made,
        format=openai_chat.PROVIDER,
        model="m",
        translated=False,
        show_usage=True,
        dropped=(),
        kept=None,
        attempt=Attempt(name, Heading("/", "h", (), ()), b"{}"),
        pick=Pick(Candidate(made, Health(name), lane), "v", "", conditional),
    )


CHAINS = [
    (["a"], [""]),
    (["a", "b"], ["", ""]),
    (["a", "a.2"], ["k", ""]),
    (["a", "b", "a.2", "c"], ["k", "", "", ""]),
    (["a", "b?x"], ["xl", "c"]),
    (["a", "b", "c?x"], ["x", "xl", "c"]),
    (["a", "b?x", "c?p"], ["xpl", "cpl", "c"]),
    (["a", "a.2", "b?p"], ["kp", "pl", "c"]),
    (["b?x"], [""]),
    (["b?x", "c?x"], ["xl", "c"]),
]


@pytest.mark.parametrize(("chain", "flags"), CHAINS)
def test_each_attempt_has_the_letters_of_what_may_follow_it(chain, flags):
    legs = tuple(leg(*name.split("?")) for name in chain)
    armed = arm(legs)
    assert [set(attempt.flags) for attempt in armed] == [set(f) for f in flags]
    assert [attempt.cluster for attempt in armed] == [
        name.split("?")[0] for name in chain
    ]
