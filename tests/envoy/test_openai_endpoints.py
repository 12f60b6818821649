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
    stream = client.images.edit(
        model="gpt-image-1", image=PICTURE, prompt="blue", stream=True, partial_images=1
    )
    kinds = [event.type for event in stream]
    assert kinds == ["image_edit.partial_image", "image_edit.completed"]
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


def test_words_are_spoken_while_they_are_made(client):
    with client.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", voice="alloy", input="Hello", stream_format="sse"
    ) as streamed:
        said = b"".join(streamed.iter_bytes())
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert said.count(b"speech.audio.delta") == 4
    assert b'"output_tokens":50' in said.splitlines()[-2]


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


def test_a_file_comes_in_parts_and_a_model_is_trained_with_it(client):
    lines = [b'{"messages":[]}\n' * 900, b'{"messages":[{}]}\n' * 300]
    begun = client.uploads.create(
        bytes=sum(map(len, lines)), filename="train.jsonl", purpose="fine-tune",
        mime_type="application/jsonl",
    )  # fmt: skip
    parts = [client.uploads.parts.create(begun.id, data=one) for one in lines]
    done = client.uploads.complete(begun.id, part_ids=[part.id for part in parts])
    assert client.files.content(done.file.id).read() == b"".join(lines)
    job = client.fine_tuning.jobs.create(
        model="gpt-4o-mini", training_file=done.file.id, suffix="mine",
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
    )  # fmt: skip
    assert client.fine_tuning.jobs.retrieve(job.id).training_file == done.file.id
    assert [event.level for event in client.fine_tuning.jobs.list_events(job.id)] == [
        "info"
    ]
    assert job.id in {
        one.id for one in itertools.islice(client.fine_tuning.jobs.list(), 50)
    }
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"


def test_files_are_searched_in_a_vector_store(client):
    files = [
        client.files.create(file=(f"{word}.txt", f"all about {word}".encode()), purpose="assistants")
        for word in ("envoy", "python", "redis")
    ]  # fmt: skip
    store = client.vector_stores.create(name="docs", file_ids=[files[0].id])
    added = client.vector_stores.files.create(
        store.id, file_id=files[1].id, attributes={"year": 2026}
    )
    batch = client.vector_stores.file_batches.create(store.id, file_ids=[files[2].id])
    assert client.vector_stores.file_batches.retrieve(
        batch.id, vector_store_id=store.id
    ).file_counts.completed == 1  # fmt: skip
    assert client.vector_stores.retrieve(store.id).file_counts.total == 3
    found = client.vector_stores.search(store.id, query="what of python?")
    assert (found.data[0].filename, found.data[0].attributes) == (
        "python.txt",
        {"year": 2026},
    )
    kept = {one.id for one in client.vector_stores.files.list(store.id)}
    assert kept == {file.id for file in files}
    assert client.vector_stores.files.delete(added.id, vector_store_id=store.id).deleted
    assert client.vector_stores.update(store.id, name="papers").name == "papers"
    assert client.vector_stores.delete(store.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.vector_stores.retrieve(store.id)


def test_a_conversation_is_kept(client):
    talk = client.conversations.create(
        items=[{"role": "user", "content": "Hi"}], metadata={"topic": "demo"}
    )
    said = client.conversations.items.create(
        talk.id, items=[{"role": "assistant", "content": "Hello"}]
    )
    items = list(client.conversations.items.list(talk.id))
    assert [(one.role, one.content[0].text) for one in items] == [
        ("user", "Hi"),
        ("assistant", "Hello"),
    ]
    client.conversations.items.delete(said.data[0].id, conversation_id=talk.id)
    assert len(list(client.conversations.items.list(talk.id))) == 1
    changed = client.conversations.update(talk.id, metadata={"topic": "other"})
    assert changed.metadata == {"topic": "other"}
    assert client.conversations.delete(talk.id).deleted


SKILL = (
    "haiku/SKILL.md",
    b"---\nname: haiku\ndescription: writes haiku\n---\nBe brief.",
)


def test_a_container_has_files_and_a_skill_versions(client):
    box = client.containers.create(name="c", memory_limit="4g")
    sent = bytes(range(256)) * 1000
    made = client.containers.files.create(box.id, file=("a.bin", sent))
    found = client.containers.files.content.retrieve(made.id, container_id=box.id)
    assert found.read() == sent
    client.containers.delete(box.id)
    skill = client.skills.create(files=[SKILL])
    assert client.skills.versions.create(skill.id, files=[SKILL]).version == "2"
    assert client.skills.content.retrieve(skill.id).read() == SKILL[1]
    assert client.skills.delete(skill.id).deleted


def test_an_eval_is_run(client):
    criterion = {
        "type": "string_check", "name": "same", "input": "{{ item.a }}",
        "reference": "b", "operation": "eq",
    }  # fmt: skip
    config = {"type": "custom", "item_schema": {"type": "object"}}
    test = client.evals.create(data_source_config=config, testing_criteria=[criterion])
    content = {"type": "file_content", "content": [{"item": {"a": "b"}}]}
    run = client.evals.runs.create(
        test.id, data_source={"type": "jsonl", "source": content}
    )
    assert client.evals.runs.retrieve(run.id, eval_id=test.id).status == "completed"
    assert client.evals.delete(test.id).deleted


def test_a_stored_response_is_found_by_its_id(client):
    made = client.responses.create(model="gpt-4o", input="Hi", store=True)
    assert client.responses.retrieve(made.id).output_text == made.output_text
    (asked,) = client.responses.input_items.list(made.id)
    assert asked.content[0].text == "Hi"
    with pytest.raises(openai.BadRequestError, match="synchronous"):
        client.responses.cancel(made.id)
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


def test_a_conversation_is_made_shorter(client, peers):
    talk = [{"role": "user", "content": "a long story " * 50}]
    short = client.responses.compact(model="gpt-4o", input=talk)
    assert short.output[0].type == "compaction"
    assert short.usage.output_tokens == 12
    (record,) = peers.mock.requests()
    assert record["path"].endswith("/v1/responses/compact")


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
