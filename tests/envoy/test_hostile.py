"""Bodies made to hurt a parser, through a real Envoy to each of the client APIs.

None may cost an answer of 500 or above, reach a provider unless it is sound, or be felt by
the request that comes after it.
"""

from __future__ import annotations

import msgspec
import pytest

pytestmark = pytest.mark.envoy

ENDPOINTS = {
    "/v1/chat/completions": '"messages": [{"role": "user", "content": %s}]',
    "/v1/completions": '"prompt": %s',
    "/v1/responses": '"input": %s',
    "/v1/messages": '"max_tokens": 9, "messages": [{"role": "user", "content": %s}]',
    "/v1/messages/count_tokens": '"messages": [{"role": "user", "content": %s}]',
    "/v1/embeddings": '"input": %s',
    "/v1/rerank": '"query": "q", "documents": [%s]',
}
"""Where a text stands in the body of each."""

DEEP = 100_000

BODIES: dict[str, tuple[bytes, bytes]] = {
    "lists in lists": (b"[" * DEEP + b"]" * DEEP, b""),
    "lists without an end": (b"[" * DEEP, b""),
    "objects in objects": (b'{"a":' * DEEP + b"1" + b"}" * DEEP, b""),
    "not UTF-8": (b'"\xff\xfe"', b""),
    "half a pair": (b'"\\ud800"', b""),
    "a pair the wrong way round": (b'"\\udc00\\ud800"', b""),
    "an escape that is none": (b'"\\x00"', b""),
    "a control character": (b'"a\x00b"', b""),
    "not a number": (b"NaN", b""),
    "a number beyond all": (b'"a"', b', "temperature": 1e999999'),
    "a number of many digits": (b'"a"', b', "max_tokens": ' + b"9" * 5_000),
    "a seed of many digits": (b'"a"', b', "seed": -' + b"9" * 400),
    "deep behind the text": (b'"a"', b', "tools": ' + b"[" * DEEP + b"]" * DEEP),
    "deep in what is unknown": (
        b'"a"', b', "unheard_of": ' + b'{"a":' * DEEP + b"1" + b"}" * DEEP),
    "a long name": (b'"a"', b', "' + b"k" * DEEP + b'": 1'),
    "the same name twice": (b'"a"', b', "stream": true, "stream": false'),
    "a hundred thousand names": (
        b'"a"', b"".join(b', "n%d": 0' % number for number in range(DEEP))),
}  # fmt: skip
"""What stands in place of the text, and what behind it."""


def hostile(path: str, model: str, case: str) -> bytes:
    text, more = BODIES[case]
    before, _, behind = ENDPOINTS[path].partition("%s")
    said = f'{{"model": "{model}", {before}'.encode() + text + behind.encode()
    return said + more + b"}"


@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-5"])
@pytest.mark.parametrize("case", BODIES)
def test_a_body_made_to_hurt_is_refused_in_the_clients_words(peers, case, model):
    headers = {"content-type": "application/json"}
    for path in ENDPOINTS:
        body = hostile(path, model, case)
        answer = peers.http.post(path, content=body, headers=headers)
        assert answer.status_code < 500, (path, answer.text)
        said = answer.json()
        if answer.status_code != 200:
            assert said["error"]["message"]
            assert ("type" in said) is path.startswith("/v1/messages")
    for request in peers.mock.requests():
        msgspec.json.decode(request["body"], type=msgspec.Raw)


def test_the_next_request_feels_nothing_of_it(peers):
    headers = {"content-type": "application/json"}
    for case in BODIES:
        body = hostile("/v1/chat/completions", "claude-sonnet-4-5", case)
        peers.http.post("/v1/chat/completions", content=body, headers=headers)
    sound = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
    answer = peers.http.post("/v1/chat/completions", json=sound)
    assert "Hello" in answer.json()["choices"][0]["message"]["content"]
