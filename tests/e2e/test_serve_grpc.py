"""gRPC over real sockets, with a Python client generated from our proto."""
import concurrent.futures
import json
import math
import re
import socket
import subprocess

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from served import ROOT, TINY, Served, load_stubs, wait_for

SLOW = "model:\n  device: 'fake:ms_per_batch={ms}'\n"
GOLDEN = ROOT / "tests/data/tiny-random/golden.tsv"


@pytest.fixture(scope="module")
def stubs(tmp_path_factory):
    return load_stubs(tmp_path_factory.mktemp("stubs"))


@pytest.fixture(scope="module")
def server(rerankd):
    with Served(rerankd, "--backend", "fake") as running:
        yield running


class Client:
    def __init__(self, stubs, served):
        self.pb, services = stubs
        self.stub = services.InferenceServiceStub(served.channel)

    def request(self, pairs):
        return self.pb.InferRequest(pairs=[self.pb.QueryDocPair(query=q, document=d) for q, d in pairs])

    def infer(self, pairs, **options):
        return self.stub.Infer(self.request(pairs), timeout=options.pop("timeout", 60), **options)


@pytest.fixture
def client(stubs, server):
    return Client(stubs, server)


def pairs(n):
    return [("what is a cat", f"document number {i} about cats") for i in range(n)]


def series(served, pattern):
    """Sum of the /metrics series whose name and labels match."""
    text = served.http("GET", "/metrics")[2].decode()
    return sum(int(float(value)) for value in re.findall(rf"^{pattern} (\S+)$", text, re.M))


def in_flight(served):
    return series(served, "rerankd_in_flight_requests{.*}")


def code_of(call):
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code(), error.value.details()


def test_without_a_model_texts_are_only_tokenised(rerankd, stubs):
    with Served(rerankd, config="pipeline:\n  mode: tokenization_only\n") as served:
        assert served.match.group(4) == "none"  # no backend
        reply = Client(stubs, served).infer(pairs(3))
        assert (reply.status_code, reply.num_pairs, list(reply.scores)) == (204, 3, [])
        assert json.loads(served.http("POST", "/rerank", {"query": "q", "texts": ["a", "b"]})[2]) == []


def test_infer_fills_every_field_in_input_order(client):
    reply, call = client.stub.Infer.with_call(client.request(pairs(7)), timeout=60)
    assert len(reply.scores) == 7 and reply.num_pairs == 7 and reply.status_code == 200
    assert reply.latency_ms > 0
    assert all(0 <= s <= 1 for s in reply.scores)
    backwards = client.infer(pairs(7)[::-1])
    assert list(backwards.scores) == list(reply.scores)[::-1]
    trailer = dict(call.trailing_metadata())
    assert trailer["x-truncated-documents"] == "0"
    assert int(trailer["x-compute-tokens"]) > 7
    assert {"x-queue-time", "x-tokenization-time", "x-inference-time", "x-total-time"} <= trailer.keys()


def test_native_backend_gives_the_golden_scores(rerankd, stubs):
    texts = json.loads((ROOT / "tests/parity/texts.json").read_text())
    rows = [line.split("\t") for line in GOLDEN.read_text().splitlines()[1:]]
    golden = [1 / (1 + math.exp(-float(row[3]))) for row in rows]
    with Served(rerankd, "--backend", "native", config="model:\n  precision: fp32\n") as native:
        assert native.match.group(4) == "native"
        reply = Client(stubs, native).infer([(texts["queries"][int(row[0])], texts["documents"][int(row[1])])
                                             for row in rows])
    assert list(reply.scores) == pytest.approx(golden, abs=1e-4)


def test_get_metrics_counts_requests_and_pairs(client):
    before = client.stub.GetMetrics(client.pb.Empty(), timeout=10)
    client.infer(pairs(3))
    after = client.stub.GetMetrics(client.pb.Empty(), timeout=10)
    assert after.count == before.count + 1
    assert after.query_count == before.query_count + 3
    assert 0 < after.p50_ms <= after.p95_ms <= after.p99_ms


@pytest.mark.parametrize("pair", [("", "document"), ("query", ""), ("", ""), ("a\x00b", "c\x01\x1f\x7fd"),
                                  ("query", "x " * 50_000), ("q " * 50_000, "document"), ("query", "y" * 100_000)])
