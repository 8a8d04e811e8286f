#!/usr/bin/env python3
"""rerankd and its peers on the same text, cores and minutes: every round runs each of them once, in alternating order.

    bench/peers/prepare.py --model DIR --out build/peers          # once
    bench/peers/run.py --model DIR --prepared build/peers --data BEIR_DIR --out docs/benchmarks/peers

Peers stay loaded in processes of their own (contestant.py) and are warmed up before the first round; rerankd runs `rank` in
a fresh process each time, warmed up as always. A round takes the next --queries queries of the run with all their
documents. Timed is text in to score out, tokenising included. Writes OUT.json (every round, medians, paired ratios with
95 % bootstrap intervals, machine, commit, command) and OUT.md (the tables). BEIR_DIR has queries.jsonl, corpus.jsonl and
runs/bm25.top100.trec.
"""
import argparse
import datetime
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import ab  # noqa: E402: the protocol: bootstrap interval, description of the machine

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from sentence_transformers_rank import read_run, read_texts  # noqa: E402

TARGETS = [  # a, b, what a / b should reach
    ("rerankd int8", "OpenVINO int8", 1.5),
    ("rerankd int8", "ONNX Runtime int8", 1.8),
    ("rerankd int8", "sentence-transformers fp32, batch 32", 7.0),
    ("rerankd bf16", "OpenVINO bf16", 1.15),
    ("rerankd fp32", "OpenVINO fp32", 1.2),
]
REFERENCE = "sentence-transformers fp32, batch 32"  # whose scores the others' are compared with


class Peer:
    """A contestant.py process, loaded and waiting."""

    def __init__(self, name, precision, kind, model, *options):
        self.name, self.precision = name, precision
        command = [sys.executable, pathlib.Path(__file__).with_name("contestant.py"), kind, model, *map(str, options)]
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            sys.exit(f"{self.name} ended: {self.log.read()[-2000:]}")
        return json.loads(line)

    def score(self, text):
        self.process.stdin.write(json.dumps({"requests": text.requests}) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Rerankd:
    """`rerankd rank`, a fresh process a round."""

    def __init__(self, name, precision, args):
        self.name, self.precision, self.args = name, precision, args

    def score(self, text):
        with tempfile.TemporaryDirectory() as folder:
            run, out = pathlib.Path(folder, "run.trec"), pathlib.Path(folder, "out.trec")
            run.write_text(text.run_lines())
            command = [self.args.rerankd, "rank", "--model", self.args.model, "--precision", self.precision,
                       "--threads", str(self.args.threads), "--queries", self.args.data / "queries.jsonl",
                       "--corpus", self.args.data / "corpus.jsonl", "--run", run, "--output", out]  # fmt: skip
            process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
            log = process.stderr.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            found = re.search(r"^(\d+) pairs in [\d.]+ s: ([\d.]+) pairs/s", log, re.M)
            if process.returncode != 0 or not found or int(found[1]) != text.pairs:
                sys.exit(f"{self.name}: {log[-2000:]}")
            scores = {tuple(line.split()[::2][:2]): float(line.split()[4]) for line in out.read_text().splitlines()}
        ordered = [[scores[query, doc] for doc in docs] for query, docs in text.documents]
        return {"seconds": text.pairs / float(found[2]), "scores": ordered, "rss_mb": usage.ru_maxrss / 1024}

    def close(self):
        pass


class Text:
    """Some queries with their documents, as every side needs them."""

    def __init__(self, queries, corpus, documents, lengths):
        self.documents = documents  # [(query id, [document id, …]), …]
        self.requests = [[queries[q], [corpus[d] for d in docs]] for q, docs in documents]
        self.pairs = sum(len(docs) for _, docs in documents)
        self.lengths = lengths

    def run_lines(self):
        return "".join(f"{q} Q0 {d} {i + 1} {-i} t\n" for q, docs in self.documents for i, d in enumerate(docs))


def multiply_adds(config, n):
    """Of one pair of n tokens: what src/model/bert_cost.h counts."""
    h, f = config["hidden_size"], config["intermediate_size"]
    row = 4 * h * h + 2 * h * f
    return (config["num_hidden_layers"] - 1) * (n * row + 2 * n * n * h) + n * 2 * h * h + row - 2 * h * h + 2 * n * h


def texts_of_rounds(args):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    tokenizer.enable_truncation(512)
    queries, corpus = read_texts(args.data / "queries.jsonl"), read_texts(args.data / "corpus.jsonl")
    run = list(read_run(args.data / "runs/bm25.top100.trec").items())
    for i in range(args.rounds):
        documents = [run[(i * args.queries + k) % len(run)] for k in range(args.queries)]
        pairs = [(queries[q], corpus[d]) for q, docs in documents for d in docs]
        yield Text(queries, corpus, documents, [len(e.ids) for e in tokenizer.encode_batch(pairs)])


def contestants(args):
    chosen = json.loads((args.prepared / "chosen.json").read_text())
    st, onnx, ov = "sentence-transformers", args.prepared / "onnx", args.prepared / "openvino"
    threads = ("--threads", args.threads)
    bf16 = re.search(r"\b(avx512_bf16|amx_bf16)\b", pathlib.Path("/proc/cpuinfo").read_text())
    made = [
        (Peer, REFERENCE, "fp32", st, args.model, "--batch-size", 32, *threads),
        (Peer, "sentence-transformers fp32, batch 8", "fp32", st, args.model, *threads),
        (Peer, "ONNX Runtime fp32", "fp32", "onnxruntime", onnx / f"{chosen['onnx_fp32']}.onnx", *threads),
        (Peer, "ONNX Runtime int8", "int8", "onnxruntime", onnx / f"{chosen['onnx_int8']}.onnx", *threads),
        (Peer, "OpenVINO fp32", "fp32", "openvino", ov / "fp32.xml", *threads),
        (Peer, "OpenVINO bf16", "bf16", "openvino", ov / "fp32.xml", "--hint", "bf16", *threads) if bf16 else None,
        (Peer, "OpenVINO int8", "int8", "openvino", ov / "int8.xml", *threads),
        (Rerankd, "rerankd fp32", "fp32", args),
        (Rerankd, "rerankd bf16", "bf16", args) if bf16 else None,
        (Rerankd, "rerankd int8", "int8", args),
    ]
    return [kind(*rest) for kind, *rest in filter(None, made) if re.search(args.only, rest[0])]


def peaks(args):
    """{precision: multiply-adds a second} of all cores together, right now."""
    command = [args.rerankd, "bench", "--model", args.model, "--threads", args.threads, "--only", "lengths", "--lengths", 16,
               "--seconds", 0.01, "--rounds", 1, "--quiet", "--json"]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"rerankd bench: {done.stderr[-2000:]}")
    return {row["precision"]: row["multiply_adds_per_s"] for row in json.loads(done.stdout)["peak"]}


