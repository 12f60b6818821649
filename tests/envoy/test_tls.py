"""TLS on both sides: what we serve, and what we refuse to talk to."""

from __future__ import annotations

import ssl

import httpx
import pytest

from tests.harness import KEY, Gateway, Mock, mock_config, temporary_folder
from tests.pki import Authority

pytestmark = pytest.mark.envoy

CHAT = "/v1/chat/completions"
SAY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}


def ask(gateway, verify=True):
    with httpx.Client(
        base_url=gateway.url,
        headers={"authorization": f"Bearer {KEY}"},
        timeout=20,
        verify=verify,
    ) as http:
        return http.post(CHAT, json=SAY)


def upstream(mock, authority):
    """Configure a provider by the name localhost, whose authority is `authority`."""
    config = mock_config(mock.url.replace("127.0.0.1", "localhost"))
    for provider in config["providers"].values():
        provider["ca_file"] = str(authority.bundle)
    return config


CASES = {
    "a provider whose certificate is right": ("localhost", True, 200),
    "a provider with another name": ("other.example", True, 503),
    "a provider whose authority we do not know": ("localhost", False, 503),
}


@pytest.mark.parametrize("case", CASES)
def test_upstream_tls_is_always_verified(case):
    name, trusted, status = CASES[case]
    with temporary_folder() as folder:
        authority = Authority(folder)
        certificate = authority.issue(name)
        mock = Mock(
            folder, "--tls-cert", certificate.chain, "--tls-key", certificate.key
        )
        try:
            known = authority if trusted else Authority(folder, "another")
            gateway = Gateway(upstream(mock, known), folder)
            try:
                answer = ask(gateway)
                assert answer.status_code == status, answer.text
                if status != 200:
                    assert answer.json()["error"]["code"] == "upstream_unreachable"
                    assert mock.requests() == []
            finally:
                gateway.stop()
        finally:
            mock.stop()


def test_a_self_signed_provider_is_refused():
    with temporary_folder() as folder:
        certificate = Authority(folder).self_signed("localhost")
        mock = Mock(
            folder, "--tls-cert", certificate.chain, "--tls-key", certificate.key
        )
        try:
            gateway = Gateway(upstream(mock, Authority(folder, "another")), folder)
            try:
                assert ask(gateway).status_code == 503
                assert mock.requests() == []
            finally:
                gateway.stop()
        finally:
            mock.stop()


def test_the_listener_speaks_tls():
    with temporary_folder() as folder:
        authority = Authority(folder)
        certificate = authority.issue("localhost", "127.0.0.1")
        mock = Mock(folder)
        try:
            listen = {
                "address": "127.0.0.1:0",
                "tls": {"certificate": certificate.chain, "key": certificate.key},
            }
            gateway = Gateway(
                {**mock_config(mock.url), "listen": listen}, folder, scheme="https"
            )
            try:
                trust = ssl.create_default_context(cafile=str(authority.bundle))
                assert ask(gateway, trust).status_code == 200
                with pytest.raises(httpx.ConnectError):
                    ask(gateway)
            finally:
                gateway.stop()
        finally:
            mock.stop()
