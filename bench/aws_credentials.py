"""Every way to AWS's credentials, each at its real address, in namespaces of our own.

    unshare --map-root-user --net --mount .venv/bin/python -m bench.aws_credentials

The addresses of the instance's metadata (169.254.169.254) and of STS
(sts.REGION.amazonaws.com) are fixed in Envoy. Where a process may have its own network and
mounts, both can stand on this machine: the one is an address of the loopback device, the
other a name in a hosts file of our own. No test may count on that, so this is run by hand;
it prints one line for each way and ends with 1 if any does not sign as it should.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from extproc.local.mock.bedrock.signing import ACCESS_KEYS
from tests.harness import BEDROCK, KEY, Gateway, Mock, wait_for
from tests.pki import Authority

REGION = "eu-west-1"
STS = f"sts.{REGION}.amazonaws.com"
ROLE = "arn:aws:iam::123456789012:role/models"
IMDS = "169.254.169.254"
GIVEN = "MOCKPODKEY"
"""What every one of the services gives."""
OWN = {"access_key_id": "MOCKFILEKEY", "secret_access_key": ACCESS_KEYS["MOCKFILEKEY"]}


def ends() -> str:
    """Return when what is given now is over."""
    later = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    return later.strftime("%Y-%m-%dT%H:%M:%SZ")


class Metadata(BaseHTTPRequestHandler):
    """The instance's metadata, version 2: nothing without a token.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
    """

    def do_PUT(self) -> None:
        """Give a token."""
        asked = self.path == "/latest/api/token"
        seconds = self.headers.get("x-aws-ec2-metadata-token-ttl-seconds")
        self._say(200 if asked and seconds else 400, "a-token")

    def do_GET(self) -> None:
        """Name the role, or give its credentials."""
        folder = "/latest/meta-data/iam/security-credentials"
        if self.headers.get("x-aws-ec2-metadata-token") != "a-token":
            self._say(401, "")
        elif self.path.rstrip("/") == folder:
            self._say(200, "models")
        elif self.path == f"{folder}/models":
            given = {
                "Code": "Success",
                "AccessKeyId": GIVEN,
                "SecretAccessKey": ACCESS_KEYS[GIVEN],
                "Token": "of the instance",
                "Expiration": ends(),
            }
            self._say(200, json.dumps(given))
        else:
            self._say(404, "")

    def _say(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Sts(BaseHTTPRequestHandler):
    """Whoever signs may be the role; whoever has the cluster's statement, too.

    https://docs.aws.amazon.com/STS/latest/APIReference/API_Operations.html
    """

    def do_GET(self) -> None:
        """Answer what is asked in the query."""
        self._answer(urllib.parse.urlsplit(self.path).query)

    def do_POST(self) -> None:
        """Answer what is asked in a form."""
        size = int(self.headers.get("content-length") or 0)
        self._answer(self.rfile.read(size).decode())

    def _answer(self, asked: str) -> None:
        said = dict(urllib.parse.parse_qsl(asked))
        signed = self.headers.get("authorization", "")
        action = said.get("Action")
        known = {
            "AssumeRole": "Credential=MOCKFILEKEY/" in signed and "/sts/" in signed,
            "AssumeRoleWithWebIdentity": said.get("WebIdentityToken")
            == "header.claims.signature",
        }.get(str(action), False)
        right = known and said.get("RoleArn") == ROLE
        given = {
            "AccessKeyId": GIVEN,
            "SecretAccessKey": ACCESS_KEYS[GIVEN],
            "SessionToken": str(action),
        }
        later = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).timestamp()
        answer = {
            f"{action}Response": {
                f"{action}Result": {"Credentials": {**given, "Expiration": later}}
            }
        }
        body = json.dumps(answer if right else {"Error": {"Code": "AccessDenied"}})
        self.send_response(200 if right else 403)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(
    host: str, port: int, handler: type[BaseHTTPRequestHandler], tls: Any = None
) -> Iterator[None]:
    """Serve while the context lasts."""
    server = ThreadingHTTPServer((host, port), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def settle(folder: Path) -> None:
    """Give this process the addresses, if it may have them."""
    hosts = folder / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {STS}\n")
    for command in (
        ["ip", "link", "set", "lo", "up"],
        ["ip", "addr", "add", f"{IMDS}/32", "dev", "lo"],
        ["mount", "--bind", str(hosts), "/etc/hosts"],
    ):
        subprocess.run(command, check=True)


def ways(folder: Path) -> dict[str, tuple[dict[str, Any], dict[str, str]]]:
    """Return what the provider and the environment say, by the way to credentials."""
    (folder / "statement").write_text("header.claims.signature")
    (folder / "credentials").write_text(
        "[models]\n"
        f"aws_access_key_id = MOCKFILEKEY\n"
        f"aws_secret_access_key = {ACCESS_KEYS['MOCKFILEKEY']}\n"
    )
    off = {"AWS_EC2_METADATA_DISABLED": "true"}
    key = {
        "AWS_ACCESS_KEY_ID": "MOCKFILEKEY",
        "AWS_SECRET_ACCESS_KEY": ACCESS_KEYS["MOCKFILEKEY"],
    }
    statement = str(folder / "statement")
    file = {
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
        "AWS_PROFILE": "models",
    }
    irsa = {"AWS_WEB_IDENTITY_TOKEN_FILE": statement, "AWS_ROLE_ARN": ROLE}
    assumed = {"aws": {**OWN, "role_arn": ROLE}}
    said = {"aws": {"role_arn": ROLE, "web_identity_token_file": statement}}
    return {
        "environment": ({}, key | off),
        "profile": ({}, file | off),
        "IMDSv2": ({}, {}),
        "web identity (IRSA), environment": ({}, irsa | off),
        "web identity (IRSA), configuration": (said, off),
        "role assumed with keys (sts:AssumeRole)": (assumed, off),
    }


def attempt(folder: Path, provider: dict[str, Any], env: dict[str, str]) -> str:
    """Return the access key that a request was signed with."""
    mock = Mock(folder)
    try:
        section = {"type": "bedrock", "region": REGION, "base_url": mock.url}
        config = {
            "providers": {"bedrock": section | provider},
            "models": {"m": {"targets": [{"provider": "bedrock", "model": BEDROCK}]}},
        }
        gateway = Gateway(config, folder, env=env)
        try:
            headers = {"authorization": f"Bearer {KEY}"}
            body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}

            def answered() -> bool | None:
                url = f"{gateway.url}/v1/chat/completions"
                answer = httpx.post(url, json=body, headers=headers, timeout=20)
                return True if answer.status_code == 200 else None

            wait_for(answered, gateway.output)
        finally:
            gateway.stop()
        signed: str = mock.requests()[-1]["headers"]["authorization"]
        return signed.partition("Credential=")[2].partition("/")[0]
    finally:
        mock.stop()


def main() -> int:
    """Try every way."""
    failed = 0
    with (
        tempfile.TemporaryDirectory(prefix="gw-") as name,
        contextlib.ExitStack() as up,
    ):
        folder = Path(name)
        settle(folder)
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*Authority(folder).issue(STS))
        up.enter_context(serving(IMDS, 80, Metadata))
        up.enter_context(serving("127.0.0.1", 443, Sts, tls))
        for number, (way, (provider, env)) in enumerate(ways(folder).items()):
            own = folder / str(number)
            own.mkdir()
            wanted = "MOCKFILEKEY" if way in {"environment", "profile"} else GIVEN
            try:
                found = attempt(own, provider, env)
            except AssertionError as error:
                found = str(error)[-300:]
            failed += found != wanted
            print(f"{'ok    ' if found == wanted else 'FAILED'} {way}: {found}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
