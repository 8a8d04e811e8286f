"""Fixtures of the tests with other people's clients: one server on the tiny fp32 model, and the scores that every
client must get. They need tests/e2e/requirements-heavy.txt; `make clients` runs them."""
import hashlib
import json
import os

import pytest
from served import Served
from texts import DOCUMENTS, QUERY

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
os.environ["DO_NOT_TRACK"] = "1"

@pytest.fixture(scope="session")
def server(rerankd):
    with Served(rerankd, "--backend", "native", config="model:\n  precision: fp32\n") as running:
        yield running


@pytest.fixture(scope="session")
def url(server):
    return f"http://127.0.0.1:{server.http_port}"


class Expected:
    """Scores in input order and the indices best first, ties in input order."""

    def __init__(self, scores):
        self.scores = scores
        self.order = sorted(range(len(scores)), key=lambda i: -scores[i])

    def ranks(self, top_n=None):
        return [(i, pytest.approx(self.scores[i], abs=1e-6)) for i in self.order[:top_n]]


def scores_of(server, raw):
    status, _, body = server.http("POST", "/rerank", {"query": QUERY, "texts": DOCUMENTS, "raw_scores": raw})
    assert status == 200, body
    by_index = {rank["index"]: rank["score"] for rank in json.loads(body)}
    return Expected([by_index[i] for i in range(len(DOCUMENTS))])


@pytest.fixture(scope="session")
def expected(server):
    scores = scores_of(server, raw=False)
    assert len(set(scores.scores)) == len(DOCUMENTS), "the documents must be told apart"
    return scores


@pytest.fixture(scope="session")
def logits(server):
    return scores_of(server, raw=True)


@pytest.fixture
def secured(rerankd, tmp_path):
    """A server that wants the key `secured.key`."""
    key = "test-key"
    keys = tmp_path / "keys.jsonl"
    keys.write_text(json.dumps({"name": "client", "sha256": hashlib.sha256(key.encode()).hexdigest()}) + "\n")
    with Served(rerankd, "--backend", "fake", "--api-key-file", str(keys)) as running:
        running.key = key
        yield running
