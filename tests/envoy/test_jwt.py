"""Tokens of an identity provider as keys, verified by a real Envoy."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.server
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
from jwt.algorithms import RSAAlgorithm

from tests.harness import KEY, running, wait_for

pytestmark = pytest.mark.envoy

ISSUER = "https://idp.example/"
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}


class Idp:
    """An identity provider that serves its public keys, and has what signs for them."""

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
    with provider() as idp:
        config = {
            "jwt": {
                "corp": {
                    "issuer": ISSUER,
                    "audiences": ["extproc"],
                    "jwks_uri": idp.url,
                    "refresh": 1,
                    "claims": {"team": "groups"},
                    "teams": {"banned": "banned", "eng": "eng"},
                    "grant": {"models": ["gpt-*"]},
                }
            },
            "teams": {"banned": {"blocked": True}, "eng": {}},
        }
        with (
            running(config) as (gateway, mock),
            httpx.Client(base_url=gateway.url, timeout=20) as client,
        ):
            wait_for(lambda: idp.fetched or None, gateway.output)
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


def forged(idp: Idp) -> dict[str, str]:
    good = idp.token()
    head, claims, signature = good.split(".")
    stranger = rsa.generate_private_key(65537, 2048)
    public = idp.keys["one"].public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    none = base64.urlsafe_b64encode(b'{"alg":"none","kid":"one"}').rstrip(b"=").decode()
    hs256 = (
        base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"one"}').rstrip(b"=").decode()
    )
    content = {"iss": ISSUER, "aud": "extproc", "sub": "ann", "exp": time.time() + 600}
    mac = hmac.new(public, f"{hs256}.{claims}".encode(), hashlib.sha256).digest()
    return {
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
        "public key as secret": f"{hs256}.{claims}."
        + base64.urlsafe_b64encode(mac).rstrip(b"=").decode(),
        "changed claims": f"{head}.{claims[:-4]}AAAA.{signature}",
        "not a token": "a.b.c",
    }


def test_a_token_that_is_not_good_opens_nothing(served):
    idp, mock, client = served
    mock.forget()
    for what, token in forged(idp).items():
        said = chat(client, token)
        assert said.status_code == 401, what
        assert said.json()["error"]["message"], what
        assert token not in said.text
    assert mock.requests() == []


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
