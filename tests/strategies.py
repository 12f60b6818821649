"""Hypothesis strategies for canonical requests: conversations in order, every field."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
from hypothesis import strategies as st

from extproc import canonical as c

NAMES = ("weather", "clock", "book_trip")
CITY = msgspec.Raw(
    b'{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}'
)
TOOLS = (c.Tool("weather", "The weather.", CITY), c.Tool("clock"), c.Tool("book_trip"))

words = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12
).map(lambda text: f"a{text}z")
"""Text that no provider refuses for being blank, nor trims."""

data = st.binary(min_size=1, max_size=9).map(lambda raw: base64.b64encode(raw).decode())
texts = st.builds(c.Text, words)
images = st.builds(
    c.Image, st.builds(c.Inline, st.sampled_from(["image/png", "image/jpeg"]), data)
)
documents = st.builds(
    c.Document, st.builds(c.Inline, st.just("application/pdf"), data), st.just("a.pdf")
)
sounds = st.builds(c.Audio, st.builds(c.Inline, st.just("audio/wav"), data))
arguments = st.dictionaries(
    st.sampled_from(["city", "when"]), words | st.integers(-9, 9) | st.booleans()
).map(lambda value: msgspec.json.encode(value).decode())


@st.composite
def conversations(draw: st.DrawFn, *, media: bool = True) -> tuple[c.Message, ...]:
    """Draw turns as a client has them: calls are answered, and the user speaks last."""
    turns: list[tuple[c.Role, tuple[c.Part, ...]]] = []
    if draw(st.booleans()):
        turns.append(("system", tuple(draw(st.lists(texts, min_size=1, max_size=2)))))
    asked = texts | images | documents | sounds if media else texts
    calls = 0
    for _ in range(draw(st.integers(0, 2))):
        turns.append(("user", _said(draw, asked)))
        parts: list[Any] = draw(st.lists(texts, min_size=1, max_size=2))
        made = []
        for _ in range(draw(st.integers(0, 2))):
            calls += 1
            name = draw(st.sampled_from(NAMES))
            made.append(c.ToolCall(f"call_{calls}", name, draw(arguments)))
        turns.append(("assistant", (*parts, *made)))
        turns += [
            ("tool", (c.ToolResult(call.id, (draw(texts),), draw(st.booleans())),))
            for call in made
        ]
    if turns[-1:] and turns[-1][0] == "tool" and draw(st.booleans()):
        return _numbered(turns)
    turns.append(("user", _said(draw, asked)))
    return _numbered(turns)


def _said(draw: st.DrawFn, asked: st.SearchStrategy[Any]) -> tuple[c.Part, ...]:
    return (draw(texts), *draw(st.lists(asked, max_size=2)))


def _numbered(turns: list[tuple[c.Role, tuple[c.Part, ...]]]) -> tuple[c.Message, ...]:
    return tuple(
        c.Message(role, parts, where=f"messages[{number}]")
        for number, (role, parts) in enumerate(turns)
    )


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "max_output_tokens": maybe(st.integers(16, 4000)),
    "temperature": maybe(st.sampled_from([0.0, 0.25, 1.0])),
    "top_p": maybe(st.sampled_from([0.5, 0.9])),
    "top_k": maybe(st.integers(1, 40)),
    "stop": st.sampled_from([(), ("HALT",), ("HALT", "END")]),
    "seed": maybe(st.integers(0, 99)),
    "presence_penalty": maybe(st.sampled_from([-0.5, 0.5])),
    "frequency_penalty": maybe(st.sampled_from([-0.5, 0.5])),
    "end_user": maybe(st.just("user-1")),
    "tool_choice": maybe(
        st.sampled_from(
            [c.ToolChoice("auto"), c.ToolChoice("none"), c.ToolChoice("required")]
        )
        | st.sampled_from(NAMES).map(lambda name: c.ToolChoice("named", (name,)))
    ),
}
"""Fields of `canonical.Request` beside its messages and tools."""


def requests(*, media: bool = True) -> st.SearchStrategy[c.Request]:
    """Return requests with tools, a few fields set in each."""
    some = st.lists(st.sampled_from(list(FIELDS)), max_size=4, unique=True)
    fields = some.flatmap(
        lambda names: st.fixed_dictionaries({name: FIELDS[name] for name in names})
    )
    return st.builds(
        lambda messages, more: c.Request(
            model="some-model", messages=messages, tools=TOOLS, **more
        ),
        conversations(media=media),
        fields,
    )
