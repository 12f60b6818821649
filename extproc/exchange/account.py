"""One exchange's dealings with limits and money: what it claims, and what it owes.

Before rendering it may have to bound the answer, after it the claims are made; what comes
of them is told to the client; at the end there is a bill. The store is the edge's: here
is only arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from extproc.errors import (
    BudgetReached,
    Forbidden,
    GatewayError,
    GatewayFault,
    LimitReached,
    Overloaded,
    UpstreamUnreachable,
)
from extproc.exchange.commands import Headers, Settlement, TopUp
from extproc.exchange.events import ToppedUp
from extproc.exchange.render import Asked, Leg
from extproc.exchange.tally import Tally
from extproc.formats.base import CHAT
from extproc.framing.members import Members, patch
from extproc.identity import Grant, Kind
from extproc.policy.books import Books
from extproc.policy.claims import (
    NOTHING,
    Admission,
    Admitted,
    Claim,
    Denied,
    Left,
    Spent,
)
from extproc.policy.estimate import DEFAULT_OUTPUT, Tokens, prompt_tokens
from extproc.policy.headers import limit_headers
from extproc.policy.meters import Meters, meters_of
from extproc.pricing import Price, cost, dearest, show
from extproc.runtime import END_USER_HEADER, Runtime, VirtualModel
from extproc.usage import Usage

_MOST_OUTPUT = {
    "openai_chat": ("max_completion_tokens", "max_tokens"),
    "openai_completions": ("max_tokens",),
    "openai_responses": ("max_output_tokens",),
    "anthropic": ("max_tokens",),
}
"""What bounds an answer, by client format; the first is what we set."""

_UNITS = {
    "requests": "requests",
    "total_tokens": "tokens",
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
}
_WINDOWS = {60: "minute", 3600: "hour", 86_400: "day"}


class _Told(msgspec.Struct, frozen=True):
    """The few members that a reservation depends on; other types are others' to judge."""

    most: int | None = None
    choices: int = 1
    tier: str | None = None


