#!/usr/bin/env python3
"""The one performance protocol: A against B, in fresh processes, interleaved, as a ratio with a bootstrap interval.

Each command is run once to warm up (files in the page cache) and then `--rounds` times in turn, A B B A A B …, so that
slow minutes of the machine hit both. A command prints its figure as the last JSON object of its standard output, or,
with --pattern, in a line of its output (standard error included); larger is better.

    tools/ab.py --a "build/release/apps/rerankd/rerankd rank …" --b "python bench/peers/sentence_transformers_rank.py …" \
        --pattern "([0-9.]+) pairs/s" --out docs/benchmarks/result.json

The JSON holds every round, medians, the median of the paired ratios A/B with a 95 % bootstrap interval, the measured
fp32 peak of the same minutes where --peak names a command that prints it, and the machine, commit and commands.
"""
import argparse
import json
import pathlib
import random
import re
import shlex
import statistics
import subprocess
import sys
import time


def run(command, pattern, key):
    """Runs `command`; returns (figure, seconds of wall time)."""
    start = time.monotonic()
    done = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)
    seconds = time.monotonic() - start
    if done.returncode != 0:
        sys.exit(f"command failed ({done.returncode}): {command}\n{done.stderr[-2000:]}")
    if pattern:
        found = re.findall(pattern, done.stdout + done.stderr)
        if not found:
            sys.exit(f"no '{pattern}' in the output of: {command}\n{done.stderr[-2000:]}")
        return float(found[-1]), seconds
    return float(json.loads(done.stdout[done.stdout.rindex("\n{") + 1 if "\n{" in done.stdout else 0:])[key]), seconds


def bootstrap(values, resamples=10_000, seed=1):
    """95 % percentile interval of the median."""
    rng = random.Random(seed)
    medians = sorted(statistics.median(rng.choices(values, k=len(values))) for _ in range(resamples))
    return medians[int(0.025 * resamples)], medians[int(0.975 * resamples)]


def machine():
    """CPU model and flags that matter, cores, commit."""
    info = pathlib.Path("/proc/cpuinfo").read_text()
    flags = re.search(r"^flags\s*: (.*)$", info, re.M).group(1).split()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return {
        "cpu": re.search(r"^model name\s*: (.*)$", info, re.M).group(1),
        "cores": info.count("\nprocessor") + info.startswith("processor"),
        "isa": [f for f in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8") if f in flags],
        "commit": commit,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--a", required=True, help="command A")
    parser.add_argument("--b", required=True, help="command B")
    parser.add_argument("--name-a", default="A")
    parser.add_argument("--name-b", default="B")
    parser.add_argument("--peak", help="command that prints the machine's peak as its JSON figure, run every round")
    parser.add_argument("--pattern", help="regular expression with one group: the figure in the output")
    parser.add_argument("--pattern-b", help="the same for B (default: --pattern)")
    parser.add_argument("--key", default="value", help="key of the JSON figure (without --pattern)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--target", type=float, help="exit 1 if the median ratio is below")
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()

    sides = {"a": (args.a, args.pattern), "b": (args.b, args.pattern_b or args.pattern)}
    for command, pattern in sides.values():
        run(command, pattern, args.key)
    rounds = []
    for i in range(args.rounds):
        order = "ab" if i % 2 == 0 else "ba"
        figures = {side: run(*sides[side], args.key)[0] for side in order}
        if args.peak:
            figures["peak"] = run(args.peak, None, args.key)[0]
        rounds.append(figures)
        print(f"round {i + 1}: {figures} ratio {figures['a'] / figures['b']:.3f}", file=sys.stderr)

    ratios = [r["a"] / r["b"] for r in rounds]
    low, high = bootstrap(ratios)
    result = {
        "a": {"name": args.name_a, "command": args.a, "median": statistics.median(r["a"] for r in rounds)},
        "b": {"name": args.name_b, "command": args.b, "median": statistics.median(r["b"] for r in rounds)},
        "ratio": {"median": statistics.median(ratios), "low": low, "high": high},
        "rounds": rounds,
        "machine": machine(),
    }
    text = json.dumps(result, indent=2) + "\n"
    print(text, end="")
    if args.out:
        args.out.write_text(text)
    if args.target and result["ratio"]["median"] < args.target:
        sys.exit(f"median ratio {result['ratio']['median']:.3f} is below the target {args.target}")


if __name__ == "__main__":
    main()
