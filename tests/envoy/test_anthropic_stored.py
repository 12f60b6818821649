"""Anthropic's own SDK, what Anthropic keeps by an id, through a real Envoy to a strict mock."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from tests.harness import KEY, NARROW_KEY

pytestmark = pytest.mark.envoy

FILE = ("a.txt", b"\x00 as it is \xff" * 9000)


def asked(custom_id: str, **more: Any) -> Any:
    say = {"role": "user", "content": "[[mock: answer=yes]]"}
    params = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [say], **more}
    return {"custom_id": custom_id, "params": params}


@pytest.fixture
def client(peers):
    with anthropic.Anthropic(
        base_url=peers.gateway.url,
        api_key=KEY,
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        yield client


def test_a_batch_is_made_looked_at_and_read(client, peers):
    batches = client.messages.batches
    made = batches.create(requests=[asked("a"), asked("b", max_tokens=-1)])
    assert made.processing_status == "in_progress"
    assert made.request_counts.processing == 2
    seen = batches.retrieve(made.id)
    assert seen.processing_status == "ended"
    assert made.id in {one.id for one in batches.list(limit=50)}
    path = f"/v1/messages/batches/{made.id}/results"
    assert seen.results_url == peers.gateway.url + path
    assert [one.results_url for one in batches.list(limit=50) if one.id == made.id] == [
        seen.results_url
    ]
    peers.mock.forget()
    first, second = batches.results(made.id)
    assert first.custom_id == "a"
    assert first.result.message.content[0].text == "yes"
    assert second.result.type == "errored"
    assert [one["path"] for one in peers.mock.requests()] == [
        f"/v1/messages/batches/{made.id}", path,
    ]  # fmt: skip
    assert batches.delete(made.id).id == made.id
    with pytest.raises(anthropic.NotFoundError, match="not found"):
        batches.retrieve(made.id)


def test_a_batch_is_canceled(client):
    made = client.messages.batches.create(requests=[asked("a")])
    assert client.messages.batches.cancel(made.id).processing_status == "canceling"
    ended = client.messages.batches.retrieve(made.id)
    assert ended.request_counts.canceled == 1


def test_what_a_batch_may_not_be_is_said_in_anthropics_words(client):
    with pytest.raises(anthropic.BadRequestError, match="custom_id"):
        client.messages.batches.create(requests=[asked("a"), asked("a")])


def test_a_file_is_kept_and_comes_back_as_it_was(client):
    file = client.files.upload(file=FILE)
    assert (file.filename, file.size_bytes) == (FILE[0], len(FILE[1]))
    assert client.files.retrieve_metadata(file.id).id == file.id
    assert file.id in {one.id for one in client.files.list()}
    assert client.files.download(file.id).read() == FILE[1]
    assert client.files.delete(file.id).id == file.id
    with pytest.raises(anthropic.NotFoundError):
        client.files.retrieve_metadata(file.id)


def test_a_key_of_some_models_may_not_see_what_is_kept(peers):
    with (
        anthropic.Anthropic(
            base_url=peers.gateway.url, api_key=NARROW_KEY, max_retries=0
        ) as narrow,
        pytest.raises(anthropic.PermissionDeniedError),
    ):
        narrow.messages.batches.list()
    assert peers.mock.requests() == []
