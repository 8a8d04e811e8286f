#!/usr/bin/env python3
"""Figures of the load generator and of what watching costs: writes docs/benchmarks/load.md and .json.

    build/venv/bin/python bench/load/figures.py build/release/apps/rerankd/rerankd

Run it on an idle machine (it says so when it is not): about four minutes. `--quick` is for trying the script.

- overhead: CPU of `rerankd load` per 1,000 requests/s of one pair, open loops of two rates against the fake backend
- floor: what the kernel alone takes for the same, in turns with it (bare_exchange.cc, built with `c++`)
- timing error: sent - due, 99th percentile, of the same loads
- histograms: percentiles against the request log, exactly sorted
- watching: pairs/s of a server that is scraped every second and feeds a dashboard, against one that is left alone; rounds
  take turns (A B B A)
- rewriting: reports made again from raw data are the same bytes
"""
import argparse
import contextlib
import datetime
import json
import math
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/e2e"), str(ROOT / "tools")]
import ab  # noqa: E402
from served import Served  # noqa: E402

PROTOCOLS = ["rerankd", "tei"]
RATES = [1000, 4000]
SUFFIXES = [".md", ".csv", ".html"]


def load(binary, server, protocol, *arguments):
    target = server.grpc_address if protocol == "rerankd" else f"http://127.0.0.1:{server.http_port}"
    command = [binary, "load", "--target", target, "--protocol", protocol, "--json", "--quiet", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if not done.stdout:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    return json.loads(done.stdout)


def bare_exchange(folder):
    """Builds bare_exchange.cc."""
    program = folder / "bare_exchange"
    subprocess.run(["c++", "-std=c++20", "-O2", "-o", program, ROOT / "bench/load/bare_exchange.cc"], check=True)
    return program


def floor(program, server, rate, seconds):
    """(user, system) CPU microseconds of one bare exchange of what `rerankd load` sends over tei."""
    pair = json.loads((ROOT / "experiments/data/bundled.jsonl").open().readline())
    body = json.dumps({"query": pair["query"], "texts": [pair["document"]], "truncate": True})
    request = ("POST /rerank HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
               f"Content-Length: {len(body.encode())}\r\n\r\n{body}")  # fmt: skip
    done = subprocess.run([program, str(server.http_port), str(rate), str(int(rate * seconds))], input=request.encode(),
                          stdout=subprocess.PIPE, check=True)  # fmt: skip
    return tuple(json.loads(done.stdout).values())


def of_load(result):
    """The same of `rerankd load`."""
    client, requests = result["client"], result["requests"]["sent"]
    return tuple(seconds / requests * 1e6 for seconds in (client["cpu_s"] - client["system_cpu_s"], client["system_cpu_s"]))


def overhead(binary, folder, rounds, seconds):
    """A row for each rate and protocol. The bare exchange and the protocols take turns; medians of the rounds."""
    rows, program = [], bare_exchange(folder)
    with Served(binary, "--backend", "fake", "--set", "scheduler.max_queue_ms=10000") as server:
        for rate in RATES:
            bare, loads = [], {protocol: [] for protocol in PROTOCOLS}
            for _ in range(rounds):
                bare.append(floor(program, server, rate, seconds))
                for protocol in PROTOCOLS:
                    loads[protocol].append(load(binary, server, protocol, "--rate", rate, "--duration", seconds))
            for protocol, results in loads.items():
                cpu = [of_load(result) for result in results]
                rows.append({
                    "protocol": protocol, "rate": rate, "rounds": rounds, "failed": sum(r["requests"]["failed"] for r in results),
                    "cpu_us": statistics.median(map(sum, cpu)), "user_us": statistics.median(user for user, _ in cpu),
                    "system_us": statistics.median(system for _, system in cpu),
                    "bare_cpu_us": statistics.median(map(sum, bare)),
                    "above_bare_us": statistics.median(sum(ours) - sum(floor) for ours, floor in zip(cpu, bare)),
                    "timing_error_p99_ms": statistics.median(r["client"]["timing_error_ms"]["p99"] for r in results),
                    "samples": {"load": cpu, "bare": bare}})  # fmt: skip
    return rows


def exact_percentile(ordered, percentile):
    """The smallest value with at least `percentile` percent at or below it."""
    return ordered[max(0, math.ceil(round(percentile * len(ordered) / 100, 6)) - 1)]


def histograms(binary, requests, folder):
    """Largest relative error of the printed percentiles against the log."""
    log = folder / "log.jsonl"
    with Served(binary, "--backend", "fake") as server:
        result = load(binary, server, "tei", "--concurrency", 4, "--requests", requests, "--log", log)
    ordered = sorted(json.loads(line)["latency_ms"] for line in log.open())
    names = {"p50": 50, "p90": 90, "p95": 95, "p99": 99, "p99_9": 99.9, "max": 100}
    errors = {name: abs(result["latency_ms"][name] / exact_percentile(ordered, p) - 1) for name, p in names.items()}
    return {"requests": len(ordered), "largest_relative_error": max(errors.values()), "errors": errors}


@contextlib.contextmanager
def watched(server):
    """Scrapes /metrics every second and reads the dashboard's events."""
    stop = threading.Event()

    def scrape():
        while not stop.wait(1):
            server.http("GET", "/metrics")

    def listen():
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/events", timeout=5) as events:
                while not stop.is_set():
                    events.readline()

    threads = [threading.Thread(target=work) for work in (scrape, listen)]
    for thread in threads:
        thread.start()
    yield
    stop.set()
    for thread in threads:
        thread.join()


def watching(binary, rounds, seconds):
    """Ratios watched / left alone of pairs a second and of pairs a CPU-second of the server."""
    samples = {"watched": [], "alone": []}
    with Served(binary, "--backend", "native", model="tiny") as server:
        pid = server.process.pid
        measure = lambda: load(binary, server, "rerankd", "--concurrency", 4, "--docs-per-request", 20,  # noqa: E731
                               "--duration", seconds, "--warm-up", 2, "--server-pid", pid)
        measure()
        for number in range(rounds):
            for kind in ("watched", "alone") if number % 2 == 0 else ("alone", "watched"):
                with watched(server) if kind == "watched" else contextlib.nullcontext():
                    result = measure()
                samples[kind].append((result["pairs_per_s"], result["server"]["pairs_per_cpu_s"]))
    figures = {"rounds": rounds, "samples": samples}
    for i, name in enumerate(["pairs_per_s", "pairs_per_cpu_s"]):
        ratios = [a[i] / b[i] for a, b in zip(samples["watched"], samples["alone"])]
        figures[name] = {"ratio": statistics.median(ratios), "interval": ab.bootstrap(ratios)}
    return figures


def rewriting(binary, folder):
    """Whether each report is the same bytes when it is made again."""
    base = [binary, "experiment"]
    run = ["run", str(ROOT / "experiments/06a_concurrency.yaml"), "--set", "model.name=tiny", "--set",
           "experiment.benchmark_requests=20", "--budget", "2s", "--out", str(folder), "--quiet"]
    subprocess.run(base + run, check=True, capture_output=True)
    [raw] = folder.glob("*_results.json")
    before = {suffix: raw.with_suffix(suffix).read_bytes() for suffix in SUFFIXES}
    for suffix in SUFFIXES:
        raw.with_suffix(suffix).unlink()
    subprocess.run(base + ["report", str(raw)], check=True, capture_output=True)
    return {suffix: raw.with_suffix(suffix).read_bytes() == before[suffix] for suffix in SUFFIXES}


def markdown(figures):
    machine, watch = figures["machine"], figures["watching"]
    lines = ["# The load generator, and what watching costs", "",
             f"{figures['when']}; {machine['cpu']}, {machine['cores']} logical cores, {' '.join(machine['isa'])}; commit "
             f"{machine['commit']}; load average at the start {figures['load_average']:.2f}. Written by", "",
             "```", "build/venv/bin/python bench/load/figures.py build/release/apps/rerankd/rerankd", "```", "",
             "| figure | target | measured | met |", "|---|---|---|---|"]
    met = lambda condition: "yes" if condition else "**no**"  # noqa: E731
    for row in figures["overhead"]:
        at = f"{row['rate']} requests/s, `{row['protocol']}`"
        share = lambda name: f"{row[name] / 1000:.2%}"  # noqa: B023, E731; a microsecond a request is 0.1 % of a core
        lines.append(f"| CPU of `rerankd load` per 1,000 requests/s, 1 pair each, at {at} | below 2 % of a core | "
                     f"{share('cpu_us')} (user {share('user_us')}, kernel {share('system_us')}); the bare exchange alone: "
                     f"{share('bare_cpu_us')}; above it: {share('above_bare_us')} | {met(row['above_bare_us'] < 20)} |")
        lines.append(f"| sent - due, 99th percentile, at {at} | below 1 ms | {row['timing_error_p99_ms']:.3f} ms | "
                     f"{met(row['timing_error_p99_ms'] < 1)} |")
    error = figures["histograms"]["largest_relative_error"]
    lines.append(f"| percentiles against the sorted log of {figures['histograms']['requests']} requests | within 0.1 % | "
                 f"{error:.4%} | {met(error <= 0.001)} |")
    for name, label in [("pairs_per_s", "pairs/s"), ("pairs_per_cpu_s", "pairs per CPU-second of the server")]:
        low, high = watch[name]["interval"]
        lines.append(f"| {label}, watched / left alone, {watch['rounds']} paired rounds | above 0.99 | "
                     f"{watch[name]['ratio']:.4f} ({low:.4f} .. {high:.4f}) | {met(watch[name]['ratio'] > 0.99)} |")
    same = all(figures["rewriting"].values())
    lines += [f"| reports made again from raw data | the same bytes | {'the same' if same else figures['rewriting']} | {met(same)} |", "",
              "Watched: `/metrics` scraped every second and one dashboard open. The counters themselves cannot be turned off and are in",
              "both. The bare exchange is a thread that sleeps, sends the same request on a loopback connection and reads the reply,",
              "and does nothing else (bench/load/bare_exchange.cc): what no client that waits for replies goes below. It and the loads",
              f"took turns; medians of {figures['overhead'][0]['rounds']} rounds. Whole CPU times are exact; the kernel splits them into user and kernel by what its",
              "ticks interrupt, so that the split is rough. Over gRPC most of it is the gRPC library: of the samples of a profile at",
              "4,000 requests/s 46 % were in libgrpc, 22 % in the kernel, 7 % in this program.",
              "Intervals are bootstraps of the median ratio. Raw figures: [load.json](load.json).", ""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--out", default=str(ROOT / "docs/benchmarks/load"), help="without its suffix")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes: figures of no worth")
    arguments = parser.parse_args()
    figures = {"when": f"{datetime.date.today()}", "machine": ab.machine(), "load_average": os.getloadavg()[0]}
    if figures["load_average"] > 0.5:
        print(f"warning: the load average is {figures['load_average']:.2f}: not an idle machine", file=sys.stderr)
    quick = arguments.quick
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        figures["overhead"] = overhead(arguments.binary, folder, 1 if quick else 5, 2 if quick else 6)
        figures["histograms"] = histograms(arguments.binary, 2000 if quick else 50_000, folder)
        figures["watching"] = watching(arguments.binary, 2 if quick else 15, 1 if quick else 4)
        (folder / "out").mkdir()
        figures["rewriting"] = rewriting(arguments.binary, folder / "out")
    pathlib.Path(arguments.out + ".json").write_text(json.dumps(figures, indent=1) + "\n")
    pathlib.Path(arguments.out + ".md").write_text(markdown(figures))
    print(markdown(figures))


if __name__ == "__main__":
    main()
