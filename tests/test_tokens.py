"""What a verified token's claims amount to."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from extproc.config.load import ConfigError, loads
from extproc.identity import Claims, Grant, Issuer, RateLimit, Subject, Subjects
from extproc.tokens import MAX_REMEMBERED, Tokens

ISSUER = Issuer(
    name="corp",
    issuer="https://idp.example",
    claims=Claims("sub", "groups", "org.name", "https://x/roles"),
    teams={"eng": "core", "ops": "infra"},
    roles={"boss": "admin", "reader": "viewer"},
    grant=Grant("corp", "", ("gpt-*",), team="everybody"),
)
SUBJECTS = Subjects.of(
    (Subject("user", "mallory", blocked=True), Subject("team", "core", models=("a",)))
)


def payload(**claims: Any) -> str:
    text = msgspec.json.encode({"iss": "https://idp.example", "sub": "ann", **claims})
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


CASES = [
    ({}, {"id": "corp:ann", "user": "ann", "team": "everybody", "role": "member"}),
    ({"groups": ["sales", "ops", "eng"]}, {"team": "infra"}),
    ({"groups": "eng"}, {"team": "core", "within": (("a",),)}),
    ({"groups": ["sales"]}, {"team": "everybody"}),
    ({"org": {"name": "acme"}}, {"organization": "acme"}),
    ({"org": "acme"}, {"organization": None}),
    ({"https://x/roles": ["reader", "boss"]}, {"role": "admin"}),
    ({"https://x/roles": ["nobody"]}, {"role": "member"}),
    ({"sub": "mallory"}, {"blocked": True}),
]


@pytest.mark.parametrize(("claims", "expected"), CASES)
def test_claims_say_who_and_what(claims, expected):
    grant = Tokens([ISSUER], SUBJECTS).grant(payload(**claims))
    assert grant is not None
    assert grant.models == ("gpt-*",)
    assert {field: getattr(grant, field) for field in expected} == expected


@pytest.mark.parametrize(
    "text",
    [
        payload(iss="https://other.example"),
        payload(sub=""),
        payload(sub=5),
        payload(sub=None),
        "",
        "%",
        "e30",
        base64.urlsafe_b64encode(b"[]").decode(),
        base64.urlsafe_b64encode(b"\xff").decode(),
        base64.urlsafe_b64encode(b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}").decode(),
    ],
)
def test_a_token_that_says_of_nobody_is_nobodys(text):
    assert Tokens([ISSUER], SUBJECTS).grant(text) is None


def test_what_is_remembered_is_bounded():
    tokens = Tokens([ISSUER], SUBJECTS)
    for n in range(MAX_REMEMBERED + 5):
        assert tokens.grant(payload(sub=f"u{n}")).user == f"u{n}"  # type: ignore[union-attr]
    assert len(tokens._seen) <= MAX_REMEMBERED


FILE = """
providers: {{openai: {{type: openai, api_key: sk-x}}}}
models: {{gpt-4o: {{targets: [{{provider: openai}}]}}}}
jwt: {{corp: {{issuer: "https://i", {}}}}}
"""
GOOD = "audiences: [extproc], jwks_uri: 'https://i/keys'"
WRONG = [
    ("jwks_uri: 'https://i/keys'", "audiences"),
    (GOOD.replace("[extproc]", "[]"), "audiences"),
    ("audiences: [a]", "needs either jwks_uri or jwks_file"),
    (GOOD + ", jwks_file: k.json", "needs either jwks_uri or jwks_file"),
    (GOOD.replace("https://i/keys", "http://i/keys"), "must be https://"),
    ("audiences: [a], jwks_file: nowhere.json", "jwks_file"),
    (GOOD + ", roles: {x: emperor}", "roles"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_an_issuer_that_cannot_be_is_refused(text, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        loads(FILE.format(text), {}, source="gateway.yaml", folder=tmp_path)


def test_an_issuers_tokens_have_limits_of_their_own(tmp_path):
    text = GOOD + ", grant: {rate_limits: {requests_per_minute: 3}}"
    config = loads(FILE.format(text), {}, source="gateway.yaml", folder=tmp_path)
    grant = config.jwt["corp"].compiled("corp").grant
    assert grant.allowance.rates == (RateLimit("requests", 3, 60),)
