"""Embeddings from every provider, as an OpenAI client asks for them and reads them."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from openai.types import CreateEmbeddingResponse

from extproc.errors import BadRequest, ProtocolViolation, UpstreamError
from extproc.formats.base import Unsupported, WriterContext
from extproc.formats.embeddings import cohere, google, openai
from extproc.framing.members import read_members
from extproc.local.mock import vectors
from tests.formats.crossing import cross
from tests.formats.embeddings.conftest import GOOGLE_KEY, PROVIDERS, embed

ONLY_ONE = {"titan"}


def unpack(text):
    packed = base64.b64decode(text)
    return list(struct.unpack(f"<{len(packed) // 4}f", packed))


def test_a_text_comes_back_as_the_providers_own_numbers(provider):
    got = embed(provider, input="the sun", dimensions=256)
    (one,) = CreateEmbeddingResponse.model_validate(got.answer).data
    assert one.embedding == vectors.vector("the sun", 256)
    assert got.usage is not None
    assert got.usage.input_tokens == 2
    assert got.usage.output_tokens == 0


def test_base64_holds_the_very_same_numbers(provider):
    got = embed(provider, input="the sun", dimensions=256, encoding_format="base64")
    text = got.answer["data"][0]["embedding"]
    assert unpack(text) == vectors.vector("the sun", 256)


def test_several_texts_keep_their_order(provider):
    texts = ["one", "two", "three"]
    if provider in ONLY_ONE:
        with pytest.raises(Unsupported, match="one text a request: 'input' has 3"):
            embed(provider, input=texts)
        return
    got = embed(provider, input=texts, dimensions=256)
    assert [one["index"] for one in got.answer["data"]] == [0, 1, 2]
    assert [one["embedding"] for one in got.answer["data"]] == [
        vectors.vector(text, 256) for text in texts
    ]


def test_tokens_are_refused_by_name_where_they_mean_something_else(provider):
    for tokens in ([1, 2, 3], [[1, 2], [3]]):
        if provider == "openai":
            assert embed(provider, input=tokens).usage.input_tokens == 3
            continue
        with pytest.raises(Unsupported, match="not tokens") as caught:
            embed(provider, input=tokens)
        assert caught.value.param == "input"


def test_an_end_user_is_reported_as_left_out(provider):
    got = embed(provider, input="x", user="u-1", dimensions=256)
    assert got.dropped == (() if provider == "openai" else ("user",))
    assert ("u-1" in json.dumps(got.sent)) == (provider == "openai")


def test_a_word_that_the_provider_lacks_is_refused(provider):
    if provider == "openai":
        with pytest.raises(UpstreamError, match="Unrecognized request argument"):
            embed(provider, input="x", nonsense=1)
        return
    with pytest.raises(Unsupported) as caught:
        embed(provider, input="x", nonsense=1)
    assert caught.value.param == "nonsense"


def test_a_providers_refusal_is_told_with_its_status(provider):
    words = {"openai": 400, "gemini": 400, "mistral": 422, "voyage": 422, "cohere": 422}
    with pytest.raises(UpstreamError) as caught:
        embed(provider, input="x", dimensions=100_000)
    assert caught.value.status == words.get(provider, 400)


# ------------------------------------------------------------ the providers' own words


@pytest.mark.parametrize("provider", ["cohere", "bedrock-cohere"])
def test_cohere_is_told_what_the_texts_are_for(provider):
    assert embed(provider, input="x").sent["input_type"] == "search_document"
    got = embed(provider, input="x", input_type="search_query", truncate="END")
    assert (got.sent["input_type"], got.sent["truncate"]) == ("search_query", "END")


def test_voyage_understands_coheres_words_too():
    for word in ("query", "search_query"):
        assert embed("voyage", input="x", input_type=word).sent["input_type"] == "query"


def test_gemini_takes_its_task_and_title_beside_openais_words():
    words = {"task_type": "RETRIEVAL_DOCUMENT", "title": "On suns"}
    (one,) = embed("gemini", input="x", **words).sent["requests"]
    assert (one["taskType"], one["title"]) == ("RETRIEVAL_DOCUMENT", "On suns")
    with pytest.raises(Unsupported, match="title of documents only"):
        embed("gemini", input="x", title="t")
    with pytest.raises(BadRequest, match="Supported values are"):
        embed("gemini", input="x", task_type="NOPE")


def test_titan_can_be_told_not_to_normalize():
    assert embed("titan", input="x", normalize=False).sent["normalize"] is False


def test_bedrocks_first_cohere_shape_is_read_too():
    body = b'{"id":"1","response_type":"embeddings_floats","embeddings":[[0.5],[1]]}'
    answer: Any = cohere.PROVIDER.read_answer(body)
    assert [bytes(one) for one in answer.vectors] == [b"[0.5]", b"[1]"]


def test_vertex_predicts_for_a_batch():
    asked = {
        "model": "m", "input": ["a", "b"], "dimensions": 256, "auto_truncate": False,
        "task_type": "RETRIEVAL_DOCUMENT", "title": "t",
    }  # fmt: skip
    body = json.dumps(asked).encode()
    request = openai.CLIENT.read_request(body, read_members(body))
    assert json.loads(google.VERTEX.write_request(request, "m", 1).body) == {
        "instances": [
            {"task_type": "RETRIEVAL_DOCUMENT", "title": "t", "content": text}
            for text in "ab"
        ],
        "parameters": {"outputDimensionality": 256, "autoTruncate": False},
    }
    counted = b"""{"predictions":[
      {"embeddings":{"values":[0.1],"statistics":{"token_count":3,"truncated":false}}},
      {"embeddings":{"values":[0.2],"statistics":{"token_count":4,"truncated":false}}}]}"""
    answer: Any = google.VERTEX.read_answer(counted)
    assert answer.usage.input_tokens == 7
    partly = counted.replace(b'"token_count":4,', b"")
    assert google.VERTEX.read_answer(partly).usage is None


def test_vertex_embeds_one_content():
    got = cross(
        openai.CLIENT,
        google.VERTEX_ONE,
        "/v1beta/models/gemini-embedding-2:embedContent",
        {"model": "m", "input": "x"},
        key=GOOGLE_KEY,
    )
    assert got.sent == {"content": {"role": "user", "parts": [{"text": "x"}]}}
    assert len(got.answer["data"][0]["embedding"]) == 3072
    with pytest.raises(Unsupported, match="one text a request"):
        cross(openai.CLIENT, google.VERTEX_ONE, "", {"model": "m", "input": ["x", "y"]})


# -------------------------------------------------------------------- requests


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({}, "input", "Missing required parameter: 'input'."),
        ({"input": []}, "input", "empty"),
        ({"input": [[]]}, "input", "empty"),
        ({"input": [[1], []]}, "input", "empty"),
        ({"input": 1}, "input", "Invalid type for 'input'"),
        ({"input": {}}, "input", "Invalid type for 'input'"),
        ({"input": ["a", 1]}, "input", "Invalid type for 'input'"),
        ({"input": [True]}, "input", "Invalid type for 'input'"),
        ({"input": [1.5]}, "input", "Invalid type for 'input'"),
        ({"input": "a", "dimensions": 0}, "dimensions", "at least 1"),
        ({"input": "a", "dimensions": "8"}, "dimensions", "expected an integer"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format", "'base64'"),
        ({"input": "a", "user": 7}, "user", "expected a string"),
    ],
)
def test_a_bad_request_names_the_field(fields, param, said):
    body = json.dumps({"model": "m", **fields}).encode()
    with pytest.raises(BadRequest, match=said) as caught:
        openai.CLIENT.read_request(body, read_members(body))
    assert caught.value.param == param


def test_a_word_of_the_wrong_type_is_named():
    with pytest.raises(BadRequest) as caught:
        embed("titan", input="x", normalize="yes")
    assert caught.value.param == "normalize"


# --------------------------------------------------------------------- answers


BROKEN = [b"", b"null", b"[]", b'{"data":1}', b"\xff{}", b'{"embeddings":1}']


@pytest.mark.parametrize("body", BROKEN)
def test_an_answer_that_cannot_be_read_is_the_providers_fault(body):
    for provider in PROVIDERS.values():
        with pytest.raises(ProtocolViolation):
            provider["form"].read_answer(body)


def test_what_passes_untouched_is_metered():
    body = b'{"data":[],"model":"m-1","usage":{"prompt_tokens":8,"total_tokens":8}}'
    seen: Any = openai.PROVIDER.overview(body)
    assert (seen.model, seen.usage.input_tokens) == ("m-1", 8)
    assert openai.PROVIDER.overview(b"{").usage is None


def test_an_answer_without_a_count_still_has_the_field_that_sdks_need():
    answer = google.GEMINI.read_answer(b'{"embeddings":[{"values":[1,2]}]}')
    assert answer.usage is None
    context = WriterContext("x", 0, "m", include_usage=False, kept="float")
    written = json.loads(openai.CLIENT.write_answer(answer, context))
    assert CreateEmbeddingResponse.model_validate(written).usage.prompt_tokens == 0
