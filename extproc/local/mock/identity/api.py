"""Token endpoints: who asks is checked, and what is given out expires.

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow,
https://developers.google.com/identity/protocols/oauth2/service-account#httprest,
https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token,
https://cloud.google.com/compute/docs/access/authenticate-workloads
"""

from __future__ import annotations

import base64
import binascii
import re
import time
import urllib.parse
from typing import Any, Final

import msgspec

from extproc.local.mock.azure.api import AUDIENCE as AZURE
from extproc.local.mock.reply import Refusal, Reply, Request
from extproc.local.mock.state import Memory
from extproc.local.mock.vertex.api import AUDIENCE as GOOGLE

TENANT: Final = "mock-tenant"
APPLICATION: Final = "mock-application"
SECRET: Final = "mock-application-secret"  # noqa: S105  not a secret
ASSERTION: Final = "mock-cluster-statement"
"""What a Kubernetes cluster says of a workload of its own."""
REFRESH_TOKEN: Final = "mock-refresh-token"  # noqa: S105  not a secret
SUBJECT_TOKEN: Final = "mock-subject-token"  # noqa: S105  not a secret
POOL: Final = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q"
ISSUED: Final = "urn:ietf:params:oauth:token-type:access_token"
LIFE: Final = 3599
"""Seconds that a token is good for, where nobody says otherwise."""

_ENTRA: Final = re.compile(r"/entra/(?P<tenant>[^/]+)/oauth2/v2\.0/token")
_METADATA: Final = "/computeMetadata/v1/instance/service-accounts/default/token"
_IMPERSONATE: Final = re.compile(
    r"/google/v1/projects/-/serviceAccounts/(?P<account>[^/:]+):generateAccessToken"
)
ACCOUNT: Final = "models@mock-project.iam.gserviceaccount.com"


