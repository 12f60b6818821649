"""Every client format at every provider format, as `tests/cases` has them.

``make golden`` rewrites the golden files; the diff is what is reviewed. What must be heard
and counted stands in `case.toml` and is nobody's output.
"""

from __future__ import annotations

import copy
import difflib
import functools
import itertools
import json
import os
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given, settings, strategies as st

from extproc.usage import Usage
from tests import casebook
from tests.casebook import CLIENTS, PROVIDER_FORMATS, REQUIRED, Case, Upstream, cases
from tests.oracles.anthropic_requests import judge as judge_anthropic
from tests.oracles.clients import CLIENTS as SDKS, Heard
from tests.oracles.cohere_requests import judge as judge_cohere
from tests.oracles.converse_requests import judge as judge_converse
from tests.oracles.events import cut as cut_events
from tests.oracles.gemini_requests import judge as judge_gemini
from tests.oracles.openai_requests import judge_chat, judge_response
from tests.oracles.providers import PROVIDERS as ANSWERS, converse_line

JUDGES = {
    "openai_chat": judge_chat,
    "openai_responses": judge_response,
    "anthropic": judge_anthropic,
    "gemini": judge_gemini,
    "converse": judge_converse,
    "cohere": judge_cohere,
}
"""The provider's own SDK, on a request."""


def clients_of(case: Case) -> list[str]:
    return [client for client in CLIENTS if case.request(client) is not None]


def providers_of(case: Case) -> list[str]:
    """Return the provider formats that answer in a case; all, if none has to."""
    if not any(case.folder.glob("*/upstream.*")):
        return list(PROVIDER_FORMATS)
    refusing = case.told.get("refused_by", ())
    return [
        name for name in PROVIDER_FORMATS if name in refusing or case.upstreams(name)
    ]


def foreign(case: Case, provider: str) -> list[str]:
    """Return the clients that are translated for."""
    return [client for client in clients_of(case) if client != provider]


NAMED = {case.name: case for case in cases()}
BOTH = [(case, provider) for case in cases() for provider in providers_of(case)]


