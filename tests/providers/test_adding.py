"""The page on adding a provider is true: its code is run, and what it makes serves."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from extproc.formats.openai_chat.quirks import find_kind
from extproc.local.conformance import anthropic as anthropic_client, checks, openai_chat
from extproc.local.conformance.gateway import Gateway, Refused
from extproc.local.conformance.prompts import WEATHER, Prompt
from extproc.local.mock.anthropic.api import Anthropic
from extproc.local.mock.reply import Reply, Request, SseEvent, Stream
from extproc.local.mock.state import Memory
from extproc.providers import PROVIDERS
from tests.providers.acme import Acme
from tests.providers.test_required_cases import REQUIRED

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "adding-a-provider.md"
CLIENTS = (openai_chat.DIALECT, anthropic_client.DIALECT)


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """Run the page from top to bottom, as one module."""
    names: dict[str, Any] = {"__name__": "page"}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 7
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    return names


def test_an_entry_of_data_stands_the_required_cases(page, monkeypatch):
    preset = page["PRESET"]
    assert all(find_kind(quirk) for quirk in preset.quirks)
    monkeypatch.setitem(PROVIDERS, "acme", preset.provider("acme"))
    gateway = Gateway({"acme": Acme("acme")})
    for name, cases in REQUIRED.items():
        for client in CLIENTS if name != "error_not_json" else ():
            for case in cases:
                case.check(gateway.ask(client, "acme", "gpt-4o", case.prompt))
    with pytest.raises(Refused) as refused:
        gateway.ask(openai_chat.DIALECT, "acme", "gpt-4o", Prompt("Hello", n=2))
    assert (refused.value.status, refused.value.field) == (400, "n")


def test_a_new_host_of_a_known_format_is_a_file(page, monkeypatch):
    monkeypatch.setitem(PROVIDERS, "claude_house", page["PROVIDER"])
    mock = Anthropic(Memory(lambda: 0.0), ("sk-mock*",))
    gateway = Gateway({"claude_house": mock})
    for client in CLIENTS:
        for stream in (False, True):
            prompt = Prompt("Hello", stream=stream)
            heard = gateway.ask(client, "claude_house", "claude-sonnet-4-5", prompt)
            checks.says("Hello")(heard)


class Speaker:
    """A server of the page's own format."""

    name = "speaker"

    def owns(self, request: Request) -> bool:
        return request.route == "/v1/speak"

    def respond(self, request: Request) -> Reply | Stream:
        assert self.owns(request)
        asked = json.loads(request.body)
        assert asked.keys() == {"model", "prompt", "stream", "limit"}
        words = asked["prompt"].rpartition(": ")[2]
        counts = {"tokens_in": 3, "tokens_out": 2}
        if "fail" in words:
            return Reply(503, b'{"message":"out of breath"}')
        if not asked["stream"]:
            return Reply(200, json.dumps({"text": words, **counts}).encode())
        told: list[Any] = [{"type": "word", "text": letter} for letter in words]
        told.append({"type": "end", **counts})
        if "break" in words:
            told.pop()
        return Stream([SseEvent(json.dumps(one).encode()) for one in told])


def test_a_new_format_is_a_folder(page, monkeypatch):
    monkeypatch.setitem(PROVIDERS, "speaker", page["SPEAKER"])
    gateway = Gateway({"speaker": Speaker()})

    def ask(client: Any, text: str = "Hello", **more: Any) -> Any:
        return gateway.ask(client, "speaker", "m", Prompt(text, **more))

    for client in CLIENTS:
        checks.says("Hello")(ask(client))
        checks.says("Hello")(ask(client, stream=True))
        checks.counts(ask(client, stream=True, stream_usage=True))
        assert ask(client, "fail").error == "out of breath"
        checks.breaks(ask(client, "break", stream=True))
        assert ask(client, temperature=0.5).dropped == ("temperature",)
        with pytest.raises(Refused) as refused:
            ask(client, tools=(WEATHER,))
        assert refused.value.field == "tools"


def test_what_the_page_names_is_there():
    for name in re.findall(r"`((?:extproc|tests|docs)/[\w/.-]+)`", PAGE.read_text()):
        assert (ROOT / name).exists(), name
