"""The mock of OpenAI's pictures, sound and files, judged by the official SDK's types."""

from __future__ import annotations

import typing
from typing import Any

import openai
import pytest
from openai.types import (
    batch_create_params,
    file_create_params,
    image_create_variation_params,
    image_edit_params,
    image_generate_params,
    moderation_create_params,
)
from openai.types.audio import (
    speech_create_params,
    transcription_create_params,
    translation_create_params,
)

from extproc.local.mock.multipart import NotAForm, read_form
from extproc.local.mock.openai import media, stored

SOUND = ("a.wav", b"RIFF1234")


def named(*params: Any) -> set[str]:
    return {name for one in params for name in typing.get_type_hints(one)}


def test_the_tables_have_the_sdks_names():
    for rule, params in (
        (
            media.IMAGES,
            named(
                image_generate_params.ImageGenerateParamsNonStreaming,
                image_generate_params.ImageGenerateParamsStreaming,
            ),
        ),
        (media.SPEECH, named(speech_create_params.SpeechCreateParams)),
        (media.MODERATIONS, named(moderation_create_params.ModerationCreateParams)),
        (stored.BATCH, named(batch_create_params.BatchCreateParams)),
    ):
        assert {name.removesuffix("!") for name in rule.fields} == params
    assert named(
        transcription_create_params.TranscriptionCreateParamsNonStreaming,
        transcription_create_params.TranscriptionCreateParamsStreaming,
    ) == set(media.TRANSCRIPTION)
    assert named(translation_create_params.TranslationCreateParams) == set(
        media.TRANSLATION
    )
    assert named(
        image_edit_params.ImageEditParamsNonStreaming,
        image_edit_params.ImageEditParamsStreaming,
    ) == set(media.EDIT)
    assert named(image_create_variation_params.ImageCreateVariationParams) == set(
        media.VARIATION
    )
    flat = {name.partition("[")[0] for name in stored.FIELDS}
    assert named(file_create_params.FileCreateParams) == flat


@pytest.mark.parametrize(
    "ask",
    [
        lambda c: c.images.generate(model="dall-e-9", prompt="x"),
        lambda c: c.images.generate(model="dall-e-2", prompt="x", stream=True),
        lambda c: c.images.generate(prompt="x", extra_body={"nonsense": 1}),
        lambda c: c.audio.speech.create(model="tts-1", voice="a", input="x" * 4097),
        lambda c: c.audio.transcriptions.create(model="whisper-2", file=SOUND),
        lambda c: c.audio.transcriptions.create(
            model="whisper-1", file=SOUND, extra_body={"nonsense": "1"}
        ),
        lambda c: c.files.create(file=SOUND, purpose="nonsense"),
        lambda c: c.batches.create(
            input_file_id="file-0",
            endpoint="/v1/embeddings",
            completion_window="24h",
        ),
        lambda c: c.moderations.create(input=""),
    ],
)
def test_what_the_real_one_refuses_is_refused(openai_client, ask):
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as caught:
        ask(openai_client)
    body: Any = caught.value.body
    assert body["message"]


def test_the_sdk_reads_the_mocks_answers(openai_client):
    assert openai_client.images.generate(prompt="x").data[0].b64_json
    assert openai_client.moderations.create(input="x").results[0].flagged is False
    heard = openai_client.audio.transcriptions.create(model="whisper-1", file=SOUND)
    assert heard.text == "8 bytes of a.wav"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data; boundary=x", b"--y\r\n\r\n--y--"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n1',
        ),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n1\r\n--x--\r\n"),
    ],
)
def test_what_is_no_form_is_refused(kind, body):
    with pytest.raises(NotAForm):
        read_form(kind, body)
