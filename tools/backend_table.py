#!/usr/bin/env python3
"""All backends x precisions of this machine on the same text: speed, distance to the native fp32 scores, ranking.

    python3 tools/backend_table.py describe --model build/minilm --out docs/benchmarks/backends
    python3 tools/backend_table.py round --model build/minilm --out docs/benchmarks/backends    # as often as wanted

`describe` measures what does not depend on the machine's speed: distances to the native fp32 scores, Spearman with them, and
with the bundled trained model nDCG@10 of the demo. Each `round` measures every row once, in turn, each in a fresh process
(`rerankd bench --rounds 1`), on a quiet machine. Both keep what they have in OUT.json and write the table OUT.md anew. What is
not here, or fails, becomes a row with its reason. Packages of backend compiled are made where they are missing.
"""

import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT / "experiments" / "data"
PYTHON = ROOT / "build" / "backends-venv" / "bin" / "python"
ROWS = [("native", "fp32", ""), ("native", "bf16", ""), ("native", "int8", ""), ("onnx", "fp32", ""), ("onnx", "int8", ""),
        ("openvino", "fp32", ""), ("openvino", "bf16", ""), ("openvino", "int8", ""),
        ("pytorch", "fp32", ""), ("pytorch", "bf16", ""), ("pytorch", "fp16", ""), ("pytorch", "int8", ""),
        ("compiled", "fp32", "default"), ("compiled", "fp32", "reduce-overhead"), ("compiled", "fp32", "max-autotune"),
        ("mlx", "fp32", ""), ("mlx", "fp16", ""), ("mlx", "int8", ""), ("mlx", "int4", ""),
        ("mps", "fp16", ""), ("cuda", "fp16", ""), ("tensorrt", "fp16", "")]  # fmt: skip


