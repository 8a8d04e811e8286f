"""What clients do to an HTTP server, byte by byte."""
import gzip
import json
import resource
import signal
import socket
import zlib

import pytest
from raw_http import RawClient, request
from served import Served, wait_for

BODY = {"query": "what is a cat", "texts": ["cats are animals", "the moon"]}
INFER = {"inputs": [{"name": name, "shape": [1], "datatype": "BYTES", "data": ["a"]} for name in ("query", "texts")]}
LIMITS = """
server:
  max_body_bytes: 200000
  header_timeout_ms: 300
  body_timeout_ms: 400
  idle_timeout_ms: 3000
"""


@pytest.fixture(scope="module")
def server(rerankd):
    with Served(rerankd, "--backend", "fake", "--set", "server.max_connections=6000") as running:
        yield running


@pytest.fixture
def client(server):
    with RawClient(("127.0.0.1", server.http_port)) as connected:
        yield connected


def test_pipelined_requests_are_answered_in_order(client):
    client.send(request("POST", "/rerank", BODY) + request("GET", "/nowhere") + request("GET", "/ready"))
    assert [client.read()[0] for _ in range(3)] == [200, 404, 200]


def test_chunked_body_in_many_pieces(client):
    client.send(b"POST /rerank HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    text = json.dumps(BODY).encode()
    for byte in text:
        client.send(b"1\r\n" + bytes([byte]) + b"\r\n")
    client.send(b"0\r\n\r\n")
    assert client.read()[0] == 200


def test_expect_100_continue(client):
    text = json.dumps(BODY).encode()
    client.send(b"POST /rerank HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                b"Content-Length: %d\r\n\r\n" % len(text))
    assert client.read()[0] == 100
    client.send(text)
    assert client.read()[0] == 200
    assert client.get("/ready", Expect="200-maybe")[0] == 417


@pytest.mark.parametrize("path, body", [("/rerank", {"query": "q", "texts": ["a"], "raw_scores": True}),
                                        ("/v1/rerank", {"query": "q", "documents": [{"text": "a"}], "top_n": 1}),
                                        ("/v2/rerank", {"query": "q", "documents": ["a"], "max_tokens_per_doc": 9}),
                                        ("/invocations", {"text_pairs": [["q", "a"]]}), ("/v2/models/{model}/infer", INFER),
                                        ("/predict", {"inputs": [["q", "a"]]}), ("/score", {"text_1": "q", "text_2": ["a"]}),
                                        ("/tokenize", {"inputs": "q"})])  # fmt: skip
def test_a_body_cut_anywhere_is_a_clear_error(server, client, path, body):
    path = path.replace("{model}", server.match.group(3).replace("/", "%2F"))
    text = json.dumps(body).encode()
    assert client.post(path, body)[0] == 200
    for cut in range(len(text)):
        client.send(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (path.encode(), cut) + text[:cut])
        status, _, reply = client.read()
        assert status == 400 and json.loads(reply)["error"], (text[:cut], status, reply)


def test_a_client_that_leaves_amid_its_body_costs_nothing(rerankd):
    body = {"query": "q", "texts": ["x" * 2_000_000]}
    with Served(rerankd, "--backend", "fake", config="server: {max_buffered_bytes: 9000000, max_body_bytes: 9000000}\n") as served:
        leaving = [RawClient(("127.0.0.1", served.http_port)) for _ in range(4)]
        for client in leaving:
            client.send(b"POST /rerank HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n" + b"x" * 2_000_000)
        wait_for(lambda: served.http("POST", "/rerank", body)[0] == 429, "their bytes are not held")
        for client in leaving:
            client.sock.close()
        wait_for(lambda: served.http("POST", "/rerank", body)[0] == 200, "the bytes of clients that left are still held")


@pytest.mark.parametrize("accepted, packed", [("gzip", True), ("br, GZIP ; q=0.5", True), ("gzip; q=0", False), ("gzip;q=0.0", False),
                                              ("x-gzip", False), ("", False)])  # fmt: skip
def test_replies_are_packed_for_who_accepts_it(client, accepted, packed):
    body = {"query": "q", "texts": ["x" * 1000] * 100, "return_text": True}
    client.send(request("POST", "/rerank", body, **({"accept_encoding": accepted} if accepted else {})))
    status, headers, reply = client.read()
    assert status == 200 and ("content-encoding" in headers) == packed and "accept-encoding" in headers["vary"]
    assert len(json.loads(gzip.decompress(reply) if packed else reply)) == 100


@pytest.mark.parametrize("encoding, pack", [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_packed_bodies(client, encoding, pack):
    plain = client.post("/rerank", BODY)
    packed = client.post("/rerank", pack(json.dumps(BODY).encode()), Content_Encoding=encoding)
    assert packed[0] == 200 and packed[2] == plain[2]


def test_a_damaged_packed_body_is_an_error_and_the_connection_lives(client):
    packed = gzip.compress(json.dumps(BODY).encode())
    for broken in [b"rubbish", packed[:-9], packed + b"more"]:
        status, _, body = client.post("/rerank", broken, Content_Encoding="gzip")
        assert status == 400 and b"compressed body" in body
    with_limit = client.post("/rerank", gzip.compress(b" " * 40_000_000), Content_Encoding="gzip")
    assert with_limit[0] == 413 and b"unpacked body is larger" in with_limit[2]
    assert client.post("/rerank", BODY)[0] == 200


def test_a_large_reply_is_packed_when_asked_for(client):
    body = {"query": "q", "texts": ["text " * 20] * 1000, "return_text": True}
    plain = client.post("/rerank", body)
    packed = client.post("/rerank", body, Accept_Encoding="gzip, deflate")
    assert packed[1]["content-encoding"] == "gzip" and "content-encoding" not in plain[1]
    assert gzip.decompress(packed[2]) == plain[2]
    assert "content-encoding" not in client.post("/rerank", body, Accept_Encoding="gzip;q=0")[1]


def test_ten_megabytes_and_ten_thousand_documents(client):
    body = {"query": "q", "texts": ["word " * 200 + str(i) for i in range(10_000)]}
    status, headers, reply = client.post("/rerank", body, Accept_Encoding="identity")
    assert status == 200 and len(json.loads(reply)) == 10_000
    body["texts"].append("one too many")
    status, _, reply = client.post("/rerank", body)
    assert status == 422 and b"at most 10000" in reply


@pytest.mark.parametrize("head", [b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                                  b"Content-Length: 5\r\nContent-Length: 6\r\n", b"Content-Length: -1\r\n",
                                  b"Content-Length: 99999999999999999999\r\n", b"Transfer-Encoding: chunked\r\nBad Header\r\n"])
def test_ambiguous_framing_is_refused(client, head):
    client.send(b"POST /rerank HTTP/1.1\r\nHost: x\r\n" + head + b"\r\nhello")
    reply = client.read()
    assert reply is None or reply[0] in (400, 413)
    assert client.at_end()


@pytest.mark.parametrize("fields", [{"Content_Type": "text/plain"}, {"Content_Type": "application/x-www-form-urlencoded"},
                                    {"Content_Type": "multipart/form-data; boundary=x"}, {"Content_Encoding": "br"}])
def test_types_that_foreign_pages_can_send_and_unknown_encodings_are_refused(client, fields):
    assert client.post("/rerank", BODY, **fields)[0] == 415
    assert client.at_end()  # the body was not read


def test_json_and_binary_types_are_taken(client):
    for content_type in ["application/json; charset=utf-8", "application/vnd.api+json", "application/octet-stream"]:
        assert client.post("/rerank", BODY, Content_Type=content_type)[0] == 200


@pytest.mark.parametrize("body", ['{"query":"q","texts":' + "[" * 60 + "1" + "]" * 60 + "}", '{"query":"q","texts":{"a":1}}',
                                  '{"query":"q","texts":[1e999]}', '{"query":null,"texts":["a"]}',
                                  '{"query":"q","texts":["\\ud800"]}', '{"query":"q","texts":["a"],"truncate":"yes"}',
                                  '{"query":"q","documents":["a"],"top_n":1e300}', '{"query":"q","documents":["a"],"top_n":-1}',
                                  '{"query":"q","documents":["a"],"top_n":9223372036854775808}',
                                  '{"query":"q","documents":["a"],"top_n":2.5}',
                                  '{"query":"q","documents":[{"text":[]}]}', '{"query":"q","documents":["a"],"overflow":"x"}',
                                  '{"query":"q","documents":["a"],"truncate_prompt_tokens":-2}', '"', "{}", "[]", "nul",
                                  '{"query":"q","texts":["a"]}}', "[" * 100_000, '{"a":' * 50_000])
def test_bodies_of_the_wrong_shape(client, body):
    status, _, reply = client.post("/rerank", body.encode())
    assert status in (400, 422) and json.loads(reply)["error"]


def test_of_repeated_keys_the_last_wins(client):
    assert client.post("/rerank", b'{"query":7,"query":"q","texts":["a"]}')[0] == 200


def test_request_ids_come_back(client):
    assert client.get("/ready", X_Request_Id="abc-1")[1]["x-request-id"] == "abc-1"
    made = client.get("/ready")[1]["x-request-id"]
    assert len(made) == 36 and made != client.get("/ready")[1]["x-request-id"]


def test_slow_and_half_open_clients_are_dropped(rerankd):
    with Served(rerankd, "--backend", "fake", config=LIMITS) as strict:
        address = ("127.0.0.1", strict.http_port)
        with RawClient(address) as header, RawClient(address) as body, RawClient(address) as idle:
            header.send(b"GET /ready HT")
            body.send(b"POST /rerank HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
            assert header.read()[0] == 408 and header.at_end()
            assert body.read()[0] == 408 and body.at_end()
            assert idle.at_end()
        with RawClient(address) as large:
            assert large.post("/rerank", {**BODY, "texts": ["x" * 300_000]})[0] == 413


def test_work_of_a_client_that_left_is_cancelled(rerankd, tmp_path):
    slow, log = "model:\n  device: 'fake:ms_per_batch=200'\n  threads: 1\n", tmp_path / "access.jsonl"
    with Served(rerankd, "--backend", "fake", "--access-log", str(log), config=slow) as served:
        body = {"query": "q", "texts": [f"text {i} " * 60 for i in range(200)]}
        for follow in [b"", request("GET", "/ready")]:  # alone, and with a pipelined request behind it
            before = cancelled(served)
            with RawClient(("127.0.0.1", served.http_port)) as client:
                client.send(request("POST", "/rerank", body) + follow)
                wait_for(lambda: in_flight(served) == 1, "the request never started")
            wait_for(lambda: cancelled(served) == before + 1, "the work was not cancelled")
        wait_for(lambda: log.read_text().count('"status":499') == 2, "the access log does not say that clients left")
        with RawClient(("127.0.0.1", served.http_port)) as client:
            assert client.post("/rerank", BODY)[0] == 200


def gauge(served, name):
    text = served.http("GET", "/metrics")[2].decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def cancelled(served):
    return gauge(served, "rerankd_cancelled_total")


def in_flight(served):
    return gauge(served, "rerankd_in_flight_requests")


def test_a_client_that_leaves_in_the_middle_of_a_reply(server):
    body = {"query": "q", "texts": ["text " * 400] * 5000, "return_text": True}  # 10 MB: more than the sockets hold
    client = RawClient(("127.0.0.1", server.http_port))
    client.send(request("POST", "/rerank", body))
    assert client.sock.recv(1000).startswith(b"HTTP/1.1 200")
    client.sock.close()
    assert server.http("POST", "/rerank", BODY)[0] == 200


def test_five_thousand_idle_connections(server):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 5000
    if hard != resource.RLIM_INFINITY and hard * 3 // 4 < wanted + 200:  # what the server takes of it
        pytest.skip(f"this machine allows {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted + 200), hard))
    idle = []
    try:
        for _ in range(wanted):
            sock = socket.create_connection(("127.0.0.1", server.http_port))
            idle.append(sock)
        assert server.http("POST", "/rerank", BODY)[0] == 200
        for sock in idle[::1000]:  # they are still served
            sock.sendall(request("GET", "/ready"))
            assert sock.recv(100).startswith(b"HTTP/1.1 200")
    finally:
        for sock in idle:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_drain_answers_what_runs(rerankd):
    slow = "model:\n  device: 'fake:ms_per_batch=100'\n  threads: 1\n"
    with Served(rerankd, "--backend", "fake", config=slow) as served:
        with RawClient(("127.0.0.1", served.http_port)) as client:
            client.send(request("POST", "/rerank", {"query": "q", "texts": [f"text {i} " * 60 for i in range(20)]}))
            wait_for(lambda: in_flight(served) == 1, "the request never started")
            served.terminate()
            wait_for(lambda: any("draining" in line for line in served.log), "SIGTERM was not heard")
            served.process.send_signal(signal.SIGHUP)  # a rotation of the logs just then
            status, headers, body = client.read()
            assert status == 200 and len(json.loads(body)) == 20 and headers["connection"] == "close"
            assert client.at_end()
        assert served.exit_code() == 0


def test_unix_socket(rerankd, tmp_path):
    path = tmp_path / "rerankd.sock"
    with Served(rerankd, "--backend", "fake", "--unix-socket", str(path)) as served:
        with RawClient(str(path)) as client:
            assert client.post("/rerank", BODY)[0] == 200
            assert client.get("/reset")[0] == 200  # who reaches the socket is on this machine
        served.terminate()
        assert served.exit_code() == 0
    assert not path.exists()
