#!/usr/bin/env python3
"""Summary of a folder of experiment results: writes docs/benchmarks/catalogue.md from its raw data.

    rerankd experiment run --all --budget 3s --out results
    build/venv/bin/python bench/load/catalogue.py results --command 'rerankd experiment run --all --budget 3s --out results'
"""
import argparse
import json
import pathlib
import re
import textwrap

ROOT = pathlib.Path(__file__).resolve().parents[2]


def without_folders(text):
    """Where files lie on one machine says nothing to another: of an absolute path the name is left."""
    return re.sub(r"(?<![\w./:])/(?:[^\s/'\"`,;:]+/)+(?=[^\s/'\"`,;:])", "", text)


def reason_of(text):
    return textwrap.shorten(without_folders(text), 160, placeholder=" …")


def percentile(values, p):
    """Linear interpolation, as the reports have it."""
    values = sorted(values)
    position = p / 100 * (len(values) - 1)
    below = int(position)
    return values[below] + (values[min(below + 1, len(values) - 1)] - values[below]) * (position - below)


def of_cell(cell):
    good = [r for r in cell["requests"] if not r.get("error")]
    latency = [r["latency_ms"] for r in good]
    at = f"{cell['batch']} at {cell['open']['name']}" if "open" in cell else f"{cell['batch']} × {cell['concurrency']}"
    return {"at": at, "rate": sum(r["pairs"] for r in good) / cell["seconds"], "p50": percentile(latency, 50),
            "p99": percentile(latency, 99), "tokens": cell["real_tokens"] / cell["seconds"] if cell["real_tokens"] > 0 else None}  # fmt: skip


def row(run):
    good = [of_cell(cell) for cell in run["cells"] if not cell["error"]]
    best = max(good, key=lambda cell: cell["rate"])
    tokens = f"{best['tokens']:,.0f}" if best["tokens"] else "-"
    return (f"| {run['name']} | {len(good)} of {len(run['cells'])} | {best['rate']:,.0f} | {best['at']} | {best['p50']:,.1f} | "
            f"{best['p99']:,.1f} | {tokens} |")  # fmt: skip


def markdown(records, title, command):
    runs = [(record, run) for record in records for run in record["runs"]]
    measured = [run for _, run in runs if any(not cell["error"] for cell in run["cells"])]
    skipped = {}  # names by reason, which begins with the name of an instance
    for _, run in runs:
        if run["cells"] and all(cell["skipped"] for cell in run["cells"]):
            reason = re.sub(r"^instance [^:]+: ", "", run["cells"][0]["error"])
            skipped.setdefault(reason, []).append(run["name"])
    failed = [(run["name"], cell["error"]) for _, run in runs for cell in run["cells"] if cell["error"] and not cell["skipped"]]
    environment = records[0]["environment"]
    data, lengths = measured[0]["dataset"], measured[0].get("token_lengths")
    lines = [f"# {title}", "",
             f"{measured[0]['timestamp'][:10]}; {environment['CPU']}, {environment['Cores']}, {environment['Instruction sets']}, "
             f"{environment['Memory']}; rerankd {environment['rerankd']}. Model `{measured[0]['model']}`, data set {data['name']} "
             f"({data['pairs']} pairs, sha256 {data['sha256'][:16]}…" +
             (f", mean {lengths['mean']:.1f} tokens, P95 {lengths['p95']:.0f}" if lengths else "") + ").", "",
             "```sh", command, "```", "",
             f"{len(records)} experiments, {len(runs)} servers: {len(measured)} measured, {sum(map(len, skipped.values()))} skipped, {len(failed)} failed cells. "
             "Cells are cut by the time budget. Each row is the fastest cell of one server: pairs a request × requests in flight.", "",
             "| experiment | good cells | pairs/s | at | p50 ms | p99 ms | tokens/s |", "|---|---|---|---|---|---|---|",
             *map(row, measured)]  # fmt: skip
    if skipped:
        lines += ["", "Skipped, as this machine lacks what they ask for:", ""]
        lines += [f"- {reason_of(reason)}: {', '.join(names)}" for reason, names in skipped.items()]
    if failed:
        lines += ["", "Failed cells:", ""] + [f"- {name}: {reason_of(reason)}" for name, reason in failed]
    return without_folders("\n".join(lines)) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("--command", required=True, help="how the results were made")
    parser.add_argument("--title", default="The catalogue of experiments")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs/benchmarks/catalogue.md")
    arguments = parser.parse_args()
    records = [json.loads(path.read_text()) for path in sorted(arguments.results.glob("*_results.json"))]
    arguments.out.write_text(markdown(records, arguments.title, arguments.command))


if __name__ == "__main__":
    main()
