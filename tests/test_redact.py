"""What leaves the process: no secret, no person, and everything that finds a request."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, strategies as st

from extproc.errors import UpstreamError
from extproc.redact import PERSONAL, SECRETS, Redactor, luhn

redactor = Redactor()

PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEow+/IBAAKCAQEA\nabc=\n"
    "-----END RSA PRIVATE KEY-----"
)
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0NTYifQ.c2lnbmF0dXJl-_x"

# kind, the secret, a text around it
GONE = [
    ("api_key", "sk-0123456789abcdef0123456789abcdef", "key {} refused"),
    ("api_key", "sk-proj-Ab_c-0123456789", "Incorrect API key provided: {}."),
    ("api_key", "sk-ant-api03-AAAA-bbbb_cccc", "({})"),
    ("api_key", "sk-or-v1-0123456789abcdef", "'{}'"),
    ("api_key", "AIzaSyA-0123456789abcdefghijklmnopqrstu", "?key={}&alt=sse"),
    ("api_key", "ya29.a0AfH6SMBx-0123456789", "access {}"),
    ("api_key", "GOCSPX-abcdefghij_1234", "{}"),
    ("api_key", "gsk_0123456789abcdefABCDEF", "{}"),
    ("api_key", "xai-0123456789abcdefABCDEF", "{}"),
    ("api_key", "pplx-0123456789abcdefABCDEF", "{}"),
    ("api_key", "hf_0123456789abcdefABCDEF", "{}"),
    ("api_key", "nvapi-0123456789abcdefABCDEF", "{}"),
    ("api_key", "r8_0123456789abcdefABCDEF", "{}"),
    ("api_key", "csk-0123456789abcdefABCDEF", "{}"),
    ("api_key", "fw_0123456789abcdefABCDEF", "{}"),
    ("api_key", "tgp_v1_0123456789abcdefABCDEF", "{}"),
    ("api_key", "dapi0123456789abcdef0123456789abcdef", "{}"),
    ("api_key", "ghp_0123456789abcdefABCDEF", "{}"),
    ("api_key", "github_pat_0123456789abcdefABCDEF", "{}"),
    ("api_key", "glpat-0123456789abcdefABCD", "{}"),
    ("api_key", "xoxb-0123456789-abcdef", "{}"),
    ("api_key", "ABSKQmVkcm9ja0FQSUtleS1hYmNkZWY=", "{}"),
    ("aws_key", "AKIAIOSFODNN7EXAMPLE", "Credential={}/20261125/us-east-1"),
    ("aws_key", "ASIAIOSFODNN7EXAMPLE", "{}"),
    ("aws_key", "0123456789abcdef" * 4, "SignedHeaders=host, Signature={}"),
    ("aws_key", "FwoGZXIvYXdzEBYaD%2B", "&X-Amz-Security-Token={}&X-Amz-Date=2026"),
    ("azure_key", "abc8Q~abcdefghijklmnopqrstuvwxyz0123456", "{}"),
    ("azure_key", "bG9uZy1zdG9yYWdlLWtleQ==", "AccountName=x;AccountKey={};"),
    ("bearer", "abc.def-ghi_123", "authorization: Bearer {}"),
    ("bearer", "dXNlcjpwYXNzd29yZA==", "Authorization: Basic {}"),
    ("jwt", JWT, "token {} expired"),
    ("private_key", PEM, "cannot read {} as PEM"),
    ("private_key", PEM.partition("\n-----END")[0], "cut off: {}"),
    ("password", "gateway:hunter2", "postgresql+psycopg://{}@db:5432/x"),
    ("password", "hunter2!", 'password: "{}"'),
    ("password", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYKEY", "aws_secret_access_key = {}"),
    ("password", "abcdef0123", '{{"client_secret":"{}","id":1}}'),
    ("password", "abcdef0123", "https://x/?api_key={}&model=gpt-4o"),
    ("password", "abcdef0123", "refresh_token={}"),
    ("email", "bob.smith+x@mail.example.co.uk", "ask {}."),
    ("email", "b@x.io", "<{}>,"),
    ("card", "4111 1111 1111 1111", "pay with {} now"),
    ("card", "5500-0000-0000-0004", "{}"),
    ("card", "378282246310005", "{}."),
    ("phone", "+49 (30) 1234-5678", "call {}."),
    ("phone", "+14155550123", "{}"),
    ("phone", "(415) 555-0123", "{}"),
    ("phone", "415-555-0123", "tel {},"),
]  # fmt: skip

KEPT = [
    "gw-0123456789abcdef-1f3",
    "req_011CSHoEeqs5C35K2UUqR7Fy",
    "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
    "msg_01XFDUDYJgAACzvnptvVoYEL",
    "550e8400-e29b-41d4-a716-446655440000",
    "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "2026-11-25T19:49:27.123456Z",
    "1764100000.123 1764100000123456789 1764100000123",
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/x",
    "4111 1111 1111 1112",  # no check digit
    "127.0.0.1:8080 [::1]:8081",
    '{"max_tokens": 1000000, "token": 123456789, "total_tokens": 987654321}',
    "tokens: input 1234567 output 7654321",
    "task-force-of-ninety-nine-people",
    "the token bucket is empty; the password is wrong",
    "HTTP/1.1 429 Too Many Requests, retry-after: 120",
    "@decorator, user@localhost",
    "x-request-id=7b1f1d4e-0000-4000-8000-000000000000",
]


@pytest.mark.parametrize(("kind", "secret", "around"), GONE)
def test_a_secret_is_gone_and_what_stands_around_it_stays(kind, secret, around):
    out = redactor.text(around.format(secret))
    assert secret not in out
    before, after = around.format("\0").split("\0")
    assert f"[redacted:{kind}]" in out
    assert out.endswith(after)
    # A longer form may begin before the secret, such as the name of its field.
    assert out.startswith((before.split(" ")[0], "[redacted:"))


@pytest.mark.parametrize("text", KEPT)
def test_what_finds_a_request_stays(text):
    assert redactor.text(text) == text


def test_only_the_chosen_kinds_are_taken_out():
    text = "sk-0123456789abcdef of bob@example.com"
    assert Redactor(SECRETS).text(text) == "[redacted:api_key] of bob@example.com"
    assert Redactor(PERSONAL).text(text) == "sk-0123456789abcdef of [redacted:email]"


def test_every_kind_has_an_example_that_goes():
    assert {kind for kind, _, _ in GONE} == SECRETS | PERSONAL


def test_a_known_secret_is_gone_whatever_it_looks_like_and_the_longer_one_first():
    knowing = Redactor(known=["correct horse", "correct horse battery", "short"])
    assert knowing.text("a correct horse battery, a correct horse, short") == (
        "a [redacted:secret], a [redacted:secret], short"
    )


def test_what_a_provider_says_has_no_secret_in_it():
    error = UpstreamError("Incorrect API key provided: sk-0123456789abcdef, bob@x.io.")
    assert error.message == "Incorrect API key provided: [redacted:api_key], bob@x.io."
    assert str(error) == error.message


def test_fields_are_redacted_at_any_depth_and_whole_where_their_name_says_so():
    fields = {
        "Authorization": "anything",
        "x_api_key": "short",
        "cookie": "",
        "status": 200,
        "body": {"error": ["key sk-0123456789abcdef", None, 1.5]},
        "bob@example.com": True,
    }
    assert redactor.fields(fields) == {
        "Authorization": "[redacted]",
        "x_api_key": "[redacted]",
        "cookie": "",
        "status": 200,
        "body": {"error": ["key [redacted:api_key]", None, 1.5]},
        "[redacted:email]": True,
    }


@given(st.text(max_size=300))
def test_redacting_twice_is_redacting_once(text):
    once = redactor.text(text)
    assert redactor.text(once) == once


_WORD_EDGE = st.sampled_from(["", " ", "\n", '"', "'", "(", ",", "=", ":", "<"])


@given(
    st.sampled_from([secret for _, secret, around in GONE if around == "{}"]),
    _WORD_EDGE,
    _WORD_EDGE,
    st.text(max_size=40).filter(lambda text: not re.search(r"[\w-]\Z", text)),
)
def test_a_secret_is_gone_whatever_stands_beside_it(secret, before, after, start):
    assert secret not in redactor.text(f"{start}{before}{secret}{after}")


@pytest.mark.parametrize(
    ("number", "valid"),
    [("4111111111111111", True), ("4111111111111112", False), ("79927398713", True)],
)
def test_the_check_digit_of_a_card_is_checked(number, valid):
    assert luhn(number) is valid


HOSTILE = [
    "a", "1 ", "a@", "a.", "-", "eyJ", "eyJeyJeyJ.", "sk-", "4", "4 ", "+1 ", "token_",
    "api_key=", "-----BEGIN PRIVATE KEY-----", "x@y.", "://a:", "bearer ", "555-",
    "((555) ", "a_b_c_", "sig=", "Signature=", "secret: ", "AKIA",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_twice_the_text_takes_no_more_than_twice_the_work(piece):
    """Quadratic work would be 16 times as much, and minutes at this length."""

    def cost(size: int) -> float:
        text = piece * (size // len(piece))
        took = []
        for _ in range(3):
            began = time.process_time()
            redactor.text(text)
            took.append(time.process_time() - began)
        return min(took)

    assert cost(80_000) < 8 * cost(20_000) + 0.01
