"""Azure's managed identities, at endpoints that check how they are asked."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from extproc.config.identities import EntraConfig
from extproc.server.tokens import TokenRefused, source_of

NOW = 1_700_000_000.0
RESOURCE = "https://cognitiveservices.azure.com"
APP_SERVICE = {
    "IDENTITY_ENDPOINT": "http://localhost:4141/msi/token",
    "IDENTITY_HEADER": "a-secret-of-the-host",
}


def answer(request):
    """Answer as the machine's metadata and App Service do, whichever is asked."""
    asked = dict(request.url.params)
    if asked.pop("resource", "") != RESOURCE or request.method != "GET":
        return httpx.Response(400, json={"error": "invalid_resource"})
    who = asked.pop("client_id", "system")
    match str(request.url.copy_with(query=None)), asked:
        case (
            "http://169.254.169.254/metadata/identity/oauth2/token",
            {"api-version": "2018-02-01"},
        ) if request.headers.get("metadata") == "true":
            life = {"expires_in": "86399", "expires_on": "1"}
        case (
            "http://localhost:4141/msi/token",
            {"api-version": "2019-08-01"},
        ) if request.headers.get("x-identity-header") == "a-secret-of-the-host":
            life = {"expires_on": str(int(NOW) + 3600)}
        case _:
            return httpx.Response(403, json={"error": "unauthorized_client"})
    return httpx.Response(200, json={"access_token": f"token-of-{who}", **life})


def fetch(environ, reply=answer, **said):
    source = source_of(EntraConfig(managed_identity=True, **said), environ)

    async def once():
        transport = httpx.MockTransport(reply)
        async with httpx.AsyncClient(transport=transport) as http:
            return await source.fetch(http, NOW)

    return asyncio.run(once())


@pytest.mark.parametrize(("environ", "seconds"), [({}, 86399), (APP_SERVICE, 3600)])
@pytest.mark.parametrize(("said", "who"), [({}, "system"), ({"client_id": "c"}, "c")])
def test_the_machine_gives_the_token_of_the_identity_that_is_asked_for(
    environ, seconds, said, who
):
    token = fetch(environ, **said)
    assert (token.value, token.seconds) == (f"token-of-{who}", seconds)


def test_a_refusal_is_told_without_the_hosts_secret():
    wrong = {**APP_SERVICE, "IDENTITY_HEADER": "another-secret"}
    with pytest.raises(TokenRefused, match="unauthorized_client") as caught:
        fetch(wrong)
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(source_of(EntraConfig(managed_identity=True), wrong))


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b'{"access_token": "t"}',
        b'{"access_token": "t", "expires_in": "soon"}',
        b'{"access_token": "a b", "expires_in": 5}',
        b'{"access_token": "t", "expires_on": "1"}',
    ],
)
def test_an_answer_without_a_token_is_none(said):
    with pytest.raises(TokenRefused):
        fetch({}, lambda _: httpx.Response(200, content=said))


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"managed_identity": True, "tenant_id": "t"}, "tenant_id is not said"),
        ({"managed_identity": True, "client_secret": "s"}, "no two of them"),
        ({"client_secret": "s"}, "tenant_id and client_id are missing"),
        ({}, "needs either"),
    ],
)
def test_what_cannot_be_is_refused(said, complaint):
    with pytest.raises(ValueError, match=complaint):
        EntraConfig.model_validate(said)
