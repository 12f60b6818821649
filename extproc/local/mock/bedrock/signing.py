"""Checking AWS's signatures (version 4), as Bedrock's door does.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import calendar
import hashlib
import hmac
import re
import time
import urllib.parse
from collections.abc import Mapping
from typing import Final

from extproc.local.mock.reply import Refusal, Request

ALGORITHM: Final = "AWS4-HMAC-SHA256"
SERVICE: Final = "bedrock"
SKEW: Final = 300.0
"""Seconds that a signature's time may be off."""
ACCESS_KEYS: Final[Mapping[str, str]] = {
    "MOCKACCESSKEY": "the mock's key; not a secret",
    "MOCKFILEKEY": "this/is+no/secret+either",
    "MOCKPODKEY": "what a container is given; not a secret",
}
"""The accounts that the mock knows: access key id → its secret."""

_HEADER: Final = re.compile(
    rf"{ALGORITHM} Credential=(?P<key>[^/,\s]+)/(?P<day>\d{{8}})/(?P<region>[a-z0-9-]+)"
    r"/(?P<service>[a-z0-9-]+)/aws4_request,\s*SignedHeaders=(?P<names>[^,\s]+),"
    r"\s*Signature=(?P<signature>[0-9a-f]{64})"
)


def check(request: Request, secrets: Mapping[str, str], now: float) -> None:
    """Raise the `Refusal` of a request that is not signed, or not rightly."""
    said = _HEADER.fullmatch(request.header("authorization") or "")
    if said is None:
        raise _refused(
            "IncompleteSignatureException",
            "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature'.",
            status=400,
        )
    secret = secrets.get(said["key"])
    if secret is None:
        raise _refused(
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        )
    if said["service"] != SERVICE:
        raise _mismatch(f"Credential should be scoped to correct service: '{SERVICE}'.")
    moment = _check_time(request, said["day"], now)
    names = said["names"].split(";")
    _check_names(request, names)
    scope = f"{said['day']}/{said['region']}/{SERVICE}/aws4_request"
    digest = hashlib.sha256(_canonical(request, names).encode()).hexdigest()
    to_sign = f"{ALGORITHM}\n{moment}\n{scope}\n{digest}"
    key = f"AWS4{secret}".encode()
    for step in scope.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    expected = hmac.digest(key, to_sign.encode(), "sha256").hex()
    if not hmac.compare_digest(expected, said["signature"]):
        raise _mismatch(
            "The request signature we calculated does not match the signature you"
            " provided. Check your AWS Secret Access Key and signing method. Consult the"
            " service documentation for details."
        )


def _check_time(request: Request, day: str, now: float) -> str:
    moment = request.header("x-amz-date") or ""
    try:
        signed = calendar.timegm(time.strptime(moment, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        raise _refused(
            "IncompleteSignatureException",
            "Authorization header requires existence of an 'X-Amz-Date' header.",
            status=400,
        ) from None
    if not moment.startswith(day):
        raise _mismatch("Date in Credential scope does not match YYYYMMDD from date.")
    if abs(signed - now) > SKEW:
        raise _mismatch(f"Signature expired or not yet current: {moment}.")
    return moment


def _check_names(request: Request, names: list[str]) -> None:
    """Refuse a signature that leaves out what it must cover, or covers what is not there."""
    present = {name for name, _ in request.headers}
    must = {"host", *(name for name in present if name.startswith("x-amz-"))}
    unsigned = must - set(names)
    if unsigned or names != sorted(set(names)) or not set(names) <= present:
        raise _mismatch(
            f"'{min(unsigned, default='SignedHeaders')}' must be a 'SignedHeader' in the"
            " AWS Authorization."
        )
    told = request.header("x-amz-content-sha256")
    if told is not None and told != hashlib.sha256(request.body).hexdigest():
        raise _mismatch(
            "The value for the header x-amz-content-sha256 does not match the body."
        )


def _canonical(request: Request, names: list[str]) -> str:
    """Return the request as it is hashed for the signature."""
    path, _, query = request.path.partition("?")
    pairs = urllib.parse.parse_qsl(query, keep_blank_values=True)
    quoted = sorted((_quote(key), _quote(value)) for key, value in pairs)
    headers = [f"{name}:{','.join(_values(request, name))}\n" for name in names]
    return "\n".join(
        (
            request.method,
            # The path is encoded once more, whatever it is already (but for S3).
            urllib.parse.quote(path, safe="/~"),
            "&".join(f"{key}={value}" for key, value in quoted),
            "".join(headers),
            ";".join(names),
            hashlib.sha256(request.body).hexdigest(),
        )
    )


def _values(request: Request, name: str) -> list[str]:
    return [" ".join(value.split()) for key, value in request.headers if key == name]


def _quote(text: str) -> str:
    return urllib.parse.quote(text, safe="-_.~")


def _refused(kind: str, message: str, *, status: int = 403) -> Refusal:
    return Refusal(status, message, type=kind)


def _mismatch(message: str) -> Refusal:
    return _refused("InvalidSignatureException", message)
