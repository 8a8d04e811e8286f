"""A real Prometheus server scrapes this one; its promtool finds nothing to complain about."""
import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request

import pytest
from served import Served
from texts import QUERY

CONFIG = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: rerankd
    honor_labels: true
    static_configs: [{{targets: ['127.0.0.1:{port}']}}]
"""


@pytest.fixture(scope="module")
def used(rerankd):
    with Served(rerankd, "--backend", "fake", "--set", "metrics.reference_names=true") as served:
        for _ in range(3):
            assert served.http("POST", "/rerank", {"query": QUERY, "texts": ["a", "b"]})[0] == 200
        for _ in range(2):
            served.http("GET", "/metrics.json")
        yield served


class Prometheus:
    def __init__(self, folder, target):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        config = folder / "prometheus.yml"
        config.write_text(CONFIG.format(port=target))
        self.log = open(folder / "log", "w+")
        self.process = subprocess.Popen(
            [shutil.which("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address={self.address}"], stdout=self.log, stderr=self.log)

    def query(self, expression):
        url = f"http://{self.address}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(url, timeout=10) as reply:
            return json.load(reply)["data"]["result"]

    def wait_for(self, expression):
        for _ in range(240):
            try:
                if result := self.query(expression):
                    return result
            except OSError:
                assert self.process.poll() is None, "prometheus ended"
            time.sleep(0.25)
        self.log.seek(0)
        raise AssertionError(f"no result of {expression}:\n{self.log.read()[-2000:]}")


@pytest.fixture(scope="module")
def prometheus(used, tmp_path_factory):
    if shutil.which("prometheus") is None:
        pytest.fail("no prometheus: tools/setup.sh heavy installs it")
    running = Prometheus(tmp_path_factory.mktemp("prometheus"), used.http_port)
    yield running
    running.process.terminate()
    running.process.wait(timeout=30)
    running.log.close()


def test_scrape_succeeds_and_counts(prometheus):
    assert prometheus.wait_for("up == 1")[0]["metric"]["job"] == "rerankd"
    [total] = prometheus.wait_for('rerankd_requests_total{route="/rerank"}')
    assert total["value"][1] == "3"
    [pairs] = prometheus.wait_for("request_count_total")
    assert pairs["value"][1] == "6"


def test_labels_arrive_as_documented(prometheus):
    [busy] = prometheus.wait_for("topk(1, rerankd_worker_busy_seconds_total)")
    assert {"model", "instance", "worker"} <= busy["metric"].keys() and busy["metric"]["instance"] == "0"


@pytest.mark.parametrize("expression", [
    "histogram_quantile(0.99, sum by (le, route) (rerankd_request_duration_seconds_bucket))",
    "sum by (model) (rate(rerankd_worker_busy_seconds_total[1m])) / count by (model) (rerankd_worker_busy_seconds_total)",
    "1 - sum(rerankd_worker_tokens_total) / sum(rerankd_worker_padded_tokens_total)",
])
def test_expressions_of_the_documentation_give_numbers(prometheus, expression):
    assert prometheus.wait_for(expression)


def test_promtool_has_no_complaint(used):
    # The reference system's names do not follow the conventions; ours do.
    text = used.http("GET", "/metrics")[2]
    check = subprocess.run([shutil.which("promtool"), "check", "metrics"], input=text, capture_output=True, timeout=60)
    complaints = [line for line in check.stderr.decode().splitlines() if line.startswith("rerankd_")]
    assert complaints == []
    assert b"error while linting" not in check.stderr
