"""What Envoy carries of an exchange is enough to settle it."""

from __future__ import annotations

import msgspec
import pytest

from extproc.exchange.completion import Completion
from extproc.exchange.slip import Slip, read_slip, write_slip
from extproc.exchange.tally import Tally
from extproc.policy.claims import Admission, Claim
from tests.exchange.test_exchange import ask, chat


def test_a_route_carries_the_slip_of_its_exchange():
    _, (route,) = ask(chat("both", stream=True, user="ann"))
    slip = read_slip(route.slip)
    assert slip == Slip(
        operation="chat",
        key="all",
        legs=(
            ("openai", "openai", "both"),
            ("anthropic", "anthropic", "claude-x"),
        ),
        original_model="both",
        virtual_model="both",
        streamed=True,
        end_user="ann",
    )


def test_it_says_what_is_reserved_and_of_which_budgets():
    tally = Tally.begin(id="gw-1", started=1.0)
    tally.reserved = 700
    claims = (
        Claim("key/a/requests/60", "requests", 5, 1),
        Claim("key/a/month/UTC/1", "nanos", 9_000, 700, ends=50),
    )
    slip = read_slip(write_slip(tally, (), Admission("gw-1", claims)))
    assert (slip.reserved, slip.budgets) == (700, (("key/a/month/UTC/1", 50),))


def test_every_field_of_it_is_one_of_a_record_but_the_legs():
    assert set(Slip.__struct_fields__) - {"legs"} <= set(Completion.__struct_fields__)


@pytest.mark.parametrize("text", ["", "{}", "[1]", "nonsense"])
def test_what_is_no_slip_is_refused(text):
    with pytest.raises(msgspec.DecodeError):
        read_slip(text)
