"""``make audit``: known vulnerabilities of what is pinned, without asking anybody.

    python release/advisories.py all.zip [pip-audit's own arguments …]

`all.zip` is OSV's export of the ecosystem PyPI, fetched where there is a network
(docs/releasing.md). pip-audit asks an OSV service; this is one, on loopback, that knows
what the file says. Exit code: pip-audit's, 1 when something is known to be vulnerable.
https://google.github.io/osv.dev/post-v1-query/ · https://ossf.github.io/osv-schema/
"""

from __future__ import annotations

import collections
import json
import re
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

Advisories = dict[str, list[dict[str, Any]]]


def read(file: Path) -> Advisories:
    """Read an export; return what it says by package."""
    found: Advisories = collections.defaultdict(list)
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            advisory = json.loads(archive.read(name))
            if "withdrawn" in advisory:
                continue
            for package in {
                normal(one["package"]["name"])
                for one in advisory.get("affected", ())
                if one.get("package", {}).get("ecosystem") == "PyPI"
            }:
                found[package].append(advisory)
    return found


def normal(name: str) -> str:
    """Spell a name as PyPI does (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def affects(advisory: dict[str, Any], name: str, version: Version) -> bool:
    """Say whether `version` of a package is among those that an advisory names."""
    return any(
        str(version) in one.get("versions", ())
        or any(within(some, version) for some in one.get("ranges", ()))
        for one in advisory["affected"]
        if normal(one.get("package", {}).get("name", "")) == name
    )


def within(some: dict[str, Any], version: Version) -> bool:
    """Say whether `version` is in a range: behind an introduction, before what ended it."""
    if some.get("type") != "ECOSYSTEM":
        return False
    inside = False
    for event in some["events"]:
        for kind, bound in event.items():
            try:
                at = Version("0" if bound == "0" else bound)
            except InvalidVersion:
                continue
            if kind == "introduced" and version >= at:
                inside = True
            elif (kind == "fixed" and version >= at) or (
                kind == "last_affected" and version > at
            ):
                inside = False
    return inside


def service(known: Advisories) -> ThreadingHTTPServer:
    """Return a server of ``POST /v1/query`` on a free port of loopback."""

    class Query(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers["content-length"])
            asked = json.loads(self.rfile.read(size))
            name = normal(asked["package"]["name"])
            version = Version(asked["version"])
            hits = [one for one in known.get(name, ()) if affects(one, name, version)]
            body = json.dumps({"vulns": hits} if hits else {}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return ThreadingHTTPServer(("127.0.0.1", 0), Query)


def main(export: str, *more: str) -> int:
    known = read(Path(export))
    print(f"{sum(map(len, known.values()))} advisories of {len(known)} packages")
    with service(known) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1/query"
        code = subprocess.run(
            [Path(sys.executable).with_name("pip-audit"), "--vulnerability-service", "osv",
             "--osv-url", url, "--no-deps", "--disable-pip", "--progress-spinner", "off",
             *(more or ("-r", "constraints.txt"))], check=False,
        ).returncode  # fmt: skip
        server.shutdown()
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
