"""infinity's generated client, and LangChain's InfinityRerank on top of it."""
from infinity_client import Client
from infinity_client.api.default import health, models, rerank
from infinity_client.models import HTTPValidationError, RerankInput
from langchain_community.document_compressors.infinity_rerank import InfinityRerank
from langchain_core.documents import Document
from texts import DOCUMENTS, QUERY


def test_client_ranks_with_usage(url, expected):
    body = RerankInput(query=QUERY, documents=DOCUMENTS, return_documents=True, model="BAAI/bge-reranker-base", top_n=4)
    reply = rerank.sync(client=Client(base_url=url), body=body)
    assert [(r.index, r.relevance_score) for r in reply.results] == expected.ranks(4)
    assert [r.document for r in reply.results] == [DOCUMENTS[i] for i in expected.order[:4]]
    assert reply.usage.prompt_tokens == reply.usage.total_tokens > 0


def test_client_gives_logits_on_demand(url, logits):
    reply = rerank.sync(client=Client(base_url=url),
                        body=RerankInput(query=QUERY, documents=DOCUMENTS, raw_scores=True))
    assert [(r.index, r.relevance_score) for r in reply.results] == logits.ranks()


def test_client_reads_a_validation_error(url):
    reply = rerank.sync(client=Client(base_url=url), body=RerankInput(query=QUERY, documents=[]))
    assert isinstance(reply, HTTPValidationError) and "documents" in reply.detail[0].msg


def test_client_reads_models_and_health(url, server):
    client = Client(base_url=url)
    listed = models.sync(client=client)
    assert [model.id for model in listed.data] == [server.match.group(3)]
    # /health is empty, as text-embeddings-inference has it, unless JSON is asked for.
    asking = Client(base_url=url, headers={"Accept": "application/json"})
    assert health.sync(client=asking)["unix"] > 0


def test_langchain(url, expected):
    compressor = InfinityRerank(client=Client(base_url=url), top_n=3)
    best = compressor.compress_documents([Document(page_content=text) for text in DOCUMENTS], QUERY)
    assert [document.page_content for document in best] == [DOCUMENTS[i] for i in expected.order[:3]]
    assert [document.metadata["relevance_score"] for document in best] == [score for _, score in expected.ranks(3)]
