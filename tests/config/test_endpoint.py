"""Base URLs and listen addresses, taken apart."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, strategies as st

from extproc.config.endpoint import check_web_address, parse_endpoint, split_address


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "path"),
    [
        ("https://api.openai.com/v1", "api.openai.com", 443, "api.openai.com", "/v1"),
        ("https://api.openai.com/v1/", "api.openai.com", 443, "api.openai.com", "/v1"),
        ("https://API.Example.com", "api.example.com", 443, "api.example.com", ""),
        ("https://x.example.:8443/a/b", "x.example", 8443, "x.example:8443", "/a/b"),
        ("http://127.0.0.1:80/", "127.0.0.1", 80, "127.0.0.1", ""),
        ("http://127.0.0.1:443", "127.0.0.1", 443, "127.0.0.1:443", ""),
        ("https://[::1]:8/v1", "::1", 8, "[::1]:8", "/v1"),
    ],
)
def test_urls(url, host, port, authority, path):
    endpoint = parse_endpoint(url)
    assert (endpoint.host, endpoint.port) == (host, port)
    assert (endpoint.authority, endpoint.path) == (authority, path)
    assert endpoint.tls is url.startswith("https")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://a.b", "https://"),
        ("api.openai.com/v1", "https://"),
        ("https://", "host"),
        ("https:///v1", "host"),
        ("https://a b/", "host"),
        ("https://-a.b/", "host"),
        ("https://a..b/", "host"),
        ("https://a.b:99999/", "host or port"),
        ("https://a.b:0/", "port 0"),
        ("https://[::1/", "host or port"),
        ("https://me:hunter2@a.b/", "api_key"),
        ("https://me@a.b/", "api_key"),
        ("https://a.b/v1?key=hunter2", "query"),
        ("https://a.b/v1?", "query"),
        ("https://a.b/v1#hunter2", "fragment"),
        ("https://a.b//v1", "percent-encoded"),
        ("https://a.b/v 1", "percent-encoded"),
    ],
)
def test_urls_that_are_refused_without_being_repeated(url, message):
    with pytest.raises(ValueError, match=message) as refused:
        parse_endpoint(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.slack.com/services/T0/B0/abc?x=%20",
        "http://user:secret@10.0.0.1:8080/hook",
        "http://[::1]:4318",
    ],
)
def test_what_control_tells_something(url):
    check_web_address(url)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "gopher://127.0.0.1:6379/_x", "//a", "secret", "http://[::1",
        "http://", "http://a:99999/", "http://a/\r\nsecret: x", "http://a b/", "http://\0",
        "http://é.example/", "http://a@/", "http://0x7f.1/",
    ],
)  # fmt: skip
def test_addresses_that_nobody_can_ask(url):
    with pytest.raises(ValueError, match=r"^(has|must|is not)") as caught:
        check_web_address(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "is_ip", "is_loopback"),
    [
        ("http://localhost:1", False, True),
        ("http://127.9.9.9", True, True),
        ("http://[::1]", True, True),
        ("http://10.0.0.1", True, False),
        ("http://localhost.example", False, False),
    ],
)
def test_what_stays_on_this_machine(url, is_ip, is_loopback):
    endpoint = parse_endpoint(url)
    assert (endpoint.is_ip, endpoint.is_loopback) == (is_ip, is_loopback)


@pytest.mark.parametrize(
    ("address", "split"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("localhost:0", ("127.0.0.1", 0)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
        ("[::]:8080", ("::", 8080)),
    ],
)
def test_addresses(address, split):
    assert split_address(address) == split


@pytest.mark.parametrize(
    "address", ["8080", ":8080", "::1:80", "host:80", "127.0.0.1:", "127.0.0.1:65536"]
)
def test_addresses_that_are_refused(address):
    with pytest.raises(ValueError, match="must"):
        split_address(address)


@given(st.text())
def test_any_text_is_parsed_or_refused(text):
    for parse in (parse_endpoint, split_address):
        with contextlib.suppress(ValueError):
            assert parse(text)
