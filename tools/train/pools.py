"""Candidate pools: for each query the passages to learn from and the logit wanted for each.

The wanted logit mixes the bi-encoder's cosine, BM25, the SPLADE run where there is one, and the
graded judgement where there is one. The first stage uses all of them for all queries; the second
only the better ones, for the queries that have runs. The weights were chosen on the judged training
queries.
"""

import dataclasses
import enum

import numpy as np

import corpus
import lexical


class Kind(enum.IntEnum):
    """Where a pool's query comes from."""

    RUN = 0  # A query with first-stage runs, some also with judgements.
    PAIR = 1  # A query with one passage of its own.
    MINED = 2  # A real query whose candidates were found by the teacher.
    SYNTHETIC = 3  # A query made from a passage.


@dataclasses.dataclass
class Pool:
    """One query's candidates, best first: passages int32 [n], targets float32 [n] (logits)."""

    query: int
    kind: Kind
    passages: np.ndarray
    targets: np.ndarray


@dataclasses.dataclass
class Signals:
    """What the labels are made of.

    query_ids: token ids of each query. scorer: BM25 over the passages.
    query_vectors [queries, dim], passage_vectors [passages, dim]: unit length; None in the second
    stage, which does without the bi-encoder.
    """

    query_ids: list[np.ndarray]
    scorer: lexical.LexicalScorer
    query_vectors: np.ndarray | None = None
    passage_vectors: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class LabelWeights:
    """Logits per unit of each signal, and the value of a signal that adds nothing."""

    cosine: float
    lexical: float
    splade: float
    splade_centre: float
    grade: float  # Share of the way from the other signals to the judgement's logit.
    cosine_centre: float = 0.5
    lexical_centre: float = 0.4


ALL_SIGNALS = LabelWeights(cosine=12.0, lexical=2.5, splade=6.0, splade_centre=0.4, grade=0.65)
# SPLADE orders the judged training queries at nDCG@10 0.71, BM25 at 0.46.
RUN_SIGNALS = LabelWeights(cosine=0.0, lexical=2.0, splade=10.0, splade_centre=0.55, grade=0.8)


MINED_CANDIDATES = 64
RANDOM_CANDIDATES = 16
# Real queries without a passage near them teach nothing but "no": they are left out.
MIN_BEST_COSINE = 0.45

# A place in the SPLADE run, even the last, says more than absence.
SPLADE_FLOOR = 0.3
GRADE_LOGITS = np.array([-4.0, -1.0, 2.0, 4.0], dtype=np.float32)


def build(text: corpus.TrainingText, signals: Signals, first_synthetic: int, rng: np.random.Generator) -> list[Pool]:
    """Pools of all queries; those from `first_synthetic` on are made queries."""
    mined = _mine(signals)
    result = []
    for query in range(len(text.queries)):
        kind = _kind(text, query, first_synthetic)
        nearest, best_cosine = mined[query]
        if kind == Kind.MINED and best_cosine < MIN_BEST_COSINE:
            continue
        candidates = _candidates(text, query, nearest, rng)
        result.append(_ranked(query, kind, candidates, wanted_logits(text, signals, query, candidates, ALL_SIGNALS)))
    return result


def build_from_runs(text: corpus.TrainingText, signals: Signals, rng: np.random.Generator) -> list[Pool]:
    """Pools of the queries that have runs, labelled without the bi-encoder."""
    result = []
    for query in sorted(text.runs):
        judged = np.array(list(text.judgements.get(query, {})), dtype=np.int32)
        candidates = _candidates(text, query, judged, rng)
        targets = wanted_logits(text, signals, query, candidates, RUN_SIGNALS)
        result.append(_ranked(query, Kind.RUN, candidates, targets))
    return result


def _ranked(query: int, kind: Kind, candidates: np.ndarray, targets: np.ndarray) -> Pool:
    order = np.argsort(-targets, kind="stable")
    return Pool(query, kind, candidates[order], targets[order])


def _kind(text: corpus.TrainingText, query: int, first_synthetic: int) -> Kind:
    if query in text.runs:
        return Kind.RUN
    if query >= first_synthetic:
        return Kind.SYNTHETIC
    return Kind.PAIR if text.source[query] >= 0 else Kind.MINED


def _mine(signals: Signals) -> list[tuple[np.ndarray, float]]:
    """For each query its nearest passages, int [MINED_CANDIDATES], and the best cosine."""
    result = []
    for start in range(0, len(signals.query_vectors), 256):
        cosines = signals.query_vectors[start : start + 256] @ signals.passage_vectors.T
        nearest = np.argpartition(-cosines, MINED_CANDIDATES, axis=1)[:, :MINED_CANDIDATES]
        result.extend(zip(nearest, cosines.max(axis=1).tolist()))
    return result


def _candidates(text: corpus.TrainingText, query: int, more: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Passages from the runs, the query's own, `more` and some random ones: int32, distinct."""
    own = [text.source[query]] if text.source[query] >= 0 else []
    from_runs = [p for scores in text.runs.get(query, {}).values() for p in scores]
    random = rng.integers(len(text.passages), size=RANDOM_CANDIDATES)
    return np.unique(np.concatenate([own, from_runs, more, random])).astype(np.int32)


def wanted_logits(
    text: corpus.TrainingText, signals: Signals, query: int, passages: np.ndarray, weights: LabelWeights
) -> np.ndarray:
    """Labels of `passages` for `query`: float32 [passages]."""
    wanted = weights.lexical * (signals.scorer.score(signals.query_ids[query], passages) - weights.lexical_centre)
    if weights.cosine:
        cosine = signals.passage_vectors[passages] @ signals.query_vectors[query]
        wanted += weights.cosine * (cosine - weights.cosine_centre)
    splade = text.runs.get(query, {}).get("splade")
    if splade:
        wanted += weights.splade * (_scaled_run(splade, passages) - weights.splade_centre)
    grades = text.judgements.get(query, {})
    for i, passage in enumerate(passages.tolist()):
        if passage in grades:
            wanted[i] += weights.grade * (GRADE_LOGITS[grades[passage]] - wanted[i])
    return wanted.astype(np.float32)


def _scaled_run(scores: dict[int, float], passages: np.ndarray) -> np.ndarray:
    """Run scores scaled to [SPLADE_FLOOR, 1] over the run; passages outside the run get 0."""
    low, high = min(scores.values()), max(scores.values())
    scale = (1.0 - SPLADE_FLOOR) / max(high - low, 1e-9)
    return np.array([SPLADE_FLOOR + (scores[p] - low) * scale if p in scores else 0.0 for p in passages.tolist()])
