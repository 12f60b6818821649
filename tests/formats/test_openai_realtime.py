"""The events of a realtime session that count, as OpenAI's own types have them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.realtime import (
    ConversationItemInputAudioTranscriptionCompletedEvent,
    RealtimeErrorEvent,
    ResponseDoneEvent,
)
from openai.types.realtime.conversation_item_input_audio_transcription_completed_event import (
    UsageTranscriptTextUsageTokens,
)

from extproc.errors import BudgetReached
from extproc.formats.openai_realtime import read_event, write_error
from extproc.usage import Usage


def read(message) -> Any:
    return read_event(message)


def done(usage):
    event = {
        "type": "response.done",
        "event_id": "event_1",
        "response": {
            "id": "resp_1", "object": "realtime.response", "status": "completed",
            "output": [], "usage": usage,
        },
    }  # fmt: skip
    ResponseDoneEvent.model_validate(event, strict=True)
    return json.dumps(event).encode()


SPOKEN = {
    "total_tokens": 300,
    "input_tokens": 200,
    "output_tokens": 100,
    "input_token_details": {
        "text_tokens": 120,
        "audio_tokens": 80,
        "cached_tokens": 64,
        "cached_tokens_details": {"text_tokens": 44, "audio_tokens": 20},
    },
    "output_token_details": {"text_tokens": 30, "audio_tokens": 70},
}


def test_an_answers_usage_is_read_part_by_part():
    assert read(done(SPOKEN)).usage == Usage(
        input_tokens=200,
        output_tokens=100,
        cache_read_input_tokens=64,
        audio_input_tokens=60,
        audio_output_tokens=70,
    )


def test_an_answer_may_say_nothing_of_it():
    assert read(done(None)).usage is None
    assert read(done({})).usage is None


def test_of_other_events_nothing_is_read():
    begun = b'{"type": "response.created", "response": {}}'
    assert read(begun).type == "response.created"
    for other in (
        b'{"type": "response.output_audio.delta", "delta": "AAAA"}',
        b'{"type": "session.deleted", "x": "response.done", "y": "\\"response.done\\""}',
        b'"response.done"',
        b'not JSON "response.done"',
    ):
        assert read_event(other) is None


def test_an_error_is_one_of_the_apis_own_events():
    said = json.loads(write_error(BudgetReached("No money.")))
    event = RealtimeErrorEvent.model_validate(said, strict=True)
    assert (event.error.type, event.error.message) == (
        "insufficient_quota",
        "No money.",
    )


@pytest.mark.parametrize(
    ("session", "model"),
    [
        ({"audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}, "gpt-4o-transcribe"),
        ({"input_audio_transcription": {"model": "whisper-1"}}, "whisper-1"),
        ({"audio": {"input": {"transcription": None}}}, None),
        ({"audio": None}, None),
    ],
)  # fmt: skip
def test_a_session_says_what_it_writes_down_with(session, model):
    event = read(json.dumps({"type": "session.updated", "session": session}).encode())
    assert event.writer == model


def test_the_sdks_own_transcription_is_understood():
    usage = UsageTranscriptTextUsageTokens(
        input_tokens=9, output_tokens=3, total_tokens=12, type="tokens",
        input_token_details={"audio_tokens": 8, "text_tokens": 1},  # type: ignore[arg-type]
    )  # fmt: skip
    said = ConversationItemInputAudioTranscriptionCompletedEvent(
        content_index=0, event_id="e", item_id="i", transcript="hi", usage=usage,
        type="conversation.item.input_audio_transcription.completed",
    )  # fmt: skip
    found = read(said.model_dump_json().encode()).transcribed
    assert found == Usage(input_tokens=9, output_tokens=3, audio_input_tokens=8)
