"""The mock of what OpenAI keeps, judged by the official SDK and its types."""

from __future__ import annotations

import typing
from typing import Any, Required

import openai
import pytest
from openai.types import (
    upload_complete_params,
    upload_create_params,
    vector_store_create_params,
    vector_store_search_params,
    vector_store_update_params,
)
from openai.types.conversations import (
    conversation_create_params,
    conversation_update_params,
)
from openai.types.fine_tuning import job_create_params
from openai.types.responses import response_compact_params
from openai.types.vector_stores import file_batch_create_params, file_create_params

from extproc.local.mock.openai import library_rules as rules, responses_kept


@pytest.mark.parametrize(
    ("rule", "params"),
    [
        (rules.JOB, job_create_params.JobCreateParams),
        (rules.STORE, vector_store_create_params.VectorStoreCreateParams),
        (rules.STORE_UPDATE, vector_store_update_params.VectorStoreUpdateParams),
        (rules.SEARCH, vector_store_search_params.VectorStoreSearchParams),
        (rules.STORE_FILE, file_create_params.FileCreateParams),
        (rules.STORE_FILES, file_batch_create_params.FileBatchCreateParams),
        (rules.UPLOAD, upload_create_params.UploadCreateParams),
        (rules.COMPLETE, upload_complete_params.UploadCompleteParams),
        (rules.CONVERSATION, conversation_create_params.ConversationCreateParams),
        (responses_kept.COMPACT, response_compact_params.ResponseCompactParams),
        (rules.CONVERSATION_UPDATE, conversation_update_params.ConversationUpdateParams),
    ],
)  # fmt: skip
def test_the_tables_have_the_sdks_names_and_ask_for_what_it_asks_for(rule, params):
    hints = typing.get_type_hints(params, include_extras=True)
    assert {name.removesuffix("!") for name in rule.fields} == set(hints)
    assert {name[:-1] for name in rule.fields if name.endswith("!")} == {
        name for name, hint in hints.items() if typing.get_origin(hint) is Required
    }


@pytest.mark.parametrize(
    "ask",
    [
        lambda c: c.fine_tuning.jobs.create(model="gpt-0", training_file="file-0"),
        lambda c: c.fine_tuning.jobs.create(model="gpt-4o", training_file="file-0"),
        lambda c: c.fine_tuning.jobs.retrieve("ftjob-0"),
        lambda c: c.vector_stores.create(file_ids=["file-0"]),
        lambda c: c.vector_stores.create(extra_body={"nonsense": 1}),
        lambda c: c.vector_stores.retrieve("vs_0"),
        lambda c: c.vector_stores.create(expires_after={"anchor": "x", "days": 1}),
        lambda c: c.uploads.create(
            bytes=-1, filename="a", mime_type="b", purpose="batch"
        ),
        lambda c: c.uploads.complete("upload_0", part_ids=[]),
        lambda c: c.conversations.retrieve("conv_0"),
        lambda c: c.responses.compact(model="gpt-0", input="x"),
        lambda c: c.responses.compact(model="gpt-4o"),
        lambda c: c.responses.input_items.list("resp_0"),
        lambda c: c.conversations.create(items=[{"type": "nonsense"}]),
    ],
)
def test_what_the_real_one_refuses_is_refused(openai_client, ask):
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as caught:
        ask(openai_client)
    body: Any = caught.value.body
    assert body["message"]


def test_what_is_not_served_by_a_url_is_said(http):
    headers = {"authorization": "Bearer sk-mock-1"}
    assert http.put("/v1/uploads", headers=headers).status_code == 405
    assert http.get("/v1/uploads/a/b/c", headers=headers).status_code == 404


def test_an_upload_is_whole_or_refused(openai_client):
    begun = openai_client.uploads.create(
        bytes=4, filename="a", mime_type="text/plain", purpose="user_data"
    )
    part = openai_client.uploads.parts.create(begun.id, data=b"123")
    with pytest.raises(openai.BadRequestError, match="4 bytes were announced, 3 came"):
        openai_client.uploads.complete(begun.id, part_ids=[part.id])
    rest = openai_client.uploads.parts.create(begun.id, data=b"4")
    with pytest.raises(openai.BadRequestError, match="checksum"):
        openai_client.uploads.complete(begun.id, part_ids=[part.id, rest.id], md5="0")
    assert openai_client.uploads.cancel(begun.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError, match="cancelled"):
        openai_client.uploads.complete(begun.id, part_ids=[part.id, rest.id])
