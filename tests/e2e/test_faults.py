"""Backends that fail, disks that are full, several models: with the real binary."""
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from raw_http import RawClient
from served import ROOT, TINY, Served, load_stubs, wait_for

TINY_MODEL = ROOT / "models/tiny"
BODY = {"query": "what is tea", "texts": ["a drink made from leaves", "a river in the north"]}


@pytest.fixture(scope="module")
def stubs(tmp_path_factory):
    return load_stubs(tmp_path_factory.mktemp("stubs"))


def test_a_failing_backend_costs_one_request(rerankd, stubs):
    messages, services = stubs
    with Served(rerankd, "--backend", "fake", "--device", "fake:fail_every=3", "--threads", "1") as served:
        stub = services.InferenceServiceStub(served.channel)
        request = messages.InferRequest(pairs=[messages.QueryDocPair(query="q", document="d")])
        codes = []
        for over_http in itertools.islice(itertools.cycle([True, False]), 12):
            if over_http:
                status, _, body = served.http("POST", "/rerank", BODY)
                codes.append(status)
                assert status == 200 or b"fake" in body
            else:
                try:
                    stub.Infer(request, timeout=20)
                    codes.append("OK")
                except grpc.RpcError as error:
                    codes.append(error.code().name)
        # One worker runs one micro-batch a request: the server warms up with some of them, so the phase is free.
        assert set(codes) == {200, 424, "OK", "INTERNAL"}, codes
        assert sum(code in (424, "INTERNAL") for code in codes) == 4, codes
        assert not any(a in (424, "INTERNAL") and b in (424, "INTERNAL") for a, b in itertools.pairwise(codes)), codes
        assert served.http("GET", "/ready")[0] == 200


def test_a_lack_of_memory_may_be_tried_again(rerankd, stubs):
    messages, services = stubs
    with Served(rerankd, "--backend", "fake", "--device", "fake:out_of_memory_every=1", "--threads", "1") as served:
        status, headers, body = served.http("POST", "/rerank", BODY)
        assert status == 429 and b"scripted lack of memory" in body
        assert int(headers["retry-after"]) >= 1
        with pytest.raises(grpc.RpcError) as error:
            services.InferenceServiceStub(served.channel).Infer(
                messages.InferRequest(pairs=[messages.QueryDocPair(query="q", document="d")]), timeout=20)
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert served.http("GET", "/ready")[0] == 200


def test_a_lost_backend_is_used_no_more(rerankd):
    with Served(rerankd, "--backend", "fake", "--device", "fake:lost_after=4", "--threads", "1") as served:
        codes = [served.http("POST", "/rerank", BODY)[0] for _ in range(8)]
        assert codes[0] == 200 and codes[-1] == 503 and 424 in codes, codes
        assert served.http("GET", "/ready")[0] == 503
        assert served.http("GET", "/health")[0] == 503
        health = health_pb2_grpc.HealthStub(served.channel)
        wait_for(lambda: health.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.NOT_SERVING,
                 "the health service still says SERVING")


def test_a_full_disk_for_logs_costs_lines_only(rerankd):
    with Served(rerankd, config="server: {access_log: /dev/full}") as served:
        for _ in range(5):
            assert served.http("POST", "/rerank", BODY)[0] == 200
        served.terminate()
        assert served.exit_code() == 0
        served._reader.join()
        assert any("access log are lost" in line and "No space left" in line for line in served.log), served.log


def test_a_full_disk_for_stderr_costs_lines_only(rerankd):
    with open("/dev/full", "w") as full, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        process = subprocess.Popen([rerankd, "serve", "--model", str(TINY), "--backend", "fake", "--host", "127.0.0.1",
                                    "--http-port", str(port), "--grpc-port", "-1", "--access-log", "stderr"], stderr=full)
        try:
            wait_for(lambda: listens(port), "it does not listen")
            serves_and_ends(process, port)
        finally:
            process.kill()


def listens(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def serves_and_ends(process, port):
    with RawClient(("127.0.0.1", port)) as client:
        for _ in range(5):
            assert client.post("/rerank", BODY)[0] == 200
    process.terminate()
    assert process.wait(timeout=30) == 0


def test_several_models_are_asked_for_by_name(rerankd):
    with Served(rerankd, "--model", str(TINY_MODEL)) as served:  # and tiny-random, which Served adds
        names = {m["id"] for m in json.loads(served.http("GET", "/v1/models")[2])["data"]}
        assert {"tiny", "tiny-random"} <= {name.rsplit("/", 1)[-1] for name in names}, names
        scores = {}
        for name in ("tiny", "tiny-random"):
            status, headers, body = served.http("POST", "/rerank", {**BODY, "model": name})
            assert status == 200
            assert headers["x-model"].endswith(name)
            scores[name] = body
            pair = [[BODY["query"], BODY["texts"][0]]]
            for path, body in [("/predict", {"inputs": pair}), ("/rerank", {"text_pairs": pair})]:
                assert served.http("POST", path, {**body, "model": name})[1]["x-model"].endswith(name)
        assert scores["tiny"] != scores["tiny-random"]


def test_a_model_without_a_relevance_score_refuses_before_it_computes(rerankd, stubs):
    messages, services = stubs
    with Served(rerankd, model=ROOT / "tests/data/labels3-f16") as served:
        bodies = [("/rerank", BODY), ("/v2/rerank", {"query": "q", "documents": ["d"]}), ("/score", {"text_1": "q", "text_2": "d"}),
                  ("/rerank", {"text_pairs": [["q", "d"]]})]  # fmt: skip
        for path, body in bodies:
            status, _, reply = served.http("POST", path, body)
            assert status == 424 and b"3 labels" in reply, (path, status, reply)
        with pytest.raises(grpc.RpcError) as error:
            services.InferenceServiceStub(served.channel).Infer(
                messages.InferRequest(pairs=[messages.QueryDocPair(query="q", document="d")]))
        assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        text = served.http("GET", "/metrics")[2].decode()
        errors = re.findall(r'^rerankd_errors_total\{code="FAILED_PRECONDITION".*\} (\d+)$', text, re.MULTILINE)
        assert sum(map(int, errors)) == 5 and not re.search(r"^rerankd_requests_total\{.*\} [1-9]", text, re.MULTILINE)
        assert len(json.loads(served.http("POST", "/predict", {"inputs": ["q", "d"]})[2])) == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="these tests do not run as root: neither does the server")
def test_it_serves_without_root(rerankd):
    """A user that owns nothing, with no home: binary and model are enough."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        binary, model = shutil.copy(rerankd, folder), shutil.copytree(TINY, f"{folder}/model")
        process = subprocess.Popen([binary, "serve", "--model", model, "--backend", "native", "--http-port", "0", "--grpc-port", "0"],
                                   user=65534, group=65534, extra_groups=[], cwd="/", env={"HOME": "/nonexistent"},
                                   stderr=subprocess.PIPE, text=True)  # fmt: skip
        try:
            ready = next((line for line in process.stderr if line.startswith("rerankd ready")), "not ready")
            serves_and_ends(process, int(ready.split("http=")[1].split()[0].rsplit(":", 1)[1]))
        finally:
            process.kill()
            process.stderr.close()
