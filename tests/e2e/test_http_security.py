"""API keys, TLS, cross-origin rules, the access log."""
import json
import pathlib
import signal
import ssl
import subprocess

import grpc
import pytest
from raw_http import RawClient
from served import Served, load_stubs, wait_for

BODY = {"query": "what is a cat", "texts": ["cats are animals", "the moon"]}


def make_key(rerankd, path, name, *flags):
    command = [rerankd, "key", "--name", name, "--file", str(path), *flags]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("security")


@pytest.fixture(scope="module")
def keys(rerankd, folder):
    path = folder / "keys.jsonl"
    return path, make_key(rerankd, path, "team"), make_key(rerankd, path, "boss", "--admin", "--weight", "2")


@pytest.fixture(scope="module")
def server(rerankd, folder, keys):
    cors = "server:\n  cors: [https://shop.example]\n"
    with Served(rerankd, "--backend", "fake", "--api-key-file", str(keys[0]), "--access-log", str(folder / "access.jsonl"),
                config=cors) as running:
        yield running


def test_the_file_holds_digests_only(keys):
    text = keys[0].read_text()
    assert keys[1] not in text and keys[0].stat().st_mode & 0o077 == 0
    assert [json.loads(line)["name"] for line in text.splitlines()] == ["team", "boss"]


def test_scoring_needs_a_key_and_health_does_not(server, keys):
    for wrong in [{}, bearer("rk-wrong"), {"Authorization": keys[1]}, {"Authorization": "Basic eDp4"}]:
        status, headers, body = server.http("POST", "/rerank", BODY, **wrong)
        assert status == 401 and headers["www-authenticate"] == "Bearer" and "API key" in json.loads(body)["error"]
    assert server.http("POST", "/rerank", BODY, **bearer(keys[1]))[0] == 200
    for path in ["/health", "/ping", "/ready", "/metrics", "/openapi.json", "/docs", "/v2/health/live", "/v2/health/ready"]:
        assert server.http("GET", path)[0] == 200, path
    for path in ["/info", "/v1/models", "/v2"]:
        assert server.http("GET", path)[0] == 401, path


def test_admin_routes_need_an_admin_key(server, keys):
    assert server.http("GET", "/reset")[0] == 401
    assert server.http("GET", "/reset", **bearer(keys[1]))[0] == 403
    assert server.http("GET", "/reset", **bearer(keys[2]))[0] == 200


def test_a_big_body_without_a_key_is_not_read(server):
    with RawClient(("127.0.0.1", server.http_port)) as client:
        client.send(b"POST /rerank HTTP/1.1\r\nHost: x\r\nContent-Length: 30000000\r\n\r\n")
        assert client.read()[0] == 401


def test_sighup_exchanges_keys(rerankd, tmp_path):
    path = tmp_path / "keys.jsonl"
    old = make_key(rerankd, path, "old")
    with Served(rerankd, "--backend", "fake", "--api-key-file", str(path)) as served:
        path.write_text("rubbish\n")
        served.process.send_signal(signal.SIGHUP)
        wait_for(lambda: any("not reloaded" in line for line in served.log), "no error was logged")
        assert served.http("POST", "/rerank", BODY, **bearer(old))[0] == 200
        path.write_text("")
        new = make_key(rerankd, path, "new")
        served.process.send_signal(signal.SIGHUP)
        wait_for(lambda: served.http("POST", "/rerank", BODY, **bearer(new))[0] == 200, "the new key is refused")
        assert served.http("POST", "/rerank", BODY, **bearer(old))[0] == 401


def test_sighup_exchanges_keys_of_grpc_too(rerankd, tmp_path):
    messages, services = load_stubs(tmp_path)
    path = tmp_path / "keys.jsonl"
    old = make_key(rerankd, path, "old")
    request = messages.InferRequest(pairs=[messages.QueryDocPair(query="q", document="d")])
    with Served(rerankd, "--backend", "fake", "--api-key-file", str(path)) as served:
        infer = services.InferenceServiceStub(served.channel).Infer

        def code(key):
            call = infer.future(request, timeout=20, metadata=[("authorization", f"Bearer {key}")])
            return call.code()

        assert code(old) == grpc.StatusCode.OK
        path.write_text("")
        new = make_key(rerankd, path, "new")
        assert code(new) == grpc.StatusCode.UNAUTHENTICATED  # not asked to read it yet
        served.process.send_signal(signal.SIGHUP)
        wait_for(lambda: code(new) == grpc.StatusCode.OK, "the new key is refused")
        assert code(old) == grpc.StatusCode.UNAUTHENTICATED