class Account:
    """See the module's docstring.

    Attributes:
        headers: what the client is told of its limits.
        admission: what is claimed of the store, once it is.
        cut: whether a budget has run out and the stream is to end.
    """

    __slots__ = (
        "_asked", "_asking", "_books", "_covered", "_end_user", "_grant", "_held", "_legs", "_meters", "_model",
        "_prompt", "_runtime", "_tally", "_told", "admission", "cut", "headers",
    )  # fmt: skip

    def __init__(self, runtime: Runtime, tally: Tally, books: Books) -> None:
        self.headers: Headers = ()
        self.admission: Admission | None = None
        self._runtime = runtime
        self._tally = tally
        self._books = books
        self._held = False
        self.cut = False
        self._asking = False
        self._covered = 0
        """Output tokens that are reserved for; 0: as many as there can be."""
        self._meters: list[Meters] = []
        self._told = _Told()
        self._prompt: Tokens | None = None
        self._legs: tuple[Leg, ...] = ()

    def open(self, asked: Asked, grant: Grant, model: VirtualModel) -> Asked:
        """Find the limits that `asked` is under; return it bounded if they need that."""
        self._asked, self._grant, self._model = asked, grant, model.name
        self._end_user = _end_user(asked)
        tally = self._tally
        if grant.organization or grant.team or grant.user:
            tally.organization, tally.team = grant.organization, grant.team
            tally.user = grant.user
        if self._end_user:
            tally.end_user = self._end_user
        if grant.tags:
            tally.tags = grant.tags
        self._meters = self._find(grant, model)
        self._told = _told(asked)
        if not self._must_be_bounded():
            return asked
        most = _longest(model)
        name = _MOST_OUTPUT[asked.operation.format.name][0]
        changed = {name: msgspec.json.encode(most)}
        self._told = msgspec.structs.replace(self._told, most=most)
        body = patch(asked.body, asked.members, changed)
        members = {**asked.members, name: msgspec.Raw(changed[name])}
        return msgspec.structs.replace(asked, body=body, members=members)

    def claim(self, legs: tuple[Leg, ...]) -> Admission | None:
        """Return what has to be reserved before `legs` may be tried; None: nothing.

        Raises:
            Forbidden: a model has no price, and the configuration refuses it then.
        """
        self._legs = legs
        first = legs[0]
        deployment = f"{first.target.spec.provider}/{first.model}"
        meters = self._meters + self._of("deployment", deployment)
        if not meters:
            return None
        claims: list[Claim] = []
        for subject in meters:
            for limit in subject.limits:
                if limit.counts in {"requests", "running"}:
                    amount = 1
                else:
                    amount = min(limit.limit, self._tokens(limit.counts))
                    amount = max(amount, self._prompt_of(limit.counts))
                claims.append(
                    Claim(
                        limit.meter, limit.counts, limit.limit, amount,
                        seconds=limit.seconds, subject=limit.subject,
                    )
                )  # fmt: skip
        claims += self._money(meters)
        self.admission = Admission(self._tally.id, tuple(claims))
        return self.admission

    def admitted(self, verdict: Admitted) -> None:
        """Note that everything is reserved."""
        self._held = True
        self._tell(verdict.left)

    def denied(self, verdict: Denied) -> GatewayError:
        """Return what the client is told; nothing is reserved."""
        admission, self.admission = self.admission, None
        if verdict.storeless or admission is None:
            return Overloaded(
                "Limits and budgets cannot be checked now; try again.",
                code="limits_unavailable",
                retry_after="1",
            )
        claim = admission.claims[verdict.claim]
        self.headers = limit_headers(
            ((claim, verdict.left),), anthropic=self._anthropic, at=self._tally.started
        )
        return _refusal(claim, verdict)

    @property
    def cuts(self) -> bool:
        """Whether the key has its streams ended when a budget runs out."""
        return self._grant.cut_off and self._asked.stream

    def watch(self, leg: Leg, produced: int) -> TopUp | None:
        """Return what more has to be reserved for a stream that has got so far.

        In steps of what was reserved first, and ahead of time: nothing of the answer
        waits for the store.
        """
        covered = self._covered
        if not covered or self._asking or self.admission is None:
            return None
        if produced * 5 < covered * 4:
            return None
        price = self.price(leg)
        if price is None:
            return None
        step = max(self._usual_output(), _LEAST_STEP)
        prompt, tier = self._prompt_tokens().expected, self._told.tier
        nanos = cost(price, Usage(prompt, covered + step), tier=tier) - cost(
            price, Usage(prompt, covered), tier=tier
        )
        self._asking = True
        return TopUp(self.admission, nanos)

    def topped_up(self, event: ToppedUp) -> None:
        """Note what came of it: what is refused is not asked for again."""
        if event.granted:
            self._asking = False
            self._covered += max(self._usual_output(), _LEAST_STEP)
        elif self.cuts:
            self.cut = True

    def price(self, leg: Leg) -> Price | None:
        """Return what the model of `leg` costs."""
        spec = leg.target.spec
        return self._runtime.prices.find(spec.provider, spec.type, leg.model)

    def cost(self, leg: Leg, usage: Usage | None) -> int | None:
        """Return what `usage` costs in nano-dollars; None: nobody knows."""
        price = self.price(leg)
        if price is None or usage is None:
            return None
        return cost(price, usage, tier=self._told.tier)

    def report(self, leg: Leg, usage: Usage | None) -> Headers:
        """Return the header that tells what a whole answer costs."""
        nanos = self.cost(leg, usage)
        return () if nanos is None else (("x-extproc-cost", show(nanos)),)

    def close(
        self, leg: Leg | None, error: GatewayError | None, *, produced: int
    ) -> Settlement | None:
        """Bill what was used, and return what is to be charged.

        Args:
            leg: whose answer came or was waited for; None: nothing was sent.
            error: what went wrong.
            produced: output tokens as far as they were seen, where nobody counted them.
        """
        tally, admission = self._tally, self.admission
        unreached = isinstance(error, (UpstreamUnreachable, GatewayFault))
        if leg is None or (unreached and tally.usage is None):
            # Of a verdict that is still awaited too: releasing first wins.
            return Settlement(admission, NOTHING) if admission is not None else None
        if tally.estimated and self._counts and (error is None or produced):
            tally.usage = self.produced(tally.usage, produced)
        usage = tally.usage
        tally.cost = self.cost(leg, usage) if usage is not None else None
        if admission is None:
            return None
        tally.budgets = tuple(
            (c.meter, c.ends) for c in admission.claims if c.counts == "nanos"
        )
        if usage is None:
            return Settlement(admission, Spent())
        spent = Spent(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            nanos=tally.cost or 0,
        )
        return Settlement(admission, spent)

    def produced(self, usage: Usage | None, output: int) -> Usage:
        """Return what an answer that is not whole has used.

        What the provider has reported of it, if anything, may be older than what came.
        """
        if usage is None:
            return Usage(self._prompt_tokens().expected, output)
        most = max(usage.output_tokens, output)
        return msgspec.structs.replace(usage, output_tokens=most)

    def learn(self) -> None:
        """Remember how long the answer was, for the next of its kind."""
        usage = self._tally.usage
        if usage is not None and self._meters and not self._tally.estimated:
            self._books.outputs.learn(self._grant.id, self._model, usage.output_tokens)

    @property
    def _anthropic(self) -> bool:
        return self._asked.operation.format.name == "anthropic"

    @property
    def _counts(self) -> bool:
        """Whether the operation costs tokens at all: counting them does not."""
        return self._asked.operation.format.operation in _COSTS_TOKENS

    def _find(self, grant: Grant, model: VirtualModel) -> list[Meters]:
        out = self._of("global", "")
        for kind, name in (
            ("organization", grant.organization),
            ("team", grant.team),
            ("user", grant.user),
        ):
            if name is not None:
                out += self._of(kind, name)  # type: ignore[arg-type]
        if grant.allowance:
            out.append(meters_of("key", grant.id, grant.allowance))
        if self._end_user:
            out += self._of("end_user", self._end_user)
        return out + self._of("model", model.name)

    def _of(self, kind: Kind, name: str) -> list[Meters]:
        subject = self._runtime.subject(kind, name)
        if subject is None or not subject.allowance:
            return []
        return [meters_of(kind, name, subject.allowance)]

    def _must_be_bounded(self) -> bool:
        """Say whether the answer's length has to be set for a reservation to hold."""
        return (
            self._told.most is None
            and self._asked.operation.format.name in _MOST_OUTPUT
            and not self.cuts
            and any(purse.budget.hard for m in self._meters for purse in m.purses)
        )

    def _prompt_tokens(self) -> Tokens:
        if self._prompt is None:
            self._prompt = prompt_tokens(self._asked.body)
        return self._prompt

    def _prompt_of(self, counts: str) -> int:
        """Return what the prompt alone takes of a token limit."""
        return 0 if counts == "output_tokens" else self._prompt_tokens().expected

    def _tokens(self, counts: str) -> int:
        """Return what a token limit reserves."""
        output = 0 if counts == "input_tokens" else self._usual_output()
        return self._prompt_of(counts) + output

    def _usual_output(self) -> int:
        told = self._told
        if self._asked.operation.format.operation != CHAT:
            return 0
        known = self._books.outputs.expected(self._grant.id, self._model)
        if known is None:
            known = DEFAULT_OUTPUT if told.most is None else told.most * told.choices
            # What can be cut off later is let begin with little.
            known = min(known, _LEAST_STEP) if self.cuts else known
        return known if told.most is None else min(known, told.most * told.choices)

    def _money(self, meters: list[Meters]) -> list[Claim]:
        purses = [purse for subject in meters for purse in subject.purses]
        if not purses:
            return []
        runtime, now = self._runtime, self._tally.started
        prices = [(leg, self.price(leg)) for leg in self._legs]
        if runtime.accounting.unpriced == "refuse" and self._counts:
            for leg, price in prices:
                if price is None:
                    raise Forbidden(
                        f"The model {leg.model!r} has no price and may not be used "
                        "where there is a budget.",
                        code="model_not_priced",
                        param="model",
                    )
        usual = most = 0
        for leg, price in prices:
            if price is not None:
                usual = max(usual, self._usual(price))
                most = max(most, self._most(price, leg))
        claims = []
        if any(not purse.budget.hard for purse in purses) or self.cuts:
            self._covered = self._usual_output()
        for purse in purses:
            start, end = self._books.calendar.period(purse.budget, runtime.zones, now)
            hard = purse.budget.hard and not self.cuts
            claims.append(
                Claim(
                    f"{purse.meter}{start}", "nanos", purse.budget.nanos,
                    most if hard else usual, ends=end, subject=purse.subject,
                )
            )  # fmt: skip
        return claims

    def _usual(self, price: Price) -> int:
        usage = Usage(self._prompt_tokens().expected, self._usual_output())
        return cost(price, usage, tier=self._told.tier)

    def _most(self, price: Price, leg: Leg) -> int:
        output = 0
        if self._asked.operation.format.operation == CHAT:
            spec = leg.target.spec
            most = self._told.most
            if most is None:
                most = spec.placement.abilities.output_tokens or spec.default_max_tokens
            output = most * self._told.choices
        prompt = self._prompt_tokens().most
        return dearest(price, input_tokens=prompt, output_tokens=output)

    def _tell(self, left: tuple[Left, ...]) -> None:
        if self.admission is not None:
            self.headers = limit_headers(
                zip(self.admission.claims, left, strict=True),
                anthropic=self._anthropic,
                at=self._tally.started,
            )


