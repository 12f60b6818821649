"""What a client asked for, rendered for each target that can be asked for all of it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Final

import msgspec

from extproc import canonical
from extproc.errors import BadRequest, ClientError
from extproc.exchange.commands import Attempt
from extproc.exchange.edit import edit
from extproc.exchange.operations import UNKNOWN, Operation
from extproc.exchange.tally import Tally
from extproc.formats.base import Adapted, AnyProviderFormat, Unsupported
from extproc.framing.members import Members, patch, read_members, remove
from extproc.routing.plan import Pick, Plan
from extproc.target import Heading, Target, Way


class Asked(msgspec.Struct, frozen=True):
    """One client request, its body whole."""

    operation: Operation
    headers: Mapping[str, str]
    body: bytes
    members: Members
    """The body's top level."""
    model: str
    """The original model."""
    stream: bool


UNASKED: Final = Asked(UNKNOWN, {}, b"", {}, "", False)
"""Stands where no body is whole yet."""


class Leg(msgspec.Struct, frozen=True):
    """One attempt as it will be made, with what is needed to read its answer."""

    target: Target
    format: AnyProviderFormat
    """The API spoken to it."""
    model: str
    """The request model."""
    translated: bool
    show_usage: bool
    """The client asked for the usage that the provider's stream reports."""
    dropped: tuple[str, ...]
    kept: object
    """What the client's format needs of the request to write the answer."""
    attempt: Attempt
    unread: bool = False
    """Of the answer only the headers come here."""
    answer_tool: str = ""
    """The tool whose call is the answer's text."""
    pick: Pick | None = None
    """How it came into the chain."""


def render(
    asked: Asked, plan: Plan, *, max_bytes: int, tally: Tally
) -> tuple[Leg, ...]:
    """Render `asked` for each pick of `plan` that can be asked for all of it.

    A spare one takes the place of one that cannot.
    The chain is cut where the bodies together would be over `max_bytes`, the limit that
    one body has: they all travel to Envoy at once.

    Raises:
        ClientError: no target can be asked; the first one's reason.
    """
    client = asked.operation.format
    request: object = None
    legs: list[Leg] = []
    size = tried = 0
    refused: ClientError | None = None
    picks, spare = plan.picks, plan.spare
    while tried < len(picks):
        pick = picks[tried]
        tried += 1
        try:
            way = pick.candidate.lane.way(client)
            if request is None and not way.passes:
                request = client.read_request(asked.body, asked.members)
            leg = _leg(asked, request, pick, way)
        except ClientError as exc:
            refused = refused or exc
            tally.skipped += (f"{pick.candidate.target.spec.provider}:{exc.param}",)
            if spare and not pick.conditional:
                first, spare = spare[0], spare[1:]
                at = tried + sum(not one.conditional for one in picks[tried:])
                picks = (*picks[:at], first, *picks[at:])
            continue
        size += len(leg.attempt.body)
        if legs and size > max_bytes:
            tally.skipped += (f"{leg.target.spec.provider}:size",)
            break
        legs.append(leg)
    if not legs:
        raise refused or BadRequest(
            f"No target of {asked.model!r} can serve this request."
        )
    return tuple(legs)


def bare(leg: Leg) -> Leg:
    """Return `leg` without the body that has been sent."""
    attempt = msgspec.structs.replace(leg.attempt, body=b"")
    return msgspec.structs.replace(leg, attempt=attempt)


def _leg(asked: Asked, request: object, pick: Pick, way: Way) -> Leg:
    """Render one attempt; where the client's bytes pass, no canonical request is needed.

    Raises:
        ClientError: it names the provider that cannot be asked.
    """
    try:
        if way.passes:
            return _pass(asked, pick, way)
        return _translate_to_any(asked, request, pick, way)
    except ClientError as exc:
        # Another provider might take the same request: whose word this is, decides what
        # the caller does about it.
        name = pick.candidate.target.spec.provider
        exc.message = f"{exc.message.removesuffix('.')} (provider {name})."
        raise


