"""tei.v1 over real sockets, with a Python client generated from our proto, on the golden scores."""
import json
import math

import grpc
import pytest
from served import ROOT, Served, load_stubs
from test_serve_grpc import GOLDEN, code_of


@pytest.fixture(scope="module")
def stubs(tmp_path_factory):
    return load_stubs(tmp_path_factory.mktemp("tei"), "tei")


@pytest.fixture(scope="module")
def server(rerankd):
    with Served(rerankd, "--backend", "native", config="model:\n  precision: fp32\n") as running:
        yield running


class Client:
    def __init__(self, stubs, served):
        self.pb, services = stubs
        self.rerank = services.RerankStub(served.channel)
        self.predict = services.PredictStub(served.channel)
        self.tokenize = services.TokenizeStub(served.channel)
        self.info = services.InfoStub(served.channel)


@pytest.fixture
def client(stubs, server):
    return Client(stubs, server)


@pytest.fixture(scope="module")
def golden():
    """Documents of the first golden query and their logits."""
    texts = json.loads((ROOT / "tests/parity/texts.json").read_text())
    rows = [line.split("\t") for line in GOLDEN.read_text().splitlines()[1:]]
    rows = [row for row in rows if row[0] == rows[0][0]]
    query = texts["queries"][int(rows[0][0])]
    return query, [texts["documents"][int(row[1])] for row in rows], [float(row[3]) for row in rows]


def best_first(scores):
    return sorted(range(len(scores)), key=lambda i: -scores[i])


def test_rerank_ranks_by_the_golden_scores(client, golden):
    query, documents, logits = golden
    request = client.pb.RerankRequest(query=query, texts=documents, truncate=True, return_text=True)
    reply, call = client.rerank.Rerank.with_call(request, timeout=60)
    assert [rank.index for rank in reply.ranks] == best_first(logits)
    assert [rank.text for rank in reply.ranks] == [documents[rank.index] for rank in reply.ranks]
    for rank in reply.ranks:
        assert rank.score == pytest.approx(1 / (1 + math.exp(-logits[rank.index])), abs=1e-4)
    assert reply.metadata.compute_tokens == int(dict(call.trailing_metadata())["x-compute-tokens"])
    assert reply.metadata.total_time_ns >= reply.metadata.inference_time_ns > 0
    assert "x-total-time" in dict(call.initial_metadata())


def test_stream_gives_the_same_ranks(client, golden):
    query, documents, _ = golden
    message = client.pb.RerankStreamRequest
    whole = client.rerank.Rerank(client.pb.RerankRequest(query=query, texts=documents, truncate=True), timeout=60)
    streamed = client.rerank.RerankStream(
        (message(query=query, text=text, truncate=True) for text in documents), timeout=60)
    assert [(r.index, r.score) for r in streamed.ranks] == [(r.index, r.score) for r in whole.ranks]


def test_too_long_texts_are_refused_unless_truncation_is_asked_for(client):
    request = client.pb.RerankRequest(query="q", texts=["word " * 2000])
    code, details = code_of(lambda: client.rerank.Rerank(request, timeout=60))
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "tokens" in details
    request.truncate = True
    reply, call = client.rerank.Rerank.with_call(request, timeout=60)
    assert len(reply.ranks) == 1
    assert dict(call.trailing_metadata())["x-truncated-documents"] == "1"


def test_predict_pair_stream_answers_in_order(client, golden):
    query, documents, logits = golden
    request = client.pb.PredictPairRequest
    replies = client.predict.PredictPairStream(
        (request(inputs=[query, text], truncate=True, raw_scores=True) for text in documents * 5), timeout=60)
    assert [reply.predictions[0].score for reply in replies] == pytest.approx(logits * 5, abs=1e-4)


def test_predict_of_one_pair_names_the_label(client, golden):
    query, documents, logits = golden
    reply = client.predict.PredictPair(
        client.pb.PredictPairRequest(inputs=[query, documents[0]], truncate=True), timeout=60)
    assert [p.label for p in reply.predictions] == ["LABEL_0"]
    assert reply.predictions[0].score == pytest.approx(1 / (1 + math.exp(-logits[0])), abs=1e-4)
    single = client.pb.PredictRequest(inputs="only one text")
    assert code_of(lambda: client.predict.Predict(single, timeout=60))[0] == grpc.StatusCode.INVALID_ARGUMENT


def test_tokenize_gives_texts_and_offsets(client):
    text = "What is naïve tea?"
    request = client.pb.EncodeRequest(inputs=text, add_special_tokens=True)
    tokens = client.tokenize.Tokenize(request, timeout=60).tokens
    assert [tokens[0].text, tokens[-1].text] == ["[CLS]", "[SEP]"]
    assert tokens[0].special and not tokens[0].HasField("start")
    for token in tokens[1:-1]:
        assert token.text == text[token.start:token.stop]
    request.add_special_tokens = False
    streamed = list(client.tokenize.TokenizeStream(iter([request] * 3), timeout=60))
    assert [len(reply.tokens) for reply in streamed] == [len(tokens) - 2] * 3


def test_info_tells_model_and_limits(client):
    info = client.info.Info(client.pb.InfoRequest(), timeout=60)
    assert info.model_id.endswith("tiny-random") and info.model_dtype == "float32"
    assert info.model_type == client.pb.MODEL_TYPE_RERANKER
    assert info.max_client_batch_size == 10000 and info.max_input_length > 0


def test_embed_is_unimplemented(server):
    call = server.channel.unary_unary("/tei.v1.Embed/Embed", bytes, bytes)
    assert code_of(lambda: call(b"", timeout=60))[0] == grpc.StatusCode.UNIMPLEMENTED
