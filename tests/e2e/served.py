"""Runs `rerankd serve` on free ports and speaks gRPC to it with stubs made from our .proto at test time."""
import http.client
import importlib
import json
import pathlib
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time

import grpc
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = ROOT / "tests/data/tiny-random"
READY = re.compile(r"rerankd ready(?: grpc=(\S+))?(?: http=(\S+))? model=(\S+) backend=(\S+)")


def load_stubs(folder, name="inference"):
    """(messages, services) of proto/<name>.proto."""
    failed = protoc.main(["protoc", f"-I{ROOT}/proto", f"--python_out={folder}", f"--grpc_python_out={folder}",
                          f"{name}.proto"])
    assert failed == 0, "protoc failed"
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(f"{name}_pb2"), importlib.import_module(f"{name}_pb2_grpc")
    finally:
        sys.path.remove(str(folder))


def small_disk(size):
    """For preexec_fn: no file of the process grows beyond `size` bytes; writing more fails as on a full disk."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def memory_peak_mb(served):
    """The most that the process ever had in memory."""
    text = pathlib.Path(f"/proc/{served.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", text).group(1)) // 1024


def wait_for(condition, what, seconds=60):
    """Until `condition()` holds; else fails with `what`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


class Served:
    """One server process. stderr is collected; the ready line gives the addresses."""

    def __init__(self, binary, *arguments, config="", model=TINY):
        self._folder = tempfile.TemporaryDirectory()
        path = pathlib.Path(self._folder.name) / "config.yaml"
        path.write_text(config)
        command = [binary, "serve", "--config", str(path), *arguments]
        command += ["--model", str(model)] if model else []  # None: those of the configuration
        for flag in ["--grpc-port", "--http-port"]:
            command += [flag, "0"] if flag not in arguments else []
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.log = []
        self.match = None
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.log.append(line)
            self.match = self.match or READY.search(line)
            if self.match:
                self._ready.set()
        self._ready.set()

    def __enter__(self):
        assert self._ready.wait(60) and self.match, "not ready:\n" + "".join(self.log)
        grpc_port, http_port = (address and int(address.rsplit(":", 1)[1]) for address in self.match.groups()[:2])
        self.grpc_address = f"127.0.0.1:{grpc_port}"
        self.http_port = http_port
        self.channel = grpc.insecure_channel(self.grpc_address)
        return self

    def __exit__(self, *_):
        self.channel.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
        self._folder.cleanup()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def exit_code(self):
        return self.process.wait(timeout=60)

    def http(self, method, path, body=None, **headers):
        """(status, header dict with lower-case names, body bytes)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=60)
        try:
            payload = json.dumps(body) if isinstance(body, (dict, list)) else body
            connection.request(method, path, payload, {"Content-Type": "application/json", **headers})
            reply = connection.getresponse()
            return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()
        finally:
            connection.close()

    def metrics(self):
        return json.loads(self.http("GET", "/metrics.json")[2])