def _pass(asked: Asked, pick: Pick, way: Way) -> Leg:
    """Leave the client's bytes as they are, but for what must change."""
    target, form = pick.candidate.target, way.dialect.format
    model = pick.candidate.lane.model
    changes: dict[str, bytes] = {}
    if model != asked.model:
        changes["model"] = msgspec.json.encode(model)
    asks: Mapping[str, bytes] = {}
    if asked.stream and target.spec.include_usage:
        asks = form.usage_request(asked.members)
        changes |= asks
    body, members = asked.body, asked.members
    dropped: tuple[str, ...] = ()
    if form.adapt is not None:
        adapted = form.adapt(members, model)
        if adapted.changes or adapted.dropped:
            body, members, dropped = _adapt(asked, adapted, changes)
    body = patch(body, members, changes) if changes else body
    if form.wrap is not None:
        wrapped = form.wrap(read_members(body), asked.headers)
        body, dropped = wrapped.body, (*dropped, *wrapped.dropped)
    attempt = _attempt(asked, target, way, body)
    return Leg(target, form, model, False, not asks, dropped, None, attempt, pick=pick)


def _adapt(
    asked: Asked, adapted: Adapted, changes: dict[str, bytes]
) -> tuple[bytes, Members, tuple[str, ...]]:
    """Leave out what the server cannot read, and add to `changes` what it reads."""
    gone = {name for name, value in adapted.changes.items() if value is None}
    for name, value in adapted.changes.items():
        if value is not None:
            changes[name] = value
        else:
            changes.pop(name, None)
    left = {name: raw for name, raw in asked.members.items() if name not in gone}
    return remove(asked.body, asked.members, gone), left, adapted.dropped


def _translate_to_any(asked: Asked, request: object, pick: Pick, way: Way) -> Leg:
    """Translate to the provider's main API, or to another that can say what it cannot.

    Raises:
        ClientError: none can; the main one's reason.
    """
    try:
        return _translate(asked, request, pick, way)
    except Unsupported:
        client, lane = asked.operation.format, pick.candidate.lane
        for other in lane.target.alternatives(way.dialect, client, asked.model):
            with contextlib.suppress(ClientError):
                return _translate(asked, request, pick, lane.way_of(other, client))
        raise


def _translate(asked: Asked, request: object, pick: Pick, way: Way) -> Leg:
    target, form = pick.candidate.target, way.dialect.format
    model = pick.candidate.lane.model
    rendered = form.write_request(request, model, target.spec.default_max_tokens)
    body = rendered.body
    if form.wrap is not None:
        body = form.wrap(read_members(body), {}).body
    chat = request if isinstance(request, canonical.Request) else None
    return Leg(
        target=target,
        format=form,
        model=model,
        translated=True,
        show_usage=chat is not None and chat.include_usage,
        dropped=(*(chat.left_out if chat else ()), *rendered.dropped),
        kept=asked.operation.format.keep(request),
        pick=pick,
        answer_tool=rendered.answer_tool,
        attempt=_attempt(asked, target, way, body),
    )


def clients_words(
    form: AnyProviderFormat, headers: Mapping[str, str]
) -> dict[str, str]:
    """Return what the client says in headers of the format itself, in one order."""
    return {name: headers[name] for name in sorted(form.headers) if name in headers}


def _heading(asked: Asked, way: Way) -> Heading:
    """Return what stands before the body, the client's own words of the API among it.

    They would be here without it: but the attempt before this one may have set another
    word in their place, or taken them away. Where the client's bytes pass, its word counts
    before ours, such as its API version.
    """
    heading = way.stream_heading if asked.stream else way.heading
    if not way.words or asked.headers.keys().isdisjoint(way.words):
        return heading
    said = {name: asked.headers[name] for name in way.words if name in asked.headers}
    ours = dict(heading.set_headers)
    both = (ours | said if way.passes else said | ours).items()
    return msgspec.structs.replace(heading, set_headers=tuple(both))


def _attempt(asked: Asked, target: Target, way: Way, body: bytes) -> Attempt:
    edits = target.edits
    if edits is not None:
        body = edit(body, edits)
    return Attempt(target.spec.cluster, _heading(asked, way), body)
