"""What the headers of an answer say: whose it is, how it is coded, what went before."""

from __future__ import annotations

from extproc.errors import (
    BadUpstreamAnswer,
    BodyTooLarge,
    ClientError,
    GatewayError,
    RequestTimeout,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from extproc.exchange import events
from extproc.exchange.completion import FailedAttempt
from extproc.exchange.render import Leg
from extproc.framing.encoding import ContentDecoder

STREAM_GROWTH = 200
"""How many times as long as it came a compressed stream may become. Events that are nearly
alike come to 22 one by one and 83 all at once; zstd says a gigabyte in 30 kB, and all of
it would be on our hands."""
STREAM_BEGIN = 1 << 20
"""What may come of a stream's first bytes beyond that."""


class AnswerDecoder:
    """Undoes an answer's content coding; what goes wrong is the provider's doing."""

    __slots__ = ("_decoder",)

    def __init__(self, coding: str, *, limit: int | None) -> None:
        """Begin; `limit` is how many bytes may come out, None: of a stream.

        Raises:
            BadUpstreamAnswer: a coding that we do not know.
        """
        try:
            if limit is None:
                self._decoder = ContentDecoder(
                    coding, limit=STREAM_BEGIN, growth=STREAM_GROWTH
                )
            else:
                self._decoder = ContentDecoder(coding, limit=limit)
        except GatewayError:
            raise BadUpstreamAnswer(
                "The provider's answer has a content-encoding that we cannot read."
            ) from None

    def feed(self, data: bytes) -> bytes:
        """Return what can be read of `data`.

        Raises:
            BadUpstreamAnswer: it is not what its headers say, or too large.
        """
        try:
            return self._decoder.feed(data)
        except ClientError:
            raise BadUpstreamAnswer(
                "The provider's answer cannot be decompressed."
            ) from None


def content_coding(event: events.ResponseHeaders) -> str:
    """Return the answer's ``content-encoding``; empty: it has none."""
    said = event.headers.get("content-encoding")
    if said is None:
        return ""
    coding = said.strip().lower()
    return "" if coding == "identity" else coding


def is_json(kind: str) -> bool:
    """Say whether a ``content-type`` is JSON's."""
    return kind.partition(";")[0].strip().lower() == "application/json"


def answering(legs: tuple[Leg, ...], attempts: int) -> Leg:
    """Return the attempt that answers, the last of `attempts`."""
    return legs[0] if attempts < 2 else legs[min(attempts, len(legs)) - 1]


def read_failed(
    legs: tuple[Leg, ...], failed: tuple[events.FailedAttempt, ...]
) -> tuple[FailedAttempt, ...]:
    """Return what the record says of the attempts before that."""
    return tuple(_failed(legs, one) for one in failed)


def _failed(legs: tuple[Leg, ...], failed: events.FailedAttempt) -> FailedAttempt:
    leg = legs[min(failed.attempt, len(legs)) - 1]
    return FailedAttempt(
        leg.target.provider.name,
        leg.target.spec.cluster,
        leg.model,
        failed.status,
        failed.retry_after,
    )


def local_reply(event: events.ResponseHeaders) -> GatewayError:
    """Say what Envoy's own answer means: the whole chain failed, or the body on its way."""
    if event.status == 413:
        return BodyTooLarge("The request body is too large.")
    if event.status == 408:
        return RequestTimeout("The request's body did not arrive in time.")
    if event.status == 504 or "timeout" in event.details:
        return UpstreamTimeout("The provider did not answer in time.")
    return UpstreamUnreachable("The provider could not be reached.")


def refuse_redirect(leg: Leg, status: int) -> None:
    """Refuse an answer that leads elsewhere: nobody said that our key may go there.

    Raises:
        BadUpstreamAnswer: it does.
    """
    if 300 <= status < 400 and status != 304:
        raise BadUpstreamAnswer(
            f"The provider {leg.target.spec.provider!r} answered with a redirect (status "
            f"{status}), which is not followed: the base_url should be where it leads."
        )
