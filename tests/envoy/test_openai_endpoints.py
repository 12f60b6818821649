"""OpenAI's own SDK, all of it that is not chat, through a real Envoy to a strict mock."""

from __future__ import annotations

import io
import itertools

import openai
import pytest

from tests.harness import KEY

pytestmark = pytest.mark.envoy

SOUND = ("a.wav", b"RIFF" + bytes(range(256)) * 40)
PICTURE = ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(500))


@pytest.fixture
def client(peers):
    with openai.OpenAI(
        base_url=peers.base_url,
        api_key=KEY,
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        yield client


def test_pictures_are_made(client, peers):
    made = client.images.generate(model="gpt-image-1", prompt="two red suns", n=2)
    assert len(made.data) == 2
    assert made.usage.input_tokens == 3
    assert client.images.generate(prompt="x").data, "a request may name no model"
    bodies = [one["body"] for one in peers.mock.requests()]
    assert b"model" not in bodies[-1]


def test_a_picture_is_seen_while_it_is_made(client):
    stream = client.images.generate(
        model="gpt-image-1", prompt="a sun", stream=True, partial_images=2
    )
    kinds = [event.type.rpartition(".")[2] for event in stream]
    assert kinds == ["partial_image", "partial_image", "completed"]


def test_pictures_are_changed(client):
    edited = client.images.edit(
        model="gpt-image-1", image=PICTURE, prompt="make it red", n=1
    )
    assert edited.usage.total_tokens == 103
    several = client.images.edit(
        model="gpt-image-1", image=[PICTURE, PICTURE], prompt="both"
    )
    assert len(several.data) == 1
    with pytest.warns(DeprecationWarning, match="deprecated"):  # the SDK's own
        varied = client.images.create_variation(image=PICTURE, model="dall-e-2")
    assert varied.data[0].b64_json


def test_words_are_spoken(client):
    whole = client.audio.speech.create(model="tts-1", voice="alloy", input="Hello")
    assert len(whole.content) == 4096
    assert whole.response.headers["content-type"] == "audio/mpeg"
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input="Hello", response_format="wav"
    ) as streamed:
        assert b"".join(streamed.iter_bytes()) == whole.content


def test_sound_is_written_down(client):
    heard = client.audio.transcriptions.create(model="gpt-4o-transcribe", file=SOUND)
    assert heard.text == f"{len(SOUND[1])} bytes of a.wav"
    assert heard.usage.total_tokens > 14
    text = client.audio.transcriptions.create(
        model="whisper-1", file=SOUND, response_format="text"
    )
    assert str(text).startswith(f"{len(SOUND[1])} bytes")
    with pytest.warns(DeprecationWarning, match="deprecated"):  # the SDK's own
        told = client.audio.translations.create(model="whisper-1", file=SOUND)
    assert told.text.endswith("a.wav")


def test_sound_is_written_down_word_by_word(client):
    stream = client.audio.transcriptions.create(
        model="gpt-4o-transcribe", file=SOUND, stream=True
    )
    events = list(stream)
    assert events[-1].type == "transcript.text.done"
    words = "".join(e.delta for e in events if e.type == "transcript.text.delta")
    assert words.strip() == events[-1].text


def test_words_are_judged(client):
    judged = client.moderations.create(input=["be kind", "kill them"])
    assert [one.flagged for one in judged.results] == [False, True]


def test_a_file_is_kept_and_comes_back_as_it_was(client):
    content = b'{"custom_id":"1"}\n' * 5000
    file = client.files.create(file=("in.jsonl", io.BytesIO(content)), purpose="batch")
    assert file.bytes == len(content)
    assert client.files.retrieve(file.id).filename == "in.jsonl"
    assert file.id in {one.id for one in client.files.list()}
    assert client.files.content(file.id).read() == content
    batch = client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"team": "a"},
    )
    assert client.batches.retrieve(batch.id).metadata == {"team": "a"}
    assert client.batches.cancel(batch.id).status == "cancelling"
    assert batch.id in {one.id for one in itertools.islice(client.batches.list(), 50)}
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError, match="No such File"):
        client.files.retrieve(file.id)


def test_a_stored_response_is_found_by_its_id(client):
    made = client.responses.create(model="gpt-4o", input="Hi", store=True)
    assert client.responses.retrieve(made.id).output_text == made.output_text


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (
            lambda c: c.images.generate(model="gpt-image-1", prompt=""),
            openai.BadRequestError,
        ),
        (
            lambda c: c.audio.speech.create(model="tts-1", voice="alloy", input=""),
            openai.BadRequestError,
        ),
        (
            lambda c: c.audio.transcriptions.create(model="nobody", file=SOUND),
            openai.NotFoundError,
        ),
        (
            lambda c: c.audio.transcriptions.create(
                model="claude-sonnet-4-5", file=SOUND
            ),
            openai.BadRequestError,
        ),
        (lambda c: c.batches.retrieve("batch_0"), openai.NotFoundError),
        (
            lambda c: c.files.create(file=SOUND, purpose="nonsense"),
            openai.BadRequestError,
        ),
    ],
)
def test_the_sdk_raises_what_was_refused(client, ask, error):
    with pytest.raises(error) as caught:
        ask(client)
    assert caught.value.body["message"]
