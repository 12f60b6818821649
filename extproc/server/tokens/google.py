"""Google's ways to a token: a file of one of three types, or the metadata server.

https://google.aip.dev/auth; the formats of the files are those that ``gcloud`` and the
console write. A file is read for each token, so that a new one counts without a restart.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from extproc.server import outgoing
from extproc.server.tokens.token import (
    Token,
    TokenRefused,
    ask,
    read_token,
    refused,
    sendable,
)

TOKEN_URL: Final = "https://oauth2.googleapis.com/token"  # noqa: S105  no secret
STATEMENT_SECONDS: Final = 3600
"""How long a signed statement is good for: the most that Google takes."""
JWT_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
EXCHANGE_GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  a name


class ServiceAccount(msgspec.Struct, tag="service_account"):
    """A key of a service account (https://google.aip.dev/auth/4112)."""

    client_email: str
    private_key: str
    private_key_id: str = ""
    token_uri: str = TOKEN_URL


class AuthorizedUser(msgspec.Struct, tag="authorized_user"):
    """A person's consent (https://google.aip.dev/auth/4113)."""

    client_id: str
    client_secret: str
    refresh_token: str
    token_uri: str = TOKEN_URL


class _Format(msgspec.Struct):
    type: str = "text"
    subject_token_field_name: str = ""


class _CredentialSource(msgspec.Struct):
    file: str | None = None
    format: _Format = msgspec.field(default_factory=_Format)


class ExternalAccount(msgspec.Struct, tag="external_account"):
    """A workload of another cloud (https://google.aip.dev/auth/4117)."""

    audience: str
    subject_token_type: str
    token_url: str
    credential_source: _CredentialSource
    service_account_impersonation_url: str | None = None


Credentials = ServiceAccount | AuthorizedUser | ExternalAccount

_CREDENTIALS = msgspec.json.Decoder(Credentials)


@dataclasses.dataclass(frozen=True, slots=True)
class GoogleFile:
    """A file with credentials."""

    path: Path
    scope: str

    async def fetch(self, http: httpx.AsyncClient, now: float) -> Token:
        """See `Source.fetch`."""
        try:
            found: Credentials = _CREDENTIALS.decode(self.path.read_bytes())
        except msgspec.MsgspecError as error:
            # The message names fields and types, no values.
            raise TokenRefused(f"{self.path} is not understood: {error}") from None
        match found:
            case ServiceAccount():
                statement = _statement(found, self.scope, now)
                form = {"grant_type": JWT_GRANT, "assertion": statement}
                return await ask(http, _safe(found.token_uri), form)
            case AuthorizedUser():
                form = {
                    "grant_type": "refresh_token",
                    "client_id": found.client_id,
                    "client_secret": found.client_secret,
                    "refresh_token": found.refresh_token,
                }
                return await ask(http, _safe(found.token_uri), form)
            case ExternalAccount():
                return await _exchange(http, found, self.scope, now)


@dataclasses.dataclass(frozen=True, slots=True)
class Metadata:
    """The machine's own identity, where it has one.

    https://cloud.google.com/compute/docs/access/authenticate-workloads
    """

    host: str
    scope: str

    async def fetch(self, http: httpx.AsyncClient, now: float) -> Token:  # noqa: ARG002
        """See `Source.fetch`."""
        answer = await outgoing.ask(
            http,
            "GET",
            f"http://{self.host}/computeMetadata/v1/instance/service-accounts/default/token",
            params={"scopes": self.scope},
            headers={"metadata-flavor": "Google"},
        )
        return read_token(answer)


def _statement(account: ServiceAccount, scope: str, now: float) -> str:
    """Return a JWT in which the account asks for a token (RFC 7523)."""
    # Heavy, and most configurations have no service account.
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415

    header = {"alg": "RS256", "typ": "JWT", "kid": account.private_key_id}
    claims = {
        "iss": account.client_email,
        "scope": scope,
        "aud": account.token_uri,
        "iat": int(now),
        "exp": int(now) + STATEMENT_SECONDS,
    }
    signed = f"{_part(header)}.{_part(claims)}"
    try:
        key = serialization.load_pem_private_key(account.private_key.encode(), None)
    except (ValueError, TypeError):
        raise TokenRefused("the service account's private_key cannot be read") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TokenRefused("the service account's private_key is not an RSA key")
    signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{_encoded(signature)}"


async def _exchange(
    http: httpx.AsyncClient, account: ExternalAccount, scope: str, now: float
) -> Token:
    """Exchange another cloud's statement for a token (RFC 8693)."""
    own = account.service_account_impersonation_url
    form = {
        "grant_type": EXCHANGE_GRANT,
        "audience": account.audience,
        "scope": scope,
        "requested_token_type": ACCESS_TOKEN,
        "subject_token_type": account.subject_token_type,
        "subject_token": _subject(account.credential_source),
    }
    token = await ask(http, _safe(account.token_url), form)
    if own is None:
        return token
    answer = await outgoing.ask(
        http,
        "POST",
        _safe(own),
        json={"scope": [scope], "lifetime": f"{STATEMENT_SECONDS}s"},
        headers={"authorization": f"Bearer {token.value}"},
    )
    return _impersonated(answer, now)


class _Impersonated(msgspec.Struct, rename="camel"):
    access_token: str
    expire_time: dt.datetime


def _impersonated(answer: httpx.Response, now: float) -> Token:
    if answer.status_code != 200:
        raise refused(answer)
    try:
        said = msgspec.json.decode(answer.content, type=_Impersonated)
        seconds = said.expire_time.timestamp() - now
    except msgspec.MsgspecError:
        raise TokenRefused(f"{answer.request.url.host} answers with no token") from None
    if not (seconds > 0 and sendable(said.access_token)):
        raise TokenRefused("the service account's token is of no use")
    return Token(said.access_token, seconds)


def _subject(source: _CredentialSource) -> str:
    if source.file is None:
        raise TokenRefused("only a file is understood as credential_source")
    text = Path(source.file).read_text()
    if source.format.type == "text":
        return text.strip()
    try:
        said = msgspec.json.decode(text, type=dict[str, Any])
        found = said[source.format.subject_token_field_name]
    except (msgspec.MsgspecError, KeyError):
        raise TokenRefused(f"{source.file} has no subject token in it") from None
    return str(found)


def _safe(url: str) -> str:
    """Return `url`, to which a secret may be sent.

    Raises:
        TokenRefused: it is another machine's, in the clear.
    """
    parsed = httpx.URL(url)
    here = parsed.host in {"127.0.0.1", "::1", "localhost"}
    if parsed.scheme == "https" or (parsed.scheme == "http" and here):
        return url
    raise TokenRefused(f"{parsed.host} is not asked: its URL must begin with https://")


def _part(value: Mapping[str, object]) -> str:
    return _encoded(msgspec.json.encode(value))


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
