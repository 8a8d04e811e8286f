"""The command line as a person or a script uses it: results, bad input, exit codes."""
import json
import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "tests/data/tiny-random"
DATA = ROOT / "experiments/data"


def run(rerankd, *args, stdin=b"", env=None):
    """Runs the binary; `stdin` is bytes so that anything can be sent."""
    return subprocess.run(
        [rerankd, *map(str, args)], input=stdin, capture_output=True, timeout=120, env={**os.environ, "HF_HUB_OFFLINE": "1", **(env or {})}
    )


def score(rerankd, lines, *args):
    done = run(rerankd, "score", "--model", MODEL, *args, stdin=lines)
    assert done.returncode == 0, done.stderr.decode()
    return [float(line) for line in done.stdout.decode().splitlines()]


def fails(rerankd, *args, says, code=1, stdin=b"", env=None):
    done = run(rerankd, *args, stdin=stdin, env=env)
    message = done.stderr.decode(errors="replace")
    assert done.returncode == code, (done.returncode, message)
    for text in [says] if isinstance(says, str) else says:
        assert text in message, message
    assert len(message) < 2000 and "terminate called" not in message


# --- results ---------------------------------------------------------------------------------------------------


def test_score_is_order_preserving_and_independent_of_batch_mates(rerankd):
    pairs = [json.loads(line) for line in (DATA / "bundled.jsonl").read_text().splitlines()[:300]]
    lines = [f"{p['query']}\t{p['document']}\n".encode() for p in pairs]
    together = run(rerankd, "score", "--model", MODEL, stdin=b"".join(lines)).stdout.splitlines()
    backwards = run(rerankd, "score", "--model", MODEL, "--threads", "1", stdin=b"".join(lines[::-1])).stdout.splitlines()
    assert len(together) == 300
    assert together == backwards[::-1]  # the same digits
    alone = run(rerankd, "score", "--model", MODEL, stdin=lines[7]).stdout.splitlines()
    assert alone == [together[7]]


def test_score_jsonl_equals_tsv_and_writes_files(rerankd, tmp_path):
    tsv, jsonl, out = tmp_path / "in.tsv", tmp_path / "in.jsonl", tmp_path / "out"
    tsv.write_text("what is tea\tTea is a drink.\n")
    jsonl.write_text('{"query": "what is tea", "document": "Tea is a drink."}\n')
    assert run(rerankd, "score", "--model", MODEL, "--input", tsv, "--output", out, "--quiet").stderr == b""
    assert out.read_bytes() == run(rerankd, "score", "--model", MODEL, "--input", jsonl, "--format", "jsonl").stdout


def test_sigmoid_activation(rerankd):
    import math

    pair = b"what is tea\tTea is a drink.\n"
    (raw,), (sigmoid,) = score(rerankd, pair), score(rerankd, pair, "--activation", "sigmoid")
    assert sigmoid == pytest.approx(1 / (1 + math.exp(-raw)), rel=1e-5)


def test_rank_json_sorts_and_keeps_indices(rerankd, tmp_path):
    docs = tmp_path / "docs.jsonl"
    texts = ["tea is a drink", "the moon orbits the earth", "tea is a drink"]
    docs.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    done = run(rerankd, "rank", "--model", MODEL, "--query", "tea", "--docs", docs, "--json")
    ranked = json.loads(done.stdout)
    assert [r["text"] for r in ranked] == [texts[r["index"]] for r in ranked]
    assert [r["score"] for r in ranked] == sorted((r["score"] for r in ranked), reverse=True)
    equal = [r["index"] for r in ranked if r["text"] == "tea is a drink"]
    assert equal == [0, 2]  # ties keep input order
    top = json.loads(run(rerankd, "rank", "--model", MODEL, "--query", "tea", "--docs", docs, "--json", "--top-n", 1).stdout)
    assert top == ranked[:1]


def test_rank_a_run_and_evaluate_it(rerankd, tmp_path):
    out = tmp_path / "out.trec"
    done = run(rerankd, "rank", "--model", MODEL, "--queries", DATA / "demo_queries.jsonl", "--corpus",
               DATA / "demo_corpus.jsonl", "--run", DATA / "demo_run.trec", "--output", out)  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert b"80 pairs in" in done.stderr
    before = {tuple(line.split()[::2][:2]) for line in (DATA / "demo_run.trec").read_text().splitlines()}
    after = {tuple(line.split()[::2][:2]) for line in out.read_text().splitlines()}
    assert before == after
    evaluated = run(rerankd, "eval", "--qrels", DATA / "demo_qrels.tsv", "--run", out, "--baseline", DATA / "demo_run.trec")
    assert evaluated.returncode == 0 and b"ndcg@10" in evaluated.stdout


