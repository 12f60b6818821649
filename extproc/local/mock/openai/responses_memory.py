"""What the mock keeps of responses, and the seal on reasoning that it does not keep."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

KEPT: Final = 1000
"""How many responses are remembered; the oldest is forgotten first."""
KEY: Final = b"the mock of OpenAI; not a secret"
HEAD: Final = "gAAAAAmock"
"""How encrypted reasoning begins: the real one's tokens begin with gAAAAA."""

Json = dict[str, Any]


class Shelf:
    """The responses that were asked to be stored."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[Json, list[Json]]] = OrderedDict()

    def keep(self, response: Json, items: list[Json]) -> None:
        """Remember a response, and the whole conversation up to its end."""
        self._kept[response["id"]] = (response, items)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def response(self, id_: str) -> Json | None:
        """Return a response that is kept."""
        kept = self._kept.get(id_)
        return None if kept is None else kept[0]

    def asked(self, id_: str) -> list[Json]:
        """Return the items that a response answers, each with an id."""
        response, items = self._kept[id_]
        before = items[: len(items) - len(response["output"])]
        found = []
        for nth, item in enumerate(before):
            one = {"id": f"msg_{id_[5:]}{nth}", **item}
            if one["type"] == "message" and isinstance(one["content"], str):
                kind = "output_text" if one["role"] == "assistant" else "input_text"
                one["content"] = [{"type": kind, "text": one["content"]}]
            found.append(one)
        return found

    def forget(self, id_: str) -> None:
        """Remember a response no longer."""
        del self._kept[id_]

    def conversation(self, id_: str) -> list[Json] | None:
        """Return the items up to the end of a response that is kept."""
        kept = self._kept.get(id_)
        return None if kept is None else kept[1]

    def item(self, id_: str) -> Json | None:
        """Return an item of a response that is kept."""
        for response, _ in self._kept.values():
            for item in response["output"]:
                if item.get("id") == id_:
                    found: Json = item
                    return found
        return None


def encrypt(item_id: str, thinking: str) -> str:
    """Return the ``encrypted_content`` of a reasoning item: only its digest is in it."""
    payload = hashlib.sha256(f"{item_id}/{thinking}".encode()).digest()
    return HEAD + base64.urlsafe_b64encode(payload + _digest(payload)).decode()


def is_encrypted(content: str) -> bool:
    """Tell whether the mock wrote this."""
    try:
        raw = base64.b64decode(content.removeprefix(HEAD), b"-_", validate=True)
    except (binascii.Error, ValueError):
        return False
    payload, digest = raw[:-32], raw[-32:]
    return content.startswith(HEAD) and hmac.compare_digest(_digest(payload), digest)


def _digest(payload: bytes) -> bytes:
    return hmac.digest(KEY, payload, "sha256")


def typed(item: Mapping[str, Any]) -> Json:
    """Return an item with its type, which two kinds may leave out."""
    if item.get("type") is not None:
        return dict(item)
    kind = "message" if "role" in item else "item_reference" if "id" in item else None
    return dict(item) if kind is None else {**item, "type": kind}