_LEAST_STEP = 200
"""Output tokens: a stream asks the store for more some times a second at most."""

_COSTS_TOKENS = frozenset({CHAT, "text_completion", "embeddings"})


def _longest(model: VirtualModel) -> int:
    """Return what no target of `model` answers more than, or what we let them."""
    return max(
        target.spec.placement.abilities.output_tokens or target.spec.default_max_tokens
        for target in model.targets
    )


def _told(asked: Asked) -> _Told:
    members = asked.members
    most = None
    for name in _MOST_OUTPUT.get(asked.operation.format.name, ()):
        if name in members:
            most = _whole(members[name])
            break
    choices = max(_number(members, "n"), _number(members, "best_of"), 1)
    tier = _text(members, "service_tier")
    return _Told(most, choices, tier)


def _end_user(asked: Asked) -> str:
    members = asked.members
    named = _text(members, "user") or _text(members, "safety_identifier")
    if named is None and "metadata" in members:
        try:
            said = msgspec.json.decode(members["metadata"], type=_Metadata)
        except msgspec.MsgspecError:
            pass
        else:
            named = said.user_id
    return (named or asked.headers.get(END_USER_HEADER, ""))[:256]


class _Metadata(msgspec.Struct, frozen=True):
    user_id: str | None = None


def _number(members: Members, name: str) -> int:
    return (_whole(members[name]) if name in members else None) or 1


