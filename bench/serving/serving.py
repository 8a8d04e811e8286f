#!/usr/bin/env python3
"""What serving costs: the server against `rerankd rank` on the same text, near its capacity, over it, and for long.

    bench/serving/serving.py --model DIR [--pairs FILE.jsonl] --out docs/benchmarks/serving.json

Six parts, about half an hour on a quiet machine; --only PART runs one of them:

throughput  requests of 100 documents, 4 and 16 in flight, over HTTP and gRPC, in rounds interleaved with `rerankd rank`, a new server
            process in each. Client and server share the cores, so the ratio is of pairs per CPU-second (of rank without its
            start-up, which a run of one query measures); both raw rates are in the JSON.
single      one request in flight: its latency against the server's own tokenise + inference time for it.
near        open loop at 80 % of the closed-loop capacity, requests of 10 documents, constant and Poisson arrivals: against the
            median, and against a simulated ideal server that is fed the same arrivals.
fair        requests of 5 documents, one at a time, alone and beside a client that always has 1,000 documents in flight.
over        open loop at 3 times the capacity for a minute: goodput, how fast the rest is refused, what was neither answered nor refused,
            and requests sent once the overload ends: while the accepted ones are still scored, and after.
memory      resident memory after 1,000 and after 100,000 requests of one pair, on the bundled model `tiny`.
"""
import argparse
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from ab import bootstrap, machine  # noqa: E402

DOCUMENTS = 100
PARTS = ("throughput", "single", "near", "fair", "over", "memory")


class Server:
    """`rerankd serve` on free ports, and loads on it."""

    def __init__(self, args, model):
        command = [args.binary, "serve", "--model", model, "--http-port", "0", "--grpc-port", "0",
                   "--set", f"scheduler.max_queue_ms={args.max_queue_ms}", *args.serve]  # fmt: skip
        self.binary = args.binary
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if line.startswith("rerankd ready"):
                break
        else:
            sys.exit("the server did not start")
        self.addresses = dict(part.split("=", 1) for part in line.split() if "=" in part)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.stderr.read()
        self.process.wait()

    def load_command(self, protocol, *arguments):
        port = self.addresses["grpc" if protocol == "rerankd" else "http"].rsplit(":", 1)[1]
        target = f"127.0.0.1:{port}" if protocol == "rerankd" else f"http://127.0.0.1:{port}"
        return [self.binary, "load", "--target", target, "--protocol", protocol, "--json", "--quiet",
                "--server-pid", str(self.process.pid), *map(str, arguments)]  # fmt: skip

    def load(self, protocol, *arguments):
        """The result of one `rerankd load`."""
        command = self.load_command(protocol, *arguments)
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}\n{done.stderr}")
        if done.stderr:
            print(done.stderr.strip(), file=sys.stderr)
        return json.loads(done.stdout)