def test_tokenize_and_inspect(rerankd):
    tokens = json.loads(run(rerankd, "tokenize", "--model", MODEL, "--text", "tea", "--pair", "a drink", "--json").stdout)
    assert tokens[0]["token"] == "[CLS]" and tokens[-1]["token"] == "[SEP]"
    assert {t["type_id"] for t in tokens} == {0, 1}
    info = json.loads(run(rerankd, "inspect", "--model", MODEL, "--precision", "fp32", "--json").stdout)
    assert info["machine"]["physical_cores"] >= 1
    assert info["model"]["instances"][0]["precision"] == "fp32"
    assert any(b["name"] == "native" for b in info["backends"])


def test_help_shows_examples_for_every_subcommand(rerankd):
    for command in ("serve", "rank", "score", "eval", "tokenize", "inspect", "bench", "experiment", "settings"):
        done = run(rerankd, command, "--help")
        assert done.returncode == 0 and b"Example" in done.stdout, command


# --- bad input -------------------------------------------------------------------------------------------------


def test_strange_texts_are_scored(rerankd):
    long_document = b"word " * 20_000
    lines = [b"\t\n", b"query\t\n", b"\tdocument\n", b"nul\ttext\x00with\x01controls\x7f\n", b"long\t" + long_document + b"\n"]
    scores = score(rerankd, b"".join(lines))
    assert len(scores) == 5 and all(abs(s) < 1e6 for s in scores)


def test_truncation_and_replacement_are_reported(rerankd):
    done = run(rerankd, "score", "--model", MODEL, stdin=b"q\t" + b"word " * 2000 + b"\nq\tbad \xff\xfe bytes\n")
    assert done.returncode == 0
    assert b"1 pairs were longer than" in done.stderr
    assert b"1 texts held bytes that are not UTF-8" in done.stderr


def test_no_pairs_is_an_empty_result(rerankd):
    assert score(rerankd, b"") == []


def test_malformed_lines_are_named(rerankd):
    fails(rerankd, "score", "--model", MODEL, says=["-:2:", "TAB"], stdin=b"a\tb\nno tab here\n")
    fails(rerankd, "score", "--model", MODEL, "--format", "jsonl", says=["-:1:", "'query'"], stdin=b'{"query": 5}\n')
    fails(rerankd, "rank", "--model", MODEL, "--query", "q", says="no document", stdin=b"")


def test_usage_errors_exit_with_two(rerankd):
    assert run(rerankd).returncode == 2
    assert run(rerankd, "rank").returncode == 2
    assert run(rerankd, "score", "--format", "xml").returncode == 2
    assert run(rerankd, "rank", "--query", "q", "--run", "x").returncode == 2


def test_unknown_model_says_where_it_looked(rerankd):
    fails(rerankd, "score", "--model", "no/such-model", says="no/such-model", stdin=b"a\tb\n")
    fails(rerankd, "score", "--model", "/nonexistent/dir", says="/nonexistent/dir", stdin=b"a\tb\n")


def test_broken_model_files_are_named(rerankd, tmp_path):
    def copy(name):
        return pathlib.Path(shutil.copytree(MODEL, tmp_path / name))

    cut = copy("cut")
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    fails(rerankd, "score", "--model", cut, says="model.safetensors", stdin=b"a\tb\n")

    corrupt = copy("corrupt")
    weights = corrupt / "model.safetensors"
    weights.write_bytes(b"\xff" * 8 + weights.read_bytes()[8:])
    fails(rerankd, "score", "--model", corrupt, says="model.safetensors", stdin=b"a\tb\n")

    vocabulary = copy("vocabulary")
    config = json.loads((vocabulary / "config.json").read_text())
    config["vocab_size"] += 7
    (vocabulary / "config.json").write_text(json.dumps(config))
    fails(rerankd, "score", "--model", vocabulary, says=str(config["vocab_size"]), stdin=b"a\tb\n")

    missing = copy("missing")
    (missing / "model.safetensors").unlink()
    fails(rerankd, "score", "--model", missing, says="model.safetensors", stdin=b"a\tb\n")


