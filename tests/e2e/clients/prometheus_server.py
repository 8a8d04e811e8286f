"""A real Prometheus server on a free port."""
import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request

import pytest


class Prometheus:
    """Runs until the end of the block. `config`: path of its configuration."""

    def __init__(self, folder, config):
        if shutil.which("prometheus") is None:
            pytest.fail("no prometheus: tools/setup.sh heavy installs it")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.log = open(folder / "log", "w+")
        self.process = subprocess.Popen(
            [shutil.which("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address={self.address}"], stdout=self.log, stderr=self.log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=30)
        self.log.close()

    def query(self, expression):
        url = f"http://{self.address}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(url, timeout=10) as reply:
            return json.load(reply)["data"]["result"]

    def wait_for(self, expression, accept=bool):
        """The first result that `accept` takes; at most a minute."""
        for _ in range(240):
            try:
                if accept(result := self.query(expression)):
                    return result
            except OSError:
                assert self.process.poll() is None, "prometheus ended"
            time.sleep(0.25)
        self.log.seek(0)
        raise AssertionError(f"no result of {expression}:\n{self.log.read()[-2000:]}")
