"""A real Prometheus server scrapes this one; its promtool finds nothing to complain about."""
import shutil
import subprocess

import pytest
from prometheus_server import Prometheus
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


@pytest.fixture(scope="module")
def prometheus(used, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prometheus")
    config = folder / "prometheus.yml"
    config.write_text(CONFIG.format(port=used.http_port))
    with Prometheus(folder, config) as running:
        yield running


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
