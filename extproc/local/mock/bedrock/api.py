"""Bedrock's HTTP surface: paths, signatures; every refusal in Bedrock's form."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import msgspec

from extproc.local.mock import directives, gate, strictjson
from extproc.local.mock.anthropic import hosted
from extproc.local.mock.anthropic.api import Anthropic
from extproc.local.mock.bedrock import check, converse, errors, frames, signing
from extproc.local.mock.bedrock.claude import Claude
from extproc.local.mock.bedrock.models import Model, find
from extproc.local.mock.bedrock.rules import CONVERSE, CONVERSE_STREAM
from extproc.local.mock.directives import Conduct, UnknownDirective
from extproc.local.mock.reply import Headers, Refusal, Reply, Request, SseEvent, Stream
from extproc.local.mock.rules import Violation, check as check_rule
from extproc.local.mock.state import Memory

PREFIX: Final = "/bedrock"
ROUTE: Final = re.compile(
    rf"(?:{PREFIX})?/model/(?P<model>[^/]+)/"
    r"(?P<verb>converse|converse-stream|invoke|invoke-with-response-stream)"
)
EVENT_STREAM: Final = "application/vnd.amazon.eventstream"
LARGEST_BODY: Final = 25_000_000
"""Bytes; https://docs.aws.amazon.com/bedrock/latest/userguide/quotas.html."""


class Bedrock:
    """The provider; `keys` are those of its API, `accounts` sign their requests."""

    name = "bedrock"

    def __init__(
        self,
        memory: Memory,
        keys: Collection[str],
        accounts: Mapping[str, str] = signing.ACCESS_KEYS,
    ) -> None:
        self._memory = memory
        self._keys = keys
        self._accounts = accounts
        self._claude = Claude(Anthropic(memory, (hosted.KEY,)))

    def owns(self, request: Request) -> bool:
        """Claim the models' paths, and `/bedrock`."""
        return request.route.startswith((PREFIX + "/", "/model/"))

    def respond(self, request: Request) -> Reply | Stream:
        """Answer as Bedrock does."""
        headers = (("x-amzn-requestid", self._memory.next_request_id()),)
        try:
            return self._route(request, headers)
        except Refusal as refusal:
            return Reply(
                refusal.status,
                errors.body_of(refusal),
                headers=(*headers, *errors.headers_of(refusal), *refusal.headers),
            )

    def _route(self, request: Request, headers: Headers) -> Reply | Stream:
        gate.check_headers(request, credentials=frozenset({"authorization"}))
        # `anthropic-beta`, which Anthropic's SDK sends beside the body's, is not read.
        if request.header("anthropic-version") is not None:
            raise Refusal(400, "mock_unexpected_header: anthropic-version")
        route = ROUTE.fullmatch(request.route)
        if route is None:
            raise Refusal(404, "", type="UnknownOperationException")
        self._check_caller(request)
        if request.method != "POST":
            raise Refusal(405, "Method Not Allowed", type="UnknownOperationException")
        gate.check_body_headers(request)
        if len(request.body) > LARGEST_BODY:
            raise Refusal(
                413, "Request size limit exceeded", type="ValidationException"
            )
        name, verb = urllib.parse.unquote(route["model"]), route["verb"]
        if verb.startswith("invoke"):
            streamed = verb != "invoke"
            return self._claude.respond(request.body, name, headers, streamed=streamed)
        streamed = verb == "converse-stream"
        made = self._understand(request.body, name, streamed=streamed)
        self._check_conduct(made)
        if streamed:
            return Stream(
                _breaking(made),
                headers=headers,
                content_type=EVENT_STREAM,
                conduct=made.conduct,
            )
        encoded = msgspec.json.encode(made.whole())
        return Reply(200, encoded, headers=headers, conduct=made.conduct)

    def _check_caller(self, request: Request) -> None:
        said = request.header("authorization")
        if said is None:
            raise Refusal(
                403,
                "Missing Authentication Token",
                type="MissingAuthenticationTokenException",
            )
        scheme, _, key = said.partition(" ")
        if scheme != "Bearer":
            signing.check(request, self._accounts, self._memory.clock())
            return
        if not gate.is_key(key, self._keys, self.name):
            raise Refusal(
                403, "Authentication failed", type="UnrecognizedClientException"
            )

    def _understand(
        self, raw: bytes, name: str, *, streamed: bool
    ) -> converse.Conversation:
        table = CONVERSE_STREAM if streamed else CONVERSE
        try:
            body: dict[str, Any] = strictjson.read_object(raw)
            check_rule(table, body)
            check.check_unions(table, body)
            wanted, conduct = directives.split(name)
            model = _model(wanted)
            check.check(body, model)
            return converse.understand(body, model, conduct, raw, self._memory)
        except strictjson.BadJson as exc:
            raise Refusal(400, f"{exc}", type="SerializationException") from exc
        except Violation as exc:
            raise errors.from_violation(exc) from exc
        except UnknownDirective as exc:
            raise errors.invalid(str(exc)) from exc

    def _check_conduct(self, made: converse.Conversation) -> None:
        """Fail if the request says so, or if the prompt is too long for the model."""
        conduct = made.conduct
        self._memory.fail_if_asked(conduct, errors.for_status)
        if conduct.filtered:
            raise errors.invalid("filtered: no such error here")
        length = made.input_tokens + made.read + made.written
        if conduct.context_length or length > made.model.context:
            raise errors.invalid("Input is too long for requested model.")
        _check_words(conduct)


def _check_words(conduct: Conduct) -> None:
    reasons, kinds = converse.ALL_STOP_REASONS, sorted(errors.STREAM_EXCEPTIONS)
    if conduct.finish is not None and conduct.finish not in reasons:
        raise errors.invalid(f"finish={conduct.finish!r}: expected one of {reasons}")
    if conduct.error_type is not None and conduct.error_type not in kinds:
        raise errors.invalid(f"type={conduct.error_type!r}: expected one of {kinds}")


def _breaking(made: converse.Conversation) -> Iterator[SseEvent]:
    """Yield the events, or an exception among them if that is asked for."""
    conduct = made.conduct
    for sent, (name, payload) in enumerate(made.events()):
        if sent == conduct.error_after:
            kind = conduct.error_type or "throttlingException"
            words = {"message": conduct.message or "Too many requests."}
            yield SseEvent(frames.message("exception", kind, words), framed=True)
            return
        yield SseEvent(frames.message("event", name, payload), framed=True)


def _model(name: str) -> Model:
    model = find(name)
    if model is None:
        raise errors.invalid("The provided model identifier is invalid.")
    return model
