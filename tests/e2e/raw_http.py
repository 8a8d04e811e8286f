"""A client that sends exactly the bytes that it is told to, over TCP or a Unix socket."""
import json
import socket


class RawClient:
    def __init__(self, address, timeout=20, wrap=lambda sock: sock):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        self.sock.connect(address)
        self.sock = wrap(self.sock)
        self._input = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def post(self, path, body, **fields):
        self.send(request("POST", path, body, **fields))
        return self.read()

    def get(self, path, **fields):
        self.send(request("GET", path, b"", **fields))
        return self.read()

    def read(self):
        """(status, headers with lower-case names, body); None once the connection is closed."""
        while b"\r\n\r\n" not in self._input:
            if not self._more():
                return None
        head, self._input = self._input.split(b"\r\n\r\n", 1)
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        size = int(headers.get("content-length", 0))
        while len(self._input) < size and self._more():
            pass
        body, self._input = self._input[:size], self._input[size:]
        return int(first.split()[1]), headers, body

    def at_end(self):
        return not self._input and not self._more()

    def _more(self):
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            return False
        self._input += data
        return bool(data)


def request(method, path, body=b"", **fields):
    if isinstance(body, (dict, list)):
        body = json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: x"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    if body:
        lines += ["Content-Type: application/json"] if "Content_Type" not in fields else []
        lines += [f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
