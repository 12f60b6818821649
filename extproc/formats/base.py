"""What a format offers to the exchange, on either side of the gateway.

A *client format* reads requests into the canonical form and writes answers, streams and
errors; a *provider format* does the opposite. Both serve one *operation* (chat,
embeddings, rerank …), which has a canonical request and answer of its own: they meet where
the operation is the same. A format is a value made of functions and small machines:
nothing is inherited but the transition check that every stream shares.
"""

from __future__ import annotations

import abc
import dataclasses
import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

import msgspec

from extproc import canonical
from extproc.errors import (
    BadRequest,
    BadUpstreamAnswer,
    GatewayError,
    ProtocolViolation,
    TruncatedStream,
    UpstreamError,
)
from extproc.framing.sse import Frame
from extproc.usage import Usage

E = TypeVar("E")
"""A format's union of wire events."""


class Answered(Protocol):
    """What every operation's canonical answer says."""

    @property
    def model(self) -> str:
        """The response model; empty where the provider does not name it."""

    @property
    def usage(self) -> Usage | None:
        """What the provider counted."""


Q = TypeVar("Q")
"""An operation's canonical request."""
A = TypeVar("A", bound=Answered)
"""An operation's canonical answer."""

CHAT = "chat"
"""The operation whose request is `canonical.Request` and answer `canonical.Answer`."""


Members = Mapping[str, msgspec.Raw]
"""The top-level members of a JSON object, undecoded."""


class Unsupported(BadRequest):
    """The target's format cannot say what the request asks for.

    `param` is the client's own name for it, such as ``messages[2].content[0]``.
    """

    code = "unsupported_parameter"


class Rendered(msgspec.Struct, frozen=True):
    """A request in a provider's format."""

    body: bytes
    dropped: tuple[str, ...] = ()
    """Fields left out because the provider has no word for them and its own compatible
    API ignores them too; the client is told in ``x-extproc-dropped``."""
    answer_tool: str = ""
    """The tool whose call is the answer's text, if there is one: see `answer_tool`."""


class Adapted(msgspec.Struct, frozen=True):
    """What a server with manners of its own needs changed in a request that passes."""

    changes: Mapping[str, bytes | None]
    """Top-level members set to other JSON, or None: left out."""
    dropped: tuple[str, ...] = ()
    """What the client is told was left out."""


UNCHANGED = Adapted({})
"""The server takes it as it is."""


Taken = canonical.Delta | list[canonical.Event]
"""What a frame amounts to; most are one more piece of a part, and make no list."""


class StreamReader(Protocol):
    """Upstream frames in, canonical events out."""

    def take(self, frame: Frame) -> Taken:
        """Return what `frame` amounts to.

        Raises:
            ProtocolViolation: the frame may not come here or cannot be read.
        """

    def feed(self, frame: Frame) -> list[canonical.Event]:
        """Return the same as a list, whatever it is.

        Raises:
            ProtocolViolation: see `take`.
        """

    def close(self) -> list[canonical.Event]:
        """Return the events due when the upstream ends.

        Raises:
            TruncatedStream: it ended too early.
        """


class StreamWriter(Protocol):
    """Canonical events in, the client's bytes out."""

    def say(self, piece: canonical.Delta) -> bytes:
        """Return the client's bytes for what nearly all events are."""

    def write(self, events: Iterable[canonical.Event]) -> bytes:
        """Return the client's bytes for `events`; empty when there is nothing to say."""


class Passage(Protocol):
    """The bytes of a stream whose client and provider share a format.

    They pass as they are, but for frames that the client must not see; on the way the
    usage is read.
    """

    @property
    def usage(self) -> Usage | None:
        """What the provider has said so far."""

    @property
    def model(self) -> str | None:
        """The response model, once it has been said."""

    @property
    def error(self) -> GatewayError | None:
        """What the provider said went wrong in the middle of its stream."""

    def feed(self, data: bytes) -> bytes:
        """Return what of `data`, and of what was kept before, may pass now."""

    def close(self) -> bytes:
        """Return the rest.

        Raises:
            TruncatedStream: the stream ended too early; nothing of it is kept back.
        """


