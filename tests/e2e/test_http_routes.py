"""The dialects beyond TEI, infinity and Cohere, and what the server says about itself."""
import json
import math
import struct
import urllib.parse

import pytest
from raw_http import RawClient
from served import TINY, Served

QUERY, TEXTS = "what is a cat", ["cats are animals", "the moon", "a cat"]


@pytest.fixture(scope="module")
def server(rerankd):
    with Served(rerankd, "--backend", "fake") as running:
        yield running


def post(server, path, body, **headers):
    status, _, reply = server.http("POST", path, body, **headers)
    assert status == 200, reply
    return json.loads(reply)


@pytest.fixture(scope="module")
def sigmoids(server):
    return {r["index"]: r["score"] for r in post(server, "/rerank", {"query": QUERY, "texts": TEXTS})}


@pytest.fixture(scope="module")
def logits(server):
    return {r["index"]: r["score"] for r in post(server, "/rerank", {"query": QUERY, "texts": TEXTS, "raw_scores": True})}


@pytest.mark.parametrize("left, right", [("text_1", "text_2"), ("data_1", "data_2"), ("queries", "documents"), ("queries", "items")])
def test_vllm_score_in_input_order(server, logits, left, right):
    for first in (QUERY, [QUERY], [QUERY] * 3):
        reply = post(server, "/score", {left: first, right: TEXTS, "use_activation": False})
        assert [r["score"] for r in reply["data"]] == [logits[i] for i in range(3)]
        assert [r["index"] for r in reply["data"]] == [0, 1, 2] and reply["object"] == "list"
        assert reply["usage"]["total_tokens"] == sum(r["tokens"] for r in reply["data"])


def test_vllm_score_has_the_models_activation(server, logits, sigmoids):
    activation = json.loads(server.http("GET", "/info")[2])["rerankd"]["activation"]
    expected = {"raw": logits, "sigmoid": sigmoids}[activation]
    scores = [r["score"] for r in post(server, "/v1/score", {"text_1": QUERY, "text_2": TEXTS})["data"]]
    assert scores == pytest.approx([expected[i] for i in range(3)])


@pytest.mark.parametrize("body", [{"text_1": ["a", "b"], "text_2": ["c", "d", "e"]}, {"text_1": "a"}, {"text_1": [], "text_2": ["a"]},
                                  {"text_1": "a", "text_2": []}, {"text_1": 1, "text_2": "b"}])
def test_vllm_score_names_what_is_wrong(server, body):
    status, _, reply = server.http("POST", "/score", body)
    assert status == 422 and json.loads(reply)["error"]["code"] == 422


def test_sagemaker_text_pairs(server, sigmoids):
    body = {"text_pairs": [[QUERY, text] for text in TEXTS]}
    assert post(server, "/invocations", body)["scores"] == [sigmoids[i] for i in range(3)]
    assert server.http("POST", "/invocations", {"text_pairs": [["one"]]})[0] == 422
    assert server.http("POST", "/invocations", {"text_pairs": [["a", "b"]], "texts": ["c"]})[0] == 422


def tensor(name, values):
    return {"name": name, "shape": [len(values)], "datatype": "BYTES", "data": values}


def infer_body(queries, **more):
    return {"id": "42", "inputs": [tensor("query", queries), tensor("texts", TEXTS)], **more}


def infer_path(server):
    return f"/v2/models/{server.match.group(3).replace('/', '%2F')}/infer"


def outputs(reply):
    return {output["name"]: output for output in reply["outputs"]}


def test_open_inference_json(server, logits, sigmoids):
    for queries in ([QUERY], [QUERY] * 3):
        reply = post(server, infer_path(server), infer_body(queries))
        assert reply["id"] == "42" and reply["model_name"] == server.match.group(3)
        scores = outputs(reply)["scores"]
        assert scores["datatype"] == "FP32" and scores["shape"] == [3]
        assert scores["data"] == [logits[i] for i in range(3)]
        assert outputs(reply)["truncated"]["data"] == [False] * 3 and min(outputs(reply)["tokens"]["data"]) > 3
    reply = post(server, infer_path(server), infer_body([QUERY], parameters={"activation": "sigmoid"}, outputs=[{"name": "scores"}]))
    assert list(outputs(reply)) == ["scores"]
    assert outputs(reply)["scores"]["data"] == [sigmoids[i] for i in range(3)]


def test_open_inference_binary(server, logits):
    raw = b"".join(struct.pack("<I", len(t)) + t for t in (text.encode() for text in TEXTS))
    texts = {"name": "texts", "shape": [3], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor("query", [QUERY]), texts],
                       "outputs": [{"name": "scores", "parameters": {"binary_data": True}}, {"name": "tokens"}]}).encode()
    with RawClient(("127.0.0.1", server.http_port)) as client:
        status, headers, body = client.post(infer_path(server), head + raw, Content_Type="application/octet-stream",
                                            Inference_Header_Content_Length=len(head))
    assert status == 200 and headers["content-type"] == "application/octet-stream"
    size = int(headers["inference-header-content-length"])
    scores, tokens = json.loads(body[:size])["outputs"]
    assert scores["parameters"]["binary_data_size"] == 12 and len(tokens["data"]) == 3
    assert list(struct.unpack("<3f", body[size:])) == pytest.approx([logits[i] for i in range(3)])