def ranks(values):
    order = sorted(range(len(values)), key=lambda i: values[i])
    result = [0] * len(values)
    for rank, i in enumerate(order):
        result[i] = rank
    return result


def agreement(scores, reference):
    """Largest difference of a logit, mean Spearman correlation and top-10 overlap a query. The head of the folder that
    tools/make_minilm.py writes is random: ranks of such a model are harsher than those of a trained one."""
    spearman, overlap = [], []
    for a, b in zip(scores, reference):
        spearman.append(statistics.correlation(ranks(a), ranks(b)))
        top = [set(sorted(range(len(s)), key=lambda i: -s[i])[:10]) for s in (a, b)]
        overlap.append(len(top[0] & top[1]) / len(top[0]))
    worst = max(abs(x - y) for a, b in zip(scores, reference) for x, y in zip(a, b))
    return {"max_logit_difference": worst, "spearman": statistics.mean(spearman), "top10_overlap": statistics.mean(overlap)}


def measure(args):
    """[{contestant: answer, "peaks": …, "text": Text}, …], one a round."""
    sides = contestants(args)
    rounds = []
    for i, text in enumerate(texts_of_rounds(args)):
        if i == 0:
            for side in sides:
                side.score(text)  # warm: peers are slower on lengths that they see first
        result = {"text": text, "peaks": peaks(args)}
        for side in sides if i % 2 == 0 else sides[::-1]:
            result[side.name] = side.score(text)
        rounds.append(result)
        speeds = {side.name: round(text.pairs / result[side.name]["seconds"], 1) for side in sides}
        print(f"round {i + 1} of {args.rounds}: {speeds}", file=sys.stderr, flush=True)
    for side in sides:
        side.close()
    return sides, rounds


