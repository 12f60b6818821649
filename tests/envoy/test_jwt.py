"""Tokens of an identity provider as keys, verified by a real Envoy."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.server
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from jwt.algorithms import RSAAlgorithm

from tests.harness import KEY, running, wait_for

pytestmark = pytest.mark.envoy

ISSUER = "https://idp.example/"
PARTNER = "https://partner.example/"
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}


class Idp:
    """An identity provider that serves its public keys, and has what signs for them."""

    partner: Idp
    """Another one that the gateway knows."""

    def __init__(self) -> None:
        self.keys = {"one": rsa.generate_private_key(65537, 2048)}
        self.fetched = 0
        self.hidden: set[str] = set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.fetched += 1
                body = outer.jwks()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"

    def jwks(self) -> bytes:
        keys = [
            {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid,
             "alg": "RS256", "use": "sig"}
            for kid, key in self.keys.items()
            if kid not in self.hidden
        ]  # fmt: skip
        return msgspec.json.encode({"keys": keys})

    def token(self, kid: str = "one", **claims: Any) -> str:
        content = {
            "iss": ISSUER, "aud": "extproc", "sub": "ann", "exp": time.time() + 600,
            **claims,
        }  # fmt: skip
        left = {name: value for name, value in content.items() if value is not None}
        return jwt.encode(left, self.keys[kid], "RS256", headers={"kid": kid})


@contextlib.contextmanager
def provider() -> Iterator[Idp]:
    idp = Idp()
    thread = threading.Thread(target=idp.server.serve_forever)
    thread.start()
    try:
        yield idp
    finally:
        idp.server.shutdown()
        idp.server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def served():
    with provider() as idp, provider() as partner:
        idp.partner = partner
        config = {
            "jwt": {
                "partner": {
                    "issuer": PARTNER,
                    "audiences": ["extproc"],
                    "jwks_uri": partner.url,
                    "claims": {"team": "team", "organization": "org"},
                    "grant": {"organization": "partners"},
                },
                "corp": {
                    "issuer": ISSUER,
                    "audiences": ["extproc"],
                    "jwks_uri": idp.url,
                    "refresh": 1,
                    "claims": {"team": "groups"},
                    "teams": {"banned": "banned", "eng": "eng", "shut": "shut"},
                    "grant": {"models": ["gpt-*"]},
                }
            },
            "teams": {
                "banned": {"blocked": True},
                "eng": {},
                "theirs": {"organization": "rivals"},
                "shut": {"organization": "closed"},
            },
            "organizations": {
                "partners": {}, "rivals": {}, "closed": {"blocked": True},
            },
        }  # fmt: skip
        with (
            running(config) as (gateway, mock),
            httpx.Client(base_url=gateway.url, timeout=20) as client,
        ):
            wait_for(lambda: (idp.fetched and partner.fetched) or None, gateway.output)
            yield idp, mock, client


def chat(client: httpx.Client, token: str, **more: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"} | more.pop("headers", {})
    return client.post("/v1/chat/completions", json=CHAT | more, headers=headers)


def test_a_good_token_is_a_key_and_goes_no_further(served):
    idp, mock, client = served
    mock.forget()
    token = idp.token(groups=["eng"])
    assert chat(client, token).status_code == 200
    [seen] = mock.requests()
    assert token not in str(seen)
    assert not [name for name in seen["headers"] if name.startswith("x-extproc")]
    named = client.post(
        "/v1/chat/completions", json=CHAT, headers={"x-api-key": idp.token()}
    )
    assert named.status_code == 200


def test_a_token_may_do_what_its_issuer_was_granted(served):
    idp, _, client = served
    refused = chat(client, idp.token(), model="claude-sonnet-4-5")
    assert refused.status_code == 404
    assert refused.json()["error"]["code"] == "model_not_found"
    banned = chat(client, idp.token(groups=["banned"]))
    assert banned.status_code == 401
    assert banned.json()["error"]["code"] == "key_blocked"


def test_keys_still_open_the_gateway_beside_tokens(served):
    _, _, client = served
    assert chat(client, KEY).status_code == 200
    wrong = chat(client, "sk-wrong-0123456789abcdef")
    assert wrong.status_code == 401
    assert "Incorrect API key" in wrong.text


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(idp: Idp, content: dict[str, Any], members: bytes) -> str:
    """Return a token with `members` as they are in place of what they name."""
    names = set(re.findall(rb'"(\w+)":', members))
    left = {k: v for k, v in content.items() if k.encode() not in names}
    claims = msgspec.json.encode(left)[:-1] + b"," + members + b"}"
    head = encoded(b'{"alg":"RS256","kid":"one"}') + "." + encoded(claims)
    key = idp.keys["one"]
    return f"{head}.{encoded(key.sign(head.encode(), PKCS1v15(), SHA256()))}"


def forged(idp: Idp) -> dict[str, str]:
    good = idp.token()
    head, claims, signature = good.split(".")
    stranger = rsa.generate_private_key(65537, 2048)
    public = idp.keys["one"].public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    none, capital, hs256, es256 = (
        encoded(b'{"alg":"%s","kid":"one"}' % name)
        for name in (b"none", b"None", b"HS256", b"ES256")
    )
    content = {"iss": ISSUER, "aud": "extproc", "sub": "ann", "exp": time.time() + 600}
    mac = hmac.new(public, f"{hs256}.{claims}".encode(), hashlib.sha256).digest()
    jwk = {**RSAAlgorithm.to_jwk(stranger.public_key(), as_dict=True), "kid": "one"}

    def unasked(**header: Any) -> str:
        return jwt.encode(content, stranger, "RS256", headers={"kid": "one"} | header)

    return {
        "of another issuer": idp.partner.token(),
        "in another issuer's name": idp.token(iss=PARTNER),
        "of a rival's organization": idp.partner.token(iss=PARTNER, org="rivals"),
        "of a rival's team": idp.partner.token(iss=PARTNER, team="theirs"),
        "a key of its own": unasked(jwk=jwk),
        "a key from elsewhere": unasked(jku=idp.partner.url, x5u=idp.partner.url),
        "a key from a file": unasked(kid="../../../../dev/null"),
        "a key from a database": unasked(kid="x' UNION SELECT 'one"),
        "a signature of zeros": f"{es256}.{claims}.{encoded(bytes(64))}",
        "an algorithm twice": encoded(b'{"alg":"RS256","alg":"none","kid":"one"}')
        + f".{claims}.",
        "a subject twice": signed(idp, content, b'"sub":"ann","sub":"bob"'),
        "an end that is a text": idp.token(exp=str(time.time() + 600)),
        "an end beyond all time": idp.token(exp=10**30),
        "audience that is no text": signed(idp, content, b'"aud":{"extproc":1}'),
        "subject that is a list": signed(idp, content, b'"sub":["ann"]'),
        "subject with a zero": signed(idp, content, b'"sub":"an\\u0000n"'),
        "claims without a bottom": signed(
            idp, content, b'"x":' + b"[" * 4_000 + b"]" * 4_000
        ),
        "encrypted": f"{head}.{claims}.{signature}.{claims}.{signature}",
        "expired": idp.token(exp=time.time() - 120),
        "no end": idp.token(exp=None),
        "not yet": idp.token(nbf=time.time() + 600),
        "other audience": idp.token(aud="other"),
        "no audience": idp.token(aud=None),
        "other issuer": idp.token(iss="https://evil.example/"),
        "no subject": idp.token(sub=None),
        "other key": jwt.encode(content, stranger, "RS256", headers={"kid": "one"}),
        "unknown kid": jwt.encode(content, stranger, "RS256", headers={"kid": "x"}),
        "no signature": f"{head}.{claims}.",
        "alg none": f"{none}.{claims}.",
        "alg None": f"{capital}.{claims}.",
        "public key as secret": f"{hs256}.{claims}.{encoded(mac)}",
        "changed claims": f"{head}.{claims[:-4]}AAAA.{signature}",
        "not a token": "a.b.c",
    }


def test_a_token_that_is_not_good_opens_nothing(served):
    idp, mock, client = served
    mock.forget()
    fetched = idp.partner.fetched
    for what, token in forged(idp).items():
        said = chat(client, token)
        assert said.status_code == 401, what
        assert said.json()["error"]["message"], what
        assert token not in said.text
    assert mock.requests() == []
    assert idp.partner.fetched == fetched, "who sends a token says where keys are"


def test_a_token_counts_in_its_place_and_once(served):
    idp, mock, client = served
    mock.forget()
    good = idp.token()
    bearer, wrong = f"Bearer {good}", f"Bearer {good[:-8]}AAAAAAAA"
    for headers in (
        [("authorization", bearer)] * 2,
        [("authorization", wrong), ("authorization", bearer)],
        [("authorization", bearer), ("authorization", f"Bearer {KEY}")],
        [("authorization", wrong), ("x-api-key", KEY)],
        [("authorization", wrong), ("x-api-key", good)],
        [("authorization", f"{bearer},{good}")],
        [("authorization", good)],
        [("api-key", good)],
        [("cookie", f"access_token={good}")],
        [("authorization", bearer), ("connection", "authorization")],
    ):
        said = client.post("/v1/chat/completions", json=CHAT, headers=headers)
        assert said.status_code == 401, headers
        assert good not in said.text
    asked = f"/v1/chat/completions?access_token={good}&token={good}"
    assert client.post(asked, json=CHAT).status_code == 401
    long = idp.token(groups=[f"group-{n}" for n in range(10_000)])
    assert chat(client, long).status_code == 431
    assert mock.requests() == []


def test_an_organization_that_is_blocked_is_for_tokens_too(served):
    idp, _, client = served
    said = chat(client, idp.token(groups=["shut"]))
    assert (said.status_code, said.json()["error"]["code"]) == (401, "key_blocked")


def test_no_client_can_say_that_a_token_was_verified(served):
    idp, mock, client = served
    mock.forget()
    claims = idp.token().split(".")[1]
    for headers in (
        {"x-extproc-jwt": claims},
        {"x-extproc-jwt": claims, "authorization": "Bearer sk-wrong-0123456789"},
        {"X-Extproc-JWT": claims, "authorization": f"Bearer a.{claims}.c"},
    ):
        said = client.post("/v1/chat/completions", json=CHAT, headers=headers)
        assert said.status_code == 401
    assert mock.requests() == []


def test_a_new_key_of_the_issuer_is_taken_and_an_old_one_forgotten(served):
    idp, _, client = served
    idp.keys["two"] = rsa.generate_private_key(65537, 2048)

    def becomes(kid: str, status: int) -> None:
        """Each time with a token never seen: verified ones are remembered."""
        numbers = iter(range(1_000_000))

        def asked() -> bool | None:
            token = idp.token(kid, sub=f"{kid}-{status}-{next(numbers)}")
            return True if chat(client, token).status_code == status else None

        wait_for(asked, lambda: f"{kid} is not {status}")

    becomes("two", 200)
    idp.hidden.add("one")
    becomes("one", 401)
    idp.hidden.clear()
    becomes("one", 200)
