"""Who is asking, from where, for what, and when."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from extproc.errors import GatewayError
from extproc.identity import Grant
from extproc.policy.admit import authenticate, client_address, within
from extproc.runtime import Runtime, Snapshot

KEY = "sk-test-0123456789abcdef"
NOW = 1_800_000_000.0


def outcome(path="/v1/chat/completions", *, key=KEY, hops=0, forwarded="9.9.9.9", **of):
    grant = Grant("k", hashlib.sha256(KEY.encode()).hexdigest(), **of)
    runtime = Runtime.of(Snapshot(1, grants=(grant,), trusted_hops=hops))
    headers = {"authorization": f"Bearer {key}", ":path": path}
    if forwarded is not None:
        headers["x-forwarded-for"] = forwarded
    try:
        return authenticate(runtime, headers, at=NOW).id
    except GatewayError as error:
        return error.status, error.code


CASES: dict[str, tuple[dict[str, Any], object]] = {
    "good": ({}, "k"),
    "unknown": ({"key": "sk-other"}, (401, "invalid_api_key")),
    "blocked": ({"blocked": True}, (401, "key_blocked")),
    "expired this moment": ({"expires": NOW}, (401, "key_expired")),
    "about to expire": ({"expires": NOW + 1}, "k"),
    "not valid yet": ({"not_before": NOW + 1}, (401, "key_not_yet_valid")),
    "valid since now": ({"not_before": NOW}, "k"),
    "its endpoint": ({"endpoints": ("/v1/chat/*",)}, "k"),
    "its endpoint, with a query": (
        {"path": "/v1/models?x=/v1/chat/", "endpoints": ("/v1/chat/*",)},
        (403, "endpoint_not_allowed"),
    ),
    "its network": ({"addresses": ("9.0.0.0/8",)}, "k"),
    "not its network": ({"addresses": ("10.0.0.0/8",)}, (403, "address_not_allowed")),
    "what a client says of itself": (
        {"addresses": ("10.0.0.0/8",), "forwarded": "10.1.1.1,9.9.9.9"},
        (403, "address_not_allowed"),
    ),
    "behind one proxy of ours": (
        {"addresses": ("10.0.0.0/8",), "forwarded": "6.6.6.6,10.1.1.1,9.9.9.9", "hops": 1},
        "k",
    ),
    "no address": (
        {"addresses": ("0.0.0.0/0",), "forwarded": None},
        (403, "address_not_allowed"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_key_is_good_for_what_its_grant_says(case):
    given, expected = CASES[case]
    assert outcome(**given) == expected


def test_addresses_of_both_families_are_matched():
    assert within("::1", ("::1/128",))
    assert within("::ffff:10.0.0.1", ("10.0.0.0/8",))
    assert not within("10.0.0.1", ("::/0",))
    assert not within("", ("0.0.0.0/0", "::/0"))


def test_fewer_entries_than_proxies_is_no_address():
    assert client_address({"x-forwarded-for": "1.1.1.1"}, hops=1) == ""
