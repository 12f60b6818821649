"""What is known of an exchange when it is sent, so that it can be settled if its worker dies.

The worker writes it down (`extproc.server.notes`), and Envoy carries it as metadata and says
it in its access log, to control only. It holds what the record would say of who asked for
what; no prompt, no answer and no key.
"""

from __future__ import annotations

import functools
from typing import Final

import msgspec

from extproc.exchange.completion import Completion
from extproc.exchange.render import Leg
from extproc.exchange.tally import Tally
from extproc.policy.claims import Admission
from extproc.usage import Usage

WORKER_LOST: Final = "worker_lost"
"""The error of an exchange that was under way when its worker died."""


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
        (_of(legs[0]),) if len(legs) == 1 else tuple([_of(leg) for leg in legs]),
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
    # All requests of a key for a model are alike, but where money is held or a user named.
    alike = slip.reserved is None and slip.end_user is None
    return _write_once(slip) if alike else _write(slip)


def _write(slip: Slip) -> str:
    return _encoder.encode(slip).decode()


_write_once = functools.lru_cache(maxsize=1_000)(_write)


def read_slip(text: str) -> Slip:
    """Read what `write_slip` wrote.

    Raises:
        msgspec.DecodeError: it is not one.
    """
    return _decoder.decode(text)


def lost_with_worker(
    slip: Slip,
    *,
    id: str,  # noqa: A002  gw.id
    request_id: str | None,
    started: float,
    duration: float,
    request_bytes: int,
    attempts: int = 1,
) -> Completion:
    """Return the record that a worker did not live to make.

    What came of it is not known: all that was held for it is charged. Of nothing that was
    held it has no cost.
    """
    usage = cost = None
    provider = cluster = model = None
    if slip.legs and attempts:
        provider, cluster, model = slip.legs[min(attempts, len(slip.legs)) - 1]
        usage = Usage(request_bytes // 4 + 1, 0)
        cost = slip.reserved
    return Completion(
        id=id,
        request_id=request_id,
        operation=slip.operation,
        started=started,
        duration=duration,
        outcome="gateway_error",
        status=0,
        error=WORKER_LOST,
        key=slip.key,
        original_model=slip.original_model,
        virtual_model=slip.virtual_model,
        request_model=model,
        provider=provider,
        cluster=cluster,
        attempts=attempts,
        streamed=slip.streamed,
        usage=usage,
        estimated=True,
        request_bytes=request_bytes,
        admission="free" if slip.reserved is None else "admitted",
        reserved=slip.reserved,
        cost=cost,
        budgets=slip.budgets if cost is not None else (),
        organization=slip.organization,
        team=slip.team,
        user=slip.user,
        end_user=slip.end_user,
        tags=slip.tags,
    )


def _of(leg: Leg) -> tuple[str, str, str]:
    return leg.target.provider.name, leg.target.spec.cluster, leg.model