def test_odd_texts_are_scored(client, pair):
    reply = client.infer([pair])
    assert len(reply.scores) == 1 and 0 <= reply.scores[0] <= 1


def test_long_texts_are_truncated_and_reported(client):
    _, call = client.stub.Infer.with_call(client.request([("query", "x " * 50_000), ("a", "b")]), timeout=60)
    assert dict(call.trailing_metadata())["x-truncated-documents"] == "1"


def test_zero_pairs_are_invalid(client):
    code, details = code_of(lambda: client.infer([]))
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "pairs is empty" in details


def test_too_many_pairs_are_invalid(rerankd, stubs):
    with Served(rerankd, "--backend", "fake", config="server:\n  max_documents: 5\n") as small:
        code, details = code_of(lambda: Client(stubs, small).infer(pairs(6)))
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "at most 5" in details


def test_ten_thousand_documents_by_every_method(server, client, tmp_path):
    """All that a request may have, and one more."""
    tei, tei_services = load_stubs(tmp_path, "tei")
    kserve, kserve_services = load_stubs(tmp_path, "open_inference")
    rerank = tei_services.RerankStub(server.channel)
    model_infer = kserve_services.GRPCInferenceServiceStub(server.channel).ModelInfer

    def tensor(name, texts):
        contents = kserve.InferTensorContents(bytes_contents=[text.encode() for text in texts])
        return kserve.ModelInferRequest.InferInputTensor(name=name, datatype="BYTES", shape=[len(texts)], contents=contents)

    calls = {
        "Infer": lambda texts: client.infer([("q", text) for text in texts]).scores,
        "Rerank": lambda texts: rerank.Rerank(tei.RerankRequest(query="q", texts=texts), timeout=60).ranks,
        "RerankStream": lambda texts: rerank.RerankStream((tei.RerankStreamRequest(query="q", text=text) for text in texts), timeout=60).ranks,
        "ModelInfer": lambda texts: model_infer(
            kserve.ModelInferRequest(model_name=server.match.group(3), inputs=[tensor("query", ["q"]), tensor("texts", texts)]), timeout=60
        ).outputs[0].contents.fp32_contents,
    }  # fmt: skip
    texts = [f"text {i} " * 5 for i in range(10_000)]
    for name, call in calls.items():
        assert len(call(texts)) == 10_000, name
        code, details = code_of(lambda call=call: call([*texts, "one too many"]))
        assert code == grpc.StatusCode.INVALID_ARGUMENT and "10000" in details, (name, details)


def test_model_names_open_no_files(server, client, tmp_path):
    kserve, kserve_services = load_stubs(tmp_path, "open_inference")
    kserve_stub = kserve_services.GRPCInferenceServiceStub(server.channel)
    for name in ["../../etc/passwd", "/etc/passwd", "..", "tests/data/tiny-random/../tiny-random"]:
        for call in [lambda: client.infer(pairs(1), metadata=[("x-model", name)]),
                     lambda: kserve_stub.ModelInfer(kserve.ModelInferRequest(model_name=name), timeout=20),
                     lambda: kserve_stub.ModelMetadata(kserve.ModelMetadataRequest(name=name), timeout=20)]:  # fmt: skip
            code, details = code_of(call)
            assert code == grpc.StatusCode.NOT_FOUND and "no model" in details, (name, details)


def raw_infer(server, message):
    return server.channel.unary_unary("/inference.InferenceService/Infer", request_serializer=bytes,
                                      response_deserializer=bytes)(message, timeout=60)


@pytest.mark.parametrize("message", [b"\x0a\x06\x0a\x01q\x12\x01\xff", b"\x0a\xff", b"\xff" * 100])
def test_bytes_that_are_no_request_are_invalid(server, message):
    code, details = code_of(lambda: raw_infer(server, message))
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "UTF-8" in details


def test_unknown_method_is_unimplemented(server):
    call = server.channel.unary_unary("/inference.InferenceService/Nothing", bytes, bytes)
    assert code_of(lambda: call(b"", timeout=60))[0] == grpc.StatusCode.UNIMPLEMENTED


