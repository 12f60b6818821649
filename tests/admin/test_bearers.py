"""Tokens of an identity provider open the admin API as far as their role goes."""

from __future__ import annotations

import base64
import http.server
import threading
from pathlib import Path
from typing import Any

import httpx
import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from starlette.testclient import TestClient

from extproc.admin.bearers import MAX_KEYS_BYTES, RETRY_SECONDS, Bearers, fetch
from extproc.bounded import Endless
from extproc.config.issuers import IssuerConfig
from tests.admin.application import KEYS
from tests.answerer import Answerer, bomb, drip, elsewhere

ONE, TWO = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
OLD = rsa.generate_private_key(65537, 2048)


def jwks(**keys: Any) -> bytes:
    found = [
        {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid}
        for kid, key in keys.items()
    ]
    return msgspec.json.encode({"keys": found})


def token(
    api: Any, key: Any = ONE, kid: str | None = "one", alg: str = "ES256", **claims: Any
) -> str:
    said = {
        "iss": "https://idp.example/", "aud": "extproc", "sub": "ann",
        "exp": api.office.clock.now + 600, "groups": ["x", "ops"], **claims,
    }  # fmt: skip
    left = {name: value for name, value in said.items() if value is not None}
    return jwt.encode(left, key, alg, headers={"kid": kid} if kid else None)


def ask(api: Any, token: str, **more: str) -> Any:
    headers = {"authorization": f"Bearer {token}", **more}
    return api.http.get("/admin/v1/me", headers=headers)


@pytest.fixture
def idp(api):
    api.fetch = lambda: jwks(one=ONE)
    api.office.clock.now += 1_000  # what was fetched before is old
    return api


def test_a_token_is_who_it_says_and_what_its_role_may(idp):
    assert ask(idp, token(idp)).json() == {"id": "corp:ann", "role": "owner"}
    viewer = token(idp, groups="support")
    assert ask(idp, viewer).json()["role"] == "viewer"
    said = idp.http.post("/admin/v1/keys", json={}, headers={"x-api-key": viewer})
    assert said.status_code == 403
    nobody = idp.http.get(
        "/admin/v1/keys", headers={"x-api-key": token(idp, groups=["sales"])}
    )
    assert nobody.status_code == 403


def test_a_change_by_token_is_audited_by_its_name(idp):
    headers = {"authorization": f"Bearer {token(idp)}"}
    idp.http.post("/admin/v1/teams", json={"id": "t"}, headers=headers)
    [line] = idp.ask("GET", "/admin/v1/audit").json()["data"]
    assert (line["actor"], line["role"]) == ("corp:ann", "owner")


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def bad(api: Any) -> dict[str, str]:
    good = token(api)
    head, claims, signature = good.split(".")
    none = encoded(b'{"alg":"none","kid":"one"}')
    now = api.office.clock.now
    return {
        "expired": token(api, exp=now - 61),
        "not yet": token(api, nbf=now + 61),
        "no end": token(api, exp=None),
        "an end that is none": token(api, exp="later"),
        "an end that is a text": token(api, exp=str(now + 600)),
        "an end that never comes": token(api, exp=1e300),
        "a beginning that is none": token(api, nbf=True),
        "an algorithm that is a list": encoded(b'{"alg":["ES256"]}')
        + f".{claims}.{signature}",
        "other audience": token(api, aud="other"),
        "no audience": token(api, aud=None),
        "other issuer": token(api, iss="https://evil.example/"),
        "no subject": token(api, sub=None),
        "other key": token(api, TWO),
        "other kind of key": token(api, OLD, alg="RS256"),
        "unknown kid": token(api, kid="two"),
        "no signature": f"{head}.{claims}.",
        "alg none": f"{none}.{claims}.",
        "a secret": token(api, b"x" * 64, alg="HS256"),
        "changed claims": f"{head}.{claims[:-4]}AAAA.{signature}",
        "not a token": "a.b.c",
    }


def test_a_token_that_is_not_good_opens_nothing(idp):
    for n, (what, one) in enumerate(bad(idp).items()):
        somewhere = TestClient(idp.app, client=(f"192.0.2.{n}", 1))
        said = somewhere.get("/admin/v1/me", headers={"x-api-key": one})
        assert said.status_code == 401, what
        assert one not in said.text
    assert ask(idp, token(idp)).status_code == 200


def test_nobody_can_say_that_a_token_was_verified(idp):
    """Envoy says so to workers; before control there is no Envoy that would drop it."""
    payload = token(idp).split(".")[1]
    for headers in (
        {"x-extproc-jwt": payload},
        {"X-Extproc-JWT": payload, "authorization": f"Bearer a.{payload}.c"},
        {"x-extproc-jwt": payload, "x-api-key": "sk-wrong-0123456789abcdef"},
    ):
        assert idp.http.get("/admin/v1/me", headers=headers).status_code == 401
    mine = {"x-extproc-jwt": payload, "x-api-key": KEYS["viewer"]}
    assert idp.http.get("/admin/v1/me", headers=mine).json()["role"] == "viewer"


