"""The keys that are not in ``gateway.yaml``: the master key, and the one made at start.

A made key is shown once and stored as its SHA-256, in a file of the state folder that only
the owner can read. ``EXTPROC_MASTER_KEY`` is never stored; while it is set, it is the key
and the made one is not honored. Keys carry 256 random bits, so that a plain hash of one
says nothing of it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from extproc.runtime import Grant

KEYS_FILE: Final = "keys.json"
MASTER_VARIABLE: Final = "EXTPROC_MASTER_KEY"


class StoredKey(msgspec.Struct, frozen=True):
    """One key as it is stored."""

    id: str
    sha256: str


def hash_key(key: str) -> str:
    """Return the digest that stands for `key`, as `Runtime.grant` computes it."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def make_key(state: Path) -> str:
    """Make the key of the gateway whose state is in `state`; any earlier one is void.

    Raises:
        OSError: the folder cannot be written to.
    """
    key = f"sk-{secrets.token_urlsafe(32)}"
    content = msgspec.json.encode([StoredKey("default", hash_key(key))])
    write_private(state / KEYS_FILE, content)
    return key


def has_key(state: Path) -> bool:
    """Return whether a key was made, and can be read."""
    return bool(_stored(state))


def read_grants(state: Path, environ: Mapping[str, str]) -> tuple[Grant, ...]:
    """Return what the keys outside of ``gateway.yaml`` may do: everything."""
    master = environ.get(MASTER_VARIABLE)
    if master:
        return (Grant("master", hash_key(master), role="owner"),)
    return tuple(Grant(key.id, key.sha256, role="owner") for key in _stored(state))


def write_private(path: Path, content: bytes) -> None:
    """Replace `path` by a rename, with mode 0600 from its first moment.

    Raises:
        OSError: the folder cannot be written to.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
        file.write(content)
    temporary.replace(path)


def _stored(state: Path) -> tuple[StoredKey, ...]:
    try:
        content = (state / KEYS_FILE).read_bytes()
        return msgspec.json.decode(content, type=tuple[StoredKey, ...])
    except (OSError, msgspec.MsgspecError):
        # Unreadable is as good as absent: nobody gets in with a damaged hash, and the
        # next start makes a new key and shows it.
        return ()
