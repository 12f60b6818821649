"""What the upstream Lua is to do about each attempt's answer: decided when all are known.

Envoy retries by status alone, and an attempt cannot be skipped. So each rendering carries
the letters of what holds for its attempt, and Lua forces or forbids the next one.
"""

from __future__ import annotations

import msgspec

from extproc.exchange.commands import Attempt
from extproc.exchange.render import Leg
from extproc.routing.plan import FORBIDDEN, TOO_LONG

OTHER_KEY = "k"
"""A later attempt has another key of this provider: 401, 402 and 403 go on to the next."""
LAST = "l"
"""All attempts after this one are for refused prompts: any other failure is the answer."""
CONDITIONAL = "c"
"""Only made where the attempt before it was refused for its prompt."""

# Beside these `TOO_LONG` and `FORBIDDEN`: a later attempt is for prompts that are refused
# so, and an answer that says so goes on to it.
_REFUSALS = (TOO_LONG, FORBIDDEN)


def arm(legs: tuple[Leg, ...]) -> tuple[Attempt, ...]:
    """Return the attempts of `legs`, each with its letters."""
    if len(legs) == 1:
        return (legs[0].attempt,)
    attempts = tuple([leg.attempt for leg in legs])
    conditional = [leg.pick.conditional if leg.pick else "" for leg in legs]
    # Where nobody else can be asked there is no refusal to wait for.
    conditional[0] = ""
    flags = []
    for i, leg in enumerate(legs):
        spec, later = leg.target.spec, legs[i + 1 :]
        letters = CONDITIONAL if conditional[i] else ""
        if any(
            one.target.spec.provider == spec.provider
            and one.target.spec.cluster != spec.cluster
            for one in later
        ):
            letters += OTHER_KEY
        refused = "".join(conditional[i + 1 :])
        letters += "".join(letter for letter in _REFUSALS if letter in refused)
        letters += LAST if later and conditional[i + 1] else ""
        flags.append(letters)
    if not any(flags):
        return attempts
    return tuple(
        msgspec.structs.replace(attempt, flags=letters) if letters else attempt
        for attempt, letters in zip(attempts, flags, strict=True)
    )
