"""Rankings from every provider, in the shapes of Jina and of Cohere."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.errors import BadRequest, ProtocolViolation, UpstreamError
from extproc.formats.base import Unsupported
from extproc.formats.rerank import bedrock, clients, providers
from extproc.framing.members import read_members
from tests.formats.crossing import Crossed, cross

DOCUMENTS = ["the moon", "the red sun", "a dog", "the sun"]
PROVIDERS: dict[str, tuple[Any, str]] = {
    "cohere": (providers.COHERE, "/cohere/v2/rerank"),
    "jina": (providers.JINA, "/jina/v1/rerank"),
    "vllm": (providers.JINA, "/vllm/v1/rerank"),
    "voyage": (providers.VOYAGE, "/voyage/v1/rerank"),
    "bedrock-cohere": (
        bedrock.COHERE,
        "/model/cohere.rerank-v3-5:0/invoke",
    ),
    "bedrock-amazon": (bedrock.AMAZON, "/model/amazon.rerank-v1:0/invoke"),
    "tei": (providers.TEI, "/tei/rerank"),
}
CLIENTS = {"jina": clients.JINA_CLIENT, "cohere": clients.COHERE_CLIENT}


@pytest.fixture(params=sorted(PROVIDERS))
def provider(request):
    return request.param


def rank(provider: str, client: str = "jina", **asked: Any) -> Crossed:
    form, path = PROVIDERS[provider]
    said = {"model": "m", "query": "red sun", "documents": DOCUMENTS, **asked}
    return cross(CLIENTS[client], form, path, said)


@pytest.mark.parametrize("client", sorted(CLIENTS))
def test_the_best_documents_come_first(provider, client):
    got = rank(provider, client)
    results = got.answer["results"]
    assert [one["index"] for one in results] == [1, 3, 0, 2]
    assert [one["relevance_score"] for one in results] == [1.0, 0.5, 0.0, 0.0]
    assert all("document" not in one for one in results)


def test_no_more_than_were_asked_for_are_given(provider):
    got = rank(provider, top_n=2)
    assert [one["index"] for one in got.answer["results"]] == [1, 3]


def test_the_documents_are_repeated_where_they_are_wanted(provider):
    got = rank(provider, top_n=1, return_documents=True)
    (one,) = got.answer["results"]
    assert one["document"] == {"text": "the red sun"}
    assert got.sent.get("return_documents") in (None, False)


def test_a_document_may_be_an_object_with_a_text(provider):
    mixed = [{"text": "the moon"}, "the red sun"]
    got = rank(provider, documents=mixed)
    assert [one["index"] for one in got.answer["results"]] == [1, 0]


def test_what_was_used_is_metered_where_the_provider_says_it(provider):
    usage = rank(provider).usage
    if provider == "tei":
        assert usage is None
    elif provider == "cohere":
        assert (usage.total_tokens, usage.search_units) == (0, 1)
    else:
        assert usage.input_tokens > 0


def test_the_answer_of_v1_is_both_jinas_and_coheres():
    answer = rank("cohere").answer
    assert answer["meta"]["billed_units"] == {"search_units": 1}
    answer = rank("voyage").answer
    assert answer["usage"]["total_tokens"] == rank("voyage").usage.input_tokens
    assert answer["model"] == "m"
    assert answer["id"]


def test_the_answer_of_v2_is_coheres():
    assert set(rank("voyage", "cohere").answer) == {"id", "results", "meta"}


def test_only_cohere_cuts_documents(provider):
    if provider == "cohere":
        assert rank(provider, max_tokens_per_doc=9).sent["max_tokens_per_doc"] == 9
        return
    with pytest.raises(Unsupported) as caught:
        rank(provider, max_tokens_per_doc=9)
    assert caught.value.param == "max_tokens_per_doc"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"query": None}, "query"),
        ({"documents": []}, "documents"),
        ({"documents": "x"}, "documents"),
        ({"documents": [1]}, "documents[0]"),
        ({"documents": [{"text": "x", "title": "y"}]}, "documents"),
        ({"top_n": 0}, "top_n"),
        ({"top_n": "3"}, "top_n"),
        ({"rank_fields": ["a"]}, "rank_fields"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(provider, fields, param):
    with pytest.raises(BadRequest) as caught:
        rank(provider, **fields)
    assert (caught.value.param or "").startswith(param.partition("[")[0])


def test_a_missing_query_is_named():
    body = b'{"model":"m","documents":["x"]}'
    with pytest.raises(BadRequest, match="Missing required parameter: 'query'"):
        clients.JINA_CLIENT.read_request(body, read_members(body))


def test_a_providers_refusal_is_told(provider):
    with pytest.raises(UpstreamError) as caught:
        rank(provider, documents=["x"] * 1001, query="")
    # A server of one's own has no such limit, but knows an empty query.
    assert caught.value.status in {400, 422}


@pytest.mark.parametrize(
    "body", [b"", b"null", b'{"results":1}', b"\xff", b'[{"a":1}]']
)
def test_a_ranking_that_cannot_be_read_is_the_providers_fault(provider, body):
    form, _ = PROVIDERS[provider]
    with pytest.raises(ProtocolViolation):
        form.read_answer(body)


def test_what_passes_untouched_is_metered():
    said = {"results": [], "model": "m-1", "usage": {"total_tokens": 7}}
    seen: Any = providers.JINA.overview(json.dumps(said).encode())
    assert (seen.model, seen.usage.input_tokens) == ("m-1", 7)
    assert providers.JINA.overview(b"x").usage is None
    billed = b'{"results":[],"meta":{"billed_units":{"search_units":3}}}'
    seen = providers.COHERE.overview(billed)
    assert (seen.usage.total_tokens, seen.usage.search_units) == (0, 3)
    counted = b'{"results":[],"meta":{"tokens":{"input_tokens":5.0}}}'
    seen = providers.COHERE.overview(counted)
    assert seen.usage.input_tokens == 5


def test_an_error_has_coheres_words_and_openais():
    said = json.loads(clients.COHERE_CLIENT.write_error(BadRequest("no", param="x")))
    assert said["message"] == "no"
    assert said["error"]["param"] == "x"
