"""What a request may use and cost, before anybody has counted it."""

from __future__ import annotations

from typing import Final

import msgspec

from extproc.exchange.render import UNASKED, Asked, Leg
from extproc.exchange.told import Told, read_tier, read_told
from extproc.formats.base import CHAT
from extproc.policy.estimate import DEFAULT_OUTPUT, Tokens, prompt_tokens
from extproc.pricing import Price, cost, dearest
from extproc.runtime import Runtime, VirtualModel
from extproc.usage import Usage

LEAST_STEP: Final = 200
"""Output tokens: a stream asks the store for more some times a second at most."""

_COSTS_TOKENS: Final = frozenset({CHAT, "text_completion", "embeddings"})


class Forecast(msgspec.Struct, eq=False):
    """Of one request; what has to be read or counted for it is so once, when it is asked."""

    _runtime: Runtime
    asked: Asked = UNASKED
    cuts: bool = False
    """Whether its stream may be ended when money runs out."""
    _known: int | None = None
    _prompt: Tokens | None = None
    _told: Told | None = None
    _tier: str | None = None
    """Of a body that is not held any more."""

    @property
    def told(self) -> Told:
        """What the request says of its own size."""
        if self._told is None:
            self._told = read_told(self.asked)
        return self._told

    def learn(self, known: int | None) -> None:
        """Take `known` as the output tokens that such answers usually have."""
        self._known = known

    def bound(self, most: int) -> None:
        """Take `most` as the output tokens of one choice: the request now says so."""
        self._told = msgspec.structs.replace(self.told, most=most)

    def forget(self) -> None:
        """Let go of the body, having counted what may be asked for later."""
        self._told, self._tier = self.told, self._tier or read_tier(self.asked)
        if self.counts and self._prompt is None:
            self._prompt = prompt_tokens(self.asked.body)
        self.asked = msgspec.structs.replace(self.asked, body=b"", members={})

    @property
    def counts(self) -> bool:
        """Whether the operation costs tokens at all: counting them does not."""
        return self.asked.operation.format.operation in _COSTS_TOKENS

    @property
    def prompt(self) -> Tokens:
        """The tokens of the prompt."""
        if self._prompt is None:
            self._prompt = prompt_tokens(self.asked.body)
        return self._prompt

    @property
    def output(self) -> int:
        """The output tokens that are usual."""
        told = self.told
        if self.asked.operation.format.operation != CHAT:
            return 0
        known = self._known
        if known is None:
            known = DEFAULT_OUTPUT if told.most is None else told.most * told.choices
            # What can be cut off later is let begin with little.
            known = min(known, LEAST_STEP) if self.cuts else known
        return known if told.most is None else min(known, told.most * told.choices)

    @property
    def step(self) -> int:
        """By how many output tokens a stream's reservation grows."""
        return max(self.output, LEAST_STEP)

    def prompt_of(self, counts: str) -> int:
        """Return what the prompt alone takes of a token limit."""
        return 0 if counts == "output_tokens" else self.prompt.expected

    def tokens(self, counts: str) -> int:
        """Return what a token limit reserves."""
        output = 0 if counts == "input_tokens" else self.output
        return self.prompt_of(counts) + output

    def price(self, leg: Leg, model: str | None = None) -> Price | None:
        """Return what the model of `leg`, or another one there, costs; None: nobody knows."""
        spec = leg.target.spec
        return self._runtime.prices.find(spec.provider, spec.type, model or leg.model)

    def cost(self, price: Price, usage: Usage) -> int:
        """Return what `usage` costs, in nano-dollars."""
        tier = None
        if price.variants:
            tier = self._tier or read_tier(self.asked)
        return cost(price, usage, tier=tier)

    def usual(self, price: Price) -> int:
        """Return what such requests cost, in nano-dollars."""
        return self.cost(price, Usage(self.prompt.expected, self.output))

    def more(self, price: Price, covered: int) -> int:
        """Return what a `step` beyond `covered` output tokens costs."""
        prompt = self.prompt.expected
        until = self.cost(price, Usage(prompt, covered + self.step))
        return until - self.cost(price, Usage(prompt, covered))

    def most(self, price: Price, leg: Leg) -> int:
        """Return the most that the request can cost at `leg`, in nano-dollars."""
        output = 0
        if self.asked.operation.format.operation == CHAT:
            spec = leg.target.spec
            most = self.told.most
            if most is None:
                most = spec.placement.abilities.output_tokens or spec.default_max_tokens
            output = most * self.told.choices
        return dearest(price, input_tokens=self.prompt.most, output_tokens=output)


def longest(model: VirtualModel) -> int:
    """Return what no target of `model` answers more than, or what we let them."""
    return max(
        target.spec.placement.abilities.output_tokens or target.spec.default_max_tokens
        for target in model.targets
    )
