"""`rerankd eval` against trec_eval itself (PyPI pytrec-eval-terrier), on every metric, query by query."""
import json
import pathlib
import subprocess

import pytest
import pytrec_eval

ROOT = pathlib.Path(__file__).resolve().parents[2]
LEVEL = 2  # grades from 2 count as relevant in binary metrics

ORACLE = {  # our name -> trec_eval's
    "ndcg@10": "ndcg_cut_10",
    "ndcg@5": "ndcg_cut_5",
    "ndcg": "ndcg",
    "mrr": "recip_rank",
    "map": "map",
    "map@100": "map_cut_100",
    "recall@100": "recall_100",
    "recall@10": "recall_10",
    "p@10": "P_10",
}


def read_qrels(path):
    qrels = {}
    for line in path.read_text().splitlines():
        columns = line.split()
        if columns[-1].lstrip("-").isdigit():
            qrels.setdefault(columns[0], {})[columns[-2]] = int(columns[-1])
    return qrels


def read_run(path):
    run = {}
    for line in path.read_text().splitlines():
        query, _, doc, _, score, _ = line.split()
        run.setdefault(query, {})[doc] = float(score)
    return run


def rerankd_eval(binary, qrels, run, *flags):
    command = [binary, "eval", "--qrels", qrels, "--run", run, "--json", "--per-query", *flags]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def assert_agrees(binary, qrels_path, run_path):
    qrels, run = read_qrels(qrels_path), read_run(run_path)
    ours = rerankd_eval(binary, qrels_path, run_path, "--metrics", ",".join(ORACLE))
    oracle = pytrec_eval.RelevanceEvaluator(qrels, set(ORACLE.values()), relevance_level=LEVEL).evaluate(run)
    for name, oracle_name in ORACLE.items():
        values = ours["metrics"][name]["per_query"]
        assert set(values) == set(qrels)
        for query in qrels:
            expected = oracle[query][oracle_name] if query in run else 0
            assert values[query] == pytest.approx(expected, abs=1e-6), (name, query)
        mean = sum(oracle[q][oracle_name] for q in oracle) / len(qrels)
        assert ours["metrics"][name]["mean"] == pytest.approx(mean, abs=1e-6)


def test_agrees_with_trec_eval_on_the_demo_collection(rerankd):
    data = ROOT / "experiments/data"
    assert_agrees(rerankd, data / "demo_qrels.tsv", data / "demo_run.trec")


def test_agrees_with_trec_eval_on_dl19(rerankd, shared_data):
    dl19 = shared_data / "msmarco-dl19"
    assert_agrees(rerankd, dl19 / "qrels/test.tsv", dl19 / "runs/bm25.top100.trec")
    ours = rerankd_eval(rerankd, dl19 / "qrels/test.tsv", dl19 / "runs/bm25.top100.trec")
    assert ours["metrics"]["ndcg@10"]["mean"] == pytest.approx(0.5058, abs=5e-5)


def test_agrees_with_trec_eval_on_tied_and_unjudged_documents(rerankd, tmp_path):
    qrels, run = tmp_path / "qrels", tmp_path / "run"
    qrels.write_text("q1 0 a 3\nq1 0 b 0\nq1 0 c 2\nq2 0 a 1\nq3 0 z 2\n")
    run.write_text("q1 Q0 a 1 0.5 t\nq1 Q0 b 2 0.5 t\nq1 Q0 x 3 0.5 t\nq1 Q0 c 4 0.1 t\nq2 Q0 y 1 2 t\nq2 Q0 a 2 1 t\n")
    assert_agrees(rerankd, qrels, run)


def test_baseline_gives_difference_interval_and_agreement(rerankd):
    data = ROOT / "experiments/data"
    ours = rerankd_eval(rerankd, data / "demo_qrels.tsv", data / "demo_run.trec", "--baseline", data / "demo_run.trec")
    ndcg = ours["metrics"]["ndcg@10"]
    assert ndcg["difference"] == 0 and ndcg["difference_95"] == [0, 0]
    assert ours["agreement"]["spearman"] == pytest.approx(1)
    assert ours["agreement"]["top10_overlap"] == 1
