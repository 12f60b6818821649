"""What a client is told of when to ask again."""

from __future__ import annotations

import pytest

from extproc.exchange.retry import advice

NO = ("x-should-retry", "false")


@pytest.mark.parametrize(
    ("ours", "providers", "told"),
    [
        (None, None, ()),
        ("7", None, (("retry-after", "7"),)),
        ("120", "3600", (("retry-after", "120"),)),
        ("121", None, (("retry-after", "121"), NO)),
        # Theirs is in the answer already.
        (None, "7", ()),
        (None, "3600", (NO,)),
        (None, "Wed, 21 Oct 2026 07:28:00 GMT", ()),
        (None, "soon", ()),
    ],
)
def test_who_would_wait_too_long_is_told_not_to(ours, providers, told):
    assert advice(ours, providers) == told


def test_an_account_that_was_refused_is_not_asked_again():
    """Clients see a 502, which their SDKs would try twice more."""
    assert advice(None, code="upstream_auth_error") == (NO,)
    assert advice(None, code="bad_upstream_answer") == ()
