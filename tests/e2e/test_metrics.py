"""/metrics against its documentation: docs/metrics.md and a running server name the same series."""
import re

from served import ROOT, Served

DOC = ROOT / "docs/metrics.md"
ROW = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram) \| ([\w, ]*?) *\| .+ \|$", re.M)
# What this machine's backend cannot tell.
NOT_ON_A_CPU = {"rerankd_device_utilization_ratio"}


def documented(section):
    """{name: (kind, labels)} of the table below the heading."""
    text = DOC.read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    rows = {name: (kind, frozenset(filter(None, labels.split(", ")))) for name, kind, labels in ROW.findall(text)}
    assert len(rows) > 10, f"no table below '{section}'"
    return rows


def exposed(text):
    """{name: (kind, labels)} of an exposition."""
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M))
    series = {}
    for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? \S+$", text, re.M):
        family = name if name in kinds else re.sub(r"_(bucket|sum|count)$", "", name)
        found = frozenset(re.findall(r'(\w+)="', labels)) - {"le"}
        assert series.setdefault(family, (kinds[family], found)) == (kinds[family], found), f"labels of {name}"
    return series


def used(rerankd, *arguments):
    """The exposition of a server that has answered and refused."""
    with Served(rerankd, "--backend", "fake", *arguments) as served:
        assert served.http("POST", "/rerank", {"query": "q", "texts": ["a b", "c d"]})[0] == 200
        assert served.http("POST", "/rerank", {"query": "q"})[0] == 422
        for _ in range(2):  # readings, which utilisation needs
            served.http("GET", "/metrics.json")
        return served.http("GET", "/metrics")[2].decode()


def test_every_series_is_documented_and_every_documented_series_is_there(rerankd):
    live = exposed(used(rerankd))
    expected = {name: row for name, row in documented("Every series").items() if name not in NOT_ON_A_CPU}
    assert live == expected


def test_reference_names_are_added_when_asked_for(rerankd):
    live = exposed(used(rerankd, "--set", "metrics.reference_names=true"))
    ours = {name: row for name, row in live.items() if name.startswith("rerankd_")}
    theirs = {name: row for name, row in live.items() if not name.startswith("rerankd_")}
    assert theirs == documented("Names of the reference system")
    assert ours.keys() == documented("Every series").keys() - NOT_ON_A_CPU


def test_reference_counters_count_what_the_reference_system_counts(rerankd):
    text = used(rerankd, "--set", "metrics.reference_names=true")
    assert "\nrequest_count_total 2\n" in text  # pairs
    assert "\ntokenizer_queue_items_in_total 1\n" in text
    assert "\nmodel_queue_items_out_total 1\n" in text
    assert "\nrequest_latency_seconds_count 1\n" in text
