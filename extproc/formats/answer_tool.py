"""A JSON answer by way of a call, for models that cannot bind their text to a schema.

The technique that Anthropic itself teaches
(https://platform.claude.com/docs/en/agents-and-tools/tool-use/implement-tool-use#forcing-tool-use):
a tool whose parameters are the wanted schema, which the model is made to call; the
arguments of the call are the answer. `ask` rewrites the canonical request so, whatever
the provider; `unwrap` and `Unwrapping` give the client the call as the text that it is.

Beside the client's own tools the model is made to call one of all, so that it either
calls or answers. Where the client demands a call there is no text to be bound, and
nothing is added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec

from extproc import canonical
from extproc.errors import BadRequest
from extproc.formats.base import StreamReader, Taken, Unsupported
from extproc.framing.sse import Frame

NAME = "json_answer"

ANY_OBJECT = msgspec.Raw(
    b'{"type":"object","properties":{},"additionalProperties":true}'
)
"""The schema of a JSON mode that names none."""

_TELLS = "Gives the answer: the arguments are the whole of it"

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Asked(msgspec.Struct, frozen=True):
    """A request without a shape for its text, and the tool that stands for it."""

    request: canonical.Request
    tool: str
    """Empty where the client demands a call of a tool of its own."""


def bind(
    request: canonical.Request,
    drop: Callable[[str], None],
    *,
    native: bool,
    forced: bool,
    one_call: bool,
) -> Asked:
    """Return the request with the format of its answer as the model can be told it.

    `native` says that the model takes a JSON schema for its text, `forced` that it can be
    made to call, `one_call` that it can be held to a single call. A model that thinks
    cannot be made to call, so an effort gives way to the format, and is reported.

    Raises:
        BadRequest: the format lacks its schema, or that is no JSON object.
        Unsupported: the model cannot be bound to the format.
    """
    shape = request.output_format
    if (
        shape is None
        or shape.kind == "text"
        or (shape.kind == "json_schema" and native)
    ):
        return Asked(request, "")
    asked = ask(request, one_call=one_call)
    if not asked.tool:
        return asked
    if not forced:
        raise Unsupported(
            f"This model cannot be made to answer in `{shape.kind}`.",
            param=request.name_of("output_format"),
        )
    thought = request.thinking
    if thought is None or thought.effort == "none" or thought.enabled is False:
        return asked
    if thought.enabled or thought.adaptive or thought.budget_tokens:
        raise Unsupported(
            f"A model that thinks cannot be made to answer in `{shape.kind}`.",
            param=request.name_of("output_format"),
        )
    drop(request.name_of("thinking"))
    unthought = msgspec.structs.replace(asked.request, thinking=None)
    return Asked(unthought, asked.tool)


def ask(request: canonical.Request, *, one_call: bool) -> Asked:
    """Return `request` with a tool in place of its output format; see `bind`."""
    bare = msgspec.structs.replace(request, output_format=None)
    choice = request.tool_choice or canonical.ToolChoice("auto")
    if choice.mode in {"required", "named"}:
        return Asked(bare, "")
    tool = _tool(request)
    named = canonical.ToolChoice("named", (tool.name,))
    changes: dict[str, object] = {"tools": (*request.tools, tool), "tool_choice": named}
    if request.tools and choice.mode == "auto":
        names = (*choice.names, tool.name) if choice.names else ()
        changes["tool_choice"] = canonical.ToolChoice("required", names)
    elif one_call:
        changes["parallel_tool_calls"] = False
    return Asked(msgspec.structs.replace(bare, **changes), tool.name)


def _tool(request: canonical.Request) -> canonical.Tool:
    shape = request.output_format or canonical.OutputFormat("json_object")
    taken = {getattr(tool, "name", "") for tool in request.tools}
    name = NAME
    while name in taken:
        name += "_"
    words = shape.description or "a JSON object"
    schema = ANY_OBJECT if shape.kind == "json_object" else _schema(request, shape)
    return canonical.Tool(name, f"{_TELLS}: {words}.", schema)


def _schema(request: canonical.Request, shape: canonical.OutputFormat) -> msgspec.Raw:
    where = request.name_of("output_format")
    if shape.schema is None:
        raise BadRequest(
            "A response format of type `json_schema` needs its schema.",
            param=f"{where}.json_schema.schema",
        )
    try:
        members = _OBJECT.decode(shape.schema)
        kind = msgspec.json.decode(members.get("type", b'"object"'))
    except msgspec.MsgspecError as exc:
        raise BadRequest(
            f"The schema must be a JSON object: {exc}.", param=where
        ) from exc
    if kind != "object":
        raise Unsupported(
            "This model answers in JSON objects only: the schema must be of type "
            "`object`.",
            param=where,
        )
    return shape.schema


# ---------------------------------------------------------------- the answer


def unwrap(answer: canonical.Answer, tool: str) -> canonical.Answer:
    """Return `answer` with the call of `tool` as text."""
    return msgspec.structs.replace(
        answer, choices=tuple(_unwrap_choice(choice, tool) for choice in answer.choices)
    )


def _unwrap_choice(choice: canonical.Choice, tool: str) -> canonical.Choice:
    parts: list[canonical.AnswerPart] = []
    answered = called = False
    for part in choice.parts:
        if not isinstance(part, canonical.ToolCall):
            parts.append(part)
        elif part.name != tool:
            called = True
            parts.append(part)
        elif not answered:
            # A model that answers twice offers alternatives: together they are no JSON.
            answered = True
            parts.append(canonical.Text(part.arguments))
    finish = choice.finish
    if answered and not called and finish == "tool_calls":
        finish = "stop"
    return msgspec.structs.replace(choice, parts=tuple(parts), finish=finish)


class Unwrapping:
    """A stream in which the call of a tool becomes text; see `StreamReader`."""

    __slots__ = ("_answers", "_called", "_empty", "_hidden", "_reader", "_tool")

    def __init__(self, reader: StreamReader, tool: str) -> None:
        self._reader = reader
        self._tool = tool
        self._answers: set[int] = set()
        """The choices whose answer has begun."""
        self._called: set[int] = set()
        """The choices in which other tools are called."""
        self._empty: set[tuple[int, int]] = set()
        """Answers without a word yet, by choice and part."""
        self._hidden: set[tuple[int, int]] = set()
        """Second answers."""

    def take(self, frame: Frame) -> Taken:
        """See `StreamReader.take`."""
        seen = self._reader.take(frame)
        if not isinstance(seen, canonical.Delta):
            return self._unwrap(seen)
        place = seen.choice, seen.index
        self._empty.discard(place)
        return [] if place in self._hidden else seen

    def feed(self, frame: Frame) -> list[canonical.Event]:
        """See `StreamReader.feed`."""
        return self._unwrap(self._reader.feed(frame))

    def close(self) -> list[canonical.Event]:
        """See `StreamReader.close`."""
        return self._unwrap(self._reader.close())

    def _unwrap(self, events: Iterable[canonical.Event]) -> list[canonical.Event]:
        return [made for event in events for made in self._one(event)]

    def _one(self, event: canonical.Event) -> Iterator[canonical.Event]:
        match event:
            case canonical.PartStarted(kind="tool_call"):
                yield from self._start(event)
            case canonical.Delta():
                place = event.choice, event.index
                self._empty.discard(place)
                if place not in self._hidden:
                    yield event
            case canonical.PartEnded():
                place = event.choice, event.index
                if place in self._empty:
                    self._empty.discard(place)
                    yield canonical.Delta(event.index, "{}", choice=event.choice)
                if place not in self._hidden:
                    yield event
            case canonical.SignatureDelta():
                if (event.choice, event.index) not in self._hidden:
                    yield event
            case canonical.Finished(finish="tool_calls", choice=choice) if (
                choice in self._answers and choice not in self._called
            ):
                yield canonical.Finished("stop", choice=choice)
            case _:
                yield event

    def _start(self, event: canonical.PartStarted) -> Iterator[canonical.Event]:
        if event.name != self._tool:
            self._called.add(event.choice)
            yield event
        elif event.choice in self._answers:
            self._hidden.add((event.choice, event.index))
        else:
            self._answers.add(event.choice)
            self._empty.add((event.choice, event.index))
            yield canonical.PartStarted(event.index, "text", choice=event.choice)
