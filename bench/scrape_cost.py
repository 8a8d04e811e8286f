#!/usr/bin/env python3
"""CPU time that one scrape of /metrics costs the server: build/venv/bin/python bench/scrape_cost.py BINARY"""
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests/e2e"))
from served import Served  # noqa: E402

SCRAPES = 2000
REQUESTS = [("/rerank", {"query": "q", "texts": ["a b"] * 100}),
            ("/v1/rerank", {"query": "q", "documents": ["a"] * 100}),
            ("/v2/rerank", {"query": "q", "documents": ["a"] * 100, "model": "any"}),
            ("/predict", {"inputs": [["a", "b"]]})]


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(binary, reference_names):
    with Served(binary, "--backend", "fake", "--set", f"metrics.reference_names={reference_names}") as served:
        for path, body in REQUESTS * 20:
            assert served.http("POST", path, body)[0] == 200
        before = cpu_seconds(served.process.pid)
        for _ in range(SCRAPES):
            size = len(served.http("GET", "/metrics")[2])
        cost = (cpu_seconds(served.process.pid) - before) / SCRAPES
    print(f"reference_names={reference_names}: {size} bytes, {cost * 1000:.2f} ms of CPU a scrape, "
          f"{cost * 100:.2f} % of one core at a scrape a second")


if __name__ == "__main__":
    for names in ["false", "true"]:
        measure(sys.argv[1], names)
