"""InvokeModel: Anthropic's own messages, in Bedrock's envelope.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html
"""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Collection, Iterator
from typing import Any, Final

import msgspec

from extproc.local.mock import directives
from extproc.local.mock.anthropic import hosted
from extproc.local.mock.anthropic.api import Anthropic
from extproc.local.mock.anthropic.models import MODELS
from extproc.local.mock.bedrock import errors, frames
from extproc.local.mock.bedrock.models import find
from extproc.local.mock.reply import Headers, Refusal, Reply, SseEvent, Stream

DATED: Final = "bedrock-2023-05-31"
BETAS: Final = frozenset(
    {
        "computer-use-2024-10-22",
        "computer-use-2025-01-24",
        "context-1m-2025-08-07",
        "context-management-2025-06-27",
        "dev-full-thinking-2025-05-14",
        "fine-grained-tool-streaming-2025-05-14",
        "interleaved-thinking-2025-05-14",
        "mcp-client-2025-04-04",
        "mcp-client-2025-11-20",
        "model-context-window-exceeded-2025-08-26",
        "output-128k-2025-02-19",
        "pdfs-2024-09-25",
        "search-results-2025-06-09",
        "token-counting-2024-11-01",
        "token-efficient-tools-2025-02-19",
        "tool-search-tool-2025-10-19",
        "web-search-2025-03-05",
    }
)
"""The flags that Bedrock takes; it refuses a request with any other."""
EXCEPTIONS: Final = {
    "rate_limit_error": "throttlingException",
    "overloaded_error": "serviceUnavailableException",
    "invalid_request_error": "validationException",
    "timeout_error": "modelTimeoutException",
}
"""What an error in the middle of a stream is called; others are the model's failures."""
_VERSION: Final = re.compile(r"-v\d+(?::\d+)?$")


class Claude:
    """Answers for Anthropic's models; `keys` are the inner mock's."""

    def __init__(self, anthropic: Anthropic) -> None:
        self._anthropic = anthropic

    def respond(
        self, raw: bytes, name: str, headers: Headers, *, streamed: bool
    ) -> Reply | Stream:
        """Answer `invoke` and `invoke-with-response-stream`."""
        body = hosted.read(raw)
        for key in ("model", "stream"):
            if key in body:
                raise errors.invalid(f"{key}: Extra inputs are not permitted")
        betas = _betas(body)
        if streamed:
            body["stream"] = True
        answer = hosted.ask(
            self._anthropic, body, model=_own(name), dated=DATED, betas=betas
        )
        if isinstance(answer, Stream):
            return dataclasses.replace(
                answer, events=_framed(answer), headers=headers,
                content_type="application/vnd.amazon.eventstream",
            )  # fmt: skip
        if answer.status >= 400:
            raise _refusal(answer)
        return dataclasses.replace(answer, headers=headers)

    def count(self, raw: bytes, name: str) -> int:
        """Return the tokens of a body of `invoke`; what that refuses is refused."""
        answer = self.respond(raw, name, (), streamed=False)
        assert isinstance(answer, Reply)  # noqa: S101 - nothing was to be streamed
        used = msgspec.json.decode(answer.body)["usage"]
        return int(used["input_tokens"])


def _betas(body: dict[str, Any]) -> list[str]:
    betas = body.pop("anthropic_beta", [])
    known: Collection[str] = BETAS
    if not isinstance(betas, list) or any(beta not in known for beta in betas):
        raise errors.invalid("invalid beta flag")
    return betas


def _own(name: str) -> str:
    """Return Anthropic's own name of a model of Bedrock's, its directives kept."""
    bare, _ = directives.split(name)
    found = find(bare)
    own = _VERSION.sub("", found.id.removeprefix("anthropic.")) if found else ""
    if own not in MODELS:
        raise errors.invalid("The provided model identifier is invalid.")
    return own + name[len(bare) :]


def _refusal(answer: Reply) -> Refusal:
    """Return Anthropic's refusal in Bedrock's words."""
    said = msgspec.json.decode(answer.body)["error"]
    refusal = errors.for_status(answer.status, said["message"])
    refusal.headers = tuple(
        (name, value) for name, value in answer.headers if name == "retry-after"
    )
    return refusal


def _framed(answer: Stream) -> Iterator[SseEvent]:
    for event in answer.events:
        if event.name == "error":
            said = msgspec.json.decode(event.payload)["error"]
            kind = EXCEPTIONS.get(said["type"], "modelStreamErrorException")
            words = {"message": said["message"]}
            yield SseEvent(frames.message("exception", kind, words), framed=True)
            return
        payload = event.payload
        if event.name == "message_stop":
            payload = msgspec.json.encode(
                {
                    "type": "message_stop",
                    "amazon-bedrock-invocationMetrics": {"invocationLatency": 12},
                }
            )
        # `p` is padding, so that the length of an event tells nothing of its text.
        part = {"bytes": base64.b64encode(payload).decode(), "p": "abcdefghij"}
        yield SseEvent(frames.message("event", "chunk", part), framed=True)