def test_a_broken_key_file_stops_the_start(rerankd, tmp_path):
    path = tmp_path / "keys.jsonl"
    path.write_text('{"name": "x"}\n')
    done = subprocess.run([rerankd, "serve", "--backend", "fake", "--http-port", "0", "--grpc-port", "0", "--model",
                           str(pathlib.Path(__file__).parents[1] / "data/tiny-random"), "--api-key-file", str(path)],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and f"{path}:1: `sha256` must be there" in done.stderr


def test_an_open_address_without_keys_is_warned_about(rerankd):
    with Served(rerankd, "--backend", "fake") as served:
        wait_for(lambda: any("--api-key-file" in line for line in served.log), "no warning")
    with Served(rerankd, "--backend", "fake", "--host", "127.0.0.1") as served:
        assert served.http("GET", "/ready")[0] == 200
        assert not any("--api-key-file" in line for line in served.log)


def test_pages_of_an_allowed_origin_may_send_authorization(server, keys):
    ask = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST",
           "Access-Control-Request-Headers": "authorization, content-type"}
    status, headers, _ = server.http("OPTIONS", "/v1/rerank", **ask)
    assert status == 204 and headers["access-control-allow-origin"] == "https://shop.example"
    assert "POST" in headers["access-control-allow-methods"]
    assert headers["access-control-allow-headers"] == "authorization, content-type"
    _, headers, _ = server.http("POST", "/rerank", BODY, Origin="https://shop.example", **bearer(keys[1]))
    assert headers["access-control-allow-origin"] == "https://shop.example"
    ask["Origin"] = "https://evil.example"
    status, headers, _ = server.http("OPTIONS", "/v1/rerank", **ask)
    assert status == 405 and "access-control-allow-origin" not in headers


def test_foreign_pages_cannot_reset(rerankd):
    with Served(rerankd, "--backend", "fake") as served:
        assert served.http("GET", "/reset")[0] == 200
        assert served.http("GET", "/reset", **{"Sec-Fetch-Site": "cross-site"})[0] == 403
        assert served.http("GET", "/reset", Origin="https://evil.example")[0] == 403


def test_access_log(server, folder, keys):
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    server.http("POST", "/rerank?secret=1", BODY, traceparent=trace, **{"X-Request-Id": "find-me"}, **bearer(keys[1]))
    path = folder / "access.jsonl"
    wait_for(lambda: "find-me" in path.read_text(), "no line in the access log")
    line = next(json.loads(text) for text in path.read_text().splitlines() if "find-me" in text)
    assert line["route"] == "/rerank" and line["status"] == 200 and line["caller"] == "team"
    assert line["traceparent"] == trace and line["documents"] == 2 and line["tokens"] > 2
    assert line["total_ms"] > 0 and line["peer"].startswith("127.0.0.1:")
    assert "cats" not in path.read_text() and "secret" not in path.read_text()


@pytest.fixture(scope="module")
def certificate(folder):
    def make(name):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "1", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                        "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True)
    make("first")
    return make


def subject(address, cafile):
    context = ssl.create_default_context(cafile=cafile)
    with RawClient(address, wrap=lambda sock: context.wrap_socket(sock, server_hostname="localhost")) as client:
        assert client.post("/rerank", BODY)[0] == 200
        assert client.get("/ready")[0] == 200
        return dict(part[0] for part in client.sock.getpeercert()["subject"])["commonName"]


def test_tls_and_its_reload(rerankd, folder, certificate):
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    with Served(rerankd, "--backend", "fake", "--tls-cert", cert, "--tls-key", key) as served:
        address = ("127.0.0.1", served.http_port)
        assert subject(address, cert) == "first"
        with RawClient(address) as plain:  # not TLS: closed, not answered
            plain.send(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")
            assert plain.read() is None
        certificate("second")
        served.process.send_signal(signal.SIGHUP)
        wait_for(lambda: any("reloaded" in line for line in served.log), "no reload")
        assert subject(address, cert) == "second"


def test_grpc_serves_over_tls_and_takes_a_new_certificate(rerankd, folder, certificate):
    """gRPC looks at its files by itself, every five seconds (docs/security.md)."""
    certificate("first")
    cert, key = folder / "cert.pem", folder / "key.pem"
    messages, services = load_stubs(folder)

    def answers(trusted):
        # A channel without options would share the connection of the one before it.
        with grpc.secure_channel(served.grpc_address, grpc.ssl_channel_credentials(trusted),
                                 [("grpc.use_local_subchannel_pool", 1)]) as channel:
            pair = messages.QueryDocPair(query="what is a cat", document="cats are animals")
            try:
                reply = services.InferenceServiceStub(channel).Infer(messages.InferRequest(pairs=[pair]), timeout=20)
                return len(reply.scores) == 1
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.UNAVAILABLE, error
                return False

    with Served(rerankd, "--backend", "fake", "--tls-cert", str(cert), "--tls-key", str(key)) as served:
        first = cert.read_bytes()
        assert answers(first)
        certificate("second")
        second = cert.read_bytes()
        wait_for(lambda: answers(second), "the new certificate was never used", seconds=30)
        assert not answers(first)
