"""`rerankd experiment run` as a person uses it: a real server, real gRPC, reports, interrupts, bad files."""
import csv
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest
from served import Served, small_disk

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASE = f"""
model: {{name: {ROOT}/tests/data/tiny-random, backend: fake, device: 'fake:ms_per_batch=20'}}
"""
NATIVE = f"""
model: {{name: {ROOT}/tests/data/tiny-random, backend: native}}
"""
GRID = BASE + "experiment: {batch_sizes: [4, 8], concurrency_levels: [1, 2], benchmark_requests: 3, warmup_iterations: 1}\n"


def command(rerankd, file, out):
    return [rerankd, "experiment", "run", str(file), "--out", str(out), "--quiet"]


def experiment(rerankd, folder, text, name="grid"):
    """Runs the experiment `text`; returns the finished process and the stem of its results."""
    file = folder / f"{name}.yaml"
    file.write_text(text)
    done = subprocess.run(command(rerankd, file, folder / "out"), capture_output=True, text=True, timeout=120)
    return done, folder / "out" / f"{name}_results"


def cells(stem):
    return [cell for run in json.loads(stem.with_suffix(".json").read_text())["runs"] for cell in run["cells"]]


def test_the_whole_grid_is_measured_and_written(rerankd, tmp_path):
    done, stem = experiment(rerankd, tmp_path, GRID)
    assert done.returncode == 0, done.stderr
    assert [(c["batch"], c["concurrency"], len(c["requests"])) for c in cells(stem)] == [
        (4, 1, 3), (4, 2, 3), (8, 1, 3), (8, 2, 3)]  # fmt: skip
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| [\d.]+ \| [\d.]+ms \|", stem.with_suffix(".md").read_text(), re.M)
    assert rows == [("4", "1", "12"), ("4", "2", "12"), ("8", "1", "24"), ("8", "2", "24")]
    with open(stem.with_suffix(".csv"), newline="") as lines:
        assert len(list(csv.DictReader(lines))) == 12


def test_the_report_says_how_long_pairs_are_and_how_near_the_peak_the_engine_came(rerankd, tmp_path):
    pairs = [("what is tea", "a drink"), ("tea", "a drink made from leaves " * 40)]
    (tmp_path / "pairs.tsv").write_text("".join(f"{query}\t{document}\n" for query, document in pairs))
    done, stem = experiment(rerankd, tmp_path, NATIVE + "experiment: {dataset: pairs.tsv, batch_sizes: [2], benchmark_requests: 5}\n")
    assert done.returncode == 0, done.stderr
    run = json.loads(stem.with_suffix(".json").read_text())["runs"][0]
    command = [rerankd, "tokenize", "--model", ROOT / "tests/data/tiny-random", "--text", "what is tea", "--pair", "a drink", "--json"]
    shortest = len(json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout))
    lengths = run["token_lengths"]
    assert lengths["pairs"] == 2 and lengths["min"] == shortest and lengths["max"] > 200 and lengths["mean"] == (shortest + lengths["max"]) / 2
    [cell] = run["cells"]
    peak = run["metrics"]["rerankd"]["peak_multiply_adds_per_s"]
    assert cell["multiply_adds"] > 0 and 0 < cell["multiply_adds"] / cell["seconds"] / peak < 1
    assert re.search(r"^\| 2 \| 1 \| [\d.]+ \| \d+ \| \d+ \| 0\.0 \| \d+\.\d \|$", stem.with_suffix(".md").read_text(), re.M)


def test_the_report_is_made_again_from_the_raw_data(rerankd, tmp_path):
    _, stem = experiment(rerankd, tmp_path, GRID)
    reports = [stem.with_suffix(suffix) for suffix in (".md", ".html", ".csv")]
    written = [report.read_bytes() for report in reports]
    for report in reports:
        report.unlink()
    subprocess.run([rerankd, "experiment", "report", stem.with_suffix(".json")], check=True, timeout=60)
    assert [report.read_bytes() for report in reports] == written


