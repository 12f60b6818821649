"""Where an exchange hangs, by what its client and Envoy say."""

from __future__ import annotations

import pytest

from extproc.telemetry.trace_context import is_sampled, parent_of
from tests.telemetry.test_spans import ENVOY, SPAN, TRACE, changed


def test_envoys_span_is_the_parent_and_the_clients_decision_stays() -> None:
    parent = parent_of(changed(envoy_span=ENVOY))
    assert (parent.span, parent.sampled) == (0x00F067AA0BA902B7, True)


@pytest.mark.parametrize(
    "text",
    [
        None, "", "00-1-1-01", f"ff-{TRACE}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE.upper()}-{SPAN}-01", f"00-{TRACE}-{SPAN}",
    ],
)  # fmt: skip
def test_what_is_no_traceparent_begins_a_trace_of_its_own(text) -> None:
    parent = parent_of(changed(traceparent=text))
    assert (parent.span, parent.sampled, parent.state) == (0, None, None)
    assert parent.trace


def test_where_no_client_decides_the_ratio_does() -> None:
    roots = [changed(id=f"gw-{n}", traceparent=None) for n in range(2_000)]
    kept = sum(is_sampled(parent_of(one), 0.25) for one in roots)
    assert 400 < kept < 600
    assert not any(is_sampled(parent_of(one), 0.0) for one in roots)
    assert all(is_sampled(parent_of(one), 1.0) for one in roots)


@pytest.mark.parametrize(
    ("trace", "kept"),
    [
        ("2f864d99621a2415675a328620b47df2", True),
        ("8ffcde062876f73088499e7b51e0ba52", True),
        ("c7bf871d4071198703c44129e18a6dd3", True),
        ("f4388d5bc357c8e38ba72f62a9ff4784", False),
        ("ee9e5dc4900173236e0d6da6a6b18f70", False),
        ("7dc3a7e52441f1e83b0533d2aa6870eb", True),
        ("5ce2aa456617c229efb7a81934c9b97b", False),
    ],
)
def test_half_of_the_traces_are_those_that_envoy_has_kept(trace, kept) -> None:
    """As Envoy 1.40 decided at 50 %, when it was asked."""
    one = changed(traceparent=None, envoy_span=f"{trace}-{SPAN}")
    assert is_sampled(parent_of(one), 0.5) is kept