class Desk:
    """Bearers over an issuer that counts how often it is asked."""

    def __init__(self, content: bytes) -> None:
        self.now, self.asked, self.content = 1_000.0, 0, content
        issuer = IssuerConfig(
            issuer="https://idp.example/",
            audiences=("extproc",),
            jwks_uri="https://idp.example/keys",
            refresh=300.0,
        )
        self.bearers = Bearers(
            lambda: {"corp": issuer}, clock=lambda: self.now, fetch=self._fetch
        )
        self.office = self
        self.clock = self

    def _fetch(self, _: IssuerConfig) -> bytes:
        self.asked += 1
        if not self.content:
            raise OSError("away")
        return self.content

    def good(self, *of: Any, **more: Any) -> bool:
        return self.bearers.payload(token(self, *of, **more)) is not None


def test_keys_are_fetched_when_they_are_old_and_for_a_new_one():
    desk = Desk(jwks(one=ONE))
    assert desk.good()
    assert desk.good()
    assert desk.asked == 1
    desk.content = jwks(one=ONE, two=TWO)
    assert not desk.good(TWO, "two"), "asked again within the pause"
    desk.now += RETRY_SECONDS
    assert desk.good(TWO, "two")
    desk.content = jwks(two=TWO)
    desk.now += 299
    assert desk.good()
    desk.now += 2
    assert not desk.good(), "a key that was taken back"
    assert desk.good(TWO, "two")
    assert desk.asked == 3


def test_an_issuer_that_is_away_opens_nothing_once_its_keys_are_old():
    desk = Desk(jwks(one=ONE))
    assert desk.good()
    desk.content = b""
    desk.now += 299
    assert desk.good()
    desk.now += 2
    assert not desk.good()
    assert not desk.good()
    assert desk.asked == 2
    desk.content = b"not JSON"
    desk.now += RETRY_SECONDS
    assert not desk.good()
    desk.content = jwks(one=ONE)
    desk.now += RETRY_SECONDS
    assert desk.good()


def test_keys_that_sign_nothing_or_are_secrets_are_passed_over():
    [key] = msgspec.json.decode(jwks(one=ONE))["keys"]
    odd = [{}, {"kty": "oct", "k": "c2VjcmV0", "kid": "one"}, {**key, "use": "enc"}]
    assert not Desk(msgspec.json.encode({"keys": odd})).good()
    assert Desk(msgspec.json.encode({"keys": [*odd, key]})).good()
    other = {**key, "alg": "ES384"}
    assert not Desk(msgspec.json.encode({"keys": [other]})).good()


def test_a_token_without_a_kid_is_tried_with_every_key():
    desk = Desk(jwks(one=ONE, two=TWO))
    assert desk.good(TWO, None)
    rsa_key = {**RSAAlgorithm.to_jwk(OLD.public_key(), as_dict=True), "alg": "RS256"}
    desk = Desk(msgspec.json.encode({"keys": [rsa_key]}))
    assert desk.good(OLD, None, "RS256")


@pytest.mark.parametrize("answer", [drip, bomb, elsewhere])
def test_an_issuer_that_means_harm_is_not_waited_for(answer: Any, monkeypatch: Any):
    """Whoever has a token waits for its keys, and so do all behind."""
    monkeypatch.setattr("extproc.admin.bearers.FETCH_SECONDS", 0.3)
    with Answerer(answer) as server:
        issuer = IssuerConfig(
            issuer="https://idp.example/", audiences=("a",), jwks_uri=server.url
        )
        bearers = Bearers(lambda: {"corp": issuer}, clock=lambda: 1_000.0)
        desk = Desk(b"")
        assert bearers.payload(token(desk)) is None
        assert len(server.asked) == 1


def test_the_keys_come_from_a_file_or_a_server_and_are_bounded(tmp_path: Path):
    there: dict[str, Any] = {"issuer": "https://idp.example/", "audiences": ("a",)}
    file = tmp_path / "keys.json"
    file.write_bytes(b"{}")
    assert fetch(IssuerConfig(jwks_file=file, **there)) == b"{}"

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            long = self.path == "/long"
            self.send_response(404 if self.path == "/none" else 200)
            self.end_headers()
            self.wfile.write(b"x" * (MAX_KEYS_BYTES + 1) if long else b"{}")

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            assert fetch(IssuerConfig(jwks_uri=f"{url}/keys", **there)) == b"{}"
            with pytest.raises(httpx.HTTPError):
                fetch(IssuerConfig(jwks_uri=f"{url}/none", **there))
            with pytest.raises(Endless):
                fetch(IssuerConfig(jwks_uri=f"{url}/long", **there))
        finally:
            server.shutdown()
            thread.join()