def test_the_report_says_what_made_it(rerankd, tmp_path):
    """The commit of the binary, the command, how busy the machine was; a file without them is read all the same."""
    _, stem = experiment(rerankd, tmp_path, GRID)
    raw = json.loads(stem.with_suffix(".json").read_text())
    environment, run = raw["environment"], raw["runs"][0]
    assert re.fullmatch(r"[0-9a-f]{7,}(-dirty)?|unknown", environment["Commit"])
    assert environment["Command"].endswith(f"experiment run {tmp_path}/grid.yaml --out {tmp_path}/out --quiet")
    assert re.fullmatch(r"[0-9a-f]{64}", run["model_sha256"])
    for suffix in (".md", ".html"):
        text = stem.with_suffix(suffix).read_text()
        assert all(word in text for word in (environment["Commit"], "Load average before", "Load average after", run["model_sha256"]))
    for key in ("Commit", "Command", "Load average before", "Load average after"):
        del environment[key]
    del run["model_sha256"]
    stem.with_suffix(".json").write_text(json.dumps(raw))
    subprocess.run([rerankd, "experiment", "report", stem.with_suffix(".json")], check=True, timeout=60)
    assert "Load average" not in stem.with_suffix(".md").read_text()


@pytest.mark.parametrize("interrupt", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_the_cells_that_are_done(rerankd, tmp_path, interrupt):
    levels = list(range(1, 41))
    file, results = tmp_path / "long.yaml", tmp_path / "out/long_results.json"
    grid = f"batch_sizes: [4], concurrency_levels: {levels}, benchmark_requests: 30, warmup_iterations: 0"
    file.write_text(BASE + f"experiment: {{{grid}}}\n")
    with subprocess.Popen(command(rerankd, file, tmp_path / "out"), stderr=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + 60
        while not results.exists() and time.monotonic() < deadline:  # Written after each cell.
            time.sleep(0.02)
        running.send_signal(interrupt)
        assert running.wait(timeout=60) == 130
    done = cells(tmp_path / "out/long_results")
    assert 1 <= len(done) < len(levels)
    assert len(done[0]["requests"]) == 30
    report = results.with_suffix(".md").read_text()
    assert report.splitlines()[0].endswith(" (PARTIAL)")


def fails(rerankd, folder, text, code, *says):
    done, stem = experiment(rerankd, folder, text)
    assert done.returncode == code, done.stderr
    assert all(word in done.stderr for word in says), done.stderr
    return stem


def test_an_unknown_key_is_an_error_with_the_nearest_name(rerankd, tmp_path):
    stem = fails(rerankd, tmp_path, BASE + "experiment: {bench_requests: 3}\n", 2, "bench_requests", "benchmark_requests")
    assert not stem.with_suffix(".json").exists()


def test_a_missing_data_set_is_an_error_and_nothing_takes_its_place(rerankd, tmp_path):
    stem = fails(rerankd, tmp_path, BASE + "experiment: {dataset: absent.jsonl}\n", 1, "absent.jsonl")
    assert not stem.with_suffix(".json").exists()


def test_a_model_that_is_not_there_fails_every_cell_and_says_why(rerankd, tmp_path):
    text = GRID.replace("tests/data/tiny-random", "tests/data/absent")
    stem = fails(rerankd, tmp_path, text, 1)
    assert len(cells(stem)) == 4 and all("absent" in c["error"] for c in cells(stem))


def test_a_sweep_over_precisions_shows_speed_and_ranking(rerankd, tmp_path):
    text = NATIVE.replace("backend: native", "backend: native, precision: [fp32, int8]")
    text += "experiment: {batch_sizes: [4], benchmark_requests: 4, warmup_iterations: 0, quality: {data: bundled}}\n"
    done, stem = experiment(rerankd, tmp_path, text)
    assert done.returncode == 0, done.stderr
    exact, rounded = [run["quality"] for run in json.loads(stem.with_suffix(".json").read_text())["runs"]]
    assert exact["queries"] == 8 and exact["pairs"] == 80 and 0 < exact["ndcg10"] < 1 and exact["ndcg10"] != exact["first_stage_ndcg10"]
    assert exact["fp32"]["max_difference"] == 0 and exact["fp32"]["spearman"] == 1
    assert 0 < rounded["fp32"]["max_difference"] < 1 and rounded["fp32"]["queries"] == 8
    report = stem.with_suffix(".md").read_text()
    assert report.count("## Quality") == 2 and report.count("| this model | ") == 2


def test_ranking_quality_is_what_rank_and_eval_say(rerankd, tmp_path):
    """The same figures as from the command line: rank --run, then eval."""
    data = ROOT / "experiments/data"
    done, stem = experiment(rerankd, tmp_path, NATIVE.replace("native}", "native, precision: fp32}") + (
        "experiment: {batch_sizes: [4], benchmark_requests: 1, warmup_iterations: 0, quality: {data: bundled}}\n"))
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out.trec"
    subprocess.run([rerankd, "rank", "--model", ROOT / "tests/data/tiny-random", "--precision", "fp32", "--queries",
                    data / "demo_queries.jsonl", "--corpus", data / "demo_corpus.jsonl", "--run", data / "demo_run.trec",
                    "--output", out, "--quiet"], check=True, timeout=60)  # fmt: skip
    said = subprocess.run([rerankd, "eval", "--qrels", data / "demo_qrels.tsv", "--run", out, "--metrics", "ndcg@10,mrr@10",
                           "--json"], check=True, capture_output=True, text=True, timeout=60).stdout  # fmt: skip
    quality = json.loads(stem.with_suffix(".json").read_text())["runs"][0]["quality"]
    values = [float(number) for number in re.findall(r"\d\.\d{3,}", said)]
    assert any(value == pytest.approx(quality["ndcg10"], abs=1e-4) for value in values), said
    assert any(value == pytest.approx(quality["mrr10"], abs=1e-4) for value in values), said


def test_an_open_loop_with_repeats_and_a_background(rerankd, tmp_path):
    text = BASE + ("experiment: {batch_sizes: [1], load: open, rates: ['50%', 20], benchmark_requests: 8, repeats: 3,\n"
                   "  background: {batch_size: 8}}\n")
    done, stem = experiment(rerankd, tmp_path, text)
    assert done.returncode == 0, done.stderr
    share, fixed = cells(stem)
    assert share["open"]["rate"] == pytest.approx(share["open"]["capacity"] / 2) and fixed["open"]["rate"] == 20
    for cell in (share, fixed):
        assert len(cell["repeats"]) == 3 and len(cell["requests"]) == 24 and "answered beside it" in cell["note"]
    compared = subprocess.run([rerankd, "compare", stem.with_suffix(".json"), stem.with_suffix(".json"), "--json"],
                              check=True, capture_output=True, timeout=60)
    names = {m["name"]: m for m in json.loads(compared.stdout)["measures"]}
    assert "interval" in names["batch=1, rate=50%: pairs/s"]  # over the repeats


def test_servers_that_run_already_are_measured_side_by_side(rerankd, tmp_path):
    """The same texts over two protocols, an address where nobody listens, and how each ranks."""
    with Served(rerankd) as server, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, not listening
        targets = [f"rerankd {server.grpc_address}", f"tei http://127.0.0.1:{server.http_port}",
                   f"tei http://127.0.0.1:{nobody.getsockname()[1]}"]  # fmt: skip
        text = f"experiment: {{targets: {json.dumps(targets)}, batch_sizes: [4], benchmark_requests: 5, quality: {{data: bundled}}}}\n"
        before = server.metrics()["query_count"]
        done, stem = experiment(rerankd, tmp_path, text)
        assert server.metrics()["query_count"] - before == 2 * (4 * (5 + 5) + 80)
    assert done.returncode == 1
    grpc, http, gone = json.loads(stem.with_suffix(".json").read_text())["runs"]
    for run in (grpc, http):
        [cell] = run["cells"]
        assert cell["error"] == "" and len(cell["requests"]) == 5 and run["quality"]["queries"] == 8
    assert grpc["quality"]["ndcg10"] == http["quality"]["ndcg10"] and grpc["quality"]["fp32"] is None
    assert "connection failed" in gone["cells"][0]["error"]
    assert http["server"] == {"target": targets[1].split()[1], "protocol": "tei"} and "model_pool" not in http["configuration"]
    assert stem.with_suffix(".md").read_text().count("\n---\n") == 2


def test_a_full_disk_keeps_what_was_written(rerankd, tmp_path):
    """A limit on the size of files stands in for the disk. Cells that fitted stay readable; the error says what is wrong."""
    file = tmp_path / "grid.yaml"
    file.write_text(BASE.replace("20", "1") + "experiment: {batch_sizes: [1, 2, 3, 4, 5, 6, 7, 8, 9], benchmark_requests: 20}\n")
    done = subprocess.run(command(rerankd, file, tmp_path / "out"), capture_output=True, text=True, timeout=120,
                          preexec_fn=small_disk(60_000))
    assert done.returncode == 1 and "grid_results." in done.stderr and "File too large" in done.stderr, done.stderr
    kept = tmp_path / "out/grid_results"
    assert 1 <= len(cells(kept)) < 9
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.suffix not in {".md", ".csv", ".html"}) == [
        "grid_results.json"], "no half-written file is left"
    subprocess.run([rerankd, "experiment", "report", kept.with_suffix(".json")], check=True, capture_output=True, timeout=60)


def compare(rerankd, *arguments):
    return subprocess.run([rerankd, "compare", *arguments], check=True, capture_output=True, text=True, timeout=60).stdout


def test_compare_shows_ranking_and_what_was_not_alike(rerankd, tmp_path):
    """Two precisions: how fast, how well they rank, and a warning that names the setting with both values."""
    results = {}
    for precision in ("fp32", "int8"):
        text = NATIVE.replace("backend: native", f"backend: native, precision: {precision}")
        text += "experiment: {batch_sizes: [4], benchmark_requests: 4, warmup_iterations: 0, quality: {data: bundled}}\n"
        done, stem = experiment(rerankd, tmp_path, text, name=precision)
        assert done.returncode == 0, done.stderr
        results[precision] = stem.with_suffix(".json")
    page = tmp_path / "page.html"
    table = compare(rerankd, results["fp32"], results["int8"], "--html", page)
    assert re.search(r"^nDCG@10 +0\.\d{5} +0\.\d{5} +[+-]\d\.\d{5} +[+-]\d\.\d{4} \.\. [+-]\d\.\d{4}  \w+", table, re.M), table
    assert "WARNING" in table and "  model.precision\n    A: fp32\n    B: int8\n" in table, table
    assert "experiment.batch_sizes" not in table and "data set" not in table
    html = page.read_text()
    assert "<td>model.precision</td><td>fp32</td><td>int8</td>" in html and "<td>nDCG@10</td>" in html
    whole = json.loads(compare(rerankd, results["fp32"], results["int8"], "--json"))
    ranking = {row["name"]: row for row in whole["ranking"]}
    quality = [json.loads(path.read_text())["runs"][0]["quality"] for path in results.values()]
    assert ranking["MRR@10"]["difference"] == pytest.approx(quality[1]["mrr10"] - quality[0]["mrr10"])
    assert ranking["nDCG@10"]["queries"] == 8 and ranking["with fp32: Spearman"]["a"] == 1
    assert {"model.precision"} <= {row["name"] for row in whole["differences"]}
    assert "WARNING" not in compare(rerankd, results["fp32"], results["fp32"])


def test_a_results_folder_is_written_by_one_run_at_a_time(rerankd, tmp_path):
    (tmp_path / "long.yaml").write_text(BASE + "experiment: {batch_sizes: [4], benchmark_requests: 100000}\n")
    lock = tmp_path / "out/.rerankd.lock"
    with subprocess.Popen(command(rerankd, tmp_path / "long.yaml", tmp_path / "out"), stderr=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + 30
        while not (lock.exists() and lock.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        done, stem = experiment(rerankd, tmp_path, GRID)
        assert done.returncode == 1 and str(tmp_path / "out") in done.stderr and f"(pid {running.pid})" in done.stderr, done.stderr
        assert not stem.with_suffix(".json").exists()
        running.kill()
    done, stem = experiment(rerankd, tmp_path, GRID)  # What a killed run leaves behind is no lock.
    assert done.returncode == 0, done.stderr
    assert not lock.exists()


def test_two_runs_at_once_do_not_meet(rerankd, tmp_path):
    """Each run's server has ports of its own, whatever the file says."""
    text = GRID + "server: {grpc_port: 50999, http_port: 50998}\n"
    runs = []
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(text)
        runs.append(subprocess.Popen(command(rerankd, tmp_path / f"{name}.yaml", tmp_path / name), stderr=subprocess.PIPE, text=True))
    for run in runs:
        errors = run.communicate(timeout=120)[1]
        assert run.returncode == 0, errors
    ports = {json.loads((tmp_path / f"{name}/{name}_results.json").read_text())["runs"][0]["server"]["grpc"] for name in ("one", "two")}
    assert len(ports) == 2 and not any("50999" in port for port in ports)


def test_an_interrupted_catalogue_says_what_was_not_reached(rerankd, tmp_path):
    catalogue = tmp_path / "catalogue"
    catalogue.mkdir()
    (catalogue / "base_config.yaml").write_text(BASE + "experiment: {batch_sizes: [2], benchmark_requests: 2}\n")
    (catalogue / "01_runs.yaml").write_text("description: runs\n")
    (catalogue / "02_wrong.yaml").write_text("experiment: {batch_sizes: []}\n")
    for name in ("03_endless", "04_later", "05_later"):
        (catalogue / f"{name}.yaml").write_text("experiment: {benchmark_requests: 1000000}\n")
    with subprocess.Popen([rerankd, "experiment", "run", "--all", "--out", tmp_path / "out", "--quiet"], stderr=subprocess.PIPE,
                          text=True, env={**os.environ, "RERANKD_EXPERIMENTS_DIR": str(catalogue)}) as running:
        for line in running.stderr:
            if "03_endless" in line:
                break
        time.sleep(1)
        running.send_signal(signal.SIGINT)
        summary = running.communicate(timeout=60)[1].splitlines()
    assert running.returncode == 130
    assert summary[-1] == "5 experiments: 2 run, 0 skipped, 1 failed, 2 not reached", summary
    assert any(line.startswith("interrupted 03_endless: ") for line in summary), summary


def test_all_of_a_small_catalogue(rerankd, tmp_path):
    """One that runs, one for hardware that is not here, one with a mistake: a summary with reasons, and an index page."""
    catalogue = tmp_path / "catalogue"
    catalogue.mkdir()
    (catalogue / "base_config.yaml").write_text(BASE + "experiment: {batch_sizes: [2], warmup_iterations: 0, benchmark_requests: 100000}\n")
    (catalogue / "01_runs.yaml").write_text("description: runs\n")
    (catalogue / "02_elsewhere.yaml").write_text("model: {backend: mps, device: mps}\n")
    (catalogue / "03_wrong.yaml").write_text("experiment: {batch_sizes: []}\n")
    done = subprocess.run([rerankd, "experiment", "run", "--all", "--budget", "0.5s", "--out", tmp_path / "out", "--quiet"],
                          capture_output=True, text=True, timeout=120, env={**os.environ, "RERANKD_EXPERIMENTS_DIR": str(catalogue)})
    assert done.returncode == 2, done.stderr
    summary = done.stderr.splitlines()[-3:]
    assert summary[0].startswith("skipped 02_elsewhere: ") and "mps" in summary[0]
    assert summary[1].startswith("failed 03_wrong: ") and "empty" in summary[1]
    assert summary[2] == "3 experiments: 1 run, 1 skipped, 1 failed"
    assert "stopped by the time budget of 0.5 s" in (tmp_path / "out/01_runs_results.md").read_text()
    index = (tmp_path / "out/index.html").read_text()
    assert "01_runs_results.html" in index and "02_elsewhere" in index
