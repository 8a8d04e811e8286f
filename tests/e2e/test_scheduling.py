"""Routing, fairness, deadlines and overload as clients meet them: with the real binary and a backend that takes its time."""
import concurrent.futures
import json
import re
import time

import grpc
import pytest
from served import ROOT, Served, load_stubs, wait_for
from test_http_security import bearer, make_key

BODY = {"query": "what is tea", "texts": ["a drink made from leaves", "a river in the north"]}


@pytest.fixture(scope="module")
def stubs(tmp_path_factory):
    return load_stubs(tmp_path_factory.mktemp("stubs"))


def series(served, pattern):
    """{labels: value} of the /metrics series with this name."""
    text = served.http("GET", "/metrics")[2].decode()
    return {labels: float(value) for labels, value in re.findall(rf"^{pattern}\{{(.*)\}} (\S+)$", text, re.M)}


def total(served, name):
    return float(re.search(rf"^{name} (\S+)$", served.http("GET", "/metrics")[2].decode(), re.M).group(1))


def requests_by_instance(served, instances):
    """Told by their pairs: each has two."""
    found = series(served, "rerankd_worker_pairs_total")
    return [sum(value for labels, value in found.items() if f'instance="{i}"' in labels) / 2 for i in range(instances)]


POOL = """
model_pool:
  routing_strategy: {strategy}
  instances:
    - {{backend: fake, device: 'fake:ms_per_batch={ms},batch_tokens=128', threads: 1, max_length: 100}}
    - {{backend: fake, device: 'fake:ms_per_batch={ms},batch_tokens=129', threads: 1, max_length: 100}}
    - {{backend: fake, device: 'fake:ms_per_batch={ms},batch_tokens=130', threads: 1, max_length: 100}}
"""


@pytest.mark.parametrize("strategy, homes", [("round_robin", [2, 2, 2]), ("smart_idle", [2, 2, 2]), ("first_idle", [6, 0, 0]),
                                             ("first_available", [6, 0, 0]), ("least_busy", [6, 0, 0])])
def test_routing_of_requests_one_after_another(rerankd, strategy, homes):
    """Instances of different kinds do not help each other: who computes is who was chosen."""
    with Served(rerankd, config=POOL.format(strategy=strategy, ms=0)) as served:
        before = requests_by_instance(served, 3)
        for _ in range(6):
            assert served.http("POST", "/rerank", BODY)[0] == 200
        assert [b - a for a, b in zip(before, requests_by_instance(served, 3))] == homes


@pytest.mark.parametrize("strategy, homes", [("round_robin", [2, 2, 2]), ("smart_idle", [2, 2, 2]), ("first_idle", [2, 2, 2]),
                                             ("first_available", [4, 1, 1]), ("least_busy", [2, 2, 2])])
def test_routing_of_requests_at_once(rerankd, strategy, homes):
    with Served(rerankd, config=POOL.format(strategy=strategy, ms=2000)) as served:
        before = requests_by_instance(served, 3)
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            replies = []
            for i in range(6):
                replies.append(pool.submit(served.http, "POST", "/rerank", BODY))
                wait_for(lambda: sum(series(served, "rerankd_in_flight_requests").values()) == i + 1, "not admitted")
            assert [reply.result()[0] for reply in replies] == [200] * 6
        assert [b - a for a, b in zip(before, requests_by_instance(served, 3))] == homes


def test_each_instance_has_its_own_precision_and_length(rerankd):
    """Of two instances every other request gets the scores, and is cut, as the one alone would do it."""
    body = {"query": "what is tea", "documents": ["a drink made from leaves", "a river in the north " * 20]}
    kinds = [{"precision": "fp32", "max_length": 64}, {"precision": "int8", "max_length": 32}]

    def instances(*chosen):
        return "model_pool: " + json.dumps({"instances": [{"name": str(ROOT / "models/tiny"), "backend": "native", "threads": 1, **k} for k in chosen]})

    def results(served):
        status, _, reply = served.http("POST", "/v1/rerank", body)
        assert status == 200, reply
        return [(r["index"], r["relevance_score"], r["tokens"], r["truncated"]) for r in json.loads(reply)["results"]]

    alone = []
    for kind in kinds:
        with Served(rerankd, config=instances(kind), model=None) as served:
            alone.append(results(served))
    assert alone[0] != alone[1] and [max(r[2] for r in a) for a in alone] == [64, 32]
    with Served(rerankd, config=instances(*kinds), model=None) as served:
        first = alone.index(results(served))  # whose turn it is after the start does not matter
        assert [alone.index(results(served)) for _ in range(5)] == [1 - first, first] * 2 + [1 - first]


