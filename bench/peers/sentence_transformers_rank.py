#!/usr/bin/env python3
"""The peer: sentence-transformers' CrossEncoder (torch fp32 on the CPU) re-ranking a TREC run, text in to score out.

Prints {"value": pairs per second, …} for tools/ab.py. One predict() call a query, as rerankers are used; loading is not
timed, tokenising is. Needs a Python with torch and sentence-transformers (see docs/dependencies.md).
"""
import argparse
import json
import time


def read_texts(path):
    with open(path, encoding="utf-8") as lines:
        rows = (json.loads(line) for line in lines)
        return {r["_id"]: f'{r["title"]} {r["text"]}' if r.get("title") else r["text"] for r in rows}


def read_run(path):
    run = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            query, _, doc, *_ = line.split()
            run.setdefault(query, []).append(doc)
    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="model folder in Hugging Face layout")
    parser.add_argument("--queries", required=True)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=int, default=0, help="queries to score; 0 = all")
    args = parser.parse_args()

    import torch
    from sentence_transformers import CrossEncoder

    torch.set_num_threads(args.threads)
    model = CrossEncoder(args.model, device="cpu", max_length=512)
    queries, corpus, run = read_texts(args.queries), read_texts(args.corpus), read_run(args.run)
    ids = list(run)[: args.limit or None]
    model.predict([(queries[ids[0]], corpus[d]) for d in run[ids[0]][:16]], batch_size=args.batch_size)  # warm up

    pairs, start = 0, time.perf_counter()
    for query in ids:
        batch = [(queries[query], corpus[doc]) for doc in run[query]]
        model.predict(batch, batch_size=args.batch_size, show_progress_bar=False)
        pairs += len(batch)
    seconds = time.perf_counter() - start
    print(json.dumps({"value": pairs / seconds, "pairs": pairs, "seconds": seconds, "torch": torch.__version__,
                      "batch_size": args.batch_size, "threads": args.threads}))


if __name__ == "__main__":
    main()
