#!/usr/bin/env python3
"""Writes grafana/dashboards/rerankd.json: python3 deploy/grafana/make_dashboard.py (a test checks that it is fresh).

A panel is a title, a kind, a unit and its queries; rows lay their panels out on Grafana's 24 columns.
"""
import json
import pathlib

OUT = pathlib.Path(__file__).parent / "dashboards/rerankd.json"
DATASOURCE = {"type": "prometheus", "uid": "prometheus"}
W = "$__rate_interval"


def rate(name, labels='model=~"$model"', by=""):
    selector = f"{{{labels}}}" if labels else ""
    return f"sum{' by (' + by + ')' if by else ''}(rate({name}{selector}[{W}]))"


def quantile(q, name, by=""):
    return f'histogram_quantile({q}, sum by (le{", " + by if by else ""}) (rate({name}_bucket{{model=~"$model"}}[{W}])))'


def mean(name):
    return f"{rate(name + '_sum')} / {rate(name + '_count')}"


def stages(aggregate):
    return [(label, aggregate(f"rerankd_{stage}_duration_seconds")) for label, stage in
            [("total", "request"), ("queue wait", "queue"), ("tokenisation", "tokenize"), ("inference", "inference")]]


BUSY = f'rate(rerankd_worker_busy_seconds_total{{model=~"$model"}}[{W}])'
PER_BATCH = f"{BUSY} / rate(rerankd_worker_batches_total{{model=~\"$model\"}}[{W}])"
PADDING = (f'1 - sum(rate(rerankd_worker_tokens_total{{model=~"$model"}}[{W}])) '
           f'/ sum(rate(rerankd_worker_padded_tokens_total{{model=~"$model"}}[{W}]))')
REQUESTS, PAIRS, TOKENS = rate("rerankd_requests_total"), rate("rerankd_pairs_total"), rate("rerankd_tokens_total")
CPU = f"sum(rate(rerankd_cpu_seconds_total[{W}]))"
ERRORS = f'(sum(rate(rerankd_errors_total{{model=~"$model"}}[{W}])) or vector(0))'
IDLE = f"1 - avg({BUSY})"

