"""What an exchange wants done. `server.codec` turns it into ext_proc messages.

The types make Envoy's traps unrepresentable: `Route` is the headers reply and the body
reply in one, because in FULL_DUPLEX_STREAMED mode the first may not go out before the
second is known; a local reply cannot carry a route; a body reply always says whether it
is the last.
"""

from __future__ import annotations

import msgspec

from extproc.exchange.completion import Completion
from extproc.exchange.content import Content
from extproc.policy.claims import Admission, Spent
from extproc.target import Heading

Headers = tuple[tuple[str, str], ...]


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One rendering: what is sent if this attempt is made. Cluster n gets rendering n."""

    cluster: str
    heading: Heading
    """Of all requests of a kind the same, so that it is written once."""
    body: bytes
    """UTF-8."""
    flags: str = ""
    """Letters of `extproc.exchange.arm`."""
    streams: bool = False
    """The client's own body goes on, as it comes; `body` is empty."""


class Route(msgspec.Struct, frozen=True, gc=False):
    """Send the request to these targets, one after the other until one answers."""

    id: str
    """``gw.id``."""
    chain: tuple[Attempt, ...]
    first_byte: float | None = None
    """Seconds that each attempt has until its answer's headers; None: as the route says."""
    limits: Headers = ()
    """What the client is told of its limits; Envoy adds them to whatever is answered."""
    slip: str = ""
    """See `extproc.exchange.slip`."""


class RequestChunk(msgspec.Struct, frozen=True, gc=False):
    """Send more of the request's body, after a `Route` whose attempts stream."""

    data: bytes
    end: bool


class Respond(msgspec.Struct, frozen=True, gc=False):
    """Answer in the provider's place; only before anything else was answered."""

    status: int
    body: bytes
    headers: Headers = ()
    details: str = "gw_error"
    """Ends up in Envoy's access log; ``gw_`` tells Envoy to leave our body alone."""


class Reserve(msgspec.Struct, frozen=True, gc=False):
    """Ask the store; the verdict comes back as an event, and until then nothing is said."""

    admission: Admission


class TopUp(msgspec.Struct, frozen=True, gc=False):
    """Reserve more for a stream that turns out longer; what comes of it is an event."""

    admission: Admission
    nanos: int


class AnswerHeaders(msgspec.Struct, frozen=True, gc=False):
    """Let the answer's headers go, changed."""

    status: int | None = None
    set_headers: Headers = ()
    delete_headers: tuple[str, ...] = ()


class AnswerBody(msgspec.Struct, frozen=True, gc=False):
    """Send more of the answer's body; `end` before the upstream's own end resets it."""

    data: bytes
    end: bool


class AnswerTrailers(msgspec.Struct, frozen=True, gc=False):
    """Let the answer's trailers go."""


class Leave(msgspec.Struct, frozen=True, gc=False):
    """Nothing more will be said on this stream."""


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """What was used of what was reserved."""

    admission: Admission
    spent: Spent


class Settle(msgspec.Struct, frozen=True, gc=False):
    """Give back in the middle of an exchange what it will not need."""

    settlement: Settlement


class Complete(msgspec.Struct, frozen=True, gc=False):
    """The exchange is over; keep its record until control has it, and settle."""

    completion: Completion
    settlement: Settlement | None = None
    """None: nothing was reserved."""
    content: Content | None = None
    """What was said, where that is kept."""
    more: tuple[Settlement, ...] = ()
    """Of deployments that stood by."""


Command = (
    Route
    | RequestChunk
    | Respond
    | Reserve
    | Settle
    | TopUp
    | AnswerHeaders
    | AnswerBody
    | AnswerTrailers
    | Leave
    | Complete
)
