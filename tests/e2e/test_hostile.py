"""What a client that means harm can do with one small request, or with many connections: it is refused, memory stays bounded,
and others are served."""
import json
import resource
import signal
import socket
import subprocess
import threading
import time

import grpc
import pytest
from raw_http import RawClient, request
from served import TINY, Served, load_stubs, memory_peak_mb, wait_for

HTTP2_START = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"  # the preface and an empty SETTINGS frame
BODY = {"query": "what is a cat", "texts": ["cats are animals", "the moon"]}


@pytest.fixture(scope="module")
def tei(tmp_path_factory):
    return load_stubs(tmp_path_factory.mktemp("stubs"), "tei")


@pytest.fixture(scope="module")
def server(rerankd):
    with Served(rerankd, "--backend", "fake") as running:
        yield running


@pytest.fixture
def costs(server):
    """Fails if the test made the server's memory peak grow by more than this many MB. The peak only grows, so that what an
    earlier test of the module has used is free."""
    limit = {"mb": 150}
    before = memory_peak_mb(server)
    yield limit
    grown = memory_peak_mb(server) - before
    assert grown < limit["mb"], f"memory grew by {grown} MB"
    assert server.http("POST", "/rerank", BODY)[0] == 200


def post(server, path, body, **fields):
    with RawClient(("127.0.0.1", server.http_port), timeout=60) as client:
        return client.post(path, body, **fields)


def status_of(call):
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code().name, error.value.details()


def raw_call(server, method, message, timeout=60):
    return server.channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)(message, timeout=timeout)