class Identity:
    """All of them; `life` is how many seconds a token is good for."""

    name = "identity"

    def __init__(self, memory: Memory, life: float = LIFE) -> None:
        self._memory = memory
        self._life = life

    def owns(self, request: Request) -> bool:
        """Claim `/entra`, `/google` and the metadata server's path."""
        return request.route.startswith(("/entra/", "/google/", "/computeMetadata/"))

    def respond(self, request: Request) -> Reply:
        """Answer as they do."""
        try:
            return _json(200, self._route(request))
        except Refusal as refusal:
            said = {"error": refusal.type, "error_description": refusal.message}
            return _json(refusal.status, said)

    def _route(self, request: Request) -> dict[str, Any]:
        if request.route == _METADATA:
            return self._metadata(request)
        if request.method != "POST":
            raise Refusal(405, "use POST", type="invalid_request")
        impersonated = _IMPERSONATE.fullmatch(request.route)
        if impersonated is not None:
            return self._impersonate(request, impersonated["account"])
        kind = (request.header("content-type") or "").partition(";")[0]
        if kind != "application/x-www-form-urlencoded":
            raise Refusal(400, "the body must be a form", type="invalid_request")
        pairs = urllib.parse.parse_qsl(request.body.decode(), strict_parsing=True)
        form = dict(pairs)
        if len(form) != len(pairs):
            raise Refusal(400, "a parameter is there twice", type="invalid_request")
        entra = _ENTRA.fullmatch(request.route)
        if entra is not None:
            return self._entra(form, urllib.parse.unquote(entra["tenant"]))
        if request.route == "/google/token":
            return self._google(form, _url(request))
        if request.route == "/google/sts":
            return self._exchange(form)
        raise Refusal(404, "there is nothing here", type="not_found")

    def _entra(self, form: dict[str, str], tenant: str) -> dict[str, Any]:
        if tenant != TENANT:
            raise Refusal(
                400,
                f"AADSTS90002: Tenant '{tenant}' not found.\r\nTrace ID: 0\r\n"
                "Timestamp: 2026-01-01 00:00:00Z",
                type="invalid_request",
            )
        _expect(form, "grant_type", "client_credentials", "unsupported_grant_type")
        _expect(form, "scope", f"{AZURE}/.default", "invalid_scope")
        _expect(form, "client_id", APPLICATION, "unauthorized_client")
        if "client_assertion" in form:
            _expect(
                form,
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                "invalid_request",
            )
            _expect(form, "client_assertion", ASSERTION, "invalid_client")
        elif form.get("client_secret") != SECRET:
            raise Refusal(
                401,
                "AADSTS7000215: Invalid client secret provided.\r\nTrace ID: 0",
                type="invalid_client",
            )
        _expect_no_more(form, {"client_secret", "client_assertion"})
        return {**self._token(AZURE), "ext_expires_in": int(self._life)}

    def _google(self, form: dict[str, str], url: str) -> dict[str, Any]:
        grant = form.get("grant_type")
        if grant == "refresh_token":
            for name, value in (
                ("client_id", APPLICATION),
                ("client_secret", SECRET),
                ("refresh_token", REFRESH_TOKEN),
            ):
                _expect(form, name, value, "invalid_grant")
            _expect_no_more(form, {"grant_type"})
            return self._token(GOOGLE)
        _expect(
            form,
            "grant_type",
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "unsupported_grant_type",
        )
        self._check_statement(form.pop("assertion", ""), url)
        _expect_no_more(form, set())
        return self._token(GOOGLE)

    def _check_statement(self, statement: str, url: str) -> None:
        """Refuse a JWT that its account has not signed, or that says the wrong things."""
        parts = statement.split(".")
        if len(parts) != 3:
            raise _invalid("Invalid JWT: not three parts")
        try:
            header, claims = (msgspec.json.decode(_raw(part)) for part in parts[:2])
            signature = _raw(parts[2])
        except (msgspec.MsgspecError, binascii.Error):
            raise _invalid("Invalid JWT: it cannot be read") from None
        if header.get("alg") != "RS256" or header.get("typ") != "JWT":
            raise _invalid("Invalid JWT: Only RS256 is supported")
        pem = self._memory.service_accounts.get(str(claims.get("iss")))
        if pem is None:
            raise _invalid("Invalid grant: account not found")
        _check_signature(pem, ".".join(parts[:2]).encode(), signature)
        now = self._memory.clock()
        if claims.get("aud") != url:
            raise _invalid(f"Invalid JWT: aud must be {url}")
        if claims.get("scope") != GOOGLE:
            raise Refusal(
                400, "Empty or missing scope not allowed", type="invalid_scope"
            )
        if not (now - 300 <= claims.get("iat", 0) <= now + 300):
            raise _invalid("Invalid JWT: iat is not now")
        if not (now < claims.get("exp", 0) <= claims["iat"] + 3600):
            raise _invalid(
                "Invalid JWT: Token must be a short-lived token (60 minutes)"
            )

    def _exchange(self, form: dict[str, str]) -> dict[str, Any]:
        for name, value in (
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("audience", POOL),
            ("scope", GOOGLE),
            ("requested_token_type", ISSUED),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
            ("subject_token", SUBJECT_TOKEN),
        ):
            _expect(form, name, value, "invalid_request")
        _expect_no_more(form, set())
        given = self._token(GOOGLE)
        given["issued_token_type"] = ISSUED
        return given

    def _impersonate(self, request: Request, account: str) -> dict[str, Any]:
        token = (request.header("authorization") or "").removeprefix("Bearer ")
        if not self._memory.is_issued(token, GOOGLE):
            raise Refusal(401, "UNAUTHENTICATED", type="unauthenticated")
        body = msgspec.json.decode(request.body)
        if account != ACCOUNT or body != {"scope": [GOOGLE], "lifetime": "3600s"}:
            raise Refusal(403, "PERMISSION_DENIED", type="permission_denied")
        expires = time.gmtime(self._memory.clock() + self._life)
        return {
            "accessToken": self._memory.issue(GOOGLE, self._life),
            "expireTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", expires),
        }

    def _metadata(self, request: Request) -> dict[str, Any]:
        if request.header("metadata-flavor") != "Google":
            raise Refusal(403, "Metadata-Flavor is missing", type="forbidden")
        query = urllib.parse.parse_qs(request.path.partition("?")[2])
        if query != {"scopes": [GOOGLE]}:
            raise Refusal(400, "scopes", type="invalid_scope")
        return self._token(GOOGLE)

    def _token(self, audience: str) -> dict[str, Any]:
        return {
            "access_token": self._memory.issue(audience, self._life),
            "expires_in": int(self._life),
            "token_type": "Bearer",
        }


def _expect(form: dict[str, str], name: str, value: str, kind: str) -> None:
    if form.pop(name, None) != value:
        raise Refusal(401 if kind == "invalid_client" else 400, name, type=kind)


def _expect_no_more(form: dict[str, str], known: set[str]) -> None:
    if more := form.keys() - known:
        raise Refusal(400, f"unexpected parameter: {min(more)}", type="invalid_request")


def _invalid(message: str) -> Refusal:
    return Refusal(400, message, type="invalid_grant")


def _url(request: Request) -> str:
    return f"http://{request.header('host')}{request.route}"


def _raw(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _check_signature(pem: bytes, signed: bytes, signature: bytes) -> None:
    # Only those who test service accounts wait for it.
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415

    key = serialization.load_pem_public_key(pem)
    assert isinstance(key, rsa.RSAPublicKey)  # noqa: S101 - a test registered it
    try:
        key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise _invalid("Invalid JWT Signature.") from None


def _json(status: int, body: object) -> Reply:
    return Reply(
        status, msgspec.json.encode(body), headers=(("cache-control", "no-store"),)
    )
