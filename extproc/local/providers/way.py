"""How a provider is reached without Envoy: what its configuration says, for an HTTP client."""

from __future__ import annotations

import ssl

import certifi
import httpx

from extproc.config.proxies import ProxyConfig


def as_proxy(proxy: ProxyConfig | None) -> httpx.Proxy | None:
    """Return the proxy as an HTTP client takes it."""
    if proxy is None:
        return None
    password = proxy.password
    return httpx.Proxy(
        proxy.url,
        auth=None
        if password is None
        else (proxy.username or "", password.get_secret_value()),
        ssl_context=ssl.create_default_context(
            cafile=str(proxy.ca_file or certifi.where())
        )
        if proxy.endpoint.tls
        else None,
    )
