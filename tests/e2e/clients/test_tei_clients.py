"""Clients of text-embeddings-inference: LlamaIndex's postprocessor and Haystack's ranker, the latter over HTTP and
over gRPC (by reflection)."""
import pytest
from haystack import Document
from haystack.utils import Secret
from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker
from haystack_integrations.components.rankers.huggingface_api.ranker import TruncationDirection
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference
from texts import DOCUMENTS, QUERY


def nodes():
    return [NodeWithScore(node=TextNode(text=text, id_=str(i)), score=0.0) for i, text in enumerate(DOCUMENTS)]


def documents():
    return [Document(id=str(i), content=text) for i, text in enumerate(DOCUMENTS)]


def ranks(reply):
    return [(int(document.id), document.score) for document in reply["documents"]]


def test_llama_index(url, expected):
    reranker = TextEmbeddingInference(base_url=url, top_n=4)
    best = reranker.postprocess_nodes(nodes(), QueryBundle(QUERY))
    assert [(int(node.node.node_id), node.score) for node in best] == expected.ranks(4)


def test_llama_index_with_more_nodes_than_the_original_server_takes(url):
    many = [NodeWithScore(node=TextNode(text=f"text {i}"), score=0.0) for i in range(600)]
    assert len(TextEmbeddingInference(base_url=url, top_n=600).postprocess_nodes(many, QueryBundle(QUERY))) == 600


def test_llama_index_sends_its_token(secured):
    reranker = TextEmbeddingInference(base_url=f"http://127.0.0.1:{secured.http_port}", top_n=1,
                                      auth_token=f"Bearer {secured.key}")
    assert len(reranker.postprocess_nodes(nodes()[:2], QueryBundle(QUERY))) == 1


def test_haystack_over_http(url, expected, logits):
    ranker = HuggingFaceTEIRanker(url=url, top_k=3, token=None)
    assert ranks(ranker.run(QUERY, documents())) == expected.ranks(3)
    raw = HuggingFaceTEIRanker(url=url, top_k=10, raw_scores=True, token=None)
    assert ranks(raw.run(QUERY, documents(), truncation_direction=TruncationDirection.RIGHT)) == logits.ranks()


def test_haystack_over_grpc(server, expected):
    ranker = HuggingFaceTEIRanker(url=server.grpc_address, top_k=10, token=None, use_grpc=True)
    reply = ranker.run(QUERY, documents(), truncation_direction=TruncationDirection.RIGHT)
    assert ranks(reply) == expected.ranks()
    ranker.close()


def test_haystack_over_grpc_sends_its_token(secured):
    ranker = HuggingFaceTEIRanker(url=secured.grpc_address, token=Secret.from_token(secured.key), use_grpc=True)
    assert len(ranker.run(QUERY, documents()[:2])["documents"]) == 2
    ranker.close()


def test_haystack_shows_the_reason_of_a_refusal(secured):
    ranker = HuggingFaceTEIRanker(url=f"http://127.0.0.1:{secured.http_port}", token=Secret.from_token("wrong"))
    with pytest.raises(RuntimeError, match="401"):
        ranker.run(QUERY, documents())
