"""`rerankd load` over TLS: every protocol, and what it says of targets that it must not trust."""
import json
import os
import socket
import ssl
import subprocess
import threading

import pytest
from served import Served

HTTP_PROTOCOLS = ["tei", "jina", "cohere", "infinity", "kserve"]
GRPC_PROTOCOLS = ["rerankd", "tei-grpc", "kserve"]
REPLY = b'[{"index":0,"score":1}]'


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Authority:
    """A certificate authority in a folder, and the servers' certificates that it signed."""

    def __init__(self, folder, name):
        self.folder, self.pem = folder, folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                f"/CN={name}", "-keyout", self._key, "-out", self.pem)  # fmt: skip

    def certificate(self, name, hosts, days=2):
        """(certificate, key) for `hosts`, such as "DNS:localhost,IP:127.0.0.1"."""
        cert, key, request, extensions = (self.folder / f"{name}.{end}" for end in ("pem", "key", "csr", "ext"))
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
                "-keyout", key, "-out", request)  # fmt: skip
        extensions.write_text(f"subjectAltName={hosts}\n")
        openssl("x509", "-req", "-in", request, "-CA", self.pem, "-CAkey", self._key, "-CAcreateserial", "-days", days,
                "-extfile", extensions, "-out", cert)  # fmt: skip
        return cert, key


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def authority(folder):
    return Authority(folder, "authority")


@pytest.fixture(scope="module")
def stranger(folder):
    return Authority(folder, "stranger")


@pytest.fixture(scope="module")
def own(authority):
    return authority.certificate("own", "DNS:localhost,IP:127.0.0.1")


@pytest.fixture(scope="module")
def key(rerankd, folder):
    made = subprocess.run([rerankd, "key", "--name", "load", "--file", folder / "keys.jsonl"], check=True, capture_output=True)
    (folder / "key").write_bytes(made.stdout)
    return folder / "key"


@pytest.fixture(scope="module")
def server(rerankd, folder, own, key):
    with Served(rerankd, "--backend", "fake", "--tls-cert", str(own[0]), "--tls-key", str(own[1]), "--api-key-file",
                str(folder / "keys.jsonl")) as running:  # fmt: skip
        yield running


def load(rerankd, *arguments, environment=None):
    """(exit code, result or None, stderr) of `rerankd load --json`."""
    command = [rerankd, "load", "--warm-up", "0", "--json", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **(environment or {})})
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def url(server, kind, host="127.0.0.1"):
    return f"{kind}://{host}:{server.http_port if kind.startswith('http') else server.grpc_address.rsplit(':', 1)[1]}"


@pytest.mark.parametrize("kind, protocol", [*(("https", p) for p in HTTP_PROTOCOLS), *(("grpcs", p) for p in GRPC_PROTOCOLS)])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_every_protocol_is_spoken_over_tls(rerankd, server, authority, key, kind, protocol, host):
    code, result, errors = load(rerankd, "--target", url(server, kind, host), "--protocol", protocol, "--ca-file", authority.pem,
                                "--api-key-file", key, "--requests", 30, "--concurrency", 3, "--docs-per-request", 40,
                                "--model", server.match.group(3))  # fmt: skip
    assert code == 0, errors
    assert result["requests"] == {"sent": 30, "ok": 30, "failed": 0} and result["client"]["peak_in_flight"] == 3
    assert result["stages_ms"]["inference"]["count"] == 30


@pytest.mark.parametrize("kind, protocol, refusal", [("https", "tei", "HTTP 401"), ("grpcs", "rerankd", "UNAUTHENTICATED")])
def test_the_key_is_asked_for_over_tls(rerankd, server, authority, kind, protocol, refusal):
    code, result, errors = load(rerankd, "--target", url(server, kind), "--protocol", protocol, "--ca-file", authority.pem)
    assert code == 1 and result is None and refusal in errors


@pytest.mark.parametrize("kind, protocol", [("https", "tei"), ("grpcs", "rerankd")])
def test_without_a_ca_file_the_system_decides(rerankd, server, authority, key, kind, protocol):
    target = ["--target", url(server, kind), "--protocol", protocol, "--api-key-file", key, "--requests", 3]
    code, _, errors = load(rerankd, *target)
    assert code == 1 and "certificate" in errors and "--ca-file" in errors
    code, result, errors = load(rerankd, *target, environment={"SSL_CERT_FILE": str(authority.pem)})
    assert code == 0 and result["requests"]["ok"] == 3, errors


@pytest.mark.parametrize("kind, protocol, reason", [("https", "tei", "unable to get local issuer certificate"),
                                                    ("grpcs", "rerankd", "certificate verify failed")])  # fmt: skip
def test_a_certificate_of_another_authority_is_not_trusted(rerankd, server, stranger, key, kind, protocol, reason):
    code, result, errors = load(rerankd, "--target", url(server, kind), "--protocol", protocol, "--ca-file", stranger.pem,
                                "--api-key-file", key)  # fmt: skip
    assert code == 1 and result is None and reason in errors and "--ca-file" in errors and "127.0.0.1" in errors
    assert errors.startswith("rerankd: ") and errors.count("\n") == 1, errors  # nothing of a library's own log


