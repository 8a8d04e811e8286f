#!/usr/bin/env python3
"""Pairs per second of rerankd's tokenizer and of PyPI `tokenizers`, one thread each, interleaved.

    tools/bench_tokenizer.py --tool build/dev/bench/tokenizer_bench --model MODEL_DIR --data BEIR_DIR --json OUT.json

MODEL_DIR has tokenizer.json; BEIR_DIR has queries.jsonl, corpus.jsonl and runs/bm25.top100.trec. Without the
package `tokenizers` the script makes a virtual environment under the temporary folder and starts itself in it.
"""
import os

os.environ.update(TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1")  # before the import reads them

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

VERSION = "0.23.2"
REQUEST = 100  # documents of a query
MODES = ("rerankd_reuse", "rerankd_each", "tokenizers_all", "tokenizers_request")


def ensure_tokenizers():
    try:
        import tokenizers  # noqa: F401
    except ImportError:
        venv = Path(tempfile.gettempdir()) / f"rerankd-tokenizers-{VERSION}"
        python = venv / "bin" / "python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
            subprocess.run([python, "-m", "pip", "install", "-q", f"tokenizers=={VERSION}"], check=True)
        os.execv(python, [str(python), *sys.argv])


def read_texts(path):
    with open(path) as lines:
        for line in lines:
            entry = json.loads(line)
            text = (entry.get("title", "") + " " + entry["text"]).strip() if entry.get("title") else entry["text"]
            yield entry["_id"], text.replace("\t", " ").replace("\n", " ").replace("\r", " ")


def read_pairs(data):
    queries, corpus = dict(read_texts(data / "queries.jsonl")), dict(read_texts(data / "corpus.jsonl"))
    with open(data / "runs" / "bm25.top100.trec") as lines:
        keys = [line.split() for line in lines]
    return [(queries[k[0]], corpus[k[2]]) for k in keys]


class Ours:
    def __init__(self, tool, model, pairs):
        self.process = subprocess.Popen([tool, "speed", model, pairs], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def round(self, mode):
        self.process.stdin.write(mode + "\n")
        self.process.stdin.flush()
        result = json.loads(self.process.stdout.readline())
        return (result["seconds"], result["cpu_seconds"]), result["tokens"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Theirs:
    def __init__(self, model, pairs):
        import tokenizers
        self.tokenizer = tokenizers.Tokenizer.from_file(os.path.join(model, "tokenizer.json"))
        self.tokenizer.enable_truncation(512)
        self.tokenizer.no_padding()
        self.pairs = pairs

    def round(self, size):
        start, cpu = time.perf_counter(), time.process_time()
        batches = [self.tokenizer.encode_batch(self.pairs[i:i + size]) for i in range(0, len(self.pairs), size)]
        seconds = time.perf_counter() - start, time.process_time() - cpu
        return seconds, sum(len(e) for batch in batches for e in batch)


def measure(ours, theirs, count, rounds):
    """(Seconds, processor seconds) by mode and round. The modes take turns, so that whatever disturbs one disturbs all."""
    run = {"rerankd_reuse": lambda: ours.round("reuse"), "rerankd_each": lambda: ours.round("each"),
           "tokenizers_all": lambda: theirs.round(count), "tokenizers_request": lambda: theirs.round(REQUEST)}
    tokens = {mode: run[mode]()[1] for mode in MODES}  # a warm-up, and the proof of equal work
    if len(set(tokens.values())) != 1:
        sys.exit(f"the token counts differ: {tokens}")
    seconds = {mode: [] for mode in MODES}
    for n in range(rounds):
        for mode in MODES[n % len(MODES):] + MODES[:n % len(MODES)]:
            seconds[mode].append(run[mode]()[0])
    return seconds, tokens[MODES[0]]


def ratio(seconds, ours, clock):
    """Median over the rounds of the faster of their two ways against ours; clock 0 = wall, 1 = processor."""
    best = [min(a[clock], b[clock]) for a, b in zip(seconds["tokenizers_all"], seconds["tokenizers_request"])]
    return round(statistics.median(t / o[clock] for t, o in zip(best, seconds[ours])), 2)


def pairs_per_second(seconds, pairs, clock):
    return {mode: round(pairs / statistics.median(s[clock] for s in seconds[mode])) for mode in MODES}


def cpu_model():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def load_ms(tool, model):
    """Median milliseconds to load the tokenizer: [wall, processor]."""
    runs = [list(map(float, subprocess.check_output([tool, "load", model]).split())) for _ in range(11)]
    return [statistics.median(run[clock] for run in runs) for clock in (0, 1)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    ensure_tokenizers()
    import tokenizers

    pairs = read_pairs(arguments.data)
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        file.writelines(f"{query}\t{document}\n" for query, document in pairs)
        file.flush()
        ours = Ours(arguments.tool, arguments.model, file.name)
        seconds, tokens = measure(ours, Theirs(arguments.model, pairs), len(pairs), max(7, arguments.rounds))
        ours.close()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
                            cwd=Path(__file__).parent).stdout.strip()
    report = {
        "cpu": cpu_model(), "load_average": os.getloadavg()[0], "commit": commit, "tokenizers": tokenizers.__version__,
        "python": platform.python_version(), "command": " ".join(["tools/bench_tokenizer.py", *sys.argv[1:]]),
        "pairs": len(pairs), "tokens": tokens, "rounds": len(seconds[MODES[0]]),
        "pairs_per_second": pairs_per_second(seconds, len(pairs), 0),
        "pairs_per_cpu_second": pairs_per_second(seconds, len(pairs), 1),
        "ratio": {m: ratio(seconds, m, 0) for m in MODES[:2]},
        "cpu_ratio": {m: ratio(seconds, m, 1) for m in MODES[:2]},
        "load_ms": load_ms(arguments.tool, arguments.model), "seconds": seconds}
    text = json.dumps(report, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