@runtime_checkable
class LastWords(Protocol):
    """A passage of a format whose streams end in more than an event of the error."""

    def fail(self, error: GatewayError, context: WriterContext) -> bytes:
        """Return what ends the client's stream, in place of `write_error_event`."""


class Overview(msgspec.Struct, frozen=True):
    """What a whole answer says about itself, read without touching its bytes."""

    model: str | None = None
    usage: Usage | None = None
    finish: str | None = None


def no_usage_request(members: Members) -> Mapping[str, bytes]:  # noqa: ARG001
    """Change nothing: the format reports its usage unasked."""
    return {}


def keep_nothing(request: object) -> object:  # noqa: ARG001
    """Keep nothing of a request for its answer."""
    return None


def no_stream_reader() -> StreamReader:
    """Refuse the stream of a provider that was asked for none.

    Raises:
        BadUpstreamAnswer: always.
    """
    raise BadUpstreamAnswer("The provider sent a stream where it was asked for none.")


def no_passage(show_usage: bool) -> Passage:  # noqa: ARG001
    """Refuse the stream of a provider that was asked for none.

    Raises:
        BadUpstreamAnswer: always.
    """
    raise BadUpstreamAnswer("The provider sent a stream where it was asked for none.")


def no_header_usage(headers: Mapping[str, str]) -> Usage | None:  # noqa: ARG001
    """Find no usage in an answer's headers: the format has it in the body."""
    return None


@dataclasses.dataclass(frozen=True, slots=True)
class WriterContext:
    """What a writer needs and may not make up: ids and clocks come from outside."""

    id: str
    """The exchange's id, for answers to which the provider gave none."""
    created: int
    """Unix seconds at which the exchange began."""
    model: str
    """The response model until the provider names its own."""
    include_usage: bool
    """The client asked for usage in its stream."""
    kept: object = None
    """What `ClientFormat.keep` kept of the request."""


def no_stream_writer(context: WriterContext) -> StreamWriter:  # noqa: ARG001
    """Refuse to write a stream in an API that has none.

    Raises:
        BadUpstreamAnswer: always; see `no_stream_reader`, which comes first.
    """
    raise BadUpstreamAnswer("The provider sent a stream where it was asked for none.")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClientFormat(Generic[Q, A]):
    """One API as clients speak it."""

    name: str
    operation: str = CHAT
    """``gen_ai.operation.name`` of the OpenTelemetry GenAI conventions, where it has one."""
    recorded: str = ""
    """The same, where it is done as another: what records call it."""
    default_model: str = ""
    """Who is asked where a request names no model; empty: it must name one."""
    read_request: Callable[[bytes, Members], Q]
    """(body, its top-level members) -> request.

    Raises BadRequest naming the field that is wrong."""
    keep: Callable[[Q], object] = keep_nothing
    """What `write_answer` has to know of the request; little, for it is held until then."""
    write_answer: Callable[[A, WriterContext], bytes]
    stream_writer: Callable[[WriterContext], StreamWriter] = no_stream_writer
    mute: frozenset[str] = frozenset()
    """What of an answer its clients cannot be told, of the words of `unsaid`."""
    write_error: Callable[[GatewayError], bytes]
    """The body of an error answer."""
    write_model: Callable[[canonical.ListedModel], bytes]
    write_models: Callable[[Sequence[canonical.ListedModel]], bytes]
    write_error_event: Callable[[GatewayError], bytes]
    """The bytes that end a stream which has begun, so that the client sees the error."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProviderFormat(Generic[Q, A]):
    """One API as providers speak it."""

    name: str
    operation: str = CHAT
    """See `ClientFormat.operation`."""
    write_request: Callable[[Q, str, int], Rendered]
    """(request, model to ask for, default of max_output_tokens) -> body.

    Raises Unsupported for what cannot be kept."""
    read_answer: Callable[[bytes], A]
    """Raises ProtocolViolation."""
    stream_reader: Callable[[], StreamReader] = no_stream_reader
    read_error: Callable[[int, bytes], UpstreamError]
    """(status, body of any shape) -> the error, its status kept where it is an error
    that the client caused."""
    overview: Callable[[bytes], Overview]
    """Reads a whole answer that passes untouched; never raises."""
    passage: Callable[[bool], Passage] = no_passage
    """(the client asked for usage) -> a stream that passes untouched."""
    opaque: bool = False
    """Whether an answer may be what nobody here reads, such as sound: it passes as it
    comes, and is counted where it is JSON or a stream."""
    header_usage: Callable[[Mapping[str, str]], Usage | None] = no_header_usage
    """The usage that an answer's headers tell, where its body does not."""
    headers: frozenset[str] = frozenset()
    """Request headers that are part of the format: a client of the same format has its
    own word in them, and no provider of another one sees them."""
    wrap: Callable[[Members, Mapping[str, str]], Rendered] | None = None
    """(body's members, client's headers) -> the body that the host takes, where it is not
    the format's own; the headers are empty where the client speaks another format."""
    usage_request: Callable[[Members], Mapping[str, bytes]] = no_usage_request
    """What to change in the top-level members of a request that passes, so that its
    stream reports its usage; nothing when it does anyway."""
    adapt: Callable[[Members, str], Adapted] | None = None
    """(body's members, model to ask for) -> what else a request that passes needs: for a
    server with manners of its own, or because it began with another provider; None:
    nothing, ever. Raises Unsupported for what cannot be kept."""
    rewrite_answer: Callable[[bytes], bytes] | None = None
    """Makes a whole answer that passes one that the format's clients expect."""