@pytest.mark.parametrize("kind, protocol, reason", [("https", "tei", "hostname mismatch"), ("grpcs", "rerankd", "is not in peer certificate")])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_certificate_of_another_name_is_not_trusted(rerankd, authority, kind, protocol, reason, host):
    cert, private = authority.certificate("other", "DNS:other.example,IP:127.0.0.9")
    if kind == "https" and host == "127.0.0.1":
        reason = "IP address mismatch"
    with Served(rerankd, "--backend", "fake", "--tls-cert", str(cert), "--tls-key", str(private)) as server:
        code, result, errors = load(rerankd, "--target", url(server, kind, host), "--protocol", protocol, "--ca-file", authority.pem)
    assert code == 1 and result is None and reason in errors and host in errors


@pytest.mark.parametrize("kind, protocol", [("http", "tei"), ("grpc", "rerankd")])
def test_plain_to_a_port_with_tls_names_the_way(rerankd, server, kind, protocol):
    code, result, errors = load(rerankd, "--target", url(server, kind), "--protocol", protocol)
    assert code == 1 and result is None and f"{kind}s://" in errors and "connection failed" in errors


@pytest.mark.parametrize("kind, protocol", [("http", "tei"), ("grpc", "rerankd")])
def test_tls_to_a_plain_port_names_the_way(rerankd, authority, kind, protocol):
    with Served(rerankd, "--backend", "fake") as server:
        code, result, errors = load(rerankd, "--target", url(server, kind + "s"), "--protocol", protocol, "--ca-file", authority.pem,
                                    "--timeout-ms", 5000)  # fmt: skip
    assert code == 1 and result is None and f"{kind}://" in errors and "connection failed" in errors


@pytest.mark.parametrize("kind, protocol", [("https", "tei"), ("grpcs", "rerankd")])
def test_a_target_that_never_shakes_hands_is_a_timeout(rerankd, authority, kind, protocol):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = f"{kind}://127.0.0.1:{silent.getsockname()[1]}"
        code, _, errors = load(rerankd, "--target", target, "--protocol", protocol, "--ca-file", authority.pem, "--timeout-ms", 300)
    assert code == 1 and "timeout" in errors and target in errors


@pytest.mark.parametrize("kind, protocol", [("https", "tei"), ("grpcs", "rerankd")])
def test_a_ca_file_that_is_none_is_named(rerankd, folder, own, kind, protocol):
    target = ["--target", f"{kind}://127.0.0.1:1", "--protocol", protocol, "--ca-file"]
    code, _, errors = load(rerankd, *target, folder / "nowhere.pem")
    assert code == 1 and "--ca-file" in errors and "nowhere.pem" in errors
    code, _, errors = load(rerankd, *target, own[1])
    assert code == 2 and f"--ca-file {own[1]}: no certificate" in errors


class TlsTarget:
    """Answers the first request of each connection with `reply(number)`, after it was read whole, and closes."""

    def __init__(self, own, reply):
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*own)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._reply, self.bodies = reply, []
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                plain = self._listener.accept()[0]
            except OSError:
                return
            with self._context.wrap_socket(plain, server_side=True) as connection:
                head, _, body = self._read(connection, lambda data: b"\r\n\r\n" in data).partition(b"\r\n\r\n")
                size = int(head.lower().split(b"content-length: ")[1].split()[0])
                body = self._read(connection, lambda data: len(data) >= size, body)
                self.bodies.append(body)
                connection.sendall(self._reply(len(self.bodies) - 1))

    @staticmethod
    def _read(connection, whole, data=b""):
        data = bytearray(data)
        while not whole(data):
            data += connection.recv(1 << 16)
        return bytes(data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()


def http_reply(body):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def test_half_a_reply_over_tls_is_a_failed_connection(rerankd, own, authority):
    """The farewell of TLS is missing too: the connection just ends."""
    with TlsTarget(own, lambda number: http_reply(REPLY)[: None if number % 2 == 0 else -5]) as target:
        code, result, errors = load(rerankd, "--target", target.url, "--protocol", "tei", "--ca-file", authority.pem, "--requests", 10)
    assert code == 0, errors
    assert {o["outcome"]: o["count"] for o in result["outcomes"]} == {"ok": 5, "connection failed": 5}


def test_a_request_and_a_reply_larger_than_any_buffer_pass_whole(rerankd, own, authority, folder):
    text = "d" * (8 << 20)
    data = folder / "long.jsonl"
    data.write_text(json.dumps({"query": "q", "document": text}) + "\n")
    padded = b" " * (3 << 20) + REPLY
    with TlsTarget(own, lambda _: http_reply(padded)) as target:
        code, _, errors = load(rerankd, "--target", target.url, "--protocol", "tei", "--ca-file", authority.pem, "--requests", 2,
                               "--data", data)  # fmt: skip
        assert code == 0, errors
        assert [json.loads(body)["texts"] for body in target.bodies] == [[text]] * 3


def test_experiments_measure_targets_with_tls(rerankd, server, authority, key, tmp_path):
    plan = tmp_path / "tls.yaml"
    plan.write_text(f"""
experiment:
  targets: [tei {url(server, "https")}, rerankd {url(server, "grpcs")}]
  ca_file: {authority.pem}
  api_key_file: {key}
  batch_sizes: [2]
  benchmark_requests: 3
""")
    done = subprocess.run([rerankd, "experiment", "run", plan, "--out", tmp_path / "out"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    runs = json.loads((tmp_path / "out/tls_results.json").read_text())["runs"]
    assert len(runs) == 2 and all(len(run["cells"][0]["requests"]) == 3 for run in runs)