def over(pairs: list[tuple[Case, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("case", "provider"), pairs, ids=str)


def telling(table: str) -> list[tuple[Case, str]]:
    """Return cases and providers where the case says something of this matter."""
    return [(case, provider) for case, provider in BOTH if table in case.told]


def requests(case: Case, client: str, provider: str) -> dict[str, bytes]:
    """Return what the client sends, by the way in which it is answered."""
    whole = case.request(client)
    assert whole is not None
    ways = case.upstreams(provider) or ("answer",)
    return {
        way: whole if way == "answer" else casebook.asked_to_stream(whole, client)
        for way in ways
    }


def ask(case: Case, client: str, provider: str, request: bytes) -> casebook.Asked:
    return casebook.ask(client, provider, request, case.model(provider))


def hear(client: str, answered: casebook.Answered) -> Heard:
    sdk = SDKS[client]
    if answered.streamed:
        return sdk.hear_stream(answered.body)
    return sdk.hear(answered.body, answered.status)


# ---------------------------------------------------------------- what is there


@pytest.mark.parametrize("case", cases(), ids=str)
def test_a_case_says_what_it_is_about_and_which_clients_cannot_ask_it(case: Case):
    assert case.told["about"].endswith(".")
    assert case.told["source"]
    missing = set(CLIENTS) - set(clients_of(case))
    excused = case.told.get("without", {})
    assert missing == set(excused) & set(CLIENTS)
    assert all(excused.values())


@pytest.mark.parametrize("provider", PROVIDER_FORMATS)
def test_a_provider_format_has_every_case_that_is_required(provider: str):
    by_name = {case.name: case for case in cases() if case.operation == "chat"}
    missing = [name for name in REQUIRED if not by_name[name].upstreams(provider)]
    assert missing == []
    assert provider in JUDGES


def test_nothing_is_left_over_in_the_folders():
    found = {file.parent for file in casebook.FOLDER.glob("*/*/*/*")}
    assert found == {case.folder / provider for case, provider in BOTH if (
        case.folder / provider
    ).exists()}  # fmt: skip
    names = {file.name for file in casebook.FOLDER.glob("*/*/*/*")}
    assert names == {
        "golden.txt", "upstream.events", "upstream.html", "upstream.json", "upstream.sse",
    }  # fmt: skip


@over([(case, provider) for case, provider in BOTH if case.told.get("status") is None])
def test_what_a_provider_answers_is_in_its_own_sdks_types(case, provider):
    for upstream in case.upstreams(provider).values():
        ANSWERS[provider](upstream.body, streamed=upstream.streamed)
    for file in (case.folder / provider).glob("*.events"):
        for line in file.read_text().splitlines():
            converse_line(line)


# ---------------------------------------------------------------- goldens


def second_request(case: Case, client: str, heard: Heard) -> bytes:
    """Fill in the answer as an application would: what the SDK gave, given back."""
    body = case.second(client)
    key = "input" if client == "openai_responses" else "messages"
    turns = [
        copy.deepcopy(heard.echo) if turn == "@answer" else [turn] for turn in body[key]
    ]
    body[key] = list(itertools.chain.from_iterable(turns))
    return json.dumps(body).replace("@call", heard.call_ids[0]).encode()


def sections(case: Case, provider: str) -> dict[str, dict[str, str]]:
    """Return everything that we write in a case, by what it is and by client."""
    found: dict[str, dict[str, str]] = {}
    for client in clients_of(case):
        if client == provider:
            continue
        for way, request in requests(case, client, provider).items():
            asked = ask(case, client, provider, request)
            if "asks" not in case.told:
                kind = "request" if way == "answer" else "request, streamed"
                found.setdefault(kind, {})[client] = casebook.request_text(asked)
            upstream = case.upstreams(provider).get(way)
            if upstream is None or asked.attempt is None:
                continue
            answered = casebook.answer(asked.exchange, upstream)
            found.setdefault(way, {})[client] = casebook.answer_text(answered)
            if "second" in case.told:
                again = second_request(case, client, hear(client, answered))
                second = casebook.request_text(ask(case, client, provider, again))
                found.setdefault(f"second request after {way}", {})[client] = second
    return found


def golden(case: Case, provider: str) -> str:
    """Return a golden file: what is the same for several clients stands there once."""
    lines = []
    for kind, texts in sections(case, provider).items():
        for text in dict.fromkeys(texts.values()):
            who = ", ".join(client for client, own in texts.items() if own == text)
            lines.append(f"==== {kind}: {who}\n{text}\n")
    return "".join(lines).rstrip("\n") + "\n"


@over(BOTH)
def test_what_is_sent_and_what_clients_get_is_golden(case: Case, provider: str):
    file = case.folder / provider / "golden.txt"
    found = golden(case, provider)
    if os.environ.get("EXTPROC_GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(found)
    written = file.read_text()
    diff = difflib.unified_diff(written.splitlines(), found.splitlines(), lineterm="")
    assert found == written, "\n".join(diff)


# ---------------------------------------------------------------- judged


@over([(case, provider) for case, provider in BOTH if "asks" not in case.told])
def test_a_request_is_one_that_the_providers_sdk_could_send(case, provider):
    for client in foreign(case, provider):
        for request in requests(case, client, provider).values():
            asked = ask(case, client, provider, request)
            if asked.attempt is not None:
                JUDGES[provider](asked.attempt.body)
            else:
                assert asked.refusal is not None
                assert asked.refusal.status == 400, client
                error = json.loads(asked.refusal.body)["error"]
                assert names_a_field(client, error), client
                assert f"(provider {provider})" in error["message"], client


def names_a_field(client: str, error: dict[str, Any]) -> bool:
    """Say whether a refusal tells what is at fault, as errors of this API do."""
    if client == "anthropic":
        return bool(re.match(r"[a-z_]+[\w.\[\]]*: ", error["message"]))
    return bool(error["param"])


@functools.cache
def answers(case: str, provider: str, client: str) -> dict[str, casebook.Answered]:
    """Return what the client gets, by the way in which it is answered."""
    found = {}
    one = NAMED[case]
    for way, request in requests(one, client, provider).items():
        asked = ask(one, client, provider, request)
        if provider in one.told.get("refused_by", ()):
            assert asked.refusal is not None
            continue
        assert asked.attempt is not None
        if upstream := one.upstreams(provider).get(way):
            found[way] = casebook.answer(asked.exchange, upstream)
    return found


@functools.cache
def heard_by(case: str, provider: str, client: str) -> dict[str, Heard]:
    """Return what the client's SDK makes of what it gets."""
    return {
        way: hear(client, answered)
        for way, answered in answers(case, provider, client).items()
    }


@over(telling("hears"))
def test_each_sdk_hears_what_the_case_says(case, provider):
    wanted = case.of("hears", provider)
    for client in foreign(case, provider):
        for way, heard in heard_by(case.name, provider, client).items():
            for key, value in wanted.items():
                assert says(heard, key, value), (client, way, key, heard)
            assert (heard.error is None) == ("error" not in wanted), (client, way)


@over(telling("cites"))
def test_sources_are_told_of_the_words_that_they_are_of(case, provider):
    wanted = case.of("cites", provider)
    for client in foreign(case, provider):
        for way, heard in heard_by(case.name, provider, client).items():
            sources = wanted["sources"]
            if wanted.get("documents") and client != "anthropic":
                sources = []  # only pages of the web have a word there
            if client == "anthropic" and way == "stream" and "late" in wanted:
                # A block cannot be cut when its citations come behind it.
                sources = [[heard.text, url] for _, url in sources]
            assert heard.sources == sources, (client, way)
            told = wanted["searches"] if client != "openai_chat" else []
            assert heard.searches == told, (client, way)


def says(heard: Heard, key: str, value: Any) -> bool:
    if key == "refusal":
        return value in {heard.refusal, heard.text}
    if key == "error":
        return heard.error is not None and value in heard.error
    found: Any = getattr(heard, key)
    return bool(found == value)


@over(telling("usage"))
def test_usage_is_counted_once_and_in_one_convention(case, provider):
    wanted = Usage(**case.of("usage", provider))
    shown = (
        wanted.input_tokens,
        wanted.output_tokens,
        wanted.cache_read_input_tokens,
    )
    for client in clients_of(case):
        for way, answered in answers(case.name, provider, client).items():
            assert answered.record.usage == wanted, (client, way)
            assert not answered.record.estimated
            if client != provider:
                heard = heard_by(case.name, provider, client)[way]
                assert heard.counts == shown, (client, way)


@over(
    [
        (case, provider)
        for case, provider in telling("returns")
        if provider in case.told["returns"]
    ]
)
def test_proofs_of_reasoning_come_back_to_their_provider(case, provider):
    proof = case.told["returns"][provider]
    for client in foreign(case, provider):
        for way, heard in heard_by(case.name, provider, client).items():
            again = second_request(case, client, heard)
            asked = ask(case, client, provider, again)
            assert asked.attempt is not None
            assert f'"{proof}"'.encode() in asked.attempt.body, (client, way)
            JUDGES[provider](asked.attempt.body)


@over([(case, provider) for case, provider in BOTH if provider in clients_of(case)])
def test_the_same_format_in_and_out_is_byte_exact(case, provider):
    for way, request in requests(case, provider, provider).items():
        asked = casebook.ask(provider, provider, request, None)
        assert asked.attempt is not None
        assert asked.attempt.body == request, way
        upstream = case.upstreams(provider).get(way)
        if upstream is None or upstream.status != 200 or case.told.get("broken"):
            continue
        answered = casebook.answer(asked.exchange, upstream)
        assert answered.body == upstream.body, way


# ---------------------------------------------------------------- streams, however cut

STREAMS = [
    (case, provider) for case, provider in BOTH if "stream" in case.upstreams(provider)
]


def played(
    case: Case, provider: str, client: str, cut: Callable[[Upstream], list[bytes]]
) -> casebook.Answered:
    """Play a case's stream in other pieces."""
    upstream = case.upstreams(provider)["stream"]
    request = requests(case, client, provider)["stream"]
    asked = ask(case, client, provider, request)
    return casebook.answer(asked.exchange, upstream, cut(upstream))


def whole(case: Case, provider: str, client: str) -> casebook.Answered:
    return answers(case.name, provider, client)["stream"]


def one_read(upstream: Upstream) -> list[bytes]:
    return [upstream.body]


def bytewise(upstream: Upstream) -> list[bytes]:
    return [bytes([one]) for one in upstream.body]


@over(STREAMS)
def test_a_stream_is_the_same_however_it_is_cut(case, provider):
    for client, cut in itertools.product(clients_of(case), (one_read, bytewise)):
        found = played(case, provider, client, cut)
        wanted = whole(case, provider, client)
        assert found.body == wanted.body, (client, cut)
        assert found.record.usage == wanted.record.usage, (client, cut)
        assert found.record.outcome == wanted.record.outcome, (client, cut)


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(STREAMS),
    st.sampled_from(list(CLIENTS)),
    st.lists(st.floats(0, 1, exclude_max=True), max_size=12),
)
def test_a_stream_is_the_same_at_any_splits(pair, client, places):
    case, provider = pair
    assume(client in clients_of(case))

    def cut(upstream: Upstream) -> list[bytes]:
        body = upstream.body
        at = sorted({0, len(body), *(int(place * len(body)) for place in places)})
        return [body[i:j] for i, j in itertools.pairwise(at)]

    found = played(case, provider, client, cut)
    assert found.body == whole(case, provider, client).body


def first(count: int, upstream: Upstream) -> list[bytes]:
    return list(upstream.pieces[:count])


@pytest.mark.parametrize("line_end", [b"\r\n", b"\r"], ids=["CRLF", "CR"])
@over(
    [
        (case, provider)
        for case, provider in STREAMS
        if (case.folder / provider / "upstream.sse").exists()
    ]
)
def test_a_stream_is_the_same_under_other_line_ends(case, provider, line_end):
    def cut(upstream: Upstream) -> list[bytes]:
        return [bytes([one]) for one in upstream.body.replace(b"\n", line_end)]

    def eventwise(upstream: Upstream) -> list[bytes]:
        return [piece.replace(b"\n", line_end) for piece in upstream.pieces]

    for client in foreign(case, provider)[:1]:
        wanted = whole(case, provider, client).body
        assert played(case, provider, client, cut).body == wanted
        assert played(case, provider, client, eventwise).body == wanted


def torn(count: int, upstream: Upstream) -> list[bytes]:
    """Return the first events, and half of the next."""
    after = upstream.pieces[count]
    return [*upstream.pieces[:count], after[: len(after) // 2]]


@over([(case, provider) for case, provider in STREAMS if not case.told.get("broken")])
def test_a_stream_that_ends_in_the_middle_of_any_event_is_noticed(case, provider):
    """But where everything has been said before that event."""
    pieces = case.upstreams(provider)["stream"].pieces
    client = foreign(case, provider)[0]
    wanted = whole(case, provider, client)
    for count in range(1, len(pieces)):
        found = played(case, provider, client, functools.partial(torn, count))
        if found.record.outcome != "ok":
            assert found.record.error == "upstream_truncated", count
            assert any(b"error" in one.data for one in cut_events(found.body)[-2:])
            continue
        heard, all_of_it = hear(client, found), hear(client, wanted)
        heard.counts = all_of_it.counts
        assert heard == all_of_it, count


@over([(case, provider) for case, provider in STREAMS if not case.told.get("broken")])
def test_a_stream_that_ends_after_any_of_its_events_is_noticed(case, provider):
    """But where everything has been said: then no more than the usage may be unknown."""
    pieces = case.upstreams(provider)["stream"].pieces
    for client, count in itertools.product(clients_of(case), range(1, len(pieces))):
        wanted = whole(case, provider, client)
        found = played(case, provider, client, functools.partial(first, count))
        if found.record.outcome != "ok":
            assert found.record.error == "upstream_truncated", (client, count)
            assert any(b"error" in one.data for one in cut_events(found.body)[-2:])
            continue
        counted = found.record.usage == wanted.record.usage
        assert counted != found.record.estimated, (client, count)
        if client != provider:
            heard, all_of_it = hear(client, found), hear(client, wanted)
            heard.counts = all_of_it.counts
            assert heard == all_of_it, (client, count)
