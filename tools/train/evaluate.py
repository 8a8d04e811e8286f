"""Development figure: nDCG@10 of DL19 with the BM25 top-100 re-ranked.

    python tools/train/evaluate.py --data DIR --model models/default

With --reference also how far the scores are from those of another directory, for example of
the unquantised model: largest difference of a logit and mean rank correlation of a query.
"""

import argparse
import json
import pathlib

import numpy as np
import pytrec_eval
import scipy.stats
import torch

import corpus
import encoding
import quantization

MAX_LENGTH = 512
_BATCH = 32


def read_run(path: pathlib.Path) -> dict[str, dict[str, float]]:
    """TREC run: query id -> passage id -> score."""
    run: dict[str, dict[str, float]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        query, _, passage, _, score, _ = line.split()
        run.setdefault(query, {})[passage] = float(score)
    return run


def read_judgements(path: pathlib.Path) -> dict[str, dict[str, int]]:
    """BEIR judgements: query id -> passage id -> grade."""
    judgements: dict[str, dict[str, int]] = {}
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        query, passage, grade = line.split()
        judgements.setdefault(query, {})[passage] = int(grade)
    return judgements


def ndcg(run: dict[str, dict[str, float]], judgements: dict[str, dict[str, int]]) -> float:
    """Mean nDCG@10 over the queries of `run`."""
    evaluator = pytrec_eval.RelevanceEvaluator({q: judgements[q] for q in run}, {"ndcg_cut.10"})
    return float(np.mean([scores["ndcg_cut_10"] for scores in evaluator.evaluate(run).values()]))


@torch.inference_mode()
def score_pairs(model, rows: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Logits of (ids, token types) rows: float32 [rows]."""
    logits = np.empty(len(rows), dtype=np.float32)
    for batch in encoding.batches_by_length(rows, _BATCH):
        logits[batch] = model(**encoding.pad_batch([rows[r] for r in batch])).logits.squeeze(-1).numpy()
    return logits


def rerank(model_directory: pathlib.Path, development: pathlib.Path, query_limit: int) -> dict[str, dict[str, float]]:
    """Scores of the model for the first `query_limit` queries of the BM25 run (0: all)."""
    model = quantization.load(model_directory)
    tokenizer = encoding.load_tokenizer(model_directory)
    run = read_run(development / "runs" / "bm25.top100.trec")
    kept = list(run)[: query_limit or None]
    pairs = [(query, passage) for query in kept for passage in run[query]]
    queries = {r["_id"]: r["text"] for r in corpus.read_jsonl(development / "queries.jsonl")}
    passages = {r["_id"]: corpus.passage_text(r) for r in corpus.read_jsonl(development / "corpus.jsonl")}
    query_ids = encoding.encode_texts(tokenizer, [queries[q] for q, _ in pairs])
    passage_ids = encoding.encode_texts(tokenizer, [passages[p] for _, p in pairs])
    logits = score_pairs(model, [encoding.pair_ids(q, p, MAX_LENGTH) for q, p in zip(query_ids, passage_ids)])
    scores: dict[str, dict[str, float]] = {query: {} for query in kept}
    for (query, passage), logit in zip(pairs, logits.tolist()):
        scores[query][passage] = logit
    return scores


def distance(scores: dict[str, dict[str, float]], reference: dict[str, dict[str, float]]) -> dict[str, float]:
    """How far two sets of scores of the same pairs are from each other."""
    both = [(list(s.values()), [reference[q][p] for p in s]) for q, s in scores.items()]
    return {
        "max_logit_difference": round(max(float(np.abs(np.subtract(a, b)).max()) for a, b in both), 4),
        "mean_spearman": round(float(np.mean([scipy.stats.spearmanr(a, b).statistic for a, b in both])), 5),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder that holds msmarco-dl19/")
    parser.add_argument("--model", type=pathlib.Path, required=True, help="packed or plain model directory")
    parser.add_argument("--reference", type=pathlib.Path, help="model directory to compare the scores with")
    parser.add_argument("--queries", type=int, default=0, help="only the first N queries (default: all)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    development = arguments.data / "msmarco-dl19"
    scores = rerank(arguments.model, development, arguments.queries)
    judgements = read_judgements(development / "qrels" / "test.tsv")
    bm25 = read_run(development / "runs" / "bm25.top100.trec")
    result = {
        "model": str(arguments.model),
        "queries": len(scores),
        "ndcg_cut_10": round(ndcg(scores, judgements), 4),
        "bm25_ndcg_cut_10": round(ndcg({q: bm25[q] for q in scores}, judgements), 4),
    }
    if arguments.reference:
        reference = rerank(arguments.reference, development, arguments.queries)
        result["reference_ndcg_cut_10"] = round(ndcg(reference, judgements), 4)
        result |= distance(scores, reference)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