class Workload:
    """`queries` queries with 100 documents each: as pairs for `load`, as a run for `rank`."""

    def __init__(self, pairs, folder, queries):
        rows = [json.loads(line) for line in pairs.open()]
        texts = [row["document"] for row in rows]
        stride = max(1, len(rows) // queries)
        self.queries, self.folder = queries, folder
        with (folder / "corpus.jsonl").open("w") as corpus:
            for i, text in enumerate(texts):
                corpus.write(json.dumps({"_id": f"d{i}", "text": text}) + "\n")
        with (folder / "pairs.jsonl").open("w") as out, (folder / "queries.jsonl").open("w") as names:
            for q in range(queries):
                query = rows[q * stride % len(rows)]["query"]
                names.write(json.dumps({"_id": f"q{q}", "text": query}) + "\n")
                for k in range(DOCUMENTS):
                    out.write(json.dumps({"query": query, "document": texts[(q * DOCUMENTS + k) % len(texts)]}) + "\n")
        for name, count in (("run.trec", queries), ("one.trec", 1)):
            with (folder / name).open("w") as run:
                for q in range(count):
                    for k in range(DOCUMENTS):
                        run.write(f"q{q} Q0 d{(q * DOCUMENTS + k) % len(texts)} {k + 1} {DOCUMENTS - k} x\n")
        self.pairs = folder / "pairs.jsonl"

    def rank_cpu(self, args, run):
        """CPU seconds of ranking `run`, and what it printed."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [args.binary, "rank", "--model", args.model, "--queries", self.folder / "queries.jsonl", "--corpus",
                   self.folder / "corpus.jsonl", "--run", self.folder / run, "--output", self.folder / "out.trec", *args.serve]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stderr


def throughput(args, _server, work):
    cells = [(protocol, c) for protocol in ("tei", "rerankd") for c in (4, 16)]
    rounds = []
    extra_pairs = (work.queries - 1) * DOCUMENTS
    for i in range(args.rounds):
        row = {}
        full, text = work.rank_cpu(args, "run.trec")
        row["rank"] = {"pairs_per_cpu_s": extra_pairs / (full - work.rank_cpu(args, "one.trec")[0]), "printed": text.strip()}
        with Server(args, args.model) as fresh:  # memory lies elsewhere in each process: none stands for all rounds
            fresh.load("tei", "--data", work.pairs, "--docs-per-request", DOCUMENTS, "--concurrency", 4, "--requests", 4)
            for protocol, c in cells if i % 2 == 0 else cells[::-1]:
                got = fresh.load(protocol, "--data", work.pairs, "--docs-per-request", DOCUMENTS, "--concurrency", c,
                                 "--requests", max(work.queries, c), "--warm-up", 0)  # fmt: skip
                row[f"{protocol} x{c}"] = {"pairs_per_cpu_s": got["server"]["pairs_per_cpu_s"], "pairs_per_s": got["pairs_per_s"],
                                           "client_cpu_s": got["client"]["cpu_s"], "failed": got["requests"]["failed"]}  # fmt: skip
        rounds.append(row)
        print(f"round {i + 1}: " + ", ".join(f"{k} {v['pairs_per_cpu_s']:.1f}" for k, v in row.items()), file=sys.stderr)
    summary = {}
    for protocol, c in cells:
        ratios = [r[f"{protocol} x{c}"]["pairs_per_cpu_s"] / r["rank"]["pairs_per_cpu_s"] for r in rounds]
        low, high = bootstrap(ratios)
        summary[f"{protocol} x{c}"] = {"ratio_to_rank": statistics.median(ratios), "low": low, "high": high}
    return {"summary": summary, "rounds": rounds}


def single(args, server, work):
    result = {}
    for protocol in ("tei", "rerankd"):
        got = server.load(protocol, "--data", work.pairs, "--docs-per-request", DOCUMENTS, "--requests", 4 * work.queries)
        own = got["stages_ms"]["tokenize"]["mean"] + got["stages_ms"]["inference"]["mean"]
        result[protocol] = {"latency_ms": got["latency_ms"]["mean"], "engine_ms": own, "over": got["latency_ms"]["mean"] / own - 1}
    return result


def capacity(server, work, seconds):
    """Requests a second that a closed loop gets answered."""
    return server.load("tei", "--data", work.pairs, "--docs-per-request", DOCUMENTS, "--concurrency", 8, "--duration", seconds)[
        "requests_per_s"]


def near(args, server, work):
    """The longest requests matter for p99, so that there must be hundreds: of 10 documents."""
    result = {arrivals: {"rounds": []} for arrivals in ("constant", "poisson")}
    for _ in range(args.rounds):
        for arrivals, of in result.items():  # in turn, each with a capacity of its own: the machine's speed drifts
            got = server.load("tei", "--data", work.pairs, "--docs-per-request", 10, "--rate", "80%", "--ideal", "--arrivals", arrivals,
                              "--duration", args.near)  # fmt: skip
            times, ideal = got["latency_ms"], got["ideal"]
            of["rounds"].append(
                {"p50_ms": times["p50"], "p99_ms": times["p99"], "p99_over_p50": times["p99"] / times["p50"],
                 "p99_over_ideal": ideal["real_by_ideal"]["p99"], "capacity_requests_per_s": ideal["capacity_requests_per_s"],
                 "failed": got["requests"]["failed"], "sent_late_p99_ms": got["client"]["timing_error_ms"]["p99"]})  # fmt: skip
    for of in result.values():
        for key in ("p99_over_p50", "p99_over_ideal"):
            ratios = [r[key] for r in of["rounds"]]
            of[key] = dict(zip(("median", "low", "high"), (statistics.median(ratios), *bootstrap(ratios))))
    return result


def fair(args, server, work):
    small = ("--data", work.pairs, "--docs-per-request", 5, "--requests", 30, "--warm-up", 0)
    idle = server.load("tei", *small)["latency_ms"]
    large = server.load_command("tei", "--data", work.pairs, "--docs-per-request", 1000, "--duration", 600, "--warm-up", 0)
    with subprocess.Popen(large, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as other:
        time.sleep(1)
        busy = server.load("tei", *small)["latency_ms"]
        other.terminate()
    return {"idle_ms": idle, "busy_ms": busy, "busy_over_idle": {p: busy[p] / idle["p50"] for p in ("p50", "p90", "max")}}


def probe(server, work, idle):
    """A newcomer that asks again every half second until it is taken, then four requests more; times against `idle` ms."""
    command = server.load_command("tei", "--data", work.pairs, "--docs-per-request", DOCUMENTS, "--requests", 5, "--warm-up", 0)
    start, refused = time.monotonic(), 0
    while (done := subprocess.run(command, capture_output=True, text=True)).returncode != 0:
        if "429" not in done.stderr:
            sys.exit(done.stderr)
        refused += 1
        time.sleep(0.5)
    got = json.loads(done.stdout)
    return {"refused_first": refused, "answered_after_s": time.monotonic() - start, "outcomes": outcomes(got),
            "p50_ms": got["latency_ms"]["p50"], "p50_over_idle": got["latency_ms"]["p50"] / idle}  # fmt: skip


def outcomes(got):
    return {f"{o['outcome']} {o['status']}": o["count"] for o in got["outcomes"]}


def over(args, server, work):
    full = capacity(server, work, 8)
    idle = server.load("tei", "--data", work.pairs, "--docs-per-request", DOCUMENTS, "--requests", 20)["latency_ms"]["p50"]
    log = work.folder / "over.jsonl"
    command = server.load_command("tei", "--data", work.pairs, "--docs-per-request", DOCUMENTS, "--rate", 3 * full, "--duration",
                                  args.overload, "--warm-up", 0, "--log", log)  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as overload:
        time.sleep(args.overload + 1)  # nothing more is sent; what was accepted is still being scored
        draining = probe(server, work, idle)
        got = json.loads(overload.stdout.read())
    drained = probe(server, work, idle)
    requests = [json.loads(line) for line in log.open()]
    accepted = [r["latency_ms"] for r in requests if r["outcome"] == "ok"]
    refused = [o for o in got["outcomes"] if o["outcome"] == "refused"]
    return {
        "capacity_requests_per_s": full, "rate": 3 * full,
        "goodput_requests_per_s": got["goodput_requests_per_s"], "goodput_share": got["goodput_requests_per_s"] / full,
        "outcomes": outcomes(got), "refused_ms": refused[0]["latency_ms"] if refused else None, "retry_after_s": got.get("retry_after_s"),
        "neither_answered_nor_refused": sum(r["outcome"] not in ("ok", "refused") for r in requests),
        "ok_ms": got["latency_ms"], "ok_after_patience_share": sum(ms > args.max_queue_ms for ms in accepted) / max(len(accepted), 1),
        "idle_p50_ms": idle, "probe_while_it_drains": draining, "probe_after": drained,
        "sent_late_p99_ms": got["client"]["timing_error_ms"]["p99"],
    }  # fmt: skip


def memory(args, _server, _work):
    with Server(args, "tiny") as server:
        flags = ["--concurrency", 32, "--docs-per-request", 1, "--warm-up", 0]
        first = server.load("tei", *flags, "--requests", 1_000)["server"]["resident_bytes_after"]
        last = server.load("tei", *flags, "--requests", 99_000)
        return {"after_1000": first, "after_100000": last["server"]["resident_bytes_after"],
                "growth": last["server"]["resident_bytes_after"] / first - 1, "requests_per_s": last["requests_per_s"]}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / "build/release/apps/rerankd/rerankd"))
    parser.add_argument("--model", default="default")
    parser.add_argument("--pairs", type=pathlib.Path, default=ROOT / "experiments/data/bundled.jsonl")
    parser.add_argument("--queries", type=int, default=20, help="of 100 documents each")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--near", type=int, default=20, help="seconds of each load near the capacity")
    parser.add_argument("--overload", type=int, default=60, help="seconds")
    parser.add_argument("--max-queue-ms", type=int, default=30_000, help="scheduler.max_queue_ms of the servers")
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--serve", action="append", default=[], help="more flags for serve and rank: --serve=--precision --serve=int8")
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    result = {"machine": machine(), "model": args.model, "pairs": args.pairs.name, "flags": args.serve, "command": " ".join(sys.argv[1:])}
    with tempfile.TemporaryDirectory() as folder, Server(args, args.model) as server:
        work = Workload(args.pairs, pathlib.Path(folder), args.queries)
        server.load("tei", "--data", work.pairs, "--docs-per-request", DOCUMENTS, "--concurrency", 4, "--duration", 2)
        for part in PARTS:
            if args.only in (None, part):
                result[part] = globals()[part](args, server, work)
                print(part, json.dumps({k: v for k, v in result[part].items() if k != "rounds"}, indent=1), file=sys.stderr)
                if args.out:
                    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
