"""HTTP over real sockets, with Python's own client."""
import json
import re

import pytest
from raw_http import RawClient
from served import Served

BODY = {"query": "what is a cat", "texts": ["cats are animals", "the moon", "cats are animals"]}


@pytest.fixture(scope="module")
def server(rerankd):
    with Served(rerankd, "--backend", "fake") as running:
        yield running


def test_tei_rerank(server):
    status, headers, body = server.http("POST", "/rerank", BODY)
    ranks = json.loads(body)
    assert status == 200 and sorted(r["index"] for r in ranks) == [0, 1, 2]
    assert [r["score"] for r in ranks] == sorted((r["score"] for r in ranks), reverse=True)
    assert [r["index"] for r in ranks if r["index"] != 1] == [0, 2]  # a tie keeps input order
    assert {"x-queue-time", "x-tokenization-time", "x-inference-time", "x-total-time"} <= headers.keys()


def test_the_dialects_agree_on_scores(server):
    tei = {r["index"]: r["score"] for r in json.loads(server.http("POST", "/rerank", BODY)[2])}
    body = {"query": BODY["query"], "documents": BODY["texts"]}
    for path in ["/rerank", "/v1/rerank", "/v2/rerank"]:
        results = json.loads(server.http("POST", path, body)[2])["results"]
        assert {r["index"]: r["relevance_score"] for r in results} == tei
    pairs = [[BODY["query"], text] for text in BODY["texts"]]
    predicted = json.loads(server.http("POST", "/predict", {"inputs": pairs})[2])
    assert [labels[0]["score"] for labels in predicted] == [tei[i] for i in range(3)]


def test_a_thousand_documents_in_one_request(server):
    body = {"query": "q", "texts": [f"document {i}" for i in range(1000)]}
    status, _, reply = server.http("POST", "/rerank", body)
    assert status == 200 and len(json.loads(reply)) == 1000


@pytest.mark.parametrize("body, status", [("{", 400), ("[" * 100_000, 400), ("", 400), ("7", 400),
                                          (b'{"query":"\xff","texts":["a"]}', 400),
                                          ({"query": "q", "texts": []}, 400), ({"query": "q"}, 422),
                                          ({"query": 7, "texts": ["a"]}, 422),
                                          ({"query": "q " * 50_000, "documents": ["a"]}, 422)])
def test_bad_bodies_are_clear_errors(server, body, status):
    got, _, reply = server.http("POST", "/rerank", body)
    assert got == status
    assert json.loads(reply)["error"]


def test_truncation_is_reported(server):
    body = {"query": "q", "documents": ["short", "long " * 10_000]}
    _, headers, reply = server.http("POST", "/v2/rerank", body)
    assert headers["x-truncated-documents"] == "1"
    assert {r["index"]: r["truncated"] for r in json.loads(reply)["results"]} == {0: False, 1: True}


def test_truncation_can_be_an_error(server):
    status, _, reply = server.http("POST", "/rerank", {"query": "q", "texts": ["long " * 10_000], "truncate": False})
    assert status == 422 and json.loads(reply)["error_type"] == "Validation"


def test_tokenize_gives_code_point_offsets(server):
    tokens = json.loads(server.http("POST", "/tokenize", {"inputs": "caf\u00e9 cats"})[2])[0]
    assert tokens[0]["special"] and tokens[-1]["special"]
    assert "".join(t["text"] for t in tokens if not t["special"]) == "caf\u00e9cats"


def test_status_routes(server):
    assert server.http("GET", "/health")[0::2] == (200, b"")
    assert json.loads(server.http("GET", "/ready")[2]) == {"ready": True}
    info = json.loads(server.http("GET", "/info")[2])
    assert "reranker" in info["model_type"] and info["rerankd"]["instances"][0]["backend"] == "fake"
    assert json.loads(server.http("GET", "/v1/models")[2])["object"] == "list"
    assert server.http("GET", "/nowhere")[0] == 404
    assert server.http("GET", "/rerank")[0] == 405


def test_metrics_count_and_reset(server):
    server.http("GET", "/reset")
    empty = server.metrics()
    assert empty["query_count"] == 0 and "avg_ms" not in empty
    server.http("POST", "/rerank", BODY)
    metrics = server.metrics()
    assert metrics["count"] == 1 and metrics["query_count"] == 3
    assert metrics["rerankd"]["tokens"]["real"] == metrics["rerankd"]["tokens"]["computed"]
    assert len(metrics["history"]["timestamps"]) >= 1
    assert server.http("GET", "/metrics", Accept="application/json")[1]["content-type"] == "application/json"
    text = server.http("GET", "/metrics")[2].decode()
    assert 'rerankd_requests_total{' in text


def test_requests_that_no_handler_saw_are_counted_as_errors(rerankd):
    with Served(rerankd, "--backend", "fake", "--set", "server.max_body_bytes=2000") as served:
        for path in ("/nowhere", "/secret/../nowhere"):
            assert served.http("GET", path)[0] == 404
        assert served.http("DELETE", "/rerank")[0] == 405
        assert served.http("GET", "/v2/models/absent/ready")[0] == 404
        assert served.http("POST", "/rerank", {"query": "q", "texts": ["x" * 3000]})[0] == 413
        assert served.http("POST", "/rerank", b"no gzip", **{"Content-Encoding": "gzip"})[0] == 400
        with RawClient(("127.0.0.1", served.http_port)) as client:
            client.send(b"rubbish\r\n\r\n")
            assert client.read()[0] == 400
        text = served.http("GET", "/metrics")[2].decode()
        found = re.findall(r'^rerankd_errors_total\{code="(\w+)",model="[^"]+",route="([^"]+)"\} (\d+)$', text, re.MULTILINE)
        assert set(found) == {("NOT_FOUND", "none", "2"), ("NOT_FOUND", "/v2/models/{model}/ready", "1"), ("INVALID_ARGUMENT", "none", "2"), ("INVALID_ARGUMENT", "/rerank", "2")}


def test_http_can_be_left_out(rerankd):
    with Served(rerankd, "--backend", "fake", "--http-port", "-1") as alone:
        assert alone.match.group(2) is None