def test_configuration_errors_hint_at_the_nearest_key(rerankd, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("batching:\n  enabeld: true\n")
    fails(rerankd, "score", "--config", config, says=["enabeld", "enabled"], stdin=b"")
    fails(rerankd, "score", "--set", "model.max_length=-4", says=["max_length", "-4"], stdin=b"")
    fails(rerankd, "score", "--config", tmp_path / "absent.yaml", says="absent.yaml", stdin=b"")


def test_missing_run_texts_are_named(rerankd, tmp_path):
    run_file = tmp_path / "run.trec"
    run_file.write_text("unknown-query Q0 d1 1 1.0 t\n")
    fails(rerankd, "rank", "--model", MODEL, "--queries", DATA / "demo_queries.jsonl", "--corpus", DATA / "demo_corpus.jsonl",
          "--run", run_file, "--output", tmp_path / "o", says="unknown-query")  # fmt: skip


def test_forced_instruction_set_is_honest(rerankd):
    assert run(rerankd, "score", "--model", MODEL, env={"RERANKD_ISA": "scalar"}, stdin=b"a\tb\n").returncode == 0
    fails(rerankd, "score", "--model", MODEL, says="RERANKD_ISA", env={"RERANKD_ISA": "z80"}, stdin=b"a\tb\n")


def test_full_disk_is_an_error(rerankd):
    fails(rerankd, "score", "--model", MODEL, "--output", "/dev/full", says="disk full", stdin=b"a\tb\n" * 3000)


# --- bench -----------------------------------------------------------------------------------------------------


def bench(rerankd, *args):
    done = run(rerankd, "bench", "--model", MODEL, "--rounds", 2, "--seconds", 0.01, "--quiet", *args)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_bench_measures_text_and_lengths(rerankd):
    report = json.loads(bench(rerankd, "--json", "--pairs", 130, "--threads", "1,2", "--lengths", "16,32", "--precision", "fp32"))
    assert report["machine"]["Commit"] and report["machine"]["CPU"] and "--pairs=130" in report["machine"]["Command"]
    assert [(p["precision"], p["threads"]) for p in report["peak"]] == [("fp32", 1), ("fp32", 2)]
    assert all(p["multiply_adds_per_s"] > 1e6 for p in report["peak"])
    series = {(s["workload"], s["threads"]): s for s in report["end_to_end"]}
    assert set(series) == {(w, t) for w in ("text", "text, alone", "16", "32") for t in (1, 2)}
    for (workload, _), s in series.items():
        assert s["pairs"] == 130 if workload.startswith("text") else s["tokens"] == s["pairs"] * int(workload)
        assert s["pairs_per_s"] > 0 and 0 < s["share_of_peak"] < 1
        assert len(s["rounds"]["pairs_per_s"]) == len(s["rounds"]["share_of_peak"]) == 2


def test_bench_table_names_machine_and_what_does_not_run(rerankd):
    table = bench(rerankd, "--only", "lengths", "--lengths", "16,8000", "--threads", 1, "--precision", "fp32")
    for text in ("CPU", "Commit", "fp32", "of peak", "note: 8000 tokens: the model reads at most"):
        assert text in table, table


def test_compare_tells_what_one_side_lacks(rerankd, tmp_path):
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    a.write_text('{"first": 1, "second": 2}')
    b.write_text('{"first": 1, "third": 3}')
    done = run(rerankd, "compare", a, b)
    assert done.returncode == 0 and f"only in {a}: second" in done.stderr.decode() and f"only in {b}: third" in done.stderr.decode()
    fails(rerankd, "compare", a, b, "--fail-below", "0.5", says="lacks 1 of what")


def test_bench_compares_two_builds(rerankd):
    report = json.loads(bench(rerankd, "--json", "--only", "lengths", "--lengths", 16, "--threads", 1, "--precision", "fp32",
                              "--compare", rerankd))  # fmt: skip
    (comparison,) = report["comparisons"]
    assert comparison["workload"] == "16" and len(comparison["rounds"]) == 2
    assert comparison["ratio"]["low"] <= comparison["ratio"]["median"] <= comparison["ratio"]["high"]
    assert "--lengths=16" in comparison["b"]["command"]
    fails(rerankd, "bench", "--model", MODEL, "--compare", "/bin/true", "--rounds", 1, says="/bin/true")
    fails(rerankd, "bench", "--model", MODEL, "--data", "/no/such.tsv", says="/no/such.tsv")


def test_bench_of_a_trec_run(rerankd):
    report = json.loads(bench(rerankd, "--json", "--only", "text", "--threads", 1, "--precision", "fp32", "--run",
                              DATA / "demo_run.trec", "--queries", DATA / "demo_queries.jsonl", "--corpus", DATA / "demo_corpus.jsonl"))  # fmt: skip
    assert {(s["pairs"], s["requests"]) for s in report["end_to_end"]} == {(80, 8)}