def _whole(raw: msgspec.Raw) -> int | None:
    try:
        return msgspec.json.decode(raw, type=int | None)
    except msgspec.MsgspecError:
        return None


def _text(members: Mapping[str, msgspec.Raw], name: str) -> str | None:
    if name not in members:
        return None
    try:
        return msgspec.json.decode(members[name], type=str | None) or None
    except msgspec.MsgspecError:
        return None


def _refusal(claim: Claim, verdict: Denied) -> GatewayError:
    wait = verdict.retry_after
    retry_after = None if wait is None else str(max(1, math.ceil(wait)))
    if claim.counts == "running":
        return LimitReached(
            f"{claim.limit} requests of {claim.subject} are under way, which is the "
            "limit; try again when one has ended.",
            code="concurrency_limit_exceeded",
            type="requests",
            retry_after=retry_after,
        )
    if claim.counts == "nanos":
        return _broke(claim, verdict, retry_after)
    unit, window = _UNITS[claim.counts], _WINDOWS.get(claim.seconds, "window")
    kind = "requests" if claim.counts == "requests" else "tokens"
    if wait is None:
        return LimitReached(
            f"This request needs some {claim.amount} {unit}, and {claim.subject} may use "
            f"{claim.limit} in a {window}.",
            type=kind,
        )
    return LimitReached(
        f"Rate limit reached for {claim.subject}: {claim.limit} {unit} in a {window}, "
        f"{verdict.left.remaining} left. Try again in {retry_after} s.",
        type=kind,
        retry_after=retry_after,
    )


def _broke(claim: Claim, verdict: Denied, retry_after: str | None) -> GatewayError:
    if verdict.waiting:
        return LimitReached(
            f"What is left of the budget of {claim.subject} is reserved by requests that "
            "are under way; try again when one has ended.",
            code="budget_reserved",
            type="requests",
            retry_after=retry_after,
        )
    return BudgetReached(
        f"The budget of {claim.subject} is used up: ${show(verdict.left.remaining)} of "
        f"${show(claim.limit)} are left, and this request may cost "
        f"${show(claim.amount)}.",
        retry_after=None,
    )
