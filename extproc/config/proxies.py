"""What ``gateway.yaml`` may say of a proxy on the way to a provider (HTTP CONNECT)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from extproc.config.endpoint import Endpoint, parse_endpoint
from extproc.config.values import Credential, Section


def _url(value: str) -> str:
    there = parse_endpoint(value)
    if there.path:
        raise ValueError("must be http://HOST:PORT or https://HOST:PORT")
    return value


def _section(value: object) -> object:
    return {"url": value} if isinstance(value, str) else value


class ProxyConfig(Section):
    """A proxy that tunnels to the provider, whose name it looks up itself."""

    url: Annotated[str, AfterValidator(_url)]
    """``https``: TLS is spoken to the proxy, too."""
    username: Annotated[str, Field(pattern=r"^[\x21-\x39\x3b-\x7e]+$")] | None = None
    """Of HTTP's Basic scheme (RFC 7617), which allows no colon in it."""
    password: Credential | None = None
    ca_file: Path | None = None
    """PEM bundle to verify an ``https`` proxy with; None: the public authorities."""

    @property
    def endpoint(self) -> Endpoint:
        """Where it is."""
        return parse_endpoint(self.url)

    @property
    def credential(self) -> str | None:
        """``username:password``, where there is one."""
        if self.password is None:
            return None
        return f"{self.username}:{self.password.get_secret_value()}"

    @model_validator(mode="after")
    def _whole(self) -> ProxyConfig:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if self.ca_file is not None and not self.endpoint.tls:
            raise ValueError("ca_file is for an https:// proxy")
        return self


Proxy = Annotated[ProxyConfig, BeforeValidator(_section)]
"""The section, or its `url` alone."""