@pytest.mark.parametrize("start", [b"1;", b"0000", b"1\r\n{\r\n0\r\nX-Trailer: "])
def test_endless_chunk_headers_and_trailers(server, costs, start):
    with RawClient(("127.0.0.1", server.http_port)) as client:
        client.send(b"POST /rerank HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + start)
        try:
            for _ in range(300):  # MB: kept, they would show in the memory
                client.send(b"0" * 1_000_000)
        except OSError:
            pass  # refused and closed


def test_objects_with_many_fields(server, costs):
    body = b"{" + b",".join(b'"%d":1' % i for i in range(300_000)) + b"}"
    status, _, reply = post(server, "/rerank", body)
    assert status == 400 and b"more than 256 fields" in reply


def test_one_long_text_for_many(server, costs):
    costs["mb"] = 300
    texts = [str(i) for i in range(10_000)]
    for path, body in [("/score", {"text_1": "q " * 50_000, "text_2": texts, "truncate_prompt_tokens": 20}),
                       ("/rerank", {"query": "q " * 50_000, "texts": texts})]:
        assert post(server, path, body)[0] in (200, 422)


def test_texts_are_tokenised_up_to_a_limit(server, costs, tei):
    costs["mb"] = 400
    messages, services = tei
    assert server.http("POST", "/tokenize", {"inputs": "a " * (1 << 19)})[0] == 200
    for inputs in ["a " * (1 << 19) + "a", ["a " * (1 << 18)] * 3, [""] * 70_000]:
        status, _, reply = post(server, "/tokenize", {"inputs": inputs})
        assert status == 422 and b"1048576 are tokenised at a time" in reply
    stub = services.TokenizeStub(server.channel)
    code, details = status_of(lambda: stub.Tokenize(messages.EncodeRequest(inputs="a " * 1_000_000), timeout=60))
    assert code == "INVALID_ARGUMENT" and "1048576" in details


@pytest.mark.parametrize("method, field", [("inference.InferenceService/Infer", b"\x0a\x00"), ("tei.v1.Rerank/Rerank", b"\x12\x00"),
                                           ("inference.GRPCInferenceService/ModelInfer", b"\x2a\x00"),
                                           ("tei.v1.Tokenize/Tokenize", b"\x78\x01")])
def test_messages_of_millions_of_empty_values(server, costs, method, field):
    code, details = status_of(lambda: raw_call(server, f"/{method}", field * 8_000_000))
    assert code == "INVALID_ARGUMENT" and "2000000 values" in details


def test_windows_that_multiply_a_text(server, costs):
    """64 windows of 120 tokens for each of 10,000 documents of 130 bytes: half a gigabyte of token ids."""
    body = {"query": "q " * 100, "documents": ["b " * 65 + str(i) for i in range(10_000)], "overflow": "max_window", "window": 1, "stride": 1}
    status, _, reply = post(server, "/v1/rerank", body)
    assert status == 422 and b"scheduler.max_queue_tokens" in reply


def test_paths_of_thousands_of_parts(server, costs):
    with RawClient(("127.0.0.1", server.http_port)) as client:
        for path in ["/v2/models/" + "versions/" * 1700 + "infer", "/v2/models/" + "a/" * 7000 + "ready"]:
            assert client.get(path)[0] == 404


@pytest.mark.parametrize("path, body", [("/v1/rerank", b'{"query":"' + b"a" * 5_000_000),
                                        ("/v1/rerank", json.dumps({"query": "q", "documents": ["a"], "overflow": "x" * 5_000_000}).encode()),
                                        ("/score", json.dumps({"text_1": "q", "text_2": ["a"], "truncation_side": "x" * 5_000_000}).encode())],
                         ids=["unfinished", "value", "other value"])
def test_errors_do_not_echo_megabytes(server, costs, path, body):
    status, _, reply = post(server, path, body)
    assert status in (400, 422) and len(reply) < 10_000


def test_grpc_errors_fit_into_metadata(server, tei):
    """A client refuses trailers above 8 KiB: it would see RESOURCE_EXHAUSTED instead of what is wrong."""
    messages, services = tei
    stub = services.TokenizeStub(server.channel)
    request_ = messages.EncodeRequest(inputs="a", prompt_name="\u00e9" * 50_000)
    code, details = status_of(lambda: stub.Tokenize(request_, timeout=20))
    assert code == "INVALID_ARGUMENT" and details.startswith("prompt_name")


@pytest.mark.parametrize("coding", ["xchunked", "chunked, identity", "gzip, chunked"])
def test_a_body_whose_end_is_a_matter_of_opinion(server, coding):
    """What one server takes for a body, the next one would take for a request of somebody else."""
    with RawClient(("127.0.0.1", server.http_port)) as client:
        client.send(f"POST /rerank HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {coding}\r\n\r\n".encode() + request("GET", "/ready"))
        assert client.read()[0] == 400
        assert client.at_end()


def test_replies_that_nobody_reads_count(rerankd):
    """Three replies of 9 MB, more than sockets hold, wait for clients that do not read: the next large body is refused, a
    small one is not."""
    body = {"query": "q", "texts": [f"{i} " + "x" * 3000 for i in range(3000)], "return_text": True}
    with Served(rerankd, "--backend", "fake", config="server: {max_buffered_bytes: 30000000}\n") as served:
        stalled = []
        for _ in range(3):
            client = RawClient(("127.0.0.1", served.http_port), timeout=60)
            client.send(request("POST", "/rerank", body))
            client.sock.recv(1000)
            stalled.append(client)
        status, headers, reply = post(served, "/rerank", body)
        assert status == 429 and int(headers["retry-after"]) >= 1 and b"max_buffered_bytes" in reply
        assert served.http("POST", "/rerank", BODY)[0] == 200
        for client in stalled:
            client.sock.close()
        wait_for(lambda: post(served, "/rerank", body)[0] == 200, "the bytes of clients that left are still held")


def test_grpc_streams_and_http_bodies_share_one_limit(rerankd, tei):
    messages, services = tei
    with Served(rerankd, "--backend", "fake", config="server: {max_buffered_bytes: 10000000}\n") as served:
        sent, finish = threading.Event(), threading.Event()

        def texts():
            for _ in range(8):
                yield messages.RerankStreamRequest(query="q", text="a" * 1_000_000, truncate=True)
            sent.set()
            finish.wait(60)

        stream = services.RerankStub(served.channel).RerankStream.future(texts(), timeout=120)
        assert sent.wait(60)
        time.sleep(1)  # the last of them arrive
        big = {"query": "q", "texts": ["x" * 3_000_000]}
        status, _, reply = post(served, "/rerank", big)
        assert status == 429 and b"max_buffered_bytes" in reply
        finish.set()
        assert len(stream.result().ranks) == 8
        wait_for(lambda: post(served, "/rerank", big)[0] == 200, "the bytes of a stream that ended are still held")


def test_idle_connections_give_way_when_files_run_out(rerankd, tmp_path):
    limited = tmp_path / "rerankd-200-files"
    limited.write_text(f'#!/bin/sh\nulimit -n 200\nexec {rerankd} "$@"\n')
    limited.chmod(0o755)
    with Served(str(limited), "--backend", "fake") as served:
        idle = [socket.create_connection(("127.0.0.1", served.http_port)) for _ in range(300)]
        assert served.http("POST", "/rerank", BODY)[0] == 200
        assert grpc.channel_ready_future(served.channel).result(timeout=20) is None
        assert any("ulimit -n" in line for line in served.log), served.log
        for sock in idle:
            sock.close()


def test_no_descriptors_left(rerankd):
    """Connections that find no free descriptor wait; both servers take them once there is one again."""
    with Served(rerankd, "--backend", "fake") as served:
        ports = [served.http_port, int(served.grpc_address.rsplit(":", 1)[1])]
        limits = resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))  # what is open stays open
        waiting = [socket.create_connection(("127.0.0.1", port)) for port in ports for _ in range(5)]
        time.sleep(0.5)
        resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE, limits)
        assert served.http("POST", "/rerank", BODY)[0] == 200
        grpc.channel_ready_future(served.channel).result(timeout=20)
        for sock in waiting:
            sock.close()


