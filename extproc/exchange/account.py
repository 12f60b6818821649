"""One exchange's dealings with limits and money: what it claims, and what it owes.

Before rendering it may have to bound the answer, after it the claims are made; what comes
of them is told to the client; at the end there is a bill. The store is the edge's: here
is only arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from extproc.errors import GatewayError, GatewayFault, UpstreamUnreachable
from extproc.exchange.claiming import (
    claim_money,
    claim_nothing,
    claim_rates,
    find_meters,
    is_hard,
    meters_on,
)
from extproc.exchange.commands import Headers, Settle, Settlement, TopUp
from extproc.exchange.events import ToppedUp
from extproc.exchange.forecast import Forecast, longest
from extproc.exchange.priced import COST_HEADER
from extproc.exchange.refusal import refusal, unchecked
from extproc.exchange.render import Asked, Leg
from extproc.exchange.standby import Standby, deployment, ordinary, without
from extproc.exchange.tally import Tally
from extproc.exchange.told import MOST_OUTPUT, read_end_user
from extproc.framing.members import patch, patched
from extproc.identity import NOBODY, Grant
from extproc.policy.books import Books
from extproc.policy.claims import (
    NOTHING,
    Admission,
    Admitted,
    Claim,
    Denied,
    Left,
    Spent,
    Verdict,
)
from extproc.policy.headers import limit_headers
from extproc.policy.meters import Meters
from extproc.pricing import show
from extproc.runtime import Runtime, VirtualModel
from extproc.usage import Usage


class Account(msgspec.Struct, eq=False):
    """See the module's docstring."""

    _runtime: Runtime
    _tally: Tally
    _books: Books
    _forecast: Forecast
    headers: Headers = ()
    """What the client is told of its limits."""
    admission: Admission | None = None
    """What is claimed of the store, once it is."""
    cut: bool = False
    """Whether a budget has run out and the stream is to end."""
    rest: tuple[Settlement, ...] = ()
    """What is to be charged to deployments that stood by; set by `close`."""
    watches: bool = False
    """Whether a stream that gets long has to have more reserved for it."""
    _standby: Standby | None = None
    """None: nothing stands by."""
    _first: str = ""
    _asking: bool = False
    _charged: int = 0
    """Nano-dollars of a session that are asked for by now."""
    _ends: bool = False
    """Whether what is refused ends it."""
    _more: int = 0
    """Nano-dollars that a top-up asks for."""
    _covered: int = 0
    """Output tokens that are reserved for; 0: as many as there can be."""
    _meters: list[Meters] = []
    _priced: tuple[Usage | None, int | None] = (None, None)
    _aside: Usage | None = None
    """What other models than the session's have used in it, and what that costs."""
    _aside_nanos: int = 0
    _grant: Grant = NOBODY
    _model: str = ""

    def open(self, asked: Asked, grant: Grant, model: VirtualModel) -> Asked:
        """Find the limits that `asked` is under; return it bounded if they need that."""
        self._grant, self._model = grant, model.name
        end_user = read_end_user(asked)
        if end_user:
            self._tally.end_user = end_user
        forecast = self._forecast
        forecast.asked = asked
        if grant.cut_off and asked.stream:
            forecast.cuts = True
        meters = find_meters(self._runtime, grant, end_user=end_user, model=model.name)
        if not meters and not self._runtime.limited:
            return asked
        self._meters = meters
        forecast.learn(self._books.outputs.expected(grant.id, model.name))
        if not meters or not self._must_be_bounded():
            return asked
        most = longest(model)
        name = MOST_OUTPUT[asked.operation.format.name][0]
        changed = {name: msgspec.json.encode(most)}
        forecast.bound(most)
        body = patch(asked.body, asked.members, changed)
        members = patched(asked.members, changed)
        return msgspec.structs.replace(asked, body=body, members=members)

    def forget(self) -> None:
        """Let go of the request's body, of which nothing more is asked."""
        self._forecast.forget()

    def claim(self, legs: tuple[Leg, ...]) -> Admission | None:
        """Return what has to be reserved before `legs` may be tried; None: nothing.

        Raises:
            Forbidden: a model has no price, and the configuration refuses it then.
        """
        if not self._meters and not self._runtime.limited:
            return None
        forecast, of_first = self._forecast, []
        if self._runtime.limited:
            self._first = deployment(legs[0])
            of_first = meters_on(self._runtime, "deployment", self._first)
        meters = self._meters + of_first
        if not meters:
            return None
        money = self._money(self._meters, legs)
        rates = claim_rates(self._meters, forecast)
        if of_first:
            money += self._money(of_first, legs[:1], first=True)
            rates += claim_rates(of_first, forecast, first=True)
        if money and (forecast.cuts or not all(is_hard(subject) for subject in meters)):
            self._covered = forecast.output
            self.watches = self._covered > 0
        self.admission = Admission(self._tally.id, (*rates, *money))
        if money:
            self._tally.reserved = max(claim.amount for claim in money)
        return self.admission

    def look(self, grant: Grant) -> Admission | None:
        """Return what to ask so that an answer of ours can say where the limits stand.

        None: no limit is told of, or a claim has been decided and says it.
        """
        if self.admission is not None or self._tally.admission != "free":
            return None
        meters = self._meters or find_meters(self._runtime, grant)
        if claims := claim_nothing(meters):
            self.admission = Admission(self._tally.id, claims)
        return self.admission

    def looked(self, verdict: Verdict, *, anthropic: bool) -> None:
        """Note where the limits stand; nothing is reserved."""
        if isinstance(verdict, Admitted):
            self._tell(verdict.left, anthropic=anthropic)

    def claim_next(
        self, legs: tuple[Leg, ...], likely: Callable[[tuple[Leg, ...]], int]
    ) -> Admission | None:
        """Return what has to be reserved for another leg to stand by; None: nothing more.

        `likely` says how many after the first will be reached, as things are.

        Raises:
            Forbidden: as `claim`.
        """
        if len(legs) == 1 or not self._runtime.limited:
            return None
        if self._standby is None:
            self._standby = Standby()
        return self._standby.next(self._tally.id, legs, self._claims_of, likely(legs))

    def _claims_of(self, leg: Leg) -> tuple[Claim, ...]:
        meters = meters_on(self._runtime, "deployment", deployment(leg))
        money = self._money(meters, (leg,))
        return (*claim_rates(meters, self._forecast), *money)

    def _money(
        self, meters: list[Meters], legs: tuple[Leg, ...], *, first: bool = False
    ) -> list[Claim]:
        return claim_money(
            meters, self._forecast, legs, runtime=self._runtime, first=first,
            calendar=self._books.calendar, now=self._tally.started,
        )  # fmt: skip

    def admitted(self, verdict: Admitted) -> None:
        """Note that everything is reserved."""
        standby = self._standby
        if standby is not None and standby.asking is not None:
            standby.admitted()
            return
        self._tally.admission = "leased" if verdict.leased else "admitted"
        self._tell(verdict.left, anthropic=self._anthropic)

    def spared(self, verdict: Denied, legs: tuple[Leg, ...]) -> tuple[Leg, ...]:
        """Return the attempts that are left where only a deployment has no room."""
        standby = self._standby
        if standby is not None and standby.asking is not None:
            full = standby.refused()
            left = without(legs, full)
        else:
            claims = () if self.admission is None else self.admission.claims
            if verdict.storeless or not claims or not claims[verdict.claim].first:
                return ()
            full = self._first
            left = without(legs, full)
            if not ordinary(left):
                return ()
        self._tally.skipped += (f"{full.partition('/')[0]}:limit",)
        return left

    def answered(self, legs: tuple[Leg, ...], leg: Leg) -> list[Settle]:
        """Give back what is held where no attempt will be made any more."""
        if self._standby is None or not self._standby.owes:
            return []
        return [Settle(one) for one in self._standby.answered(legs, leg)]

    def denied(self, verdict: Denied) -> GatewayError:
        """Return what the client is told; nothing is reserved."""
        admission, self.admission = self.admission, None
        tally = self._tally
        tally.reserved = None
        if verdict.storeless or admission is None:
            tally.admission = "unavailable"
            return unchecked()
        claim = admission.claims[verdict.claim]
        tally.admission, tally.limit = "denied", claim.name
        told = ((claim, verdict.left),)
        self.headers = limit_headers(told, anthropic=self._anthropic, at=tally.started)
        return refusal(claim, verdict)

    @property
    def cuts(self) -> bool:
        """Whether the key has its streams ended when a budget runs out."""
        return self._forecast.cuts

    @property
    def tells_cost(self) -> bool:
        """Whether the client asked for the cost in its answer's ``usage``."""
        said = self._forecast.asked.headers.get(COST_HEADER)
        return said is not None and said.lower() in {"true", "1"}

    def watch(self, leg: Leg, produced: int) -> TopUp | None:
        """Return what more has to be reserved for a stream that has got so far.

        In steps of what was reserved first, and ahead of time: nothing of the answer
        waits for the store.
        """
        covered = self._covered
        if not self.watches or self._asking or self.admission is None:
            return None
        if produced * 5 < covered * 4:
            return None
        price = self._forecast.price(leg)
        if price is None:
            return None
        self._asking = True
        self._more = self._forecast.more(price, covered)
        return TopUp(self.admission, self._more)

    def charge(self, leg: Leg, usage: Usage | None) -> TopUp | None:
        """Return what has to be reserved for a session that has used so much by now.

        Nothing was for its answers: nobody knew that there would be any. What is refused
        ends it.
        """
        admission = self.admission
        nanos = self.cost(leg, usage)
        if self._asking or admission is None or nanos is None or nanos <= self._charged:
            return None
        if all(claim.counts != "nanos" for claim in admission.claims):
            return None
        self._asking, self._ends = True, True
        self._more, self._charged = nanos - self._charged, nanos
        return TopUp(admission, self._more)

    def note_beside(self, leg: Leg, model: str, usage: Usage) -> None:
        """Note what another `model` has used in the middle of the session at `leg`."""
        self._aside = usage if self._aside is None else self._aside + usage
        price = self._forecast.price(leg, model) if model else None
        if price is not None:
            self._aside_nanos += self._forecast.cost(price, usage)

    def topped_up(self, event: ToppedUp) -> None:
        """Note what came of it: what is refused is not asked for again."""
        if event.granted:
            self._asking = False
            self._tally.reserved = (self._tally.reserved or 0) + self._more
            self._covered += self._forecast.step
        elif self.cuts or self._ends:
            self.cut = True

    def cost(self, leg: Leg, usage: Usage | None) -> int | None:
        """Return what `usage` costs in nano-dollars; None: nobody knows."""
        if usage is None:
            return self._aside_nanos or None
        # Asked for the answer's header, and again for the bill.
        priced, nanos = self._priced
        if usage is not priced:
            price = self._forecast.price(leg)
            nanos = None if price is None else self._forecast.cost(price, usage)
            self._priced = usage, nanos
        return None if nanos is None else nanos + self._aside_nanos

    def report(self, leg: Leg, usage: Usage | None) -> Headers:
        """Return the header that tells what a whole answer costs."""
        nanos = self.cost(leg, usage)
        return () if nanos is None else (("x-extproc-cost", show(nanos)),)

    def close(
        self, leg: Leg | None, error: GatewayError | None, *, produced: int
    ) -> Settlement | None:
        """Bill what was used, and return what is to be charged beside `rest`.

        Args:
            leg: whose answer came or was waited for; None: nothing was sent.
            error: what went wrong.
            produced: output tokens as far as they were seen, of what is `estimated`.
        """
        spent = self._spent(leg, error, produced)
        standby, admission = self._standby, self.admission
        if standby is not None and standby.owes:
            self.rest = tuple(standby.close(leg, spent))
        # Of a verdict that is still awaited too: releasing first wins.
        return None if admission is None else Settlement(admission, spent)

    def _spent(
        self, leg: Leg | None, error: GatewayError | None, produced: int
    ) -> Spent:
        tally = self._tally
        unreached = tally.usage is None and isinstance(
            error, (UpstreamUnreachable, GatewayFault)
        )
        if leg is None or unreached:
            return NOTHING
        if tally.estimated and self._forecast.counts and (error is None or produced):
            tally.usage = self.produced(tally.usage, produced)
        usage = tally.usage
        tally.cost = self.cost(leg, usage)
        if self._aside is not None:
            usage = self._aside if usage is None else usage + self._aside
            tally.usage = usage
        if self.admission is None and self._standby is None:
            return NOTHING  # nobody is to hear of it
        elsewhere = self._first != "" and deployment(leg) != self._first
        claims = () if self.admission is None else self.admission.claims
        charged = [one for one in claims if not (one.first and elsewhere)]
        if self._standby is not None:
            charged += self._standby.claims(leg)
        if charged:
            tally.budgets = tuple(
                (one.meter, one.ends) for one in charged if one.counts == "nanos"
            )
        if usage is None:
            return Spent(elsewhere=elsewhere)
        return Spent(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            nanos=tally.cost or 0,
            elsewhere=elsewhere,
        )

    def produced(self, usage: Usage | None, output: int) -> Usage:
        """Return what an answer that is not whole has used.

        What the provider has reported of it, if anything, may be older than what came.
        """
        if usage is None:
            return Usage(self._forecast.prompt.expected, output)
        most = max(usage.output_tokens, output)
        return msgspec.structs.replace(usage, output_tokens=most)

    def learn(self) -> None:
        """Remember how long the answer was, for the next of its kind."""
        if not self._meters or self._tally.estimated:
            return
        usage = self._tally.usage
        if usage is not None:
            self._books.outputs.learn(self._grant.id, self._model, usage.output_tokens)

    @property
    def _anthropic(self) -> bool:
        return self._forecast.asked.operation.format.name == "anthropic"

    def _must_be_bounded(self) -> bool:
        """Say whether the answer's length has to be set for a reservation to hold."""
        return (
            self._forecast.told.most is None
            and self._forecast.asked.operation.format.name in MOST_OUTPUT
            and not self.cuts
            and any(purse.budget.hard for m in self._meters for purse in m.purses)
        )

    def _tell(self, left: tuple[Left, ...], *, anthropic: bool) -> None:
        # Of what is let in without a store nothing is known.
        if self.admission is not None and left:
            standings = zip(self.admission.claims, left, strict=True)
            at = self._tally.started
            self.headers = limit_headers(standings, anthropic=anthropic, at=at)