@pytest.mark.parametrize("body, word", [({}, "inputs"), (infer_body(["a", "b"]), "query"), ({"inputs": [tensor("query", ["a"])]}, "texts"),
                                        ({"inputs": [tensor("query", ["a"]), {**tensor("texts", ["b"]), "shape": [2]}]}, "shape"),
                                        ({"inputs": [tensor("query", ["a"]), {**tensor("texts", ["b"]), "datatype": "FP32"}]}, "BYTES"),
                                        (infer_body(["a"], outputs=[{"name": "nothing"}]), "nothing"),
                                        (infer_body(["a"], parameters={"activation": "x"}), "activation")])
def test_open_inference_errors(server, body, word):
    status, _, reply = server.http("POST", infer_path(server), body)
    assert status == 400 and word in json.loads(reply)["error"]


def test_open_inference_metadata(server):
    name = server.match.group(3)
    assert json.loads(server.http("GET", "/v2")[2])["extensions"] == ["binary_tensor_data"]
    assert json.loads(server.http("GET", "/v2/health/live")[2])["live"] is True
    assert json.loads(server.http("GET", "/v2/health/ready")[2]) == {"live": True, "ready": True}
    quoted = name.replace("/", "%2F")
    for prefix in [f"/v2/models/{quoted}", f"/v2/models/{quoted}/versions/1"]:
        assert json.loads(server.http("GET", f"{prefix}/ready")[2]) == {"name": name, "ready": True}
        assert [i["name"] for i in json.loads(server.http("GET", prefix)[2])["inputs"]] == ["query", "texts"]
    for path in ["/v2/models/absent", "/v2/models/..%2F..%2Fetc%2Fpasswd/ready", "/v2/models/%00"]:
        status, _, reply = server.http("GET", path)
        assert status == 404 and "no model" in json.loads(reply)["error"]


def test_usage_does_not_depend_on_what_was_computed_before(rerankd):
    """Equal documents are scored once and cached ones not at all: headers say so, `usage` counts what was sent."""
    with Served(rerankd, "--backend", "fake", config="cache: {scores: 1}\n") as cached:
        computed = []
        for path in ["/rerank", "/v1/rerank", "/v2/rerank"]:
            status, headers, reply = cached.http("POST", path, {"query": QUERY, "documents": TEXTS + TEXTS[:1]})
            body = json.loads(reply)
            tokens = sum(result["tokens"] for result in body["results"])
            counted = [body["usage"][key] for key in ("prompt_tokens", "total_tokens")] if "usage" in body else [tokens] * 2
            assert status == 200 and counted == [tokens] * 2
            assert path == "/rerank" or body["meta"]["tokens"] == {"input_tokens": tokens, "output_tokens": 0}
            computed.append(int(headers["x-compute-tokens"]))
        assert 0 < computed[0] < tokens and computed[1:] == [0, 0]
        reply = json.loads(cached.http("POST", "/score", {"text_1": QUERY, "text_2": TEXTS})[2])
        assert reply["usage"]["total_tokens"] == sum(result["tokens"] for result in reply["data"])


@pytest.mark.parametrize("path, keys", [("/rerank", {"error", "error_type"}), ("/predict", {"error", "error_type"}), ("/tokenize", {"error", "error_type"}),
                                        ("/v1/rerank", {"message", "detail", "error"}), ("/v2/rerank", {"message", "detail", "error"}),
                                        ("/score", {"message", "detail", "error"}), ("/v2/models/any/infer", {"error"})])
def test_errors_speak_the_dialect_of_their_path(server, path, keys):
    """Whatever fails, and whoever notices: the route, the server before it, or the model look-up."""
    seen = set()
    for method, body, headers in [("POST", "{", {}), ("POST", {}, {}), ("GET", None, {}), ("POST", {}, {"Content-Type": "text/plain"}),
                                  ("POST", {}, {"x-request-timeout-ms": "no"})]:
        status, _, reply = server.http(method, path, body, **headers)
        assert status >= 400 and json.loads(reply).keys() == keys, (method, status, reply)
        seen.add(status)
    assert {405, 415} <= seen or path.endswith("/infer")


def test_foreign_model_names_are_answered_and_named(server):
    body = {"query": "q", "documents": ["a"], "model": "BAAI/bge-reranker-base"}
    status, headers, reply = server.http("POST", "/rerank", body)
    assert status == 200 and headers["x-model"] == json.loads(reply)["model"] == server.match.group(3)


def test_strict_model_names(rerankd):
    with Served(rerankd, "--backend", "fake", config="server:\n  strict_model_names: true\n") as strict:
        for path in ["/rerank", "/v1/rerank", "/v2/rerank"]:
            body = {"query": "q", "documents": ["a"], "model": "BAAI/bge-reranker-base"}
            status, _, reply = strict.http("POST", path, body)
            assert status == 404 and "no model 'BAAI/bge-reranker-base'" in json.loads(reply)["message"]
        assert strict.http("POST", "/rerank", {**body, "model": str(TINY)})[0] == 200


