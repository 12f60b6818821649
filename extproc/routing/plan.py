"""From a virtual model and a request to the ordered chain of attempts, with reasons."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from extproc.errors import BadRequest, GatewayError, Overloaded, UpstreamLimited
from extproc.routing.candidates import (
    Choice,
    Passed,
    Why,
    choose,
    consider,
    soonest,
)
from extproc.routing.demand import Demand
from extproc.routing.health import TRIAL, Phase
from extproc.routing.retry import SHORT_CHAIN
from extproc.routing.rules import follow
from extproc.routing.state import RoutingState
from extproc.routing.strategies import Candidate, Turn
from extproc.runtime import MAX_ATTEMPTS, Runtime, VirtualModel

KEY_REFUSED = "last resort: key refused"
"""Of all of a chain's attempts, where it is of one."""

TOO_LONG = "x"
FORBIDDEN = "p"
"""Why a prompt was refused, as `Pick.conditional` says it."""


class Pick(msgspec.Struct, frozen=True):
    """One attempt of a chain."""

    candidate: Candidate
    group: str
    """The virtual model that it belongs to: the one asked for, or a fallback."""
    why: str
    conditional: str = ""
    """Made only where the attempt before it was refused for its prompt: ``x`` its length,
    ``p`` its content."""


class Plan(msgspec.Struct, frozen=True):
    """What will be tried, and what will not."""

    model: VirtualModel
    """After all rules."""
    picks: tuple[Pick, ...]
    spare: tuple[Pick, ...]
    """For the place of a pick whose API cannot say what the request asks."""
    passed: tuple[Passed, ...]
    demand: Demand


def plan(
    runtime: Runtime,
    model: VirtualModel,
    asked: str,
    *,
    demand: Demand,
    state: RoutingState,
    now: float,
) -> Plan:
    """Return the chain of attempts for a request.

    Args:
        runtime: the configuration.
        model: what `asked` means in it.
        asked: the original model.
        demand: the request.
        state: what is known of deployments; turns taken are noted in it.
        now: seconds, of the clock that `state` was told of outcomes in.

    Raises:
        BadRequest: no target could do what the request asks.
        UpstreamLimited: all that could have said when to come back.
        Overloaded: all that could are as busy as they may be.
    """
    if model.routing.rules:
        model = follow(runtime, model, demand)
    routing = model.routing

    turn = Turn(demand, state, now, runtime.prices)
    if model.only is not None:
        candidate, no = consider(model.only, asked, turn, tagged=model.tagged)
        if no is None:
            # Most requests: there is one way, and it is open.
            pick = Pick(candidate, model.name, routing.strategy)
            return Plan(model, (pick,), (), (), demand)

    first = choose(model, asked, turn)
    behind = msgspec.structs.replace(turn, behind=model.name)
    known: dict[str, Choice] = {}

    def chosen(names: Iterable[str]) -> list[Choice]:
        for name in names:
            if name not in known and (group := runtime.group(name)) is not None:
                known[name] = choose(group, name, behind)
        return [known[name] for name in names if name in known]

    others = chosen(routing.fallbacks)
    longer = chosen(routing.context_fallbacks)
    refused = {TOO_LONG: longer, FORBIDDEN: chosen(routing.content_fallbacks)}
    if _is_too_long(first):
        # No need to hear it from a provider.
        others = [*longer, *others]
    most = min(MAX_ATTEMPTS, state.numbers.attempts)
    picks = _chain(
        first,
        others,
        refused,
        most=most,
        spent=state.retries.spent,
        how=routing.strategy,
    )
    picks = _trials_last(picks, state, now) if picks else picks
    spare = _spare(first, others, picks, routing.strategy)
    passed = tuple(one for choice in (first, *others) for one in choice.passed)
    if not picks:
        raise _nothing_left(asked, passed)
    return Plan(model, picks, spare, passed, demand)


def _is_too_long(choice: Choice) -> bool:
    return not choice.able and any(
        one.detail == "context_tokens" for one in choice.passed
    )


class _Chain:
    """Attempts in order, none of them twice."""

    def __init__(self) -> None:
        self.picks: list[Pick] = []
        self._seen: set[str] = set()

    def add(
        self,
        choices: Iterable[Choice],
        of: str,
        why: str,
        *,
        limit: int,
        conditional: str = "",
    ) -> None:
        """Add the candidates that the field `of` of these choices names, up to `limit`."""
        for choice in choices:
            found: tuple[Candidate, ...] = getattr(choice, of)
            for candidate in found:
                if len(self.picks) >= limit or candidate.health.id in self._seen:
                    continue
                self._seen.add(candidate.health.id)
                self.picks.append(Pick(candidate, choice.model.name, why, conditional))


