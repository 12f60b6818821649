"""What a feature's answer must be like: each check raises `Wrong` in words of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from extproc.local.conformance.heard import Finish, Heard, leaves
from extproc.local.conformance.prompts import Json

Check = Callable[[Heard], None]


class Wrong(Exception):
    """The answer is not what the feature promises."""


class NotCarried(Wrong):
    """The provider was never told of it."""


def ok(heard: Heard) -> None:
    """Expect an answer in order."""
    if heard.status != 200 or heard.error:
        raise Wrong(f"an error with status {heard.status}: {heard.error}")
    if not heard.ended:
        raise Wrong("the stream has no last event")


def says(*words: str, finish: Finish = "stop") -> Check:
    """Expect words in the answer, and why it ended."""

    def check(heard: Heard) -> None:
        ok(heard)
        for word in words:
            if word not in heard.text:
                raise Wrong(f"{word!r} is not in the answer {heard.text!r}")
        if heard.finish != finish:
            raise Wrong(f"it ended for {heard.finish!r}, not {finish!r}")

    return check


def speaks(heard: Heard) -> None:
    """Expect words of any kind, said to their end."""
    says()(heard)
    if not heard.text.strip():
        raise Wrong("it said nothing")


def called(*names: str) -> Check:
    """Expect calls of some of these tools, and of no others; a model decides itself."""

    def check(heard: Heard) -> None:
        ok(heard)
        made = [one.name for one in heard.calls]
        if not made or not set(made) <= set(names):
            raise Wrong(f"it called {made!r}")
        if not all(isinstance(_json(one.arguments), dict) for one in heard.calls):
            raise Wrong("the arguments are no object")
        if len({one.id for one in heard.calls}) != len(made):
            raise Wrong("the calls share an id")
        if heard.finish != "tools":
            raise Wrong(f"it ended for {heard.finish!r}, not for its calls")

    return check


def cut_off(heard: Heard) -> None:
    """Expect an answer that the limit of tokens ended."""
    says(finish="length")(heard)


def marks_a_prefix(heard: Heard) -> None:
    """Expect the breakpoint sent; whether a short prompt is cached is the provider's."""
    counts(heard)
    _carries_breakpoint(heard)


def calls(*wanted: tuple[str, str]) -> Check:
    """Expect these calls, in this order: names, and arguments as JSON."""

    def check(heard: Heard) -> None:
        ok(heard)
        made = [(one.name, _json(one.arguments)) for one in heard.calls]
        if made != [(name, _json(arguments)) for name, arguments in wanted]:
            raise Wrong(f"it called {made!r}")
        if len({one.id for one in heard.calls}) != len(wanted):
            raise Wrong("the calls share an id")
        if heard.finish != "tools":
            raise Wrong(f"it ended for {heard.finish!r}, not for its calls")

    return check


def calls_nothing(heard: Heard) -> None:
    """Expect words only."""
    says("You said")(heard)
    if heard.calls:
        raise Wrong("it called a tool")


def carries(value: object, then: Check) -> Check:
    """Expect that the provider was sent this value, inside a text or by itself."""

    def check(heard: Heard) -> None:
        then(heard)
        for leaf in leaves(heard.sent):
            if leaf == value or (
                isinstance(leaf, str) and isinstance(value, str) and value in leaf
            ):
                return
        raise NotCarried(f"the provider was not sent {value!r}")

    return check


def asks_to_cite(then: Check) -> Check:
    """Expect that the provider was told to cite what it is given."""

    def check(heard: Heard) -> None:
        then(heard)
        if "citations" not in set(leaves(heard.sent)):
            raise NotCarried("the provider was not asked to cite")

    return check


def cites(source: str, words: str, then: Check) -> Check:
    """Expect that the words rest on this source; empty: on any."""

    def check(heard: Heard) -> None:
        then(heard)
        if not any(
            source in one.source and words in one.words and one.words in heard.text
            for one in heard.cited
        ):
            raise Wrong(f"it cites {heard.cited!r}")

    return check


def is_json(*keys: str) -> Check:
    """Expect a JSON object with these keys for an answer."""

    def check(heard: Heard) -> None:
        ok(heard)
        found = _json(heard.text)
        if not isinstance(found, dict) or not set(keys) <= found.keys():
            raise Wrong(f"the answer is no such object: {heard.text!r}")

    return check


def stops_before(word: str) -> Check:
    """Expect an answer that was cut before this word."""

    def check(heard: Heard) -> None:
        says()(heard)
        if not heard.text or word in heard.text:
            raise Wrong(f"it went on to {heard.text!r}")

    return check


def counts(heard: Heard) -> None:
    """Expect the tokens of question and answer."""
    ok(heard)
    if heard.counts is None or not (heard.counts.input and heard.counts.output):
        raise Wrong(f"it counted {heard.counts!r}")


def caches(tokens: int) -> Check:
    """Expect the cached tokens counted, and the breakpoint sent."""

    def check(heard: Heard) -> None:
        counts(heard)
        if heard.counts is None or heard.counts.cached != tokens:
            raise Wrong(f"it counted {heard.counts!r}, not {tokens} cached")
        _carries_breakpoint(heard)

    return check


def _carries_breakpoint(heard: Heard) -> None:
    words = {"cache_control", "cachePoint", "prompt_cache_breakpoint"}
    if not words & {leaf for leaf in leaves(heard.sent) if isinstance(leaf, str)}:
        raise NotCarried("the provider was not sent the breakpoint")


def thinks(heard: Heard) -> None:
    """Expect the thoughts where the provider shows them, else that they were asked for."""
    ok(heard)
    if heard.proofs and not heard.thinking:
        raise Wrong("the thoughts of the provider were not shown")
    asked = heard.thinking or "reasoning_effort" in set(leaves(heard.sent))
    if not heard.proofs and not asked:
        raise NotCarried("the provider was not asked to think")


def proves(first: Heard) -> Check:
    """Expect that the provider got back every proof of reasoning that it gave."""

    def check(heard: Heard) -> None:
        speaks(heard)
        sent = {leaf for leaf in leaves(heard.sent) if isinstance(leaf, str)}
        for proof in first.proofs:
            if proof not in sent:
                raise Wrong(f"the proof {proof[:12]}… did not come back")

    return check


def has_choices(count: int) -> Check:
    """Expect so many alternatives."""

    def check(heard: Heard) -> None:
        ok(heard)
        if heard.choices != count:
            raise Wrong(f"{heard.choices} choices came, not {count}")

    return check


def has_logprobs(heard: Heard) -> None:
    """Expect the probabilities of the answer's tokens."""
    ok(heard)
    if not heard.logprobs:
        raise NotCarried("no token came with its probability")


def fails(heard: Heard) -> None:
    """Expect an error that the client is to blame for, in its own form."""
    if not 400 <= heard.status < 500 or not heard.error:
        raise Wrong(f"status {heard.status}: {heard.error!r}")


def fails_with(status: int, retry_after: str, words: str) -> Check:
    """Expect the provider's error in the client's form."""

    def check(heard: Heard) -> None:
        found = (heard.status, heard.retry_after)
        if found != (status, retry_after) or words not in heard.error:
            raise Wrong(f"status and retry-after {found}: {heard.error!r}")

    return check


def breaks(heard: Heard) -> None:
    """Expect a stream that ends in an error event."""
    if heard.status != 200 or not heard.error or not heard.ended:
        raise Wrong(f"status {heard.status}, error {heard.error!r}")


def _json(text: str) -> Json | Any:  # noqa: ANN401  JSON is anything
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        raise Wrong(f"not JSON: {text!r}") from None