ROWS = [
    ("Key metrics", 4, [
        ("Total queries", "stat", "short", 4, [("pairs", 'sum(rerankd_pairs_total{model=~"$model"})')]),
        ("Total requests", "stat", "short", 4, [("requests", 'sum(rerankd_requests_total{model=~"$model"})')]),
        ("Latency P50", "stat", "s", 4, [("", quantile(0.5, "rerankd_request_duration_seconds"))]),
        ("Latency P95", "stat", "s", 4, [("", quantile(0.95, "rerankd_request_duration_seconds"))]),
        ("Latency P99", "stat", "s", 4, [("", quantile(0.99, "rerankd_request_duration_seconds"))]),
        ("Throughput (requests/s)", "stat", "reqps", 4, [("", REQUESTS)]),
        ("Throughput (pairs/s)", "stat", "short", 4, [("", PAIRS)]),
        ("Tokens/s", "stat", "short", 4, [("", TOKENS)]),
        ("Tokenise (mean)", "stat", "s", 4, [("", mean("rerankd_tokenize_duration_seconds"))]),
        ("Inference (mean)", "stat", "s", 4, [("", mean("rerankd_inference_duration_seconds"))]),
        ("Queue wait (mean)", "stat", "s", 4, [("", mean("rerankd_queue_duration_seconds"))]),
        ("CPU (cores)", "stat", "short", 4, [("", CPU)]),
        ("Memory", "stat", "bytes", 4, [("", "sum(rerankd_resident_memory_bytes)")]),
        ("Workers busy", "stat", "percentunit", 4, [("", f"avg({BUSY})")]),
        ("In flight", "stat", "short", 4, [("", 'sum(rerankd_in_flight_requests{model=~"$model"})')]),
        ("Errors", "stat", "percentunit", 4, [("", f"{ERRORS} / ({REQUESTS} + {ERRORS})")]),
        ("Truncated documents", "stat", "percentunit", 4, [("", f"{rate('rerankd_truncated_documents_total')} / {PAIRS}")]),
        ("Version", "stat", "short", 4, [("{{version}}", "rerankd_build_info")]),
    ]),
    ("Latency distribution", 8, [
        ("Request latency percentiles", "timeseries", "s", 8,
         [(f"p{p}", quantile(p / 100, "rerankd_request_duration_seconds")) for p in (50, 90, 95, 99)]),
        ("Request latency", "heatmap", "s", 8,
         [("{{le}}", f'sum by (le) (rate(rerankd_request_duration_seconds_bucket{{model=~"$model"}}[{W}]))')]),
        ("Latency P99 by route", "timeseries", "s", 8, [("{{route}}", quantile(0.99, "rerankd_request_duration_seconds", "route"))]),
        ("Throughput over time", "timeseries", "short", 8, [("pairs/s", PAIRS)]),
        ("Requests by route", "timeseries", "reqps", 8, [("{{route}}", rate("rerankd_requests_total", by="route"))]),
        ("Errors by code", "timeseries", "short", 8, [("{{code}}", f'sum by (code) (rate(rerankd_errors_total{{model=~"$model"}}[{W}]))')]),
    ]),
    ("Pipeline stages", 8, [
        ("Stage latencies (mean)", "timeseries", "s", 8, stages(mean)),
        ("Stage latencies (P95)", "timeseries", "s", 8, stages(lambda name: quantile(0.95, name))),
        ("Queue sizes", "timeseries", "short", 8, [
            ("tokenizer", "sum(rerankd_tokenizer_queue_requests)"), ("model", "sum(rerankd_model_queue_requests)"),
            ("all", "sum(rerankd_queue_requests)")]),
        ("Documents a request", "timeseries", "short", 8, [
            ("p50", quantile(0.5, "rerankd_documents_per_request")), ("p95", quantile(0.95, "rerankd_documents_per_request"))]),
        ("Tokens a pair", "timeseries", "short", 8, [
            ("p50", quantile(0.5, "rerankd_tokens_per_pair")), ("p95", quantile(0.95, "rerankd_tokens_per_pair"))]),
        ("Micro-batches", "timeseries", "short", 8, [
            ("tokens, p50", quantile(0.5, "rerankd_batch_tokens")), ("tokens, p95", quantile(0.95, "rerankd_batch_tokens"))]),
    ]),
    ("Workers", 8, [
        ("Model worker latency (a micro-batch)", "timeseries", "s", 8, [("{{model}} {{worker}}", PER_BATCH)]),
        ("Model worker throughput", "timeseries", "short", 8,
         [("{{model}} {{worker}}", f'rate(rerankd_worker_pairs_total{{model=~"$model"}}[{W}])')]),
        ("Tokenizer latency", "timeseries", "s", 8, [
            ("p50", quantile(0.5, "rerankd_tokenize_duration_seconds")), ("p99", quantile(0.99, "rerankd_tokenize_duration_seconds"))]),
        ("Worker busy share", "timeseries", "percentunit", 8, [("{{model}} {{worker}}", BUSY)]),
        ("Instance utilisation", "timeseries", "percentunit", 8,
         [("{{model}} {{instance}}", 'rerankd_instance_utilization_ratio{model=~"$model"}')]),
        ("Batch fill", "timeseries", "percentunit", 8, [("mean", mean("rerankd_batch_fill_ratio"))]),
    ]),
    ("System resources", 8, [
        ("CPU usage", "timeseries", "short", 6, [("cores", CPU)]),
        ("Memory over time", "timeseries", "bytes", 6, [
            ("resident", "sum(rerankd_resident_memory_bytes)"), ("device", "sum(rerankd_device_memory_bytes)"),
            ("caches", "sum(rerankd_cache_bytes)")]),
        ("Padding waste", "timeseries", "percentunit", 6, [("of computed tokens", PADDING)]),
        ("Caches: hits", "timeseries", "short", 6, [("{{cache}}", f"sum by (cache) (rate(rerankd_cache_hits_total[{W}]))")]),
    ]),
    ("Bottleneck analysis", 8, [
        ("Throughput of the stages", "timeseries", "reqps", 8, [
            ("admitted and answered", REQUESTS),
            ("tokenised", rate("rerankd_tokenize_duration_seconds_count")),
            ("scored", rate("rerankd_inference_duration_seconds_count"))]),
        ("Queue backlog", "timeseries", "short", 8, [
            ("tokens waiting", "sum(rerankd_queue_tokens)")]),
        ("Seconds of work waiting", "timeseries", "s", 8, [("at the present rate", f"sum(rerankd_queue_tokens) / {TOKENS}")]),
        ("Backlog of the tokenizer", "timeseries", "short", 8, [("requests", "sum(rerankd_tokenizer_queue_requests)")]),
        ("Backlog of the model", "timeseries", "short", 8, [("requests", "sum(rerankd_model_queue_requests)")]),
        ("Bottleneck: share of a request's time", "timeseries", "percentunit", 8, [
            (label, f"({query}) / ({mean('rerankd_request_duration_seconds')})") for label, query in stages(mean)[1:]]),
        ("Refused, dropped, expired", "timeseries", "short", 8, [
            ("refused", f"sum(rate(rerankd_rejected_total[{W}]))"), ("client left", f"sum(rate(rerankd_cancelled_total[{W}]))"),
            ("deadline passed", f"sum(rate(rerankd_expired_total[{W}]))")]),
        ("Time without work", "timeseries", "percentunit", 8, [("workers", IDLE)]),
        ("Work saved", "timeseries", "short", 8, [
            ("equal documents", f"sum(rate(rerankd_duplicate_documents_total[{W}]))"),
            ("pairs dropped", f"sum(rate(rerankd_dropped_pairs_total[{W}]))")]),
    ]),
]


