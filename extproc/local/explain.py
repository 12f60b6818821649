"""``extproc explain``: what the gateway would do with a request, without doing it.

The request goes through an `Exchange` as it would in a worker that has just started, and
what would be sent is shown. Nothing is asked of anybody; credentials are Envoy's to add
and are shown as ``***``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import msgspec

from extproc.config.accounts import accounts
from extproc.config.build import build
from extproc.config.schema import Config
from extproc.exchange import events
from extproc.exchange.commands import Attempt, Command, Reserve, Respond, Route
from extproc.exchange.exchange import Exchange
from extproc.exchange.render import Leg
from extproc.identity import Grant
from extproc.local.prompt_count import PromptCount, count, said
from extproc.policy.claims import Admission, Admitted, Left
from extproc.pricing import show
from extproc.routing.candidates import Passed
from extproc.routing.plan import Plan
from extproc.routing.strategies import likely_cost
from extproc.runtime import Runtime

APIS = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
    "rerank": "/v1/rerank",
}
MASK = "***"
_KEY = "sk-explain"


class NoSuchKey(Exception):
    """The configuration has no key of this name."""


class Try(msgspec.Struct, frozen=True, omit_defaults=True):
    """One attempt of the chain."""

    deployment: str
    provider: str
    group: str
    why: str
    only_if: str
    url: str
    headers: dict[str, str]
    body: msgspec.Raw
    prompt: PromptCount
    dropped: tuple[str, ...] = ()
    key: str = ""
    likely_cost: str | None = None


class NotTried(msgspec.Struct, frozen=True):
    """A target that is not asked."""

    provider: str
    model: str | None
    key: str
    why: str
    detail: str


class Explanation(msgspec.Struct, frozen=True, omit_defaults=True):
    """All of it."""

    model: str
    """As asked for."""
    virtual_model: str | None = None
    strategy: str | None = None
    input_tokens: int | None = None
    """Estimated: what is chosen and reserved by."""
    output_tokens: int | None = None
    """At most, where the request says."""
    attempts: tuple[Try, ...] = ()
    not_tried: tuple[NotTried, ...] = ()
    skipped: tuple[str, ...] = ()
    """Targets whose API cannot say all that the request asks."""
    reserves: tuple[str, ...] = ()
    """What is reserved before it is sent."""
    status: int | None = None
    """Of the gateway's own answer, where nothing is sent."""
    answer: msgspec.Raw | None = None


def explain(
    config: Config,
    request: bytes,
    *,
    api: str = "chat",
    model: str | None = None,
    key: str | None = None,
    headers: dict[str, str] | None = None,
) -> Explanation:
    """Return what would become of `request`, a body for the API of this name.

    Args:
        config: the configuration.
        request: the body.
        api: one of `APIS`.
        model: in place of the body's own.
        key: the id of a key in `config`; None may use everything.
        headers: more that the client sends, such as ``x-extproc-tags``.

    Raises:
        NoSuchKey: there is none of this id.
    """
    if model is not None:
        request = _for(request, model)
    snapshot = build(config, grants=(_anybody(),), generation=1, created=0)
    if key is not None:
        snapshot = msgspec.structs.replace(
            snapshot, grants=(_known(snapshot.grants, key),)
        )
    exchange = Exchange(Runtime.of(snapshot), id="gw-explain", started=0.0, now=0.0)
    head = {
        ":method": "POST",
        ":path": APIS[api],
        "content-type": "application/json",
        **(headers or {}),
        "authorization": f"Bearer {_KEY}",
    }
    commands = exchange.receive(events.RequestHeaders(head, end=False), 0.0)
    commands += exchange.receive(events.RequestBody(request, end=True), 0.0)
    admissions: list[Admission] = []
    while commands and isinstance(last := commands[-1], Reserve):
        admissions.append(last.admission)
        commands = exchange.receive(_admitted(last.admission), 0.0)
    return _explained(config, exchange, commands, admissions)


def lines(found: Explanation) -> Iterator[str]:
    """Yield the explanation as a person reads it."""
    yield f"model {found.model} -> {found.virtual_model or 'none'} ({found.strategy or '-'})"
    if found.input_tokens is not None:
        most = (
            ""
            if found.output_tokens is None
            else f", at most {found.output_tokens} out"
        )
        yield f"about {found.input_tokens} tokens in{most}"
    for no in found.not_tried:
        key = f" key {no.key}" if no.key else ""
        yield f"not tried: {no.provider}/{no.model or '*'}{key}: {no.why} ({no.detail})"
    for what in found.skipped:
        yield f"not tried: {what} cannot be said in its API"
    for what in found.reserves:
        yield f"reserves {what}"
    if found.status is not None:
        yield f"answers {found.status} itself: {bytes(found.answer or b'').decode()}"
    for number, one in enumerate(found.attempts, 1):
        cost = f", likely {one.likely_cost}" if one.likely_cost else ""
        only = f", only if {one.only_if}" if one.only_if else ""
        yield ""
        yield f"{number}. {one.deployment} ({one.group}: {one.why}{only}{cost})"
        yield f"   POST {one.url}"
        for name, value in one.headers.items():
            yield f"   {name}: {value}"
        yield f"   {bytes(one.body).decode()}"
        yield f"   {said(one.prompt)}"
        if one.dropped:
            yield f"   left out: {', '.join(one.dropped)}"


