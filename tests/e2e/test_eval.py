"""`rerankd eval` against trec_eval itself (PyPI pytrec-eval-terrier), on every metric, query by query."""
import json
import pathlib
import subprocess
from random import Random

import pytest
import pytrec_eval

ROOT = pathlib.Path(__file__).resolve().parents[2]
LEVEL = 2  # grades from 2 count as relevant in binary metrics

ORACLE = {  # our name -> trec_eval's
    "ndcg@10": "ndcg_cut_10",
    "ndcg@5": "ndcg_cut_5",
    "ndcg": "ndcg",
    "mrr": "recip_rank",
    "mrr@10": "recip_rank of the first 10",
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


def first_ten(docs):
    """What trec_eval takes for the first 10: by score, equal ones by document id, both descending."""
    return dict(sorted(docs.items(), key=lambda doc: (doc[1], doc[0]), reverse=True)[:10])


def evaluate(qrels, run):
    """trec_eval's values; it has no cut of the reciprocal rank, so that it is given a cut ranking."""
    cut = ORACLE["mrr@10"]
    whole = pytrec_eval.RelevanceEvaluator(qrels, set(ORACLE.values()) - {cut}, relevance_level=LEVEL).evaluate(run)
    short = {query: first_ten(docs) for query, docs in run.items()}
    ranks = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}, relevance_level=LEVEL).evaluate(short)
    return {query: {**values, cut: ranks[query]["recip_rank"]} for query, values in whole.items()}


def assert_agrees(binary, qrels_path, run_path):
    qrels, run = read_qrels(qrels_path), read_run(run_path)
    ours = rerankd_eval(binary, qrels_path, run_path, "--metrics", ",".join(ORACLE))
    oracle = evaluate(qrels, run)
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


def test_agrees_with_trec_eval_where_the_first_relevant_one_is_at_the_cut(rerankd, tmp_path):
    """At rank 10 it counts, at 11 it does not; a tie at the cut is broken by document id."""
    qrels, run = tmp_path / "qrels", tmp_path / "run"
    lines, judged = [], []
    for query, first in [("tenth", 10), ("eleventh", 11), ("none", 0)]:
        for rank in range(1, 21):
            lines.append(f"{query} Q0 d{rank:02} {rank} {100 - rank} t")
            judged.append(f"{query} 0 d{rank:02} {2 + rank % 2 if first and rank >= first else rank % 2}")
    lines += [f"tied Q0 d{rank:02} {rank} 1 t" for rank in range(1, 13)]  # d12 first, d03 tenth, d02 eleventh
    judged += ["tied 0 d03 2", "tied 0 d02 3"]
    run.write_text("\n".join(lines) + "\n")
    qrels.write_text("\n".join(judged) + "\n")
    assert_agrees(rerankd, qrels, run)
    values = rerankd_eval(rerankd, qrels, run, "--metrics", "mrr@10,mrr")["metrics"]
    assert values["mrr@10"]["per_query"] == {"tenth": pytest.approx(0.1), "eleventh": 0, "none": 0, "tied": pytest.approx(0.1)}
    assert values["mrr"]["per_query"]["eleventh"] == pytest.approx(1 / 11)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_trec_eval_on_random_rankings(rerankd, tmp_path, seed):
    """Many ties, unjudged and unretrieved documents, queries without any relevant one."""
    random = Random(seed)
    qrels, run = tmp_path / "qrels", tmp_path / "run"
    with qrels.open("w") as judgements, run.open("w") as lines:
        for query in range(40):
            documents = [f"d{i}" for i in range(60)]
            for doc in random.sample(documents, random.randint(1, 40)):
                judgements.write(f"q{query} 0 {doc} {random.choice([0, 0, 1, 2, 3]) if query % 7 else random.randint(0, 1)}\n")
            for rank, doc in enumerate(random.sample(documents, random.randint(1, 50)), 1):
                lines.write(f"q{query} Q0 {doc} {rank} {random.randint(0, 12)} t\n")
    assert_agrees(rerankd, qrels, run)


def test_baseline_gives_difference_interval_and_agreement(rerankd):
    data = ROOT / "experiments/data"
    ours = rerankd_eval(rerankd, data / "demo_qrels.tsv", data / "demo_run.trec", "--baseline", data / "demo_run.trec")
    ndcg = ours["metrics"]["ndcg@10"]
    assert ndcg["difference"] == 0 and ndcg["difference_95"] == [0, 0]
    assert ours["agreement"]["spearman"] == pytest.approx(1)
    assert ours["agreement"]["top10_overlap"] == 1
