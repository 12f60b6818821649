"""Requests that pass by their path: to whom, and with which of the client's headers.

What a provider keeps (files, batches, fine-tuned models, stored responses …) is found by an
id that only this provider knows. So these requests go to one provider: the one that the
client names in ``x-extproc-provider``, or the configured default. They are decided by their
headers alone; their bodies, of any size, never come here, nor do the answers, but for those
that say where to go on: that is here. They are made once: a second try
could do a thing twice.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import urllib.parse
from collections.abc import Mapping

import msgspec

from extproc.errors import BadRequest, Forbidden, NotFound
from extproc.exchange.account import Account
from extproc.exchange.commands import Attempt, Headers
from extproc.exchange.dispatch import Dispatch
from extproc.exchange.operations import BATCHES, Operation
from extproc.exchange.render import Asked, Leg, clients_words
from extproc.exchange.tally import Tally
from extproc.formats import anthropic, openai_endpoints
from extproc.formats.base import AnyClientFormat, AnyProviderFormat
from extproc.routing.pick import MOST_NAME, pick
from extproc.routing.plan import Pick
from extproc.runtime import Grant, Runtime, Target, VirtualModel
from extproc.target import Heading

PROVIDER_HEADER = "x-extproc-provider"

SUBPROTOCOLS = "sec-websocket-protocol"
SUBPROTOCOL_KEY = "openai-insecure-api-key."
"""How a browser, which can set no header, hands over its key:
https://platform.openai.com/docs/guides/realtime-websocket."""
_CLIENTS_WORDS = (SUBPROTOCOL_KEY, "openai-organization.", "openai-project.")

_NOT_OURS = frozenset({"content-type", "accept-encoding"})
"""What the client says of a body and an answer that nobody here reads."""

_NO_MODEL = VirtualModel("", (), "")

_MODEL = re.compile(r"(?:^|&)model=([^&]*)")


def keeper(runtime: Runtime, grant: Grant, headers: Mapping[str, str]) -> Target:
    """Return the provider that a client wants something of by its id.

    Raises:
        NotFound: there is none of this name, or none at all.
        Forbidden: the key may not use it.
    """
    name = headers.get(PROVIDER_HEADER)
    every = runtime.keepers
    if name is None:
        # Two APIs have the same URLs for files; only one of them states its version.
        theirs = "anthropic-version" in headers
        name = next(
            (
                name
                for name, target in every.items()
                if (target.provider.name == "anthropic") is theirs
            ),
            "",
        )
    if not grant.may_keep_at(name):
        raise Forbidden(
            "This API key may not use what is stored at a provider.",
            code="provider_not_allowed",
        )
    if name not in every:
        raise NotFound(
            f"No provider {name[:100]!r} keeps anything here; "
            f"{PROVIDER_HEADER} may name one of: {', '.join(every)}.",
            code="provider_not_found",
            param=PROVIDER_HEADER,
        )
    return every[name]


def forward(asker: Asker) -> Leg:
    """Return the one way of a request that is decided by its path.

    Raises:
        ClientError: it may not go anywhere.
    """
    headers = asker.headers
    target = keeper(asker.runtime, asker.grant, headers)
    asker.open(openai_endpoints.STORED.client, "", _NO_MODEL)
    path = headers[":path"]
    told = says_where(path)
    form = openai_endpoints.STORED.provider
    if told:
        form = dataclasses.replace(
            anthropic.PROVIDER,
            overview=openai_endpoints.free_overview,
            rewrite_answer=functools.partial(_come_back, address=_address(headers)),
        )
    return leg(
        target,
        form,
        model="",
        path=target.forward_path(path.removeprefix("/v1")),
        set_headers=own_headers(target, headers, read=told),
        unread=not told,
    )


_BATCHES = f"/v1/{BATCHES}"
RESULTS = "/results"
_WRITES = re.compile(r"[?&]intent=transcription(?:&|$)")
_PREFIX = re.compile(r"(?:/[\w.~-]{1,100}){1,10}", re.ASCII)
_RESULTS_URL = re.compile(rb'("results_url"\s*:\s*")https?://[^/"]+(?=/)')


def says_where(path: str) -> bool:
    """Say whether the answer tells where results of Anthropic's batches are.

    https://docs.anthropic.com/en/api/retrieving-message-batches: ``results_url`` is
    Anthropic's own address, and its SDKs go there with the key that they have, which is
    ours. The results themselves, which may be long, pass unread.
    """
    bare = path.partition("?")[0]
    below = bare == _BATCHES or bare.startswith(f"{_BATCHES}/")
    return below and not bare.endswith(RESULTS)


def _come_back(body: bytes, *, address: str) -> bytes:
    """Return the answer with the gateway's address in place of the provider's."""
    here = msgspec.json.encode(address)[1:-1]
    return _RESULTS_URL.sub(lambda found: found[1] + here, body)


def _address(headers: Mapping[str, str]) -> str:
    """Return where the client has reached us, as Envoy and what is before it say.

    A proxy that takes us for a part of its paths names that part in ``x-forwarded-prefix``.
    """
    scheme = headers.get("x-forwarded-proto") or headers.get(":scheme", "http")
    below = headers.get("x-forwarded-prefix", "").rstrip("/")
    place = below if _PREFIX.fullmatch(below) else ""
    return f"{scheme}://{headers.get(':authority', '')}{place}"


