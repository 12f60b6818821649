"""What a verified token's claims amount to."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from extproc.config.build import build
from extproc.config.load import ConfigError, loads
from extproc.identity import Claims, Grant, Issuer, RateLimit, Subject, Subjects
from extproc.tokens import LONGEST_REMEMBERED, Tokens

ISSUER = Issuer(
    name="corp",
    issuer="https://idp.example",
    claims=Claims("sub", "groups", "org.name", "https://x/roles"),
    teams={"eng": "core", "ops": "infra"},
    roles={"boss": "admin", "reader": "viewer"},
    grant=Grant("corp", "", ("gpt-*",), team="everybody"),
)
SUBJECTS = Subjects.of(
    (
        Subject("user", "mallory", blocked=True),
        Subject("user", "bob", organization="acme", team="core"),
        Subject("team", "core", models=("a",)),
        Subject("team", "infra", organization="globex"),
        Subject("organization", "closed", blocked=True),
    )
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
    # Whose a team and a user are holds for tokens as it does for keys.
    ({"groups": ["ops"]}, {"organization": "globex"}),
    ({"sub": "bob"}, {"organization": "acme", "team": "everybody"}),
    ({"groups": ["ops"], "sub": "bob"}, {"organization": "acme", "team": "infra"}),
    ({"org": {"name": "closed"}}, {"blocked": True}),
    # What is no word is no claim.
    ({"groups": {"eng": 1}}, {"team": "everybody"}),
    ({"groups": [["eng"], 5, None, {"eng": 1}]}, {"team": "everybody"}),
    ({"groups": 5}, {"team": "everybody"}),
    ({"groups": [f"g{n}" for n in range(10_000)] + ["eng"]}, {"team": "core"}),
    ({"groups": "*"}, {"team": "everybody"}),
    ({"groups": "eng\0"}, {"team": "everybody"}),
    ({"https://x/roles": "owner"}, {"role": "member"}),
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
        payload(sub=["ann\r\nx: y"]),
        payload(sub="an\0n"),
        payload(sub="\u202eann"),
        payload(sub="a" * 257),
        # Of another organization than the team, or the user, that it names.
        payload(groups="ops", org={"name": "acme"}),
        payload(sub="bob", org={"name": "globex"}),
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


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr("extproc.tokens.MAX_REMEMBERED", 100)
    tokens = Tokens([ISSUER], SUBJECTS)
    for n in range(105):
        assert tokens.grant(payload(sub=f"u{n}")).user == f"u{n}"  # type: ignore[union-attr]
    assert len(tokens._seen) == 5
    long = payload(sub="long", groups=["x" * LONGEST_REMEMBERED])
    assert tokens.grant(long).user == "long"  # type: ignore[union-attr]
    assert long not in tokens._seen


def test_an_issuer_of_one_organization_speaks_for_no_other():
    mine = Grant("corp", "", organization="acme")
    tokens = Tokens([msgspec.structs.replace(ISSUER, grant=mine)], SUBJECTS)
    assert tokens.grant(payload()).organization == "acme"  # type: ignore[union-attr]
    for more in ({"org": {"name": "globex"}}, {"groups": "ops"}):
        assert tokens.grant(payload(**more)) is None


def test_whose_a_team_and_a_user_are_is_told_where_tokens_are_taken(tmp_path):
    owned = (
        "\norganizations: {acme: {}}\nteams: {core: {organization: acme}}\n"
        "users: {ann: {team: core}}\n"
    )
    config = loads(FILE.format(GOOD) + owned, {}, source="g.yaml", folder=tmp_path)
    snapshot = build(config, grants=(), generation=1, created=1)
    assert set(snapshot.subjects) == {
        Subject("team", "core", organization="acme"), Subject("user", "ann", team="core"),
    }  # fmt: skip
    grant = Tokens(snapshot.issuers, Subjects.of(snapshot.subjects)).read(
        {"iss": "https://i", "sub": "ann"}
    )
    assert grant is not None
    assert (grant.team, grant.organization) == ("core", "acme")


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


def test_two_issuers_cannot_have_one_name(tmp_path):
    """The token of one would have what the other grants."""
    twice = FILE.replace(
        'corp: {{issuer: "https://i", {}}}',
        'corp: {{issuer: "https://i", {0}}}, two: {{issuer: "https://i", {0}}}',
    )
    with pytest.raises(ConfigError, match=r"the same as that of jwt\.corp"):
        loads(twice.format(GOOD), {}, source="gateway.yaml", folder=tmp_path)


def test_an_issuers_tokens_have_limits_of_their_own(tmp_path):
    text = GOOD + ", grant: {rate_limits: {requests_per_minute: 3}}"
    config = loads(FILE.format(text), {}, source="gateway.yaml", folder=tmp_path)
    grant = config.jwt["corp"].compiled("corp").grant
    assert grant.allowance.rates == (RateLimit("requests", 3, 60),)
