"""Citations and searches: told by each provider, in the words of each client's API."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from openai.types.chat import ChatCompletion
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from extproc import canonical as c
from extproc.formats import unsaid
from extproc.formats.base import WriterContext
from extproc.formats.openai_annotations import read_annotation
from tests.formats.relay import CLIENTS, PLACES, read_stream, translate
from tests.oracles.events import aws_messages

CONTEXT = WriterContext(id="gw1", created=1700, model="asked", include_usage=False)
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
ANTHROPIC_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
URL, TITLE = "https://example.test/a", "A page"

SEARCHED = c.Search("s1", ("rome weather",), (c.Found(URL, TITLE),))
WEB = c.Citation(URL, TITLE)
DOCUMENT = c.Citation(
    title="a.pdf", quote="x", document=1, unit="page", first=2, last=3
)
SPAN = c.Citation(URL, TITLE, start=2, end=4)

CITED_WEB = {
    "type": "web_search_result_location", "cited_text": "", "url": URL, "title": TITLE,
    "encrypted_index": "",
}  # fmt: skip
ANNOTATION = {"type": "url_citation", "url": URL, "title": TITLE, "start_index": 0, "end_index": 5}  # fmt: skip


def sse(*events: Any) -> bytes:
    return b"".join(
        b"event: %b\ndata: %b\n\n"
        % (e.get("type", "").encode(), msgspec.json.encode(e))
        for e in events
    )


def anthropic_stream() -> bytes:
    def block(index: int, content: Any, *deltas: Any) -> list[Any]:
        start = {
            "type": "content_block_start",
            "index": index,
            "content_block": content,
        }
        more = [
            {"type": "content_block_delta", "index": index, "delta": d} for d in deltas
        ]
        return [start, *more, {"type": "content_block_stop", "index": index}]

    query = '{"query": "rome weather"}'
    found = {"type": "web_search_result", "url": URL, "title": TITLE, "encrypted_content": "", "page_age": None}  # fmt: skip
    message: dict[str, Any] = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
        "content": [], "stop_reason": None, "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }  # fmt: skip
    return sse(
        {"type": "message_start", "message": message},
        *block(
            0, {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}},
            *({"type": "input_json_delta", "partial_json": p} for p in (query[:9], query[9:])),
        ),
        *block(1, {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [found]}),
        *block(
            2, {"type": "text", "text": ""},
            {"type": "citations_delta", "citation": CITED_WEB},
            {"type": "text_delta", "text": "Sunny"},
        ),
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    )  # fmt: skip


def gemini_stream(text: str = "Sunny") -> bytes:
    def chunk(part: str, **more: Any) -> Any:
        content = {"parts": [{"text": part}], "role": "model"}
        return {
            "candidates": [{"content": content, "index": 0, **more}],
            "responseId": "r",
        }

    size = len(text.encode())
    grounded = {
        "webSearchQueries": ["rome weather"],
        "groundingChunks": [{"web": {"uri": URL, "title": TITLE}}],
        "groundingSupports": [
            {"segment": {"endIndex": size, "text": text}, "groundingChunkIndices": [0, 7]}
        ],
    }  # fmt: skip
    frames = (
        chunk(text[:2], groundingMetadata={"webSearchQueries": ["old"]}),
        chunk(text[2:], finishReason="STOP", groundingMetadata=grounded),
    )
    return b"".join(b"data: " + msgspec.json.encode(one) + b"\n\n" for one in frames)


def chat_stream() -> bytes:
    def chunk(delta: Any, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        said = {"id": "a", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}  # fmt: skip
        return b"data: " + msgspec.json.encode(said) + b"\n\n"

    nested = {"type": "url_citation", "url_citation": {k: v for k, v in ANNOTATION.items() if k != "type"}}  # fmt: skip
    return (
        chunk({"role": "assistant", "content": "Su"}) + chunk({"content": "nny"})
        + chunk({"annotations": [nested]}) + chunk({}, "stop") + b"data: [DONE]\n\n"
    )  # fmt: skip


def responses_stream() -> bytes:
    action = {"type": "search", "query": "rome weather", "sources": [{"type": "url", "url": URL}]}  # fmt: skip
    search = {
        "type": "web_search_call",
        "id": "s1",
        "status": "completed",
        "action": action,
    }
    part = {"type": "output_text", "text": "Sunny", "annotations": [ANNOTATION]}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}  # fmt: skip
    at = {"output_index": 1, "item_id": "msg_1", "content_index": 0}
    whole = {
        "id": "resp_1",
        "status": "completed",
        "model": "m",
        "output": [search, item],
    }
    return sse(
        {"type": "response.created", "response": {"id": "resp_1", "model": "m"}},
        {"type": "response.output_item.added", "output_index": 0, "item": search},
        {"type": "response.web_search_call.searching", "output_index": 0, "item_id": "s1"},
        {"type": "response.output_item.done", "output_index": 0, "item": search},
        {"type": "response.output_item.added", "output_index": 1, "item": {**item, "content": []}},
        {"type": "response.content_part.added", **at, "part": {**part, "text": "", "annotations": []}},
        {"type": "response.output_text.delta", **at, "delta": "Sunny"},
        {"type": "response.output_text.annotation.added", **at, "annotation_index": 0, "annotation": ANNOTATION},
        {"type": "response.output_item.done", "output_index": 1, "item": item},
        {"type": "response.completed", "response": whole},
    )  # fmt: skip


def converse_stream() -> bytes:
    citation = {"title": TITLE, "location": {"web": {"url": URL}}, "sourceContent": []}
    said = [
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Sunny"}}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"citation": citation}}),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("messageStop", {"stopReason": "end_turn"}),
        ("metadata", {"usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}}),
    ]  # fmt: skip
    return b"".join(aws_messages([f"{name} {json.dumps(one)}" for name, one in said]))


STREAMS = {
    "anthropic": anthropic_stream(),
    "gemini": gemini_stream(),
    "openai_chat": chat_stream(),
    "openai_responses": responses_stream(),
    "converse": converse_stream(),
}
SEARCHES = {"anthropic", "gemini", "openai_responses"}
PAIRS = [pair for pair in itertools.product(CLIENTS, STREAMS) if pair[0] != pair[1]]


@pytest.mark.parametrize("provider", STREAMS)
def test_every_provider_tells_its_sources(provider):
    for cut in (None, 1, 13):
        events = read_stream(PLACES[provider], STREAMS[provider], cut)
        (cited,) = [event.citation for event in events if isinstance(event, c.Cited)]
        assert (cited.url, cited.title) == (URL, TITLE)
        assert (cited.start or 0, cited.end) in {(0, None), (0, 5)}
        searches = [event.search for event in events if isinstance(event, c.Searched)]
        assert len(searches) == (provider in SEARCHES)
        for search in searches:
            assert search.queries == ("rome weather",)
            assert [one.url for one in search.found] == [URL]
        assert not [event for event in events if isinstance(event, c.Unsaid)]


@pytest.mark.parametrize(("client", "provider"), PAIRS)
@pytest.mark.parametrize("cut", [None, 1])
def test_every_client_is_told_of_them_in_a_stream(client, provider, cut):
    out = translate(
        PLACES[provider], CLIENTS[client], STREAMS[provider], CONTEXT, cut=cut
    )
    events = [
        json.loads(line.removeprefix("data: "))
        for line in out.decode().splitlines()
        if line.startswith("data: {")
    ]
    if client == "openai_chat":
        deltas = [choice["delta"] for e in events for choice in e["choices"]]
        (said,) = [d["annotations"] for d in deltas if "annotations" in d]
        flat = {"type": "url_citation", **said[0]["url_citation"]}
        assert flat == ANNOTATION
    elif client == "openai_responses":
        for event in events:
            EVENT.validate_python(event, strict=True)
        (added,) = [e for e in events if e["type"].endswith("annotation.added")]
        assert added["annotation"] == ANNOTATION
        output = events[-1]["response"]["output"]
        (message,) = [item for item in output if item["type"] == "message"]
        assert message["content"][0]["annotations"] == [ANNOTATION]
        kinds = [item["type"] for item in output]
        assert ("web_search_call" in kinds) == (provider in SEARCHES)
    else:
        for event in events:
            if event["type"] != "ping":  # which the SDK's types leave out
                ANTHROPIC_EVENT.validate_python(event, strict=True)
        deltas = [e["delta"] for e in events if e["type"] == "content_block_delta"]
        (cited,) = [d for d in deltas if d["type"] == "citations_delta"]
        assert cited["citation"] == CITED_WEB
        starts = [
            e["content_block"]["type"]
            for e in events
            if e["type"] == "content_block_start"
        ]
        assert ("web_search_tool_result" in starts) == (provider in SEARCHES)
        indexes = [e["index"] for e in events if e["type"] == "content_block_start"]
        assert indexes == list(range(len(indexes)))


ANSWER = c.Answer(
    "a", "m",
    (c.Choice((SEARCHED, c.Text("So: "), c.Text("Sunny", citations=(WEB, SPAN, DOCUMENT))), "stop"),),
)  # fmt: skip


def test_a_whole_answer_of_a_chat_has_spans_in_its_whole_content():
    said = json.loads(CLIENTS["openai_chat"].write_answer(ANSWER, CONTEXT))
    ChatCompletion.model_validate(said, strict=True)
    annotations = said["choices"][0]["message"]["annotations"]
    spans = [(one["url_citation"]["start_index"], one["url_citation"]["end_index"]) for one in annotations]  # fmt: skip
    assert spans == [(4, 9), (6, 8)]


def test_a_whole_response_has_the_search_and_the_annotations():
    said = json.loads(CLIENTS["openai_responses"].write_answer(ANSWER, CONTEXT))
    Response.model_validate(said, strict=True)
    search, message = said["output"]
    assert search["action"]["query"] == "rome weather"
    assert [one["end_index"] for one in message["content"][1]["annotations"]] == [5, 4]


def test_a_whole_message_has_blocks_of_both():
    said = json.loads(CLIENTS["anthropic"].write_answer(ANSWER, CONTEXT))
    Message.model_validate(said, strict=True)
    kinds = [block["type"] for block in said["content"]]
    assert kinds == ["server_tool_use", "web_search_tool_result", *["text"] * 4]
    texts = [block for block in said["content"] if block["type"] == "text"]
    assert [block["text"] for block in texts] == ["So: ", "Su", "nn", "y"]
    web, page = "web_search_result_location", "page_location"
    assert [[one["type"] for one in b.get("citations") or ()] for b in texts] == [
        [], [web, page], [web, web, page], [web, page],
    ]  # fmt: skip


FILE = {"type": "file_citation", "file_id": "file_1", "filename": "a.pdf", "index": 2}


def test_a_citation_of_an_uploaded_file_is_told_to_who_has_a_word_for_it():
    cited = read_annotation(msgspec.Raw(msgspec.json.encode(FILE)))
    assert cited == c.Citation(title="a.pdf", file="file_1", start=0, end=2)
    text = c.Text("Sunny", citations=(cited,))
    answer = c.Answer("a", "m", (c.Choice((text,), "stop"),))
    said = json.loads(CLIENTS["openai_responses"].write_answer(answer, CONTEXT))
    Response.model_validate(said, strict=True)
    assert said["output"][0]["content"][0]["annotations"] == [FILE]
    said = json.loads(CLIENTS["anthropic"].write_answer(answer, CONTEXT))
    Message.model_validate(said, strict=True)
    told = [(b["text"], b["citations"][0]["file_id"]) for b in said["content"][:1]]
    assert told == [("Su", "file_1")]
    assert unsaid.of_answer(answer, CLIENTS["openai_chat"]) == (
        "answer.file_citations",
    )
    assert unsaid.of_answer(answer, CLIENTS["openai_responses"]) == ()


def test_in_a_text_that_is_not_ascii_bytes_become_characters():
    events = read_stream(PLACES["gemini"], gemini_stream("Süß ist es"))
    (cited,) = [event.citation for event in events if isinstance(event, c.Cited)]
    assert (cited.start, cited.end) == (0, 10)


@pytest.mark.parametrize(
    ("client", "words"),
    [
        ("openai_chat", ("answer.web_search", "answer.document_citations")),
        ("openai_responses", ("answer.document_citations",)),
        ("anthropic", ()),
    ],
)
def test_what_a_client_cannot_be_told_is_reported(client, words):
    assert unsaid.of_answer(ANSWER, CLIENTS[client]) == words
    more = msgspec.structs.replace(ANSWER, unsaid=("code_execution",))
    assert unsaid.of_answer(more, CLIENTS[client])[0] == "answer.code_execution"
    events = (c.Searched(SEARCHED), c.Cited(0, DOCUMENT), c.Cited(0, WEB), c.Ended())
    told = [unsaid.of_event(event, CLIENTS[client]) for event in events]
    assert tuple(word for word in told if word) == words


@pytest.mark.parametrize("client", ["anthropic", "openai_responses"])
@pytest.mark.parametrize("provider", PLACES)
def test_what_was_told_comes_back_and_is_left_out_and_reported(client, provider):
    said = json.loads(CLIENTS[client].write_answer(ANSWER, CONTEXT))
    if client == "anthropic":
        turns = [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": said["content"]},
            {"role": "user", "content": "And now?"},
        ]  # fmt: skip
        body = {"model": "m", "max_tokens": 9, "messages": turns}
    else:
        items = [{"role": "user", "content": "Hi"}, *said["output"]]
        body = {"model": "m", "input": [*items, {"role": "user", "content": "And?"}]}
    raw = msgspec.json.encode(body)
    request = CLIENTS[client].read_request(raw, msgspec.json.decode(raw, type=dict[str, msgspec.Raw]))  # fmt: skip
    place = PLACES[provider]
    rendered = place.format.write_request(request, place.model, 4096)
    words = ("Su", "nn", "y") if client == "anthropic" else ("Sunny",)
    assert all(f'"{word}"'.encode() in rendered.body for word in words)
    assert URL.encode() not in rendered.body
    assert len(rendered.dropped) >= 2