AnyClientFormat = ClientFormat[Any, Any]
"""Of any operation."""
AnyProviderFormat = ProviderFormat[Any, Any]
"""Of any operation: `providers.base.Provider.dialect` sees to it that the two match."""


UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not what they should be."""


class State(enum.IntEnum):  # the hash of a plain Enum is Python code
    """Where a stream of a provider stands."""

    IDLE = enum.auto()
    OPEN = enum.auto()
    FINISHED = enum.auto()
    """The model has stopped; usage may follow."""
    DONE = enum.auto()


class TableStream(abc.ABC, Generic[E]):
    """The part of a stream reader that every provider format shares.

    A subclass has the table `NEXT`, `parse` (frame to wire event) and `translate` (wire
    event to canonical events); what is not in the table may not happen. Of the pieces of
    open parts, which nearly all frames are, it makes a short way of `take`.
    """

    NEXT: ClassVar[Mapping[tuple[State, type], State]]

    def __init__(self) -> None:
        self.state = State.IDLE
        self.unknown = 0
        """Frames of a name that we do not know: ignored, and counted."""

    @abc.abstractmethod
    def parse(self, frame: Frame) -> E | None:
        """Read a frame; None is one whose name we do not know."""

    @abc.abstractmethod
    def translate(self, event: E) -> Iterable[canonical.Event]:
        """Yield what a legal event amounts to."""

    def feed(self, frame: Frame) -> list[canonical.Event]:
        """See `StreamReader.feed`."""
        seen = self.take(frame)
        return [seen] if isinstance(seen, canonical.Delta) else seen

    def take(self, frame: Frame) -> Taken:
        """See `StreamReader.take`."""
        try:
            event = self.parse(frame)
            if event is None:
                self.unknown += 1
                return []
            self._advance(event)
            return list(self.translate(event))
        # msgspec lets out these too, for what is not UTF-8 and for lists in lists; of raw
        # parts that is found only as they are translated.
        except UNREADABLE as exc:
            raise ProtocolViolation(
                f"cannot read stream event {frame.name!r}: {exc}"
            ) from exc

    def _advance(self, event: E) -> None:
        try:
            self.state = self.NEXT[self.state, type(event)]
        except KeyError:
            raise ProtocolViolation(
                f"{type(event).__name__} while {self.state.name}"
            ) from None

    def close(self) -> list[canonical.Event]:
        """See `StreamReader.close`."""
        if self.state is not State.DONE:
            raise TruncatedStream("The provider's stream ended too early.")
        return []