def _explained(
    config: Config,
    exchange: Exchange,
    commands: list[Command],
    admissions: Sequence[Admission],
) -> Explanation:
    plan, tally = exchange.plan, exchange.tally
    found = Explanation(
        model=tally.original_model or "",
        virtual_model=tally.virtual_model,
        skipped=tally.skipped,
        reserves=_reserves(admissions),
    )
    if plan is not None:
        found = msgspec.structs.replace(
            found,
            strategy=plan.model.routing.strategy,
            input_tokens=plan.demand.input_tokens,
            output_tokens=plan.demand.output_tokens,
            not_tried=tuple(map(_not_tried, plan.passed)),
        )
    for command in commands:
        if isinstance(command, Respond):
            return msgspec.structs.replace(
                found, status=command.status, answer=msgspec.Raw(command.body)
            )
        if isinstance(command, Route) and plan is not None:
            tries = zip(exchange.legs, command.chain, strict=True)
            return msgspec.structs.replace(
                found,
                attempts=tuple(
                    _try(config, exchange.runtime, plan, leg, attempt)
                    for leg, attempt in tries
                ),
            )
    return found


def _try(
    config: Config, runtime: Runtime, plan: Plan, leg: Leg, attempt: Attempt
) -> Try:
    spec = leg.target.spec
    _, account = accounts(config)[spec.cluster]
    pick = leg.pick
    assert pick is not None  # noqa: S101  a chain's legs have one
    nanos = likely_cost(pick.candidate, plan.demand, runtime.prices)
    scheme = "https" if account.endpoint.tls else "http"
    refused = {"x": "the prompt is too long", "p": "the prompt is refused"}
    return Try(
        deployment=pick.candidate.health.id,
        provider=spec.provider,
        group=pick.group,
        why=pick.why,
        only_if=refused.get(pick.conditional, ""),
        url=f"{scheme}://{attempt.heading.authority}{attempt.heading.path}",
        headers={
            **dict(attempt.heading.set_headers),
            **account.headers,
            **_credential(config, spec.cluster),
            "content-length": str(len(attempt.body)),
        },
        body=msgspec.Raw(attempt.body),
        prompt=count(account.type, attempt.heading.path, attempt.body),
        dropped=leg.dropped,
        key=spec.placement.key,
        likely_cost=None if nanos is None else f"${show(nanos)}",
    )


def _credential(config: Config, cluster: str) -> dict[str, str]:
    _, account = accounts(config)[cluster]
    kind = account.kind
    if account.api_key is not None:
        return {kind.credential_header: kind.credential_prefix + MASK}
    if kind.aws_service:
        return {"authorization": f"AWS4-HMAC-SHA256 {MASK}"}
    return {"authorization": f"Bearer {MASK}"} if kind.tokens else {}


def _not_tried(passed: Passed) -> NotTried:
    spec = passed.target.spec
    return NotTried(
        spec.provider, spec.model, spec.placement.key, passed.why.value, passed.detail
    )


def _admitted(admission: Admission) -> Admitted:
    """Return what a store would say that nobody has used yet."""
    return Admitted(
        tuple(
            Left(max(0, claim.limit - claim.amount), 0.0) for claim in admission.claims
        )
    )


def _reserves(admissions: Sequence[Admission]) -> tuple[str, ...]:
    return tuple(
        f"${show(claim.amount)} of ${show(claim.limit)} ({claim.subject})"
        if claim.counts == "nanos"
        else f"{claim.amount} of {claim.limit} {claim.counts} ({claim.subject})"
        for admission in admissions
        for claim in admission.claims
    )


def _for(request: bytes, model: str) -> bytes:
    try:
        body = msgspec.json.decode(request, type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError:
        return request  # the gateway says what is wrong with it
    body["model"] = msgspec.Raw(msgspec.json.encode(model))
    return msgspec.json.encode(body)


def _anybody() -> Grant:
    return Grant("explain", hashlib.sha256(_KEY.encode()).hexdigest())


def _known(grants: tuple[Grant, ...], key: str) -> Grant:
    for grant in grants:
        if grant.id == key:
            return msgspec.structs.replace(grant, sha256=_anybody().sha256)
    raise NoSuchKey(key)
