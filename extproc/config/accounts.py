"""Which Envoy clusters a provider has: one for each of its keys."""

from __future__ import annotations

import hashlib

from extproc.config.schema import Config, ProviderConfig

FINGERPRINT_DIGITS = 8
"""Tells a key from the one before it; far too few to find a key by."""


def accounts(config: Config) -> dict[str, tuple[str, ProviderConfig]]:
    """Return provider name and configuration by cluster, in order, each with one key.

    The cluster of a single key, and of the first of several, has the provider's name;
    the others have a dot in theirs, which no provider's name has.
    """
    return {
        cluster: (name, account)
        for name, provider in config.providers.items()
        for cluster, account in clusters(name, provider).items()
    }


def clusters(name: str, provider: ProviderConfig) -> dict[str, ProviderConfig]:
    """Return the configuration of each account of the provider `name`, by cluster."""
    if not provider.api_keys:
        return {name: provider}
    return {
        name if number == 1 else f"{name}.{number}": provider.model_copy(
            update={"api_key": key, "api_keys": ()}
        )
        for number, key in enumerate(provider.api_keys, 1)
    }


def fingerprint(account: ProviderConfig) -> str:
    """Return what changes when the account's key does."""
    if account.api_key is None:
        return ""
    digest = hashlib.sha256(account.api_key.get_secret_value().encode())
    return digest.hexdigest()[:FINGERPRINT_DIGITS]
