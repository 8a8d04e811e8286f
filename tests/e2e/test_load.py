"""`rerankd load` against a real server in every protocol, against bad targets, and its log and replay."""
import csv
import hashlib
import http.server
import json
import math
import re
import signal
import socket
import statistics
import subprocess
import threading
import time

import pytest
from hdrh.histogram import HdrHistogram
from served import Served, small_disk

HTTP_PROTOCOLS = ["tei", "jina", "cohere", "infinity"]


@pytest.fixture(scope="module")
def server(rerankd):
    with Served(rerankd, "--backend", "fake") as running:
        yield running


def load(rerankd, *arguments, check=True):
    """Runs `rerankd load --json`; returns (exit code, result or None, stderr)."""
    command = [rerankd, "load", "--warm-up", "0", "--json", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert not check or done.returncode == 0, done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def address(server, protocol):
    return server.grpc_address if protocol in ("rerankd", "tei-grpc") else f"http://127.0.0.1:{server.http_port}"


@pytest.mark.parametrize("target", ["http", "grpc"])
def test_kserve_over_both(rerankd, server, target):
    name = json.loads(server.http("GET", "/v1/models")[2])["data"][0]["id"]
    assert "/" in name  # a folder, escaped in a path
    where = f"grpc://{server.grpc_address}" if target == "grpc" else address(server, "kserve")
    _, result, _ = load(rerankd, "--target", where, "--protocol", "kserve", "--model", name, "--requests", 20, "--docs-per-request", 3)
    assert result["requests"] == {"sent": 20, "ok": 20, "failed": 0}


@pytest.mark.parametrize("protocol", ["rerankd", "tei-grpc", *HTTP_PROTOCOLS])
def test_closed_loop_sends_what_was_asked_and_the_server_saw_it(rerankd, server, protocol):
    before = server.metrics().get("query_count", 0)
    _, result, _ = load(rerankd, "--target", address(server, protocol), "--protocol", protocol, "--concurrency", 3,
                        "--requests", 20, "--docs-per-request", 7)  # fmt: skip
    assert result["requests"] == {"sent": 20, "ok": 20, "failed": 0}
    assert result["outcomes"][0]["count"] == 20 and result["load"]["mode"] == "closed"
    assert result["client"]["peak_in_flight"] == 3
    assert server.metrics()["query_count"] - before == 21 * 7  # one request of warm-up
    assert result["stages_ms"]["inference"]["count"] == 20


@pytest.mark.parametrize("protocol", ["rerankd", "tei"])
def test_open_loop_sends_at_the_times_of_its_log_and_replays_it(rerankd, server, protocol, tmp_path):
    target = ["--target", address(server, protocol), "--protocol", protocol]
    first, again = tmp_path / "first.jsonl", tmp_path / "again.csv"
    _, result, _ = load(rerankd, *target, "--rate", 200, "--requests", 60, "--seed", 5, "--log", first)
    assert result["load"] == {"mode": "open, poisson", "docs_per_request": 1, "rate": 200.0, "seed": 5}
    lines = sorted(map(json.loads, first.read_text().splitlines()), key=lambda line: line["index"])
    assert [line["index"] for line in lines] == list(range(60))
    gaps = [b["intended_ms"] - a["intended_ms"] for a, b in zip(lines, lines[1:])]
    assert 2 < sum(gaps) / len(gaps) < 10 and max(gaps) > 2 * min(gaps)
    assert all(line["sent_ms"] >= line["intended_ms"] and line["outcome"] == "ok" for line in lines)

    _, replayed, _ = load(rerankd, *target, "--replay", first, "--log", again)
    assert replayed["requests"]["ok"] == 60 and replayed["load"]["mode"] == "open, replay"
    rows = sorted(csv.DictReader(again.open()), key=lambda row: int(row["index"]))
    assert [(float(r["intended_ms"]), r["first"]) for r in rows] == [
        (pytest.approx(line["intended_ms"], abs=1e-3), str(line["first"])) for line in lines]


def test_a_replay_on_other_data_is_an_error_that_names_both(rerankd, server, tmp_path):
    target = ["--target", address(server, "tei"), "--protocol", "tei"]
    log, data = tmp_path / "log.csv", tmp_path / "other.tsv"
    data.write_text("".join(f"q\td{i}\n" for i in range(100)))
    _, result, _ = load(rerankd, *target, "--rate", 500, "--requests", 20, "--log", log)
    recorded, other = result["data"]["sha256"], hashlib.sha256(data.read_bytes()).hexdigest()
    rows = list(csv.DictReader(log.open()))
    assert len(rows) == 20 and {row["data_sha256"] for row in rows} == {recorded}
    code, result, errors = load(rerankd, *target, "--replay", log, "--data", data, check=False)
    assert code == 2 and result is None and recorded in errors and other in errors and "--data" in errors
    with log.open("w") as out:  # the way out that the error names
        writer = csv.DictWriter(out, [name for name in rows[0] if name != "data_sha256"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    _, result, _ = load(rerankd, *target, "--replay", log, "--data", data)
    assert result["requests"]["ok"] == 20 and result["data"]["sha256"] == other


def test_latency_is_counted_from_the_intended_time(rerankd, server):
    """More is due than one request in flight can carry: the waiting shows, in the latency and in a warning."""
    _, result, errors = load(rerankd, "--target", address(server, "tei"), "--protocol", "tei", "--rate", 1_000_000,
                             "--arrivals", "constant", "--requests", 300, "--max-in-flight", 1)  # fmt: skip
    assert result["client"]["held_by_max_in_flight"] >= 298
    assert result["latency_ms"]["max"] >= 0.95 * result["seconds"] * 1000
    assert "sent late because 1 were unanswered" in errors


def test_slo_decides_the_exit_code(rerankd, server):
    target = ["--target", address(server, "tei"), "--protocol", "tei", "--requests", 20]
    assert load(rerankd, *target, "--slo-ms", 10_000)[1]["slo"]["met"] is True
    code, result, _ = load(rerankd, *target, "--slo-ms", 0.0001, check=False)
    assert code == 1 and result["slo"]["met"] is False and result["goodput_requests_per_s"] == 0


def test_the_highest_rate_within_a_limit_is_found(rerankd, server, tmp_path):
    target = ["--target", address(server, "tei"), "--protocol", "tei", "--docs-per-request", 3, "--duration", 0.3]
    code, result, errors = load(rerankd, *target, "--find-max-rate", "--slo-ms", 500, check=False)
    assert code == 0, errors
    rate = result["max_rate_requests_per_s"]
    assert rate > 0 and result["max_rate_pairs_per_s"] == 3 * rate and result["capacity"]["requests_per_s"] > 0
    met, missed = ([t["rate"] for t in result["trials"] if t["met"] is wanted] for wanted in (True, False))
    assert rate in met and rate not in missed and all(rate < other for other in missed)
    best = result["best"]
    assert best["slo"]["met"] is True and best["load"]["rate"] == rate
    assert [t["sent"] for t in result["trials"] if t["rate"] == rate and t["met"]][-1] == best["requests"]["sent"] >= 50
    file = tmp_path / "max.json"
    file.write_text(json.dumps(result))
    compared = subprocess.run([rerankd, "compare", file, file, "--json"], capture_output=True, check=True)
    assert {"highest rate, requests/s": 1.0}.items() <= {
        m["name"]: m["ratio"] for m in json.loads(compared.stdout)["measures"]}.items()

    code, result, _ = load(rerankd, *target, "--find-max-rate", "--slo-ms", 0.0001, check=False)
    assert code == 1 and result["max_rate_requests_per_s"] == 0 and result["best"] is None
    assert all(not t["met"] for t in result["trials"])


def test_a_share_of_capacity_and_the_ideal_server(rerankd, server):
    _, result, _ = load(rerankd, "--target", address(server, "rerankd"), "--protocol", "rerankd", "--rate", "50%", "--ideal",
                        "--docs-per-request", 3, "--duration", 0.5)  # fmt: skip
    capacity = result["capacity"]["requests_per_s"]
    assert result["load"]["rate"] == pytest.approx(capacity / 2) and result["ideal"]["capacity_requests_per_s"] == capacity
    ideal = result["ideal"]
    assert ideal["latency_ms"]["count"] == result["requests"]["sent"]
    assert ideal["latency_ms"]["min"] > 0 and ideal["servers"] >= 1
    assert ideal["real_by_ideal"]["p99"] == pytest.approx(result["latency_ms"]["p99"] / ideal["latency_ms"]["p99"])


def test_repeats_have_arrivals_of_their_own_intervals_and_one_log(rerankd, server, tmp_path):
    target = ["--target", address(server, "tei"), "--protocol", "tei", "--docs-per-request", 2]
    log = tmp_path / "log.jsonl"
    _, result, _ = load(rerankd, *target, "--rate", 200, "--requests", 40, "--repeats", 3, "--log", log)
    assert result["requests"] == {"sent": 120, "ok": 120, "failed": 0} and result["repeats"]["count"] == 3
    for number in ("pairs_per_s", "requests_per_s", "goodput_requests_per_s", "p50_ms", "p99_ms"):
        values, (low, high) = result["repeats"][number]["values"], result["repeats"][number]["interval"]
        mean, spread = statistics.mean(values), statistics.stdev(values)
        assert len(values) == 3 and result["repeats"][number]["mean"] == pytest.approx(mean)
        assert high - mean == pytest.approx(4.303 * spread / math.sqrt(3), rel=1e-3, abs=1e-9)
        assert low == pytest.approx(max(0, 2 * mean - high))
    lines = sorted(map(json.loads, log.read_text().splitlines()), key=lambda line: line["index"])
    assert [line["index"] for line in lines] == list(range(120))
    parts = [[line["intended_ms"] - part[0]["intended_ms"] for line in part] for part in (lines[:40], lines[40:80], lines[80:])]
    assert parts[0] != parts[1] != parts[2]
    assert lines[40]["intended_ms"] >= 1000 and lines[79]["intended_ms"] < lines[80]["intended_ms"]
    _, again, _ = load(rerankd, *target, "--replay", log)
    assert again["requests"]["ok"] == 120 and "repeats" not in again

    file = tmp_path / "result.json"
    file.write_text(json.dumps(result))
    compared = subprocess.run([rerankd, "compare", file, file, "--json"], capture_output=True, check=True)
    assert all("interval" in m for m in json.loads(compared.stdout)["measures"])

    table = subprocess.run([rerankd, "load", *map(str, target), "--warm-up", "0", "--requests", "10", "--repeats", "2"],
                           capture_output=True, text=True, check=True).stdout  # fmt: skip
    assert re.search(r"^2 repeats +mean +95 %$", table, re.M) and re.search(r"^pairs/s +[\d.e+]+ +-$", table, re.M)


@pytest.mark.parametrize("scenario, figure", [("single-stream", "90th percentile"), ("offline", "pairs/s")])
def test_scenarios_name_their_figure(rerankd, server, scenario, figure):
    done = subprocess.run([rerankd, "load", "--target", address(server, "tei"), "--protocol", "tei", "--warm-up", "0",
                           "--requests", "50", "--scenario", scenario], capture_output=True, text=True, check=True)  # fmt: skip
    [line] = [line for line in done.stdout.splitlines() if line.startswith(f"{scenario}: ")]
    assert figure in line


def test_more_documents_than_the_data_set_has_is_a_warning(rerankd, server, tmp_path):
    data = tmp_path / "two.tsv"
    data.write_text("q\ta\nq\tb\n")
    _, _, errors = load(rerankd, "--target", address(server, "tei"), "--protocol", "tei", "--requests", 2,
                        "--docs-per-request", 5, "--data", data)  # fmt: skip
    assert "5 documents of a data set of 2" in errors


def test_server_cpu_is_measured(rerankd, server):
    _, result, _ = load(rerankd, "--target", address(server, "tei"), "--protocol", "tei", "--requests", 400,
                        "--docs-per-request", 50, "--server-pid", server.process.pid)  # fmt: skip
    assert result["server"]["cpu_s"] > 0 and result["server"]["pairs_per_cpu_s"] > 0
    assert result["server"]["resident_bytes_after"] > 1_000_000


def test_an_interrupt_keeps_what_was_measured(rerankd, server, tmp_path):
    command = [rerankd, "load", "--target", address(server, "tei"), "--protocol", "tei", "--duration", "60", "--warm-up", "0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and "interrupted" in errors
    result = json.loads(out)
    assert result["requests"]["ok"] > 0 and result["partial"] is True
    _, whole, _ = load(rerankd, "--target", address(server, "tei"), "--protocol", "tei", "--requests", 50)
    for name, content in [("partial.json", result), ("whole.json", whole)]:
        (tmp_path / name).write_text(json.dumps(content))
    compared = subprocess.run([rerankd, "compare", tmp_path / "whole.json", tmp_path / "partial.json"], capture_output=True, text=True,
                              check=True)  # fmt: skip
    assert "WARNING" in compared.stdout and re.search(r"partial\s+A: false\s+B: true", compared.stdout)


def search(rerankd, server, *flags):
    """`--find-max-rate` as a process, its trials so short that one ends soon and so many that it takes long."""
    return subprocess.Popen([rerankd, "load", "--target", address(server, "tei"), "--protocol", "tei", "--find-max-rate", "--slo-ms",
                             "1000", "--duration", "2", *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip


def interrupt_after_a_trial(process):
    """(trial lines, output, rest of stderr); the second trial is under way when the signal comes."""
    line = process.stderr.readline()
    assert " met" in line or " missed" in line, line + process.stderr.read()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=20)
    assert process.returncode == 130, errors
    return line, out, errors


def test_an_interrupt_of_the_search_keeps_the_trials_done(rerankd, server):
    started = time.monotonic()
    line, out, errors = interrupt_after_a_trial(search(rerankd, server, "--warm-up", "0", "--json"))
    result = json.loads(out)
    assert "the search is not finished" in errors and " met" not in errors and result["partial"] is True
    assert time.monotonic() - started < 20
    [trial] = result["trials"]
    assert f"{trial['sent']}" in line.split() and trial["met"] is (" met" in line) and trial["sent"] > 0
    assert result["max_rate_requests_per_s"] == (trial["rate"] if trial["met"] else 0) and result["confirmed"] is False
    if trial["met"]:
        assert result["best"]["requests"]["sent"] == trial["sent"] and result["best"]["partial"] is False

    line, out, _ = interrupt_after_a_trial(search(rerankd, server, "--warm-up", "0"))
    lines = out.splitlines()
    assert lines[0].endswith("99 % within 1000 ms (PARTIAL)") and [l for l in lines if re.search(r" (met|missed)\b", l)] == [line[:-1]]


def test_an_interrupt_before_the_first_trial_is_a_partial_search_of_none(rerankd, server):
    process = search(rerankd, server, "--warm-up", "60", "--docs-per-request", "20")
    time.sleep(0.7)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and "the search is not finished" in errors
    assert "(PARTIAL)" in out.splitlines()[0] and out.endswith("no rate was tried\n")


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers every POST with the status and body of its path."""

    protocol_version = "HTTP/1.1"
    replies = {}

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        status, body = self.replies[self.path]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("protocol", ["rerankd", "cohere"])
def test_an_unreachable_target_is_a_clear_error(rerankd, protocol):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # bound, not listening
        target = f"127.0.0.1:{sock.getsockname()[1]}"
        url = target if protocol == "rerankd" else f"http://{target}"
        code, _, errors = load(rerankd, "--target", url, "--protocol", protocol, check=False)
    assert code == 1 and "connection failed" in errors and target in errors


@pytest.mark.parametrize("protocol", ["rerankd", "tei"])
def test_a_target_that_never_answers_is_a_timeout(rerankd, protocol):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        url = target if protocol == "rerankd" else f"http://{target}"
        code, _, errors = load(rerankd, "--target", url, "--protocol", protocol, "--timeout-ms", 300, check=False)
    assert code == 1 and "timeout" in errors and target in errors


def test_a_target_that_goes_away_fails_the_load(rerankd):
    """Five answers, then nobody listens: the rest is counted and the exit code says that this is no measurement."""
    reply = b'[{"index":0,"score":1}]'

    def serve(listener):
        connection = listener.accept()[0]
        for _ in range(5):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(reply), reply))
        listener.close()
        connection.close()

    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=[listener], daemon=True).start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    code, result, errors = load(rerankd, "--target", url, "--protocol", "tei", "--requests", 30, check=False)
    outcomes = {o["outcome"]: o["count"] for o in result["outcomes"]}
    assert code == 1 and outcomes == {"ok": 4, "connection failed": 26}  # one answer was the warm-up's
    assert "the last 26 requests found no target" in errors


@pytest.mark.parametrize("arguments, message", [
    (["--target", "http://h:1", "--protocol", "teii"], "did you mean 'tei'"),
    (["--target", "ftp://h", "--protocol", "tei"], "https://"),
    (["--target", "http://h:1", "--protocol", "tei", "--ca-file", "ca.pem"], "--ca-file is for targets with TLS"),
    (["--target", "http://h:1", "--protocol", "tei", "--rate", "-1"], "'-1'"),
    (["--target", "http://h:1", "--protocol", "tei", "--docs-per-request", "0"], "--docs-per-request 0"),
    (["--target", "http://h:1", "--protocol", "tei", "--rate", "1", "--concurrency", "2"], "excludes"),
    (["--target", "http://h:1", "--protocol", "tei", "--scenario", "online"], "single-stream"),
    (["--target", "http://h:1", "--protocol", "tei", "--log", "x.txt"], ".jsonl"),
    (["--protocol", "tei"], "--target is required"),
    (["--target", "http://h:1", "--protocol", "tei", "--rate", "fast"], "'fast'"),
    (["--target", "http://h:1", "--protocol", "tei", "--rate", "0%"], "'0%' is not a rate"),
    (["--target", "http://h:1", "--protocol", "tei", "--find-max-rate"], "--slo-ms"),
    (["--target", "http://h:1", "--protocol", "tei", "--repeats", "0"], "--repeats 0"),
    (["--target", "http://h:1", "--protocol", "tei", "--find-max-rate", "--slo-ms", "5", "--repeats", "3"], "--repeats"),
    (["--target", "http://h:1", "--protocol", "tei", "--find-max-rate", "--rate", "5"], "excludes"),
    (["--target", "http://h:1", "--protocol", "tei", "--ideal"], "--rate"),
    (["--target", "http://h:1", "--protocol", "tei", "--scenario", "server"], "--find-max-rate"),
    (["--target", "http://h:1", "--protocol", "tei", "--scenario", "offline", "--rate", "5"], "closed loop"),
])  # fmt: skip
def test_bad_usage(rerankd, arguments, message):
    code, _, errors = load(rerankd, *arguments, check=False)
    assert code == 2 and message in errors


def test_a_missing_data_set_is_an_error(rerankd, server):
    code, _, errors = load(rerankd, "--target", address(server, "tei"), "--protocol", "tei", "--data", "/nowhere.jsonl", check=False)
    assert code == 1 and "/nowhere.jsonl" in errors


def test_requests_that_are_refused_are_counted(rerankd, tmp_path):
    """A slow server whose queue holds one request refuses the others."""
    config = "model: {device: 'fake:ms_per_batch=2'}\nscheduler: {max_queue_requests: 1}\n"
    with Served(rerankd, "--backend", "fake", config=config) as server:
        _, result, _ = load(rerankd, "--target", address(server, "tei"), "--protocol", "tei", "--concurrency", 64,
                            "--requests", 2000, "--docs-per-request", 20)  # fmt: skip
        refused = [o for o in result["outcomes"] if o["outcome"] == "refused"]
        assert refused and refused[0]["status"] == 429 and result["requests"]["ok"] > 0
        assert result["requests"]["sent"] == 2000 == result["requests"]["ok"] + result["requests"]["failed"]
        assert result["retry_after_s"]["min"] >= 1


def test_a_target_that_turns_bad_during_the_load_is_counted(rerankd):
    """Good at first, then every kind of nonsense in turn: each is an outcome with its count, none ends the load."""
    replies = [(500, b"broke"), (200, b"<html>"), (200, b"[]"), (200, b'[{"index":0,"score":1e999}]')]

    class Turning(Handler):
        count = 0

        def do_POST(self):
            type(self).count += 1
            good = type(self).count % 5 == 1
            type(self).replies = {self.path: (200, b'[{"index":0,"score":1}]') if good else replies[(type(self).count - 2) % 5]}
            super().do_POST()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Turning) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{running.server_port}"
        _, result, _ = load(rerankd, "--target", url, "--protocol", "tei", "--requests", 50, "--slo-ms", 1e6, check=False)
        running.shutdown()
    outcomes = {o["outcome"]: o["count"] for o in result["outcomes"]}
    assert outcomes["ok"] == 10 and outcomes["error"] == 10 and outcomes["garbage"] + outcomes.get("score not finite", 0) == 20
    assert outcomes["wrong number of scores"] == 10 and result["slo"]["met"] is False


def test_a_data_set_with_a_malformed_line_names_it(rerankd, server, tmp_path):
    data = tmp_path / "bad.jsonl"
    data.write_text('{"query": "q", "document": "d"}\n{"query": "q"}\n')
    code, result, errors = load(rerankd, "--target", address(server, "tei"), "--protocol", "tei", "--data", data, check=False)
    assert code == 2 and result is None and "bad.jsonl:2" in errors


def test_a_full_disk_is_reported(rerankd, server, tmp_path):
    """A limit on the size of files stands in for the disk: what fits is there, and the end says that it is not all."""
    log = tmp_path / "log.jsonl"
    command = [rerankd, "load", "--target", address(server, "tei"), "--protocol", "tei", "--requests", "300", "--warm-up", "0",
               "--log", str(log)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, preexec_fn=small_disk(20_000))
    assert done.returncode == 1 and f"{log} is incomplete" in done.stderr
    assert 0 < log.stat().st_size <= 20_000
    assert "300 requests in" in done.stdout  # what was measured is told


def test_an_older_log_outlives_a_run_that_cannot_start(rerankd, server, tmp_path):
    log = tmp_path / "log.jsonl"
    load(rerankd, "--target", address(server, "tei"), "--protocol", "tei", "--requests", 20, "--log", log)
    before = log.read_bytes()
    code, _, errors = load(rerankd, "--target", address(server, "tei"), "--protocol", "tei", "--replay", log, "--log", log, check=False)
    assert code == 2 and "--replay" in errors and log.read_bytes() == before
    code, _, _ = load(rerankd, "--target", "http://127.0.0.1:1", "--protocol", "tei", "--requests", 20, "--log", log, check=False)
    assert code == 1 and log.read_bytes() == before


def test_api_key_file(rerankd, tmp_path):
    key = tmp_path / "key"
    key.write_text("two\nlines\n")
    code, _, errors = load(rerankd, "--target", "http://h:1", "--protocol", "tei", "--api-key-file", key, check=False)
    assert code == 2 and "one line" in errors


def test_percentiles_agree_with_hdrhistogram(rerankd, server, tmp_path):
    log = tmp_path / "log.jsonl"
    _, result, _ = load(rerankd, "--target", address(server, "tei"), "--protocol", "tei", "--concurrency", 4,
                        "--requests", 3000, "--log", log)  # fmt: skip
    reference = HdrHistogram(1, 60_000_000_000, 5)  # nanoseconds, 5 digits: finer than ours
    for line in log.open():
        reference.record_value(round(json.loads(line)["latency_ms"] * 1e6))
    assert reference.get_total_count() == 3000
    for name, percentile in {"p50": 50, "p90": 90, "p95": 95, "p99": 99, "p99_9": 99.9, "max": 100}.items():
        wanted = reference.get_value_at_percentile(percentile) / 1e6
        assert result["latency_ms"][name] == pytest.approx(wanted, rel=0.001), name
    assert result["latency_ms"]["mean"] == pytest.approx(reference.get_mean_value() / 1e6, rel=0.001)
