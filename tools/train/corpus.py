"""Reads the training folder into flat lists: passages, queries, runs and judgements.

Passages and queries are addressed by their index in `TrainingText`. Everything that also stands in
the development set (DL19) is dropped here, once, so that no later stage can train on it.
"""

import dataclasses
import gzip
import json
import pathlib
import re
from typing import Iterator

RUN_SYSTEMS = ("bm25", "bm25_rm3", "splade")
RUN_COLLECTIONS = ("dl21", "dl22")
# Scored but unlabelled lines exist in judgement files of other years; only these grades are known.
GRADES = (0, 1, 2, 3)


@dataclasses.dataclass
class TrainingText:
    """All text at hand, deduplicated and without the development set.

    passages, queries: texts.
    source: passage index each query came with (pairs and synthetic queries), or -1.
    runs: query index -> system -> {passage index: score}.
    judgements: query index -> {passage index: grade 0..3}.
    """

    passages: list[str]
    queries: list[str]
    source: list[int]
    runs: dict[int, dict[str, dict[int, float]]]
    judgements: dict[int, dict[int, int]]


def read_jsonl(path: pathlib.Path) -> Iterator[dict]:
    """Yields the objects of a .jsonl or .jsonl.gz file."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def passage_text(record: dict) -> str:
    """Title and text of a passage, joined as the server joins them."""
    title = record.get("title") or ""
    return f"{title} {record['text']}" if title else record["text"]


def text_key(text: str) -> str:
    """Text up to case, punctuation and spacing: equal keys mean the same passage or query."""
    return " ".join(re.findall(r"\w+", text.lower()))


class _TextIndex:
    """Assigns one index to all texts with the same key; refuses banned keys."""

    def __init__(self, banned: set[str]):
        self.texts: list[str] = []
        self._banned = banned
        self._index: dict[str, int] = {}

    def add(self, text: str) -> int | None:
        """Index of `text`, or None if it is empty or banned."""
        key = text_key(text)
        if not key or key in self._banned:
            return None
        if key not in self._index:
            self._index[key] = len(self.texts)
            self.texts.append(text.strip())
        return self._index[key]


def load(data: pathlib.Path) -> TrainingText:
    """Reads `distill/` and `msmarco-v1.1-pairs/` below `data`, minus what `msmarco-dl19/` holds."""
    development = data / "msmarco-dl19"
    passages = _TextIndex({text_key(passage_text(r)) for r in read_jsonl(development / "corpus.jsonl")})
    queries = _TextIndex({text_key(r["text"]) for r in read_jsonl(development / "queries.jsonl")})

    distill = data / "distill"
    passage_of = _load_ids(distill / "corpus.jsonl.gz", passages)
    query_of = _load_ids(distill / "queries.jsonl.gz", queries)
    source = [-1] * len(queries.texts)
    for pair in read_jsonl(data / "msmarco-v1.1-pairs" / "pairs.jsonl"):
        query, passage = queries.add(pair["query"]), passages.add(pair["document"])
        if query is None or passage is None:
            continue
        source.extend([-1] * (len(queries.texts) - len(source)))
        source[query] = passage
    return TrainingText(
        passages=passages.texts,
        queries=queries.texts,
        source=source,
        runs=_load_runs(distill / "runs", query_of, passage_of),
        judgements=_load_judgements(distill / "qrels" / "dl21.tsv", query_of, passage_of),
    )


def _load_ids(path: pathlib.Path, index: _TextIndex) -> dict[str, int]:
    """Adds the texts of a BEIR file to `index`; returns external id -> index."""
    added = ((r["_id"], index.add(passage_text(r))) for r in read_jsonl(path))
    return {external: i for external, i in added if i is not None}


def _load_runs(folder: pathlib.Path, query_of: dict[str, int], passage_of: dict[str, int]):
    """Reads the TREC runs; of passages with the same text the best score counts."""
    runs: dict[int, dict[str, dict[int, float]]] = {}
    for system in RUN_SYSTEMS:
        for collection in RUN_COLLECTIONS:
            with gzip.open(folder / f"{collection}.{system}.trec.gz", "rt", encoding="utf-8") as lines:
                for line in lines:
                    query_id, _, passage_id, _, score, _ = line.split()
                    query, passage = query_of.get(query_id), passage_of.get(passage_id)
                    if query is None or passage is None:
                        continue
                    scores = runs.setdefault(query, {}).setdefault(system, {})
                    scores[passage] = max(float(score), scores.get(passage, float("-inf")))
    return runs


def _load_judgements(path: pathlib.Path, query_of: dict[str, int], passage_of: dict[str, int]):
    """Reads graded judgements of passages at hand; of equal texts the best grade counts."""
    judgements: dict[int, dict[int, int]] = {}
    with open(path, encoding="utf-8") as lines:
        next(lines)  # Header.
        for line in lines:
            query_id, passage_id, grade = line.split()
            query, passage = query_of.get(query_id), passage_of.get(passage_id)
            if query is None or passage is None or int(grade) not in GRADES:
                continue
            grades = judgements.setdefault(query, {})
            grades[passage] = max(int(grade), grades.get(passage, 0))
    return judgements