LONG = "a " * 600  # a token each


@pytest.mark.parametrize("path, body, found", [
    ("/rerank", {"query": "q", "texts": [LONG], "return_tokens": True}, lambda reply: reply[0]),
    ("/rerank", {"query": "q", "documents": [LONG]}, lambda reply: reply["results"][0]),
    ("/v2/rerank", {"query": "q", "documents": [LONG]}, lambda reply: reply["results"][0]),
    ("/score", {"text_1": "q", "text_2": LONG}, lambda reply: reply["data"][0]),
    ("/invocations", {"text_pairs": [["q", LONG]], "return_tokens": True}, lambda reply: {key: reply[key][0] for key in ("tokens", "truncated")}),
    ("/predict", {"inputs": ["q", LONG]}, None)], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_every_dialect_takes_the_limits_of_long_texts(server, path, body, found):
    """Same text, same limits: the same tokens everywhere; a limit that makes no sense is named."""

    def read(**limits):
        status, headers, reply = server.http("POST", path, {**body, **limits})
        assert status == 200, reply
        tokens, truncated = int(headers["x-compute-tokens"]), int(headers["x-truncated-documents"])
        if found:
            result = found(json.loads(reply))
            assert (result["tokens"], result["truncated"]) == (tokens, truncated == 1)
        return tokens, truncated

    special = 4  # [CLS] q [SEP] … [SEP]
    assert read(max_tokens_per_doc=10) == (10 + special, 1)
    assert read(overflow="max_window", window=50, stride=50) == (600 + 12 * special, 0)
    assert read(overflow="max_window", window=50, stride=50, max_chunks_per_doc=2) == (2 * (50 + special), 1)
    assert server.http("POST", path, {**body, "overflow": "error"})[0] == 422
    for wrong in [{"overflow": "drop"}, {"window": -1}, {"max_tokens_per_query": "9"}, {"window": 10, "stride": 20}]:
        status, _, reply = server.http("POST", path, {**body, "overflow": "max_window", **wrong})
        assert status == 422 and next(reversed(wrong)).encode() in reply, reply


def test_truncate_false_refuses_unless_overflow_says_otherwise(server):
    for path, body in [("/rerank", {"query": "q", "texts": [LONG]}), ("/predict", {"inputs": ["q", LONG]}),
                       ("/invocations", {"text_pairs": [["q", LONG]]})]:  # fmt: skip
        assert server.http("POST", path, {**body, "truncate": False})[0] == 422
        assert server.http("POST", path, {**body, "truncate": False, "overflow": "max_window"})[0] == 200


def test_scored_replies_say_what_they_cost(server):
    _, headers, _ = server.http("POST", "/rerank", {"query": "né", "texts": ["abc", "de"]})
    assert headers["x-compute-characters"] == "9"  # code points, the query once a text
    assert headers["x-compute-type"].startswith("cpu+") and headers["x-compute-time"] == headers["x-total-time"]


def test_model_names_open_no_files(server):
    """A name is looked up among those of the server, never in the file system."""
    for name in ["../../etc/passwd", "/etc/passwd", "..", "%2e%2e%2f", "tests/data/tiny-random/../tiny-random", "a\x00b"]:
        status, headers, _ = server.http("POST", "/v1/rerank", {"query": "q", "documents": ["a"], "model": name})
        assert status == 200 and headers["x-model"] == server.match.group(3)
        status, _, reply = server.http("POST", "/v2/models/" + urllib.parse.quote(name, safe="") + "/infer", infer_body([QUERY]))
        assert status == 404 and "no model" in json.loads(reply)["error"]


def test_long_texts_are_cut_as_asked(server):
    body = {"query": "short query", "documents": ["word " * 600], "truncate_prompt_tokens": 20}
    result = post(server, "/v1/rerank", body)["results"][0]
    assert result["tokens"] == 20 and result["truncated"] is True
    assert post(server, "/v1/rerank", {**body, "truncate_prompt_tokens": -1})["results"][0]["tokens"] > 20


def test_the_description_fits_the_server(server):
    api = json.loads(server.http("GET", "/openapi.json")[2])
    assert api["openapi"] == "3.1.0"
    schemas = api["components"]["schemas"]
    tried = 0
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            assert "200" in operation["responses"] and operation["summary"]
            if "{" in path:
                continue
            body = None
            if "requestBody" in operation:
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                while "example" not in schema:
                    schema = schemas[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema["oneOf"][0]
                body = schema["example"]
            assert server.http(method.upper(), path, body)[0] == 200, path
            tried += 1
    assert tried > 20
    page = server.http("GET", "/docs")
    assert page[1]["content-type"].startswith("text/html") and b"//cdn" not in page[2] and b"http" not in page[2]


def test_scores_are_sane(sigmoids, logits):
    assert all(sigmoids[i] == pytest.approx(1 / (1 + math.exp(-logits[i])), abs=1e-6) for i in range(3))