def test_deadline_ends_the_work(rerankd, stubs):
    with Served(rerankd, "--backend", "fake", config=SLOW.format(ms=200)) as slow:
        client = Client(stubs, slow)
        code, _ = code_of(lambda: client.infer(pairs(2000), timeout=0.5))
        assert code == grpc.StatusCode.DEADLINE_EXCEEDED
        dropped = 'rerankd_errors_total{code="(?:CANCELLED|DEADLINE_EXCEEDED)".*}'
        wait_for(lambda: series(slow, dropped) == 1, "the engine did not drop the work")
        assert len(client.infer(pairs(1)).scores) == 1


def test_cancellation_ends_the_work(rerankd, stubs):
    with Served(rerankd, "--backend", "fake", config=SLOW.format(ms=200)) as slow:
        client = Client(stubs, slow)
        call = client.stub.Infer.future(client.request(pairs(2000)), timeout=60)
        wait_for(lambda: in_flight(slow) == 1, "not admitted")
        call.cancel()
        dropped = 'rerankd_errors_total{code="CANCELLED".*}'
        wait_for(lambda: series(slow, dropped) == 1, "the engine did not drop the work")
        assert len(client.infer(pairs(1)).scores) == 1


def test_health(server):
    stub = health_pb2_grpc.HealthStub(server.channel)
    for service in ["", "inference.InferenceService"]:
        reply = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
    unknown = health_pb2.HealthCheckRequest(service="no.such.Service")
    assert code_of(lambda: stub.Check(unknown, timeout=60))[0] == grpc.StatusCode.NOT_FOUND


def test_reflection_shows_every_service(server):
    database = ProtoReflectionDescriptorDatabase(server.channel)
    services = set(database.get_services())
    assert {"inference.InferenceService", "inference.GRPCInferenceService", "tei.v1.Info", "tei.v1.Rerank",
            "tei.v1.Predict", "tei.v1.Tokenize", "grpc.health.v1.Health"} <= services
    health = database.FindFileContainingSymbol("grpc.health.v1.Health")
    assert health.name == "grpc/health/v1/health.proto"
    infer = database.FindFileContainingSymbol("inference.InferenceService")
    assert [m.name for m in infer.service[0].method] == ["Infer", "GetMetrics"]


