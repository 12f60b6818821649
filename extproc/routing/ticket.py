"""One exchange's account with routing: what it occupies, and what came of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from extproc.routing.health import TRIAL, Health
from extproc.routing.plan import Pick
from extproc.routing.state import RoutingState
from extproc.routing.wait import read_retry_after

Failures = Sequence[tuple[int, str | None]]
"""Status (0: no answer) and retry-after of attempts."""

_NO_ANSWER = 0
_FAILED = frozenset({_NO_ANSWER, 408})
"""As is all from 500 on; 408: the provider was slow."""
_REFUSED_KEY = frozenset({401, 402})


class Ticket:
    """Taken when a chain is sent, given back at the end, whatever that is.

    Envoy does not say which attempt is under way, so that a request counts as in flight at
    its first target until the answer names another. At later ones that have a cap it stands
    by, and counts as far as the one before them fails. Everything but the end is called
    from one thread.
    """

    __slots__ = ("_at", "_picks", "_since", "_state", "_trying", "_wall")

    def __init__(self, state: RoutingState, picks: Sequence[Pick], now: float) -> None:
        self._state = state
        self._picks = picks
        self._since = now
        self._wall: float | None = None
        self._at: Health | None = None
        self._trying: Health | None = None
        state.retries.deposit(state.numbers.retry_share)
        first = picks[0].candidate.health
        if first.half_open and first.phase(now) is TRIAL:
            first.trial = self
            self._trying = first
            state.trials.begin(first.id)
        self._move(first, now)
        if len(picks) > 1:
            self._stand_by()

    def answered(
        self,
        failed: Failures,
        status: int | None,
        retry_after: str | None,
        now: float,
        *,
        wall: float | None = None,
        began: float | None = None,
    ) -> None:
        """Note the attempts: those before the answer, and the one that gave it.

        Args:
            failed: the attempts before.
            status: of the answer; None: the last attempt had none, Envoy answered.
            retry_after: of the answer.
            now: seconds.
            wall: Unix seconds now, for a retry-after that is a date.
            began: when the attempt that answers did, by the clock of `now`; None: not
                known where it is not the first.
        """
        self._wall = wall
        if len(self._picks) > 1:
            self._stand_down()
        if not failed:
            self._note(0, _NO_ANSWER if status is None else status, retry_after, now)
            return
        for index, (said, wait) in enumerate(failed):
            if index:
                self._picks[index].candidate.health.requests.add(1, now)
            self._note(index, said, wait, now)
        last = min(len(failed), len(self._picks) - 1)
        health = self._picks[last].candidate.health
        if last:
            self._leave()
            self._move(health, now)
            self._since = -1.0 if began is None else min(began, now)
        self._note(last, _NO_ANSWER if status is None else status, retry_after, now)
        fruitless = len(failed) - (status is not None and status < 400)
        if fruitless > 0:
            self._state.retries.withdraw(fruitless)

    def first_byte(self, now: float) -> None:
        """Note the first byte of a stream."""
        if self._at is not None and self._since >= 0:
            self._at.measure(now, first_byte=now - self._since)

    def broke(self, now: float) -> None:
        """Note that the answer, well begun, did not come to its end."""
        if self._at is not None:
            self._state.broke(self._at.id, now)

    def end(self, now: float, *, tokens: int = 0, whole: bool = False) -> None:
        """Give everything back; `whole` is whether an unstreamed answer came."""
        health, since = self._at, self._since
        if len(self._picks) > 1:
            self._stand_down()
        if health is not None:
            if tokens:
                health.tokens.add(tokens, now)
            if whole and since >= 0:
                health.measure(now, total=now - since)
            self._leave()

    def _note(
        self, index: int, status: int, retry_after: str | None, now: float
    ) -> None:
        state, candidate = self._state, self._picks[index].candidate
        health, numbers = candidate.health, state.numbers
        until = health.cooling_until
        seconds = None
        if retry_after is not None:
            seconds = read_retry_after(retry_after, self._wall)
        if status == 429:
            health.limited(now, numbers, retry_after=seconds)
        elif status >= 500 or status in _FAILED:
            reason = str(status) if status else "no answer"
            health.failed(now, numbers, reason=reason, retry_after=seconds)
        else:
            if status in _REFUSED_KEY:
                spec = candidate.target.spec
                state.bench(spec.cluster, spec.placement.credential, now)
            # Whatever it says of the request, it is there.
            health.succeeded(now, numbers)
        if health.cooling_until != until:
            state.cooled(health)
        if self._trying is not None:
            self._tried()

    def _tried(self) -> None:
        """Let others try, where the trial was ours and is over."""
        trying = self._trying
        if trying is not None and trying.trial is not self:
            self._trying = None
            self._state.tried(trying)

    def _stand_by(self) -> None:
        """Wait at each pick that has a cap for the one before it to fail."""
        for before, pick in itertools.pairwise(self._picks):
            if pick.candidate.target.spec.placement.max_concurrency is not None:
                waiting = pick.candidate.health.standby
                waiting.setdefault(before.candidate.health, set()).add(self)

    def _stand_down(self) -> None:
        """Wait nowhere any more for those before to fail."""
        for before, pick in itertools.pairwise(self._picks):
            waiting = pick.candidate.health.standby
            place = waiting.get(before.candidate.health)
            if place is not None:
                place.discard(self)
                if not place:
                    waiting.pop(before.candidate.health, None)

    def _move(self, health: Health, now: float) -> None:
        self._at = health
        health.in_flight.add(self)
        health.requests.add(1, now)

    def _leave(self) -> None:
        health, self._at = self._at, None
        if health is not None:
            health.in_flight.discard(self)
            if health.trial is self:
                health.trial = None
        if self._trying is not None:
            self._tried()
