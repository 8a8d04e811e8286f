"""Cohere's SDK, v1 and v2, with base_url on this server."""
import concurrent.futures

import cohere
import pytest
from served import Served
from texts import DOCUMENTS, QUERY


@pytest.fixture
def v2(url):
    return cohere.ClientV2(api_key="any", base_url=url)


@pytest.fixture
def v1(url):
    return cohere.Client(api_key="any", base_url=url)


def test_v2_ranks_with_usage(v2, expected):
    reply = v2.rerank(model="any-model", query=QUERY, documents=DOCUMENTS)
    assert [(r.index, r.relevance_score) for r in reply.results] == expected.ranks()
    assert reply.id and reply.meta.api_version.version == "2"
    assert reply.meta.billed_units.search_units >= 1


def test_v2_cuts_to_top_n(v2, expected):
    reply = v2.rerank(model="any-model", query=QUERY, documents=DOCUMENTS, top_n=2, max_tokens_per_doc=4096)
    assert [(r.index, r.relevance_score) for r in reply.results] == expected.ranks(2)


def test_v1_returns_documents_only_on_demand(v1, expected):
    reply = v1.rerank(query=QUERY, documents=DOCUMENTS, model="any-model")
    assert [(r.index, r.relevance_score) for r in reply.results] == expected.ranks()
    assert all(r.document is None for r in reply.results)
    reply = v1.rerank(query=QUERY, documents=DOCUMENTS, model="any-model", return_documents=True, top_n=3)
    assert [r.document.text for r in reply.results] == [DOCUMENTS[i] for i in expected.order[:3]]


def test_v1_takes_objects_and_rank_fields(v1, expected):
    objects = [{"title": "x", "text": text} for text in DOCUMENTS]
    reply = v1.rerank(query=QUERY, documents=objects, model="any-model", rank_fields=["text"])
    assert [(r.index, r.relevance_score) for r in reply.results] == expected.ranks()


def test_invalid_requests_raise_once_with_the_reason(v2):
    with pytest.raises(cohere.errors.UnprocessableEntityError) as error:
        v2.rerank(model="any-model", query=QUERY, documents=[])
    assert "documents" in str(error.value.body)


def test_a_wrong_key_is_unauthorized(secured):
    base = f"http://127.0.0.1:{secured.http_port}"
    with pytest.raises(cohere.errors.UnauthorizedError):
        cohere.ClientV2(api_key="wrong", base_url=base).rerank(model="m", query=QUERY, documents=["a"])
    reply = cohere.ClientV2(api_key=secured.key, base_url=base).rerank(model="m", query=QUERY, documents=["a"])
    assert len(reply.results) == 1


def test_a_full_queue_is_retried_after_the_advice(rerankd):
    """The SDK waits for Retry-After and sends again until there is room."""
    config = "model:\n  device: 'fake:ms_per_batch=300'\nscheduler:\n  max_queue_requests: 1\n"
    with Served(rerankd, "--backend", "fake", config=config) as slow:
        client = cohere.ClientV2(api_key="any", base_url=f"http://127.0.0.1:{slow.http_port}")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            calls = [pool.submit(client.rerank, model="m", query=QUERY, documents=["one document"]) for _ in range(2)]
            assert [len(call.result().results) for call in calls] == [1, 1]
