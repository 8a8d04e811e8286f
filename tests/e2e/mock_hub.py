"""A Hugging Face hub on loopback: the API, `resolve` with redirects for large files, resume, and faults on demand;
and a proxy that knows names which no name server does."""
import hashlib
import http.server
import json
import select
import socket
import ssl
import threading
import urllib.parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = 10_000  # bytes; larger files are served by the "CDN", under another host name


def git_sha1(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class MockHub:
    """`repos` maps "org/name" to {file: content}. Faults are plain attributes, see __init__."""

    def __init__(self, repos, certificate=None):
        """certificate: a file with key and certificate of "localhost"; the hub then speaks TLS."""
        self.repos = repos
        self.renamed = {}  # old "org/name" -> new one, answered as a redirect within the hub
        self.stalled = threading.Event()  # set once a large transfer has stopped moving …
        self.stall_after = 0  # … after so many bytes (0: never)
        self.cut_after = 0  # the next large transfers end after so many bytes …
        self.cuts_left = 0  # … so many times
        self.corrupt = set()  # files whose content arrives damaged
        self.status = {}  # repo -> HTTP status of every request for it
        self.token = None  # when set, requests must bear it
        self.ignore_ranges = False
        self.requests = []  # (method, path, Range, Authorization)
        self._closing = threading.Event()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.port = self._server.server_address[1]
        self.scheme = "https" if certificate else "http"
        self.endpoint = f"https://localhost:{self.port}" if certificate else f"http://127.0.0.1:{self.port}"

    def close(self):
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def downloads(self, name):
        return [r for r in self.requests if r[0] == "GET" and r[1].endswith("/" + name)]

    def _handler(hub):  # noqa: N805: the class below needs both selves
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_HEAD(self):
                self.answer(body=False)

            def do_GET(self):
                self.answer(body=True)

            def reply(self, status, headers=None, content=b"", body=True):
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                if "Content-Length" not in (headers or {}):
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if body:
                    self.wfile.write(content)

            def answer(self, body):
                authorization = self.headers.get("Authorization")
                hub.requests.append((self.command, self.path, self.headers.get("Range"), authorization))
                parts = self.path.split("?")[0].strip("/").split("/")
                if parts[0] == "cdn":
                    return self.send_file("/".join(parts[1:3]), "/".join(parts[3:]), body, cdn=True)
                repo = "/".join(parts[2:4]) if parts[:2] == ["api", "models"] else "/".join(parts[:2])
                if repo in hub.renamed:
                    target = self.path.replace(repo, hub.renamed[repo], 1)
                    return self.reply(307, {"Location": target}, body=body)
                if hub.token and authorization != f"Bearer {hub.token}":
                    return self.reply(401, body=body)
                if repo in hub.status:
                    return self.reply(hub.status[repo], {"Retry-After": "7"}, body=body)
                if repo not in hub.repos:
                    return self.reply(404, {"X-Error-Code": "RepoNotFound"}, body=body)
                if parts[0] == "api":
                    siblings = [{"rfilename": name} for name in hub.repos[repo]]
                    info = {"id": repo, "sha": COMMIT, "siblings": siblings, "private": False, "tags": [], "downloads": 0}
                    return self.reply(200, {"Content-Type": "application/json"}, json.dumps(info).encode(), body)
                return self.send_file(repo, "/".join(parts[4:]), body, cdn=False)

            def send_file(self, repo, name, body, cdn):
                content = hub.repos.get(repo, {}).get(name)
                if content is None:
                    return self.reply(404, {"X-Error-Code": "EntryNotFound"}, body=body)
                if len(content) > LARGE and not cdn:
                    etag = hashlib.sha256(content).hexdigest()
                    headers = {"X-Repo-Commit": COMMIT, "X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(content)),
                               "Location": f"{hub.scheme}://localhost:{hub.port}/cdn/{repo}/{name}"}  # fmt: skip
                    return self.reply(302, headers, body=body)
                headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{git_sha1(content)}"'}
                if name in hub.corrupt:
                    content = content[:-1] + bytes([content[-1] ^ 1])
                wanted = self.headers.get("Range")
                status, start = 200, 0
                if wanted and not hub.ignore_ranges:
                    start = int(wanted.removeprefix("bytes=").split("-")[0])
                    status = 206
                    headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
                rest = content[start:]
                headers["Content-Length"] = str(len(rest))
                if cdn and body and hub.stall_after:
                    self.reply(status, headers, rest[: hub.stall_after])
                    self.wfile.flush()
                    hub.stalled.set()
                    hub._closing.wait(60)
                    self.close_connection = True
                    return None
                if cdn and body and hub.cuts_left > 0:
                    hub.cuts_left -= 1
                    self.reply(status, headers, rest[: hub.cut_after])
                    self.wfile.flush()
                    self.close_connection = True
                    return None
                return self.reply(status, headers, rest, body)

        return Handler


class Proxy:
    """An HTTP proxy on loopback, with CONNECT. `names` maps a host name to a local port; others are refused."""

    def __init__(self, names):
        self.requests = []  # (method, target)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler(names))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def _handler(proxy, names):  # noqa: N805: as above
        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_CONNECT(self):
                self.forward(self.path.split(":")[0], b"")

            def do_HEAD(self):
                url = urllib.parse.urlsplit(self.path)
                kept = [f"{name}: {value}" for name, value in self.headers.items() if name.lower() != "proxy-connection"]
                lines = [f"{self.command} {url.path or '/'} HTTP/1.1", *kept, "Connection: close", "", ""]
                self.forward(url.hostname, "\r\n".join(lines).encode())

            do_GET = do_HEAD

            def forward(self, host, first):
                """Passes bytes both ways until either side ends."""
                proxy.requests.append((self.command, self.path))
                if host not in names:
                    return self.send_error(502)
                with socket.create_connection(("127.0.0.1", names[host])) as target:
                    target.sendall(first)
                    if not first:
                        self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                    ends = {self.connection: target, target: self.connection}
                    while True:
                        ready = select.select(list(ends), [], [], 30)[0]
                        if not ready:
                            return None
                        for end in ready:
                            piece = end.recv(65536)
                            if not piece:
                                self.close_connection = True
                                return None
                            ends[end].sendall(piece)

        return Handler