def test_grpc_connections_beyond_the_limit_wait(rerankd):
    with Served(rerankd, "--backend", "fake", "--set", "server.max_connections=2") as served:
        address = ("127.0.0.1", int(served.grpc_address.rsplit(":", 1)[1]))
        first, second = (socket.create_connection(address) for _ in range(2))
        for sock in (first, second):
            sock.sendall(HTTP2_START)
            assert sock.recv(9)  # the server's own settings: it has taken the connection
        ready = grpc.channel_ready_future(served.channel)
        with pytest.raises(grpc.FutureTimeoutError):
            ready.result(timeout=1)
        first.close()
        ready.result(timeout=20)
        second.close()


def test_a_silent_grpc_peer_is_dropped(rerankd):
    with Served(rerankd, "--backend", "fake", config="server: {idle_timeout_ms: 1000, header_timeout_ms: 1000}\n") as served:
        address = ("127.0.0.1", int(served.grpc_address.rsplit(":", 1)[1]))
        for first in [b"", HTTP2_START]:  # before the handshake; after it, deaf to pings
            with socket.create_connection(address, timeout=30) as sock:
                sock.sendall(first)
                try:
                    while sock.recv(65536):
                        pass
                except ConnectionResetError:
                    pass
        client = grpc.insecure_channel(served.grpc_address)
        grpc.channel_ready_future(client).result(timeout=20)
        client.close()


def test_connections_are_probed(server):
    """A client whose machine vanished sends nothing: the kernel asks it after 30 s of silence (tcp(7); here only the timer is seen)."""
    ticks = 100  # of a second, in /proc/net/tcp (USER_HZ)
    with RawClient(("127.0.0.1", server.http_port)) as client:
        assert client.post("/rerank", BODY)[0] == 200
        ends = [f"0100007F:{port:04X}" for port in (server.http_port, client.sock.getsockname()[1])]
        rows = [line.split() for line in open("/proc/net/tcp")]
        timer = next(row[5] for row in rows if row[1:3] == ends)
    kind, left = timer.split(":")
    assert kind == "02", timer  # keep-alive
    assert 0 < int(left, 16) <= 30 * ticks


def test_logs_that_nobody_reads_stall_nothing(rerankd):
    """stderr is a pipe whose reader stopped: lines are lost, requests are answered, SIGTERM still ends the server."""
    command = [rerankd, "serve", "--model", str(TINY), "--backend", "fake", "--host", "127.0.0.1", "--http-port", "0", "--grpc-port", "-1",
               "--access-log", "stderr"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, bufsize=1)
    try:
        port = next(line for line in process.stderr if line.startswith("rerankd ready")).split("http=")[1].split()[0].rsplit(":", 1)[1]
        with RawClient(("127.0.0.1", int(port))) as client:
            for _ in range(700):  # a pipe holds about 250 of these lines
                assert client.get("/ready", X_Request_Id="x" * 100)[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.stderr.close()
