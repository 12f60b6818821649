"""What may be said of a proxy."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from extproc.config.known_secrets import secrets_in
from extproc.config.proxies import ProxyConfig
from extproc.config.schema import ProviderConfig


def provider(proxy):
    return ProviderConfig.model_validate(
        {"type": "openai", "api_key": "k", "proxy": proxy}
    )


def test_a_url_alone_is_enough():
    assert provider("http://proxy.corp:3128").proxy == ProxyConfig(
        url="http://proxy.corp:3128"
    )


def test_who_we_are_to_it_is_shown_nowhere():
    said = {"url": "https://proxy.corp", "username": "gw", "password": "pass:word"}
    found = provider(said).proxy
    assert found.credential == "gw:pass:word"
    assert "pass:word" not in repr(found)
    assert "pass:word" in set(secrets_in(found))


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("socks5://proxy.corp", "must begin with"),
        ("http://gw:secret@proxy.corp:3128", "no user name"),
        ("http://proxy.corp/path", "HOST:PORT"),
        ({"url": "http://proxy.corp", "username": "gw"}, "go together"),
        ({"url": "http://proxy.corp", "password": "p"}, "go together"),
        ({"url": "http://p", "username": "g:w", "password": "p"}, "pattern"),
        ({"url": "http://p", "username": "gw", "password": "p w"}, "blank"),
        ({"url": "http://p", "ca_file": "x.pem"}, "https:// proxy"),
        ({"url": "http://p", "port": 1}, "Extra inputs"),
        (5, "dictionary|ProxyConfig"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(said, complaint):
    if isinstance(said, dict) and "ca_file" in said:
        said = {**said, "ca_file": Path(said["ca_file"])}
    with pytest.raises(ValidationError, match=complaint) as caught:
        provider(said)
    assert "secret@" not in str(caught.value)