def _chain(
    first: Choice,
    others: list[Choice],
    refused: dict[str, list[Choice]],
    *,
    most: int,
    spent: bool,
    how: str,
) -> tuple[Pick, ...]:
    chain = _Chain()
    # What is for refused prompts only has a place each, for it is named on purpose.
    named = sum(any(one.able for one in choices) for choices in refused.values())
    limit = max(1, most - named)
    if spent:
        limit = min(limit, SHORT_CHAIN)
    # So has a fallback: it stands for the case that all of a model's targets are away.
    kept = 1 if any(choice.able for choice in others) and limit > 1 else 0
    chain.add([first], "able", how, limit=limit - kept)
    chain.add(others, "able", "fallback", limit=limit)
    if not (spent and chain.picks):
        everything = [first, *others]
        chain.add(everything, "cooling", "last resort: cooling down", limit=limit)
        if not chain.picks:
            chain.add(everything, "benched", KEY_REFUSED, limit=limit)
    for letter, choices in refused.items() if chain.picks else ():
        why = "where a prompt is refused"
        room = min(most, len(chain.picks) + 1)
        chain.add(choices, "able", why, limit=room, conditional=letter)
    return tuple(chain.picks)


def _trials_last(
    picks: tuple[Pick, ...], state: RoutingState, now: float
) -> tuple[Pick, ...]:
    """Put what is to be tried behind what needs no trial.

    But for the first, if this request may be its trial: only there it is known to be one.
    """
    phases = [pick.candidate.health.phase(now) for pick in picks]
    if TRIAL not in phases or picks[0].why == KEY_REFUSED:
        return picks
    begins = 0
    if phases[0] is TRIAL:
        begins = int(state.may_try(picks[0].candidate.health, now))

    def behind(i: int) -> int:
        return _CONDITIONAL if picks[i].conditional else phases[i]

    order = [*range(begins), *sorted(range(begins, len(picks)), key=behind)]
    if order == list(range(len(picks))):
        return picks
    return tuple(
        msgspec.structs.replace(picks[i], why=_TRIED[i == 0])
        if i >= begins and phases[i] is TRIAL and not picks[i].conditional
        else picks[i]
        for i in order
    )


_CONDITIONAL = max(Phase) + 1
_TRIED = (
    "last resort: to be tried by a request of its own",
    "last resort: another worker tries it",
)


def _spare(
    first: Choice, others: list[Choice], picks: tuple[Pick, ...], how: str
) -> tuple[Pick, ...]:
    """Return the able candidates that had no place in the chain."""
    seen = {pick.candidate.health.id for pick in picks}
    return tuple(
        Pick(candidate, choice.model.name, how if choice is first else "fallback")
        for choice in (first, *others)
        for candidate in choice.able
        if candidate.health.id not in seen
    )


def _nothing_left(asked: str, passed: tuple[Passed, ...]) -> GatewayError:
    """Say why a request cannot be served at all."""
    name = asked[:200]
    limited = [one for one in passed if one.why is Why.LIMITED]
    busy = [one for one in passed if one.why is Why.BUSY]
    if busy:
        return Overloaded(
            f"Every target of the model {name!r} is busy; try again.",
            code="target_busy",
            retry_after=str(soonest(busy)),
        )
    if limited:
        return UpstreamLimited(
            f"Every target of the model {name!r} is at its rate limit.",
            retry_after=str(soonest(limited)),
        )
    if passed and all(one.detail == "context_tokens" for one in passed):
        return BadRequest(
            f"The prompt and the answer asked for are too long for every target of the "
            f"model {name!r}.",
            code="context_length_exceeded",
            param="messages",
        )
    details = dict.fromkeys(
        f"{one.target.spec.provider} ({_LACKS.get(one.detail, 'not of this kind')})"
        for one in passed
    )
    return BadRequest(
        f"No target of the model {name!r} can serve this request: {', '.join(details)}.",
        code="unsupported_capability",
        param=_PARAMS.get(passed[0].detail, "model") if passed else "model",
    )


_LACKS = {
    "context_tokens": "too long for it",
    "output_tokens": "gives shorter answers",
    "tools": "takes no tools",
    "vision": "takes no pictures",
    "documents": "takes no documents",
    "audio": "takes no audio",
    "json_schema": "takes no JSON schema",
    "streaming": "does not stream",
    "tags": "does not have the tags",
    "region": "is in another region",
}
_PARAMS = {
    "tools": "tools",
    "streaming": "stream",
    "json_schema": "response_format",
    "output_tokens": "max_tokens",
    "tags": "x-extproc-tags",
    "region": "x-extproc-region",
    **dict.fromkeys(("vision", "documents", "audio", "context_tokens"), "messages"),
}
