"""`rerankd experiment run` as a person uses it: a real server, real gRPC, reports, interrupts, bad files."""
import csv
import json
import pathlib
import re
import signal
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASE = f"""
model: {{name: {ROOT}/tests/data/tiny-random, backend: fake, device: 'fake:ms_per_batch=20'}}
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


def test_the_report_is_made_again_from_the_raw_data(rerankd, tmp_path):
    _, stem = experiment(rerankd, tmp_path, GRID)
    written = stem.with_suffix(".md").read_bytes()
    stem.with_suffix(".md").unlink()
    subprocess.run([rerankd, "experiment", "report", stem.with_suffix(".json")], check=True, timeout=60)
    assert stem.with_suffix(".md").read_bytes() == written


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