def run(command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "failed without a word"
        raise RuntimeError(reason.replace(f"{ROOT}/", ""))
    return done.stdout


def provide_package(args, precision, mode):
    """Makes sure that the model has a package for the CPU, where backend compiled looks for it."""
    bundled = ROOT / "models" / args.model
    folder = bundled if bundled.is_dir() else pathlib.Path(args.model)
    out = pathlib.Path(args.rerankd).parent / "plugins" / "compiled" / args.model if bundled.is_dir() else folder / "compiled"
    if not (out / f"cpu-{precision}-{mode}.pt2").exists():
        run([PYTHON, ROOT / "tools" / "export" / "compile.py", folder, "--precision", precision, "--mode", mode, "--out", out])


class Row:
    """One backend at one precision; `state` is what OUT.json keeps of it."""

    def __init__(self, args, spec, state):
        self.args, self.state = args, state
        self.backend, self.precision, self.mode = spec
        self.name = " ".join(filter(None, spec))
        self.options = ["--backend", self.backend, "--precision", self.precision]
        self.options += ["--set", f"model.compile_mode={self.mode}"] if self.mode else []

    def flags(self, model):
        return ["--model", model, *self.options]

    def scores(self, model, pairs):
        text = run([self.args.rerankd, "score", *self.flags(model)], input=pairs)
        return [float(line) for line in text.splitlines()]

    def describe(self, pairs, expected):
        try:
            if self.backend == "compiled":
                provide_package(self.args, self.precision, self.mode)  # no part of the time
            start = time.monotonic()
            scores = self.scores(self.args.model, pairs)
            self.state["demo_seconds"] = time.monotonic() - start  # loading included
            self.state["max_difference"] = max(abs(a - b) for a, b in zip(scores, expected, strict=True))
            self.state["rms_difference"] = statistics.fmean((a - b) ** 2 for a, b in zip(scores, expected)) ** 0.5
            self.state["spearman"] = spearman(scores, expected)
        except RuntimeError as error:
            self.state["reason"] = str(error)
            return
        try:
            self.state["ndcg"] = self.ndcg()
        except RuntimeError as error:
            self.state["no_ndcg"] = str(error)

    def ndcg(self):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "out.trec"
            run([self.args.rerankd, "rank", *self.flags("default"), "--queries", DATA / "demo_queries.jsonl",
                 "--corpus", DATA / "demo_corpus.jsonl", "--run", DATA / "demo_run.trec", "--output", out])  # fmt: skip
            lines = run([self.args.rerankd, "eval", "--qrels", DATA / "demo_qrels.tsv", "--run", out]).splitlines()
        return float(next(line.split()[-1] for line in lines if "ndcg@10" in line))

    def sample(self):
        # The same text for all; slow rows get fewer of its pairs, so that a sample stays near --seconds.
        seconds = self.state["demo_seconds"]
        pairs = max(40, min(self.args.pairs, int(80 / seconds * self.args.seconds)))
        command = [self.args.rerankd, "bench", *self.flags(self.args.model), "--only", "text", "--pairs", pairs, "--threads",
                   self.args.threads, "--rounds", 1, "--json", "--quiet"]  # fmt: skip
        result = json.loads(run(command + (["--data", self.args.data] if self.args.data else [])))
        samples = [sample for sample in result["end_to_end"] if sample["workload"] == "text"]
        if len(samples) != 1:
            raise RuntimeError("; ".join(result["notes"]))
        self.state["details"] = result["backend"]
        self.state.setdefault("pairs_per_s", []).append(samples[0]["pairs_per_s"])
        self.state["pairs"] = pairs
        return {name: value for name, value in result["machine"].items() if name != "Command"}

    def cells(self):
        s = self.state
        if "max_difference" not in s:
            return [self.name, "-", "-", "-", "-", "-", s.get("reason", "not measured")]
        rates = s.get("pairs_per_s", [])
        speed = f"{statistics.median(rates):.1f} ({min(rates):.1f} to {max(rates):.1f})" if rates else "-"
        ndcg = f"{s['ndcg']:.4f}" if "ndcg" in s else "-"
        notes = [s.get("details", "")] + [f"{what}: {s[key]}" for what, key in (("speed", "no_speed"), ("nDCG", "no_ndcg")) if key in s]
        return [self.name, speed, f"{s['max_difference']:.1e}", f"{s['rms_difference']:.1e}", f"{s['spearman']:.4f}", ndcg,
                "; ".join(filter(None, notes))]  # fmt: skip


def spearman(a, b):
    ranks = [{value: rank for rank, value in enumerate(sorted(values))} for values in (a, b)]
    return statistics.correlation([ranks[0][value] for value in a], [ranks[1][value] for value in b])


def demo_pairs():
    """Query TAB document of the demo run: what distances are measured on."""
    read = lambda name: {json.loads(line)["_id"]: json.loads(line)["text"] for line in (DATA / name).read_text().splitlines()}
    queries, corpus = read("demo_queries.jsonl"), read("demo_corpus.jsonl")
    rows = [line.split() for line in (DATA / "demo_run.trec").read_text().splitlines()]
    return "".join(f"{queries[row[0]]}\t{' '.join(corpus[row[2]].split())}\n" for row in rows)


def describe(args, native, rows):
    """Yields after each row, so that what is known can be kept."""
    pairs = demo_pairs()
    expected = native.scores(args.model, pairs)
    for row in rows:
        print(row.name, file=sys.stderr)
        row.state.clear()
        row.describe(pairs, expected)
        yield


def measure(rows, state):
    for row in rows:
        if "reason" not in row.state and "demo_seconds" in row.state:
            print(row.name, file=sys.stderr)
            try:
                state["machine"] = row.sample()
                row.state.pop("no_speed", None)
            except RuntimeError as error:
                row.state["no_speed"] = str(error)
            yield


def table(args, rows, state):
    head = ["backend", "pairs/s: median (range)", "max difference", "rms difference", "Spearman", "nDCG@10", "what ran"]
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(row.cells()) for row in rows)]
    facts = "\n".join(f"- {name}: {value}" for name, value in state.get("machine", {}).items())
    rounds = max((len(row.state.get("pairs_per_s", [])) for row in rows), default=0)
    text = "/".join(pathlib.Path(args.data).parts[-2:]) if args.data else "the bundled pairs"
    return (
        f"# Backends\n\nWritten by `tools/backend_table.py`: {rounds} rounds of up to {args.pairs} pairs of {text} in turn over all rows, "
        f"{args.threads} threads, a fresh process each. Differences of logits and Spearman: against native fp32, the same model, the 80 pairs "
        f"of the demo. nDCG@10: the bundled model `default` on the demo.\n\n{facts}\n\n" + "".join(f"| {line} |\n" for line in lines))  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("describe", "round"))
    parser.add_argument("--rerankd", default=ROOT / "build/release/apps/rerankd/rerankd")
    parser.add_argument("--model", default="default")
    parser.add_argument("--data", default="", help="pairs as `rerankd bench --data` reads them; default: the bundled ones")
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=8, help="about how long a sample may take")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", default="", help="only the rows whose name matches this regular expression")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    record = args.out.with_suffix(".json")
    state = json.loads(record.read_text()) if record.exists() else {}
    kept = state.setdefault("rows", {})
    rows = [Row(args, spec, kept.setdefault(" ".join(filter(None, spec)), {})) for spec in ROWS]
    chosen = [row for row in rows if re.search(args.rows, row.name)]
    for _ in describe(args, rows[0], chosen) if args.what == "describe" else measure(chosen, state):
        record.write_text(json.dumps(state, indent=1) + "\n")
    args.out.with_suffix(".md").write_text(table(args, rows, state), encoding="utf-8")


if __name__ == "__main__":
    main()
