"""deploy/: a real Prometheus with our configuration evaluates every rule and every query of the Grafana dashboard on a loaded
server, and none is empty; compose files, rules and the dashboard are valid by the schemas of those who read them."""
import json
import math
import re
import shutil
import subprocess
import sys
import threading

import pytest
import yaml
from prometheus_server import Prometheus
from served import ROOT, Served

DEPLOY = ROOT / "deploy"
RULES = [rule for path in sorted((DEPLOY / "prometheus/rules").glob("*.yml"))
         for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]  # fmt: skip
DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/rerankd.json").read_text())
QUERIES = [(f"{panel['title']} {target['refId']}", target["expr"])
           for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]  # fmt: skip
LIMIT = re.compile(r"^(.*) (?:==|>|<) [\d.]+$", re.S)


@pytest.fixture(scope="module")
def loaded(rerankd):
    """A server that answers, refuses bad requests and truncates while the module runs."""
    config = "model: {max_length: 16, precision: fp32}\ncache: {scores: 1}\n"
    with Served(rerankd, "--backend", "native", config=config) as served:
        stop = threading.Event()

        def send():
            number = 0
            while not stop.wait(0.02):
                number += 1
                texts = [f"text {number} {i} " + "word " * (i % 30) for i in range(40)]
                assert served.http("POST", "/rerank", {"query": f"question {number % 3}", "texts": texts})[0] == 200
                served.http("POST", "/v1/rerank", {"query": "q", "documents": ["a", "a", "b"]})
                served.http("POST", "/rerank", {"query": "q"})

        sender = threading.Thread(target=send)
        sender.start()
        yield served
        stop.set()
        sender.join()


@pytest.fixture(scope="module")
def prometheus(loaded, tmp_path_factory):
    folder = tmp_path_factory.mktemp("monitoring")
    shutil.copytree(DEPLOY / "prometheus", folder / "etc")
    (folder / "etc/targets/rerankd.yml").write_text(f'- targets: ["127.0.0.1:{loaded.http_port}"]\n')
    with Prometheus(folder, folder / "etc/prometheus.yml") as running:
        running.wait_for("rate(rerankd_requests_total[5s])")
        yield running


def numbers(result):
    return [float(sample["value"][1]) for sample in result]


def gives_numbers(prometheus, expression):
    """Waits until the expression has a value that is a number; returns the values."""
    return numbers(prometheus.wait_for(expression, lambda result: any(map(math.isfinite, numbers(result)))))


@pytest.mark.parametrize("title, query", QUERIES, ids=[title for title, _ in QUERIES])
def test_every_query_of_the_dashboard_gives_numbers(prometheus, title, query):
    query = query.replace("$__rate_interval", "10s").replace("$model", ".*")
    assert "$" not in query, "a variable that this test does not know"
    assert gives_numbers(prometheus, query)


@pytest.mark.parametrize("rule", RULES, ids=[rule.get("record") or rule["alert"] for rule in RULES])
def test_every_rule_has_a_value(prometheus, rule):
    if "record" in rule:
        assert gives_numbers(prometheus, rule["record"])  # evaluated by the server itself
        return
    value = LIMIT.match(rule["expr"])
    assert value, f"{rule['alert']}: not of the form 'value > limit'"
    assert gives_numbers(prometheus, value.group(1))
    assert {"summary", "description"} == rule["annotations"].keys() and "severity" in rule["labels"]


def test_no_rule_fails_and_the_server_is_not_down(prometheus):
    failures = numbers(prometheus.wait_for("sum(prometheus_rule_evaluation_failures_total) or vector(0)"))
    assert failures == [0]
    assert prometheus.query('ALERTS{alertname="RerankdDown"}') == []


def test_numbers_agree_with_what_was_sent(prometheus):
    """40 + 3 pairs with every pair of requests: the dashboard's rates say the same."""
    [ratio] = gives_numbers(prometheus, 'sum(rate(rerankd_pairs_total[10s])) / sum(rate(rerankd_requests_total[10s]))')
    assert ratio == pytest.approx(21.5, rel=0.2)
    [duplicates] = gives_numbers(prometheus, "sum(rate(rerankd_duplicate_documents_total[10s]))")
    assert duplicates > 0


@pytest.mark.parametrize("arguments", [
    ["check", "config", "prometheus.yml"], ["check", "rules", "rules/recording.yml", "rules/alerts.yml"],
    ["test", "rules", "rules_test.yml"],
])
def test_promtool_accepts(arguments):
    done = subprocess.run([shutil.which("promtool"), *arguments], cwd=DEPLOY / "prometheus", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["compose.yaml", "compose.monitoring.yaml"])
def test_compose_files_are_valid(name):
    done = subprocess.run([sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / name],
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_is_one_that_grafana_reads():
    """Grafana's own types, made from its schemas, keep all of it: nothing is misspelt or in the wrong place."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    read = json.loads(JSONEncoder().encode(Dashboard.from_json(DASHBOARD)))
    assert lost(DASHBOARD, read) == []


def lost(ours, theirs, path="$"):
    """Paths of what `ours` holds and `theirs` does not."""
    if isinstance(ours, dict):
        missing = [f"{path}.{key}" for key in ours if key not in theirs]
        return missing + [p for key in ours if key in theirs for p in lost(ours[key], theirs[key], f"{path}.{key}")]
    if isinstance(ours, list):
        if len(ours) != len(theirs):
            return [path]
        return [p for i, (a, b) in enumerate(zip(ours, theirs)) for p in lost(a, b, f"{path}[{i}]")]
    return [] if ours == theirs else [path]


def test_provisioning_names_the_data_source_of_the_dashboard():
    [source] = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"] if "datasource" in panel} == {source["uid"]}
