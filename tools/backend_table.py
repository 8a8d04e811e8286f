#!/usr/bin/env python3
"""All backends x precisions of this machine on the same text: speed, distance to the native fp32 scores, nDCG.

    python3 tools/backend_table.py --model build/minilm --out docs/benchmarks/backends

writes OUT.md and OUT.json. Rounds take turns over all rows, each sample in a fresh process (`rerankd bench --rounds 1`). Needs a
quiet machine: it refuses to start above a load of 0.5. What is not here becomes a row with its reason.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT / "experiments" / "data"
ROWS = [("native", "fp32", ""), ("native", "int8", ""), ("onnx", "fp32", ""), ("onnx", "int8", ""),
        ("openvino", "fp32", ""), ("openvino", "bf16", ""), ("openvino", "int8", ""),
        ("pytorch", "fp32", ""), ("pytorch", "bf16", ""), ("pytorch", "int8", ""),
        ("compiled", "fp32", "default"), ("compiled", "fp32", "reduce-overhead"), ("compiled", "fp32", "max-autotune"),
        ("mps", "fp16", ""), ("cuda", "fp16", ""), ("tensorrt", "fp16", ""), ("mlx", "fp16", "")]  # fmt: skip


def run(command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "failed without a word")
    return done.stdout


class Row:
    def __init__(self, args, backend, precision, mode):
        self.args, self.backend, self.precision, self.mode = args, backend, precision, mode
        self.speeds, self.reason, self.details = [], "", ""
        self.flags = ["--model", args.model, "--backend", backend]
        self.flags += ["--set", f"model.compile_mode={mode}"] if mode else []

    def sample(self):
        command = [self.args.rerankd, "bench", "--only", "text", "--pairs", self.args.pairs, "--threads", self.args.threads,
                   "--rounds", 1, "--json", "--quiet", "--precision", self.precision, *self.flags]  # fmt: skip
        command += ["--data", self.args.data] if self.args.data else []
        result = json.loads(run(command))
        if len(result["end_to_end"]) != 1:
            raise RuntimeError("; ".join(result["notes"]))
        self.details, self.machine = result["backend"], result["machine"]
        self.speeds.append(result["end_to_end"][0]["pairs_per_s"])

    def scores(self, pairs):
        text = run([self.args.rerankd, "score", "--precision", self.precision, *self.flags], input=pairs)
        return [float(line) for line in text.splitlines()]

    def ndcg(self):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "out.trec"
            run([self.args.rerankd, "rank", "--queries", DATA / "demo_queries.jsonl", "--corpus", DATA / "demo_corpus.jsonl",
                 "--run", DATA / "demo_run.trec", "--output", out, "--precision", self.precision, *self.flags])  # fmt: skip
            lines = run([self.args.rerankd, "eval", "--qrels", DATA / "demo_qrels.tsv", "--run", out]).splitlines()
        return float(next(line.split()[-1] for line in lines if "ndcg@10" in line))

    def describe(self, pairs, expected):
        try:
            scores = self.scores(pairs)
            self.distance = max(abs(a - b) for a, b in zip(scores, expected, strict=True))
            self.quality = self.ndcg()
        except RuntimeError as error:
            self.reason = str(error)

    def cells(self):
        name = " ".join(filter(None, (self.backend, self.mode)))
        if self.reason:
            return [name, self.precision, "-", "-", "-", self.reason]
        speed = f"{statistics.median(self.speeds):.1f} ({min(self.speeds):.1f} to {max(self.speeds):.1f})"
        return [name, self.precision, speed, f"{self.distance:.1e}", f"{self.quality:.4f}", self.details]


def demo_pairs():
    """Query TAB document of the demo run: what parity is measured on."""
    read = lambda name: {json.loads(line)["_id"]: json.loads(line)["text"] for line in (DATA / name).read_text().splitlines()}
    queries, corpus = read("demo_queries.jsonl"), read("demo_corpus.jsonl")
    rows = [line.split() for line in (DATA / "demo_run.trec").read_text().splitlines()]
    return "".join(f"{queries[row[0]]}\t{' '.join(corpus[row[2]].split())}\n" for row in rows)


def measure(args):
    rows = [Row(args, *spec) for spec in ROWS]
    pairs = demo_pairs()
    expected = rows[0].scores(pairs)
    for row in rows:
        row.describe(pairs, expected)
    for number in range(args.rounds):
        for row in rows:
            if not row.reason:
                print(f"round {number + 1}: {row.backend} {row.precision} {row.mode}", file=sys.stderr)
                row.sample()
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rerankd", default=ROOT / "build/release/apps/rerankd/rerankd")
    parser.add_argument("--model", default="default")
    parser.add_argument("--data", default="", help="pairs as `rerankd bench --data` reads them; default: the bundled ones")
    parser.add_argument("--pairs", type=int, default=960)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--load", type=float, default=0.5, help="highest load average to start at")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    if os.getloadavg()[0] > args.load:
        sys.exit(f"load average {os.getloadavg()[0]:.2f} is above {args.load}: the figures would mean nothing")
    rows = measure(args)
    machine = rows[0].machine
    head = ["backend", "precision", "pairs/s: median (range)", "max abs difference to native fp32", "nDCG@10 of the demo", "what ran"]
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(row.cells()) for row in rows)]
    facts = "\n".join(f"- {name}: {value}" for name, value in machine.items() if name != "Command")
    args.out.with_suffix(".md").write_text(
        f"# Backends\n\n`python3 tools/backend_table.py {' '.join(sys.argv[1:])}`, {args.rounds} interleaved rounds of {args.pairs} pairs, "
        f"{args.threads} threads.\n\n{facts}\n\n" + "".join(f"| {line} |\n" for line in lines), encoding="utf-8")  # fmt: skip
    record = [{"backend": r.backend, "precision": r.precision, "mode": r.mode, "details": r.details, "reason": r.reason,
               "pairs_per_s": r.speeds} for r in rows]  # fmt: skip
    args.out.with_suffix(".json").write_text(json.dumps({"machine": machine, "rows": record}, indent=1) + "\n")


if __name__ == "__main__":
    main()
