"""Where a provider is: a base URL taken apart, once, for the worker and for Envoy.

The worker needs ``authority`` and ``path`` (what the request says), Envoy ``host``,
``port`` and ``tls`` (whom it connects to and whose certificate it accepts). Both come
from one value, so that they cannot disagree.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from urllib.parse import urlsplit

DEFAULT_PORTS = {"https": 443, "http": 80}

_HOSTNAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?"
    r"(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?)*\Z"
)
_NUMBER = re.compile(r"(?:\d+|0x[0-9a-f]*)\Z")
"""A last label of this form makes the whole an address to some resolvers: ``0x7f.1``
(https://url.spec.whatwg.org/#ends-in-a-number-checker)."""
METADATA_HOSTS = frozenset({"metadata", "metadata.google.internal", "instance-data"})
"""Servers of the clouds that hand out the machine's own credentials."""
_AWS_REGION = re.compile(
    r"(?:[a-z0-9-]+\.)?bedrock-runtime(?:-fips)?\.(?P<region>[a-z]{2}(?:-[a-z]+)+-\d)"
    r"\.(?:vpce\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws)"
)
_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*\Z")


@dataclasses.dataclass(frozen=True, slots=True)
class Endpoint:
    """Scheme, host, port and path of a base URL."""

    host: str
    """A lower-case name or an IP literal, without brackets."""
    port: int
    tls: bool
    path: str
    """Without a slash at its end; empty, or beginning with one."""

    @property
    def authority(self) -> str:
        """What the ``:authority`` header says: no port where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        own = DEFAULT_PORTS["https" if self.tls else "http"]
        return host if self.port == own else f"{host}:{self.port}"

    @property
    def is_ip(self) -> bool:
        """Whether the host needs no name resolution."""
        return _ip(self.host) is not None

    @property
    def is_loopback(self) -> bool:
        """Whether nothing leaves this machine on the way there."""
        ip = _ip(self.host)
        return self.host == "localhost" if ip is None else ip.is_loopback

    @property
    def is_private(self) -> bool:
        """Whether it is an address that only this network, or this machine, answers.

        Names are looked up by Envoy alone, so but for those of the clouds' metadata
        servers they are not judged.
        """
        ip = _ip(self.host)
        if ip is None:
            return self.host in METADATA_HOSTS
        inner = _embedded(ip) or ip
        return not (inner.is_global or inner.is_loopback)


def parse_endpoint(url: str) -> Endpoint:
    """Take a base URL apart.

    Raises:
        ValueError: it is not a plain ``http(s)://host[:port][/path]``. The message does
            not repeat the URL, which may hold a password.
    """
    if any(mark in url for mark in "?#"):
        raise ValueError("must have no query and no fragment")
    try:
        parts = urlsplit(url)
        port, host = parts.port, (parts.hostname or "").rstrip(".")
    except ValueError as exc:
        raise ValueError("is not a URL: its host or port cannot be read") from exc
    if parts.scheme not in DEFAULT_PORTS:
        raise ValueError("must begin with https:// (or http://)")
    if "@" in parts.netloc:
        raise ValueError("must hold no user name or password: use api_key")
    if _ip(host) is None and (
        not _HOSTNAME.match(host) or _NUMBER.match(host.rpartition(".")[2])
    ):
        raise ValueError("has no host name that can be looked up")
    if port == 0:
        raise ValueError("cannot have port 0")
    path = parts.path.rstrip("/")
    if not _PATH.match(path):
        raise ValueError("has a path with characters that must be percent-encoded")
    return Endpoint(
        host=host,
        port=port or DEFAULT_PORTS[parts.scheme],
        tls=parts.scheme == "https",
        path=path,
    )


def check_web_address(url: str) -> None:
    """See that `url` can be asked: it may have a user and a query, and be of any network.

    Raises:
        ValueError: it cannot. The message does not repeat it, which may be a secret.
    """
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("has a character that must be percent-encoded")
    try:
        parts = urlsplit(url)
    except ValueError as exc:
        raise ValueError("is not a URL: its host or port cannot be read") from exc
    parse_endpoint(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")


def aws_region(host: str) -> str | None:
    """Return the region that a host of Bedrock's names; None for any other host.

    https://docs.aws.amazon.com/general/latest/gr/bedrock.html; FIPS and VPC endpoints too.
    """
    found = _AWS_REGION.fullmatch(host)
    return found["region"] if found else None


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``host:port``; an IPv6 host stands in brackets.

    Raises:
        ValueError: it is not an IP literal (or ``localhost``) and a port.
    """
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host.strip("[]") if bracketed else host
    host = "127.0.0.1" if host == "localhost" else host
    ip = _ip(host)
    if not colon or ip is None or (ip.version == 6) != bracketed:
        raise ValueError("must be IP:PORT, such as 127.0.0.1:8080 or [::1]:8080")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError("must end with a port from 0 to 65535")
    return host, int(port)


_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""RFC 6052: an IPv4 address behind a translator, in the last four bytes."""


def _embedded(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 one leads to, if it does."""
    if isinstance(ip, ipaddress.IPv4Address):
        return None
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
