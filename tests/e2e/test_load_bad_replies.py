"""`rerankd load` against targets that answer nonsense, in every protocol over HTTP and gRPC. In each of them the first
request tells, so that nothing is measured; test_load.py has targets that turn bad later."""
import concurrent.futures
import http.server
import json
import math
import socket
import struct
import subprocess
import threading

import grpc
import pytest
from served import load_stubs

HTTP_PROTOCOLS = ["tei", "jina", "cohere", "infinity", "kserve"]
GRPC_PROTOCOLS = ["rerankd", "tei-grpc", "kserve"]


def fails(rerankd, target, protocol, *messages):
    command = [rerankd, "load", "--warm-up", "0", "--json", "--target", target, "--protocol", protocol, "--docs-per-request", "2",
               "--timeout-ms", "20000"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stdout == "", (done.returncode, done.stdout, done.stderr)
    assert "the first request failed" in done.stderr
    for message in messages:
        assert message in done.stderr


def http_body(protocol, scores):
    """What a target of this protocol answers, as JSON; a NaN as many writers put it."""
    if protocol == "kserve":
        return json.dumps({"outputs": [{"name": "scores", "datatype": "FP32", "shape": [len(scores)], "data": scores}]}).encode()
    name = "score" if protocol == "tei" else "relevance_score"
    ranks = [{"index": index, name: score} for index, score in enumerate(scores)]
    return json.dumps(ranks if protocol == "tei" else {"results": ranks}).encode()


@pytest.fixture(scope="module")
def http_target():
    """A target that answers with what is set as its `reply`: (status, length that it announces or None, body)."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            status, length, body = self.server.reply
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = length is not None

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        running.url = f"http://127.0.0.1:{running.server_port}"
        yield running
        running.shutdown()


@pytest.mark.parametrize("protocol", HTTP_PROTOCOLS)
def test_bad_replies_over_http(rerankd, http_target, protocol):
    body = http_body(protocol, [0.5, 0.25])
    http_target.reply = (200, None, body)
    measured = subprocess.run([rerankd, "load", "--warm-up", "0", "--target", http_target.url, "--protocol", protocol,
                               "--docs-per-request", "2", "--requests", "3"], capture_output=True, text=True)  # fmt: skip
    assert measured.returncode == 0, measured.stderr  # so that what is bad below is the only thing that is
    for reply, *messages in [
        ((200, None, http_body(protocol, [0.5, math.nan])), "score not finite"),
        ((200, None, http_body(protocol, [0.5, None])), "score not finite"),
        ((200, None, http_body(protocol, [0.5])), "wrong number of scores", "1 scores for 2 documents"),
        ((200, None, http_body(protocol, [0.5] * 3)), "wrong number of scores", "3 scores for 2 documents"),
        ((200, None, http_body(protocol, [])), "wrong number of scores", "0 scores for 2 documents"),
        ((200, None, http_body(protocol, ["high", 0.5])), "garbage"),
        ((200, None, b"<html>busy</html>"), "garbage"),
        ((200, None, b""), "garbage"),
        ((200, None, b"{}"), "garbage"),
        ((200, None, body[:-2]), "garbage"),
        ((200, len(body), body[:-2]), "connection failed", "partial message"),
        ((500, None, b"broke"), "HTTP 500: broke"),
        ((503, None, b"starting"), "HTTP 503: starting"),
    ]:
        http_target.reply = reply
        fails(rerankd, http_target.url, protocol, *messages)


@pytest.fixture(scope="module")
def messages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stubs")
    return {name: load_stubs(folder, name)[0] for name in ("inference", "tei", "open_inference")}


def grpc_body(messages, protocol, scores):
    if protocol == "rerankd":
        reply = messages["inference"].InferResponse(scores=scores, num_pairs=len(scores), status_code=200)
    elif protocol == "tei-grpc":
        tei = messages["tei"]
        reply = tei.RerankResponse(ranks=[tei.Rank(index=i, score=score) for i, score in enumerate(scores)])
    else:
        reply = messages["open_inference"].ModelInferResponse(raw_output_contents=[struct.pack(f"<{len(scores)}f", *scores)])
    return reply.SerializeToString()


@pytest.fixture(scope="module")
def grpc_target():
    """A target that answers every call with what is set as its `reply`: bytes of a message, or (code, details)."""

    class Handler(grpc.GenericRpcHandler):
        reply = b""

        def service(self, _):
            return grpc.unary_unary_rpc_method_handler(self.answer)  # no serialiser: bytes as they are

        def answer(self, _, context):
            return self.reply if isinstance(self.reply, bytes) else context.abort(*self.reply)

    handler = Handler()
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2), handlers=[handler])
    handler.url = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield handler
    server.stop(None)


@pytest.mark.parametrize("protocol", GRPC_PROTOCOLS)
def test_bad_replies_over_grpc(rerankd, grpc_target, messages, protocol):
    url = f"grpc://{grpc_target.url}"
    grpc_target.reply = grpc_body(messages, protocol, [0.5, 0.25])
    measured = subprocess.run([rerankd, "load", "--warm-up", "0", "--target", url, "--protocol", protocol,
                               "--docs-per-request", "2", "--requests", "3"], capture_output=True, text=True)  # fmt: skip
    assert measured.returncode == 0, measured.stderr
    for reply, *wanted in [
        (grpc_body(messages, protocol, [0.5, math.nan]), "score not finite", "a score is nan"),
        (grpc_body(messages, protocol, [-math.inf, 0.5]), "score not finite", "a score is -inf"),
        (grpc_body(messages, protocol, [0.5]), "wrong number of scores", "1 scores for 2 pairs"),
        (grpc_body(messages, protocol, [0.5] * 3), "wrong number of scores", "3 scores for 2 pairs"),
        (b"", "wrong number of scores", "0 scores for 2 pairs"),
        (b"\xff" * 40, "garbage", "not a message of the protocol"),
        (grpc_body(messages, protocol, [0.5, 0.25])[:-1], "garbage", "not a message of the protocol"),
        ((grpc.StatusCode.INTERNAL, "broke"), "INTERNAL: broke"),
        ((grpc.StatusCode.UNAVAILABLE, "starting"), "UNAVAILABLE: starting"),
        ((grpc.StatusCode.UNIMPLEMENTED, "not here"), "UNIMPLEMENTED: not here"),
    ]:
        grpc_target.reply = reply
        fails(rerankd, url, protocol, *wanted)


def test_scores_of_half_a_number_are_garbage(rerankd, grpc_target, messages):
    reply = messages["open_inference"].ModelInferResponse(raw_output_contents=[b"\0" * 10])
    grpc_target.reply = reply.SerializeToString()
    fails(rerankd, f"grpc://{grpc_target.url}", "kserve", "garbage", "10 bytes of FP32 scores")


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


class HalfTarget:
    """HTTP/2 by hand: takes a call, begins a reply and, mostly, closes the connection."""

    HEADERS = b"\x88" + b"\0\x0ccontent-type\x10application/grpc"  # :status 200

    def __init__(self, reply, keep=False):
        """`reply`: bytes for the call on a stream. `keep`: the connection stays open for further calls."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._reply, self._keep, self.calls = reply, keep, 0
        self.url = f"grpc://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            with connection, connection.makefile("rb") as stream:
                connection.sendall(frame(4, 0, 0, b""))  # SETTINGS
                stream.read(24)  # the preface
                while head := stream.read(9):
                    kind, flags, number = head[3], head[4], int.from_bytes(head[5:], "big")
                    stream.read(int.from_bytes(head[:3], "big"))
                    if kind != 0 or not flags & 1:  # until DATA with END_STREAM
                        continue
                    self.calls += 1
                    connection.sendall(self._reply(number))
                    if not self._keep:
                        connection.shutdown(socket.SHUT_WR)
                        break

    def close(self):
        self._listener.close()


@pytest.mark.parametrize("protocol", GRPC_PROTOCOLS)
def test_half_replies_over_grpc(rerankd, protocol):
    head = frame(1, 4, 1, HalfTarget.HEADERS)
    for reply in [b"", head, head + frame(0, 0, 1, b"\0\0\0\0\x40half a message")]:
        target = HalfTarget(lambda _, reply=reply: reply)
        fails(rerankd, target.url, protocol, "connection failed", "UNAVAILABLE")
        target.close()


def test_a_call_that_was_not_looked_at_is_not_sent_again(rerankd):
    """GOAWAY with a last stream of 0 says so; gRPC by itself would try anew, hiding the failure."""
    target = HalfTarget(lambda _: frame(7, 0, 0, struct.pack(">II", 0, 0)), keep=True)
    fails(rerankd, target.url, "rerankd", "connection failed", "UNAVAILABLE")
    target.close()
    assert target.calls == 1


def test_an_address_of_ipv6_is_written_in_brackets(rerankd, http_target):
    """In the Host header (RFC 9110) and in errors. The reply is bad only so that one request is enough."""
    hosts = []

    class Six(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6

    class Handler(http_target.RequestHandlerClass):
        def do_POST(self):
            hosts.append(self.headers["Host"])
            super().do_POST()

    with Six(("::1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        authority = f"[::1]:{running.server_port}"
        running.reply = (500, None, b"broke")
        fails(rerankd, f"http://{authority}", "tei", "HTTP 500")
        running.shutdown()
    assert hosts == [authority]
    fails(rerankd, f"http://{authority}", "tei", f"{authority}: Connection refused")


def test_a_grpc_target_that_speaks_http_is_a_failed_connection(rerankd, http_target):
    target = http_target.url.removeprefix("http://")
    fails(rerankd, target, "rerankd", "connection failed", target)