def panel(number, spec, x, y, height):
    title, kind, unit, width, queries = spec
    made = {
        "id": number, "title": title, "type": kind, "datasource": DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": width, "h": height},
        "fieldConfig": {"defaults": {"unit": unit, "custom": {}}, "overrides": []},
        "options": {},
        "targets": [{"refId": chr(ord("A") + i), "datasource": DATASOURCE, "expr": expr, "legendFormat": legend or "__auto"}
                    for i, (legend, expr) in enumerate(queries)],
    }
    if kind == "timeseries":
        made["fieldConfig"]["defaults"]["custom"] = {"fillOpacity": 8, "showPoints": "never"}
        made["fieldConfig"]["defaults"]["min"] = 0
        made["options"] = {"tooltip": {"mode": "multi", "sort": "desc"}, "legend": {"displayMode": "list", "placement": "bottom"}}
    if kind == "stat":
        text = "name" if title == "Version" else "value"
        made["options"] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "graphMode": "area", "colorMode": "value", "textMode": text}
    if kind == "heatmap":
        made["targets"][0]["format"] = "heatmap"
        made["options"] = {"calculate": False, "yAxis": {"unit": unit}, "color": {"mode": "scheme", "scheme": "Turbo", "steps": 64}}
    return made


def layout():
    panels, y, number = [], 0, 1
    for title, height, specs in ROWS:
        panels.append({"id": number, "title": title, "type": "row", "collapsed": False,
                       "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}, "panels": []})
        number, y, x = number + 1, y + 1, 0
        for spec in specs:
            if x + spec[3] > 24:
                x, y = 0, y + height
            panels.append(panel(number, spec, x, y, height))
            x, number = x + spec[3], number + 1
        y += height
    return panels


def dashboard():
    return {
        "uid": "rerankd", "title": "rerankd", "description": "A reranking server: latency, throughput, stages, workers, bottlenecks",
        "tags": ["rerankd"], "schemaVersion": 39, "version": 1, "editable": True, "graphTooltip": 1, "refresh": "5s",
        "time": {"from": "now-15m", "to": "now"}, "timezone": "browser",
        "timepicker": {"refresh_intervals": ["1s", "5s", "10s", "30s", "1m", "5m"]},
        "templating": {"list": [{
            "name": "model", "label": "Model", "type": "query", "datasource": DATASOURCE,
            "query": "label_values(rerankd_instance_info, model)", "refresh": 2, "includeAll": True, "multi": True, "allValue": ".*",
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        }]},
        "annotations": {"list": []}, "links": [], "panels": layout(),
    }


def text():
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    OUT.write_text(text())
    print(OUT)
