"""The dashboard over real sockets: its page, its policy, the event stream that feeds it."""
import base64
import gzip
import hashlib
import http.client
import json
import re
import socket
import time

import pytest

from served import ROOT, Served

WEB = ROOT / "web"
MAX_PAGES = 64  # DashboardFeed::kMaxSubscribers


@pytest.fixture(scope="module")
def served(rerankd):
    with Served(rerankd, config="name: the name\n") as server:
        yield server


class Events:
    """An open page: reads events as they come."""

    def __init__(self, server, headers=None):
        self._connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=20)
        self._connection.request("GET", "/events", headers=headers or {})
        self.reply = self._connection.getresponse()

    def next(self, name="snapshot"):
        while True:
            kind = self.reply.readline().decode().strip()
            data = self.reply.readline().decode().strip()
            assert self.reply.readline() == b"\n"
            if kind == f"event: {name}":
                return json.loads(data.removeprefix("data: "))

    def close(self):
        self.reply.close()
        self._connection.close()


def rank(server, documents):
    status, _, _ = server.http("POST", "/rerank", {"query": "q", "texts": documents})
    assert status == 200


def test_the_page_is_served_packed_and_plain(served):
    page = (WEB / "dist/index.html").read_bytes()
    status, headers, body = served.http("GET", "/dashboard")
    assert (status, headers["content-type"], body) == (200, "text/html; charset=utf-8", page)
    _, headers, body = served.http("GET", "/dashboard", **{"Accept-Encoding": "gzip, br"})
    assert headers["content-encoding"] == "gzip"
    assert gzip.decompress(body) == page
    assert len(body) < 150 << 10


def test_the_root_is_the_page_for_browsers_and_empty_for_clients_of_tei(served):
    status, headers, body = served.http("GET", "/", Accept="text/html,application/xhtml+xml")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8") and len(body) > 1000
    assert served.http("GET", "/", Accept="*/*")[::2] == (200, b"")


def test_the_policy_allows_this_script_and_nothing_else(served):
    _, headers, body = served.http("GET", "/dashboard")
    page = body.decode()
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    for tag, rule in [("script", "script-src"), ("style", "style-src")]:
        parts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        assert len(parts) == 1
        digest = base64.b64encode(hashlib.sha256(parts[0].encode()).digest()).decode()
        assert policy[rule] == f"'sha256-{digest}'"
    assert policy["default-src"] == "'none'" and policy["connect-src"] == "'self'"
    markup = re.sub(r"<(script|style)>.*?</\1>", "", page, flags=re.S)
    assert not re.search(r"\son\w+=|\sstyle=|https?://", markup), "inline handlers, styles or outside addresses"


def test_the_bundle_was_built_from_these_sources():
    """The digest that web/build.mjs records, made again: needs no node. `make test-heavy` builds and compares."""
    names = ["build.mjs", "index.html", "package-lock.json", "package.json", "tsconfig.json"]
    names = sorted(names + [f"src/{path.name}" for path in (WEB / "src").iterdir()])
    lines = [f"{name}:{hashlib.sha256((WEB / name).read_bytes()).hexdigest()}\n" for name in names]
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert (WEB / "dist/sources.sha256").read_text().strip() == digest, "web/dist is stale: run `npm run build` in web/"
    assert "resolved" not in (WEB / "package-lock.json").read_text()


def test_snapshots_count_what_was_ranked(served):
    page = Events(served)
    assert page.reply.headers["content-type"] == "text/event-stream"
    history = page.next("history")
    assert {len(column) for column in history.values()} == {len(history["timestamps"])}
    before = page.next()
    assert before["experiment_name"] == "the name"
    assert before["server"]["instances"][0]["name"] == "native-0"
    for _ in range(3):
        rank(served, ["a", "b", "c d e"])
    deadline = time.monotonic() + 10
    while (after := page.next())["query_count"] < before["query_count"] + 9 and time.monotonic() < deadline:
        pass
    assert after["query_count"] == before["query_count"] + 9
    assert after["count"] == before.get("count", 0) + 3
    done = [snapshot["server"]["instances"][0] for snapshot in (before, after)]
    assert done[1]["pairs"] - done[0]["pairs"] == 9
    assert done[1]["multiply_adds"] == after["rerankd"]["multiply_adds"] > done[0]["multiply_adds"]
    assert after["rerankd"]["peak_multiply_adds_per_s"] == before["rerankd"]["peak_multiply_adds_per_s"] > 0
    page.close()


def test_pages_are_bounded_and_leave_when_their_client_does(rerankd):
    with Served(rerankd) as server:
        pages = [Events(server) for _ in range(MAX_PAGES)]
        assert {page.reply.status for page in pages} == {200}
        status, headers, body = server.http("GET", "/events")
        assert status == 429 and int(headers["retry-after"]) > 0 and b"64 dashboards" in body
        for page in pages:
            page.close()
        deadline = time.monotonic() + 10
        while (page := Events(server)).reply.status != 200 and time.monotonic() < deadline:
            page.close()
            time.sleep(0.1)
        assert page.reply.status == 200
        page.close()


def test_a_page_that_reads_nothing_makes_nobody_wait(rerankd):
    with Served(rerankd) as server, socket.create_connection(("127.0.0.1", server.http_port)) as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        stuck.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        page = Events(server)
        for _ in range(3):
            page.next()
            rank(server, ["a"])
        page.close()


def test_draining_ends_the_stream(rerankd):
    with Served(rerankd) as server:
        page = Events(server)
        page.next()
        server.terminate()
        page.reply.read()  # until the server closes it
        assert server.exit_code() == 0
        page.close()