def report(args, sides, rounds):
    config = json.loads((args.model / "config.json").read_text())
    work = [sum(multiply_adds(config, n) for n in r["text"].lengths) for r in rounds]
    names = [side.name for side in sides]
    speed = {n: [r["text"].pairs / r[n]["seconds"] for r in rounds] for n in names}
    rows = []
    for side in sides:
        shares = [w / r[side.name]["seconds"] / r["peaks"][side.precision] for w, r in zip(work, rounds)
                  if r["peaks"].get(side.precision)]  # fmt: skip
        row = {"name": side.name, "precision": side.precision, "pairs_per_s": statistics.median(speed[side.name]),
               "rounds": speed[side.name], "share_of_peak": statistics.median(shares) if shares else None,
               "peak_rss_mb": max(r[side.name]["rss_mb"] for r in rounds)}  # fmt: skip
        if REFERENCE in names and side.name != REFERENCE:
            scores, reference = ([s for r in rounds for s in r[n]["scores"]] for n in (side.name, REFERENCE))
            row["against_reference"] = agreement(scores, reference)
        rows.append(row)
    ratios = []
    for a, b, target in TARGETS:
        if a in names and b in names:
            paired = [x / y for x, y in zip(speed[a], speed[b])]
            low, high = ab.bootstrap(paired)
            ratios.append({"a": a, "b": b, "median": statistics.median(paired), "low": low, "high": high, "target": target})
    lengths = [n for r in rounds for n in r["text"].lengths]
    return {"machine": ab.machine() | {"threads": args.threads}, "date": datetime.date.today().isoformat(),
            "command": " ".join(["bench/peers/run.py", *sys.argv[1:]]), "rounds": len(rounds),
            "pairs_per_round": rounds[0]["text"].pairs, "tokens_per_pair": statistics.mean(lengths),
            "peak": {p: statistics.median(r["peaks"][p] for r in rounds) for p in rounds[0]["peaks"]},
            "prepared": json.loads((args.prepared / "chosen.json").read_text()), "contestants": rows, "ratios": ratios}  # fmt: skip


def markdown(result):
    first = result["contestants"][0]["pairs_per_s"]
    machine = result["machine"]
    lines = [f"{machine['cpu']}, {machine['threads']} threads, {', '.join(machine['isa'])}; commit {machine['commit']}, "
             f"{result['date']}. {result['rounds']} interleaved rounds of {result['pairs_per_round']} pairs, "
             f"{result['tokens_per_pair']:.1f} tokens a pair; medians. Measured peak, G multiply-adds/s: "
             + ", ".join(f"{p} {v / 1e9:.0f}" for p, v in result["peak"].items() if v) + ".", "",
             "| | pairs/s | against the first row | share of its peak | peak RSS, MB | largest logit difference | Spearman | top 10 |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for row in result["contestants"]:
        share = f"{row['share_of_peak']:.0%}" if row["share_of_peak"] else "-"
        a = row.get("against_reference")
        same = f"{a['max_logit_difference']:.2g} | {a['spearman']:.4f} | {a['top10_overlap']:.3f}" if a else "- | - | -"
        lines.append(f"| {row['name']} | {row['pairs_per_s']:.1f} | {row['pairs_per_s'] / first:.2f} | {share} | "
                     f"{row['peak_rss_mb']:.0f} | {same} |")  # fmt: skip
    lines += ["", "| | ratio | 95 % interval | aim |", "|---|---|---|---|"]
    for r in result["ratios"]:
        lines.append(f"| {r['a']} / {r['b']} | **{r['median']:.2f}** | {r['low']:.2f} to {r['high']:.2f} | {r['target']} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True, help="folder in Hugging Face layout")
    parser.add_argument("--prepared", type=pathlib.Path, required=True, help="what prepare.py wrote")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder in BEIR layout with runs/bm25.top100.trec")
    parser.add_argument("--rerankd", type=pathlib.Path, default=ROOT / "build/release/apps/rerankd/rerankd")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--queries", type=int, default=4, help="queries a round")
    parser.add_argument("--only", default="", help="regular expression: contestants whose name matches")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="OUT.json and OUT.md")
    args = parser.parse_args()
    result = report(args, *measure(args))
    args.out.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")
    args.out.with_suffix(".md").write_text(markdown(result))
    print(markdown(result), end="")


if __name__ == "__main__":
    main()