class Asker(msgspec.Struct, frozen=True):
    """Who asks for what, of a request whose body is not read, or not to its end."""

    runtime: Runtime
    grant: Grant
    operation: Operation
    headers: Mapping[str, str]
    dispatch: Dispatch
    account: Account
    tally: Tally

    def open(self, form: AnyClientFormat, name: str, model: VirtualModel) -> Asked:
        """Find the limits that the request is under."""
        operation = msgspec.structs.replace(self.operation, format=form)
        asked = Asked(operation, self.headers, b"", {}, name, stream=False)
        return self.account.open(asked, self.grant, model)

    def choose(self, name: str) -> Pick:
        """Return who serves the model `name`: one, for the body can be sent but once.

        Raises:
            GatewayError: nobody does, or nobody can now.
        """
        tally, grant = self.tally, self.grant
        tally.original_model = name[:MOST_NAME]
        model = pick(self.runtime, grant, name)
        asked = self.open(self.operation.format, name, model)
        chosen = self.dispatch.choose(asked, model, grant)
        tally.virtual_model = chosen.model.name
        return chosen.picks[0]


def only_writes(path: str) -> bool:
    """Say whether a WebSocket is for transcriptions alone.

    https://platform.openai.com/docs/guides/realtime-transcription
    """
    return _WRITES.search(path) is not None


def realtime(asker: Asker) -> Leg:
    """Return the way of a WebSocket, whose model stands in the query.

    OpenAI takes no model beside ``intent=transcription``: there it is ours alone.

    Raises:
        ClientError: nobody serves it.
    """
    headers = asker.headers
    if headers.get("content-length", "0") != "0":
        raise BadRequest("A request for a WebSocket has no body.")
    query = headers[":path"].partition("?")[2]
    found = _MODEL.search(query)
    if found is None:
        raise BadRequest(
            "Missing required parameter: 'model', in the query.",
            param="model",
            code="missing_required_parameter",
        )
    name = urllib.parse.unquote_plus(found[1])
    chosen = asker.choose(name)
    target = chosen.candidate.target
    model = target.request_model(name)
    dialect = target.dialect(openai_endpoints.REALTIME.client, model)
    path = target.path(dialect, model, stream=False)
    if "{model}" in dialect.path or only_writes(headers[":path"]):
        asked = _MODEL.sub("", query, 1).strip("&")
    else:
        start, end = found.span(1)
        asked = query[:start] + urllib.parse.quote(model, safe="") + query[end:]
    # A header that is named in here, any proxy on the way would drop.
    spelled = {"connection": "upgrade"}
    if offered := _subprotocols(headers):
        spelled[SUBPROTOCOLS] = offered
    return leg(
        target,
        dialect.format,
        model=model,
        path=f"{path}{'&' if '?' in path else '?'}{asked}".rstrip("&"),
        set_headers=(*own_headers(target, headers), *spelled.items()),
        # Or its frames could not be read along.
        delete_headers=("sec-websocket-extensions",),
        unread=False,
        chosen=chosen,
    )


def with_key(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return the headers with the key that a browser has put among the protocols."""
    for word in headers.get(SUBPROTOCOLS, "").split(","):
        key = word.strip()
        if key.startswith(SUBPROTOCOL_KEY) and "authorization" not in headers:
            key = key.removeprefix(SUBPROTOCOL_KEY)
            return {**headers, "authorization": f"Bearer {key}"}
    return headers


def _subprotocols(headers: Mapping[str, str]) -> str:
    """Return the protocols that are not the client's key, nor say on whose account it is."""
    words = map(str.strip, headers.get(SUBPROTOCOLS, "").split(","))
    return ", ".join(
        word for word in words if not any(one in word.lower() for one in _CLIENTS_WORDS)
    )


def own_headers(
    target: Target, headers: Mapping[str, str], *, read: bool = False
) -> Headers:
    """Return what to set on a request whose body is the client's own.

    Of the provider's own headers, such as its API's version, the client's word counts.
    Where the answer is `read`, it may not be compressed.
    """
    ours = {
        name: value
        for name, value in target.set_headers
        if name not in _NOT_OURS or (read and name == "accept-encoding")
    }
    said = clients_words(target.provider.format, headers)
    return tuple((ours | said).items())


def leg(
    target: Target,
    form: AnyProviderFormat,
    *,
    model: str,
    path: str,
    set_headers: Headers,
    delete_headers: tuple[str, ...] = (),
    unread: bool = True,
    chosen: Pick | None = None,
) -> Leg:
    """Return an attempt that leaves the body to the client."""
    deleted = (name for name in target.delete_headers if name != "content-encoding")
    heading = Heading(
        path, target.spec.authority, set_headers, (*deleted, *delete_headers)
    )
    return Leg(
        target=target,
        format=form,
        model=model,
        translated=False,
        show_usage=True,
        dropped=(),
        kept=None,
        unread=unread,
        pick=chosen,
        attempt=Attempt(target.spec.cluster, heading, b"", streams=True),
    )
