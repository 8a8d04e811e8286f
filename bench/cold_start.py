#!/usr/bin/env python3
"""Seconds from the start of a process to the score of one pair, for each precision: `rerankd score` in a fresh process each time,
the precisions in turn, the weights in the page cache.

    bench/cold_start.py --model DIR --rounds 11
"""
import argparse
import pathlib
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAIR = "how do tides work\tTides rise and fall because the moon pulls the water of the oceans.\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rerankd", default=ROOT / "build/release/apps/rerankd/rerankd")
    parser.add_argument("--model", default="default")
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()
    seconds = {"int8": [], "fp32": []}
    for _ in range(1 + arguments.rounds):
        for precision, times in seconds.items():
            start = time.perf_counter()
            subprocess.run([arguments.rerankd, "score", "--model", arguments.model, "--precision", precision], input=PAIR, text=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)  # fmt: skip
            times.append(time.perf_counter() - start)
    for precision, (_, *times) in seconds.items():  # the first round filled the page cache
        print(f"{precision}: median {statistics.median(times):.3f} s, {min(times):.3f} to {max(times):.3f} s, {len(times)} starts")


if __name__ == "__main__":
    main()