def test_sigterm_under_load_answers_everything_admitted(rerankd, stubs):
    with Served(rerankd, "--backend", "fake", config=SLOW.format(ms=200)) as served:
        client = Client(stubs, served)
        body = {"query": "what is a cat", "texts": [document for _, document in pairs(40)]}
        watch = health_pb2_grpc.HealthStub(served.channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            calls = [pool.submit(client.infer, pairs(40)) for _ in range(8)]
            posts = [pool.submit(served.http, "POST", "/rerank", body) for _ in range(8)]
            wait_for(lambda: in_flight(served) == 16, "not admitted")
            served.terminate()
            assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
            assert [len(call.result().scores) for call in calls] == [40] * 8
            replies = [post.result() for post in posts]
            assert [(status, len(json.loads(ranks))) for status, _, ranks in replies] == [(200, 40)] * 8
        assert served.exit_code() == 0


def test_port_in_use_names_the_address(rerankd):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for flag in ["--grpc-port", "--http-port"]:
            other = {"--grpc-port": "--http-port", "--http-port": "--grpc-port"}[flag]
            command = [rerankd, "serve", "--model", str(TINY), "--backend", "fake", "--set",
                       "server.host=127.0.0.1", flag, str(port), other, "0"]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert ended.returncode == 1
            assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr and "in use" in ended.stderr


def test_metadata_chooses_the_model(rerankd, stubs, tmp_path):
    """`x-model` on every method of inference.InferenceService and tei.v1: a name or alias; absent, the first one."""
    tei, tei_services = load_stubs(tmp_path, "tei")
    config = f"model_pool: {{instances: [{{name: {TINY}}}, {{name: {ROOT}/models/tiny, aliases: [other]}}]}}\n"
    with Served(rerankd, config=config, model=None) as served:
        client = Client(stubs, served)
        rerank, predict = tei_services.RerankStub(served.channel), tei_services.PredictStub(served.channel)
        query, texts = "what is tea", ["a drink made from leaves", "a river in the north"]
        inputs = [query, texts[0]]
        info = tei_services.InfoStub(served.channel).Info
        calls = {
            "Infer": lambda **o: list(client.infer([(query, text) for text in texts], **o).scores),
            "Rerank": lambda **o: sorted((r.index, r.score) for r in rerank.Rerank(tei.RerankRequest(query=query, texts=texts), **o).ranks),
            "RerankStream": lambda **o: sorted(
                (r.index, r.score)
                for r in rerank.RerankStream((tei.RerankStreamRequest(query=query, text=text) for text in texts), **o).ranks
            ),
            "PredictPair": lambda **o: predict.PredictPair(tei.PredictPairRequest(inputs=inputs), **o).predictions[0].score,
            "PredictPairStream": lambda **o: [
                reply.predictions[0].score for reply in predict.PredictPairStream(iter([tei.PredictPairRequest(inputs=inputs)] * 3), **o)
            ],
            "Info": lambda **o: info(tei.InfoRequest(), **o).model_id.rsplit("/", 1)[-1],
            "Tokenize": lambda **o: len(
                tei_services.TokenizeStub(served.channel).Tokenize(tei.EncodeRequest(inputs="caffeinated teapots"), **o).tokens
            ),
        }
        for method, call in calls.items():
            first, second = call(metadata=[("x-model", "tiny-random")]), call(metadata=[("x-model", "other")])
            assert first != second and call() == first and call(metadata=[("x-model", "tiny")]) == second, method
            code, details = code_of(lambda call=call: call(metadata=[("x-model", "no-such-model")]))
            assert code == grpc.StatusCode.NOT_FOUND, method
            assert "no model 'no-such-model'" in details and "tiny-random" in details and "other" in details, details
        as_http = {name: json.loads(served.http("POST", "/rerank", {"query": query, "documents": texts, "model": name})[2])["results"]
                   for name in ("tiny-random", "tiny")}  # fmt: skip
        for name, results in as_http.items():
            scores = {r["index"]: r["relevance_score"] for r in results}
            assert calls["Infer"](metadata=[("x-model", name)]) == pytest.approx([scores[i] for i in range(2)], abs=1e-6)
        counted = series(served, r'rerankd_requests_total{model="[^"]*models/tiny",route="grpc:Infer"}')
        assert counted == 3  # the metrics know which model ran


HOSTS = "127.0.0.1 localhost\n::1 localhost\n"


def test_a_name_of_two_addresses_is_served_on_both(rerankd, stubs, tmp_path):
    """`--host localhost` where localhost is 127.0.0.1 and ::1, as on most machines: if not on this one, then in a name space of files."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        pytest.skip(f"this machine has no IPv6 loopback address: {error}")
    binary = rerankd
    if len({row[4][0] for row in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}) < 2:
        (tmp_path / "hosts").write_text(HOSTS)
        script = tmp_path / "rerankd-with-hosts"
        script.write_text(f"#!/bin/sh\nexec unshare --mount --map-root-user sh -c 'mount --bind {tmp_path}/hosts /etc/hosts && "
                          f"exec \"$0\" \"$@\"' {rerankd} \"$@\"\n")  # fmt: skip
        script.chmod(0o755)
        binary = str(script)
        if subprocess.run([binary, "--version"], capture_output=True).returncode != 0:
            pytest.skip("localhost has one address here, and this user may not give a process another /etc/hosts (unshare)")
    with Served(binary, "--backend", "fake", "--host", "localhost") as served:
        grpc_port = served.grpc_address.rsplit(":", 1)[1]
        for host in ["127.0.0.1", "::1"]:
            with socket.create_connection((host, served.http_port), timeout=20) as sock:
                sock.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")
                assert sock.recv(100).startswith(b"HTTP/1.1 200"), host
            target = f"[{host}]:{grpc_port}" if ":" in host else f"{host}:{grpc_port}"
            with grpc.insecure_channel(target) as channel:
                reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=20)
                assert reply.status == health_pb2.HealthCheckResponse.SERVING
        served.terminate()
        assert served.exit_code() == 0