def test_weights_of_keys_share_the_machine(rerankd, tmp_path):
    """Both tenants ask for the same work at once; the one of weight 4 is through when the other has had about a quarter."""
    keys = tmp_path / "keys.jsonl"
    light, heavy = make_key(rerankd, keys, "light"), make_key(rerankd, keys, "heavy", "--weight", "4")
    config = "model: {device: 'fake:ms_per_batch=10', threads: 1}\nscheduler: {max_queue_ms: 60000}\n"
    body = {"query": "q", "texts": [f"text {i} " + "word " * 30 for i in range(300)]}
    with Served(rerankd, "--backend", "fake", "--api-key-file", str(keys), config=config) as served:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            def send(key):
                assert served.http("POST", "/rerank", body, **bearer(key))[0] == 200
                return time.monotonic()

            start = time.monotonic()
            slow = [pool.submit(send, light) for _ in range(2)]
            fast = [pool.submit(send, heavy) for _ in range(2)]
            heavy_end = max(f.result() for f in fast) - start
            light_end = max(f.result() for f in slow) - start
    # Ideal shares: 5/8 of the whole. Half = equal shares ends at 8/8; the bound leaves room for a busy machine.
    assert heavy_end < 0.8 * light_end, (heavy_end, light_end)


def test_a_small_request_passes_a_large_one(rerankd):
    config = "model: {device: 'fake:ms_per_batch=10', threads: 1}\nscheduler: {max_queue_ms: 60000}\n"
    large = {"query": "q", "texts": [f"text {i} " + "word " * 40 for i in range(1000)]}
    with Served(rerankd, "--backend", "fake", config=config) as served, concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(served.http, "POST", "/rerank", large)
        wait_for(lambda: sum(series(served, "rerankd_in_flight_requests").values()) == 1, "not admitted")
        for _ in range(5):
            assert served.http("POST", "/rerank", {"query": "q", "texts": large["texts"][:5]})[0] == 200
        assert not running.done(), "the large request was served first"
        assert running.result()[0] == 200


def test_deadlines_end_the_work_in_both_protocols(rerankd, stubs):
    messages, services = stubs
    config = "model: {device: 'fake:ms_per_batch=200', threads: 1}\n"
    with Served(rerankd, "--backend", "fake", config=config) as served:
        assert served.http("POST", "/rerank", BODY, **{"x-request-timeout-ms": "60000"})[0] == 200
        big = {"query": "q", "texts": [f"text {i} " * 40 for i in range(100)]}
        dropped = total(served, "rerankd_dropped_pairs_total")
        status, _, reply = served.http("POST", "/v1/rerank", {"query": "q", "documents": big["texts"]}, **{"x-request-timeout-ms": "500"})
        assert status == 504 and "deadline" in json.loads(reply)["message"]
        assert total(served, "rerankd_expired_total") == 1
        assert total(served, "rerankd_dropped_pairs_total") > dropped + 50
        stub = services.InferenceServiceStub(served.channel)
        request = messages.InferRequest(pairs=[messages.QueryDocPair(query="q", document=text) for text in big["texts"]])
        with pytest.raises(grpc.RpcError) as error:
            stub.Infer(request, timeout=0.5)
        assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        wait_for(lambda: total(served, "rerankd_expired_total") + total(served, "rerankd_cancelled_total") == 2, "not dropped")
        for wrong in ["0", "-1", "soon", "99999999999999999999", "1.5"]:
            assert served.http("POST", "/rerank", BODY, **{"x-request-timeout-ms": wrong})[0] == 422, wrong


def test_a_full_server_says_when_to_come_back(rerankd, stubs):
    messages, services = stubs
    config = "model: {device: 'fake:ms_per_batch=3000', threads: 1}\nscheduler: {max_queue_requests: 1}\n"
    with Served(rerankd, "--backend", "fake", config=config) as served, concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(served.http, "POST", "/rerank", BODY)
        wait_for(lambda: sum(series(served, "rerankd_in_flight_requests").values()) == 1, "not admitted")
        for path, body in [("/rerank", BODY), ("/v2/rerank", {"query": "q", "documents": ["a"]}), ("/predict", {"inputs": ["a", "b"]})]:
            status, headers, reply = served.http("POST", path, body)
            assert status == 429 and int(headers["retry-after"]) >= 1 and b"max_queue_requests" in reply
        with pytest.raises(grpc.RpcError) as error:
            services.InferenceServiceStub(served.channel).Infer(
                messages.InferRequest(pairs=[messages.QueryDocPair(query="q", document="d")]), timeout=20)
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert int(dict(error.value.trailing_metadata())["grpc-retry-pushback-ms"]) >= 1000
        assert total(served, "rerankd_rejected_total") == 4
        assert running.result()[0] == 200
