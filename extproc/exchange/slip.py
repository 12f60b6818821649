"""What Envoy is told of an exchange, so that it can be settled if its worker dies.

Envoy carries it as metadata and says it in its access log, to control only. It holds what
the record would say of who asked for what; no prompt, no answer and no key.
"""

from __future__ import annotations

import msgspec

from extproc.exchange.render import Leg
from extproc.exchange.tally import Tally
from extproc.policy.claims import Admission


class Slip(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """Field by field as in `extproc.exchange.completion.Completion`."""

    operation: str
    key: str | None
    legs: tuple[tuple[str, str, str], ...]
    """Of each attempt: provider, cluster, model."""
    original_model: str | None = None
    virtual_model: str | None = None
    streamed: bool = False
    organization: str | None = None
    team: str | None = None
    user: str | None = None
    end_user: str | None = None
    tags: tuple[str, ...] = ()
    reserved: int | None = None
    budgets: tuple[tuple[str, int], ...] = ()


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Slip)


def write_slip(tally: Tally, legs: tuple[Leg, ...], admission: Admission | None) -> str:
    """Return the slip of an exchange that is about to be sent to `legs`, as JSON."""
    budgets: tuple[tuple[str, int], ...] = ()
    if tally.reserved is not None and admission is not None:
        budgets = tuple(
            [(c.meter, c.ends) for c in admission.claims if c.counts == "nanos"]
        )
    slip = Slip(
        tally.operation,
        tally.key,
        tuple([_of(leg) for leg in legs]),
        tally.original_model,
        tally.virtual_model,
        tally.streamed,
        tally.organization,
        tally.team,
        tally.user,
        tally.end_user,
        tally.tags,
        tally.reserved,
        budgets,
    )
    return _encoder.encode(slip).decode()


def read_slip(text: str) -> Slip:
    """Read what `write_slip` wrote.

    Raises:
        msgspec.DecodeError: it is not one.
    """
    return _decoder.decode(text)


def _of(leg: Leg) -> tuple[str, str, str]:
    return leg.target.provider.name, leg.target.spec.cluster, leg.model
