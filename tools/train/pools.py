"""Candidate pools: for each query the passages to learn from and the logit wanted for each.

The wanted logit mixes the score of a teacher, BM25, the SPLADE run where there is one, and the
graded judgement where there is one. The first stage uses all of them for all queries; the second
only the better ones, for the queries that have runs.
"""

import dataclasses
import enum

import numpy as np
import scipy.sparse

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
    query_vectors [queries, dim], passage_vectors [passages, dim]: the teacher's, whose dot product is
    the similarity; dense or sparse; None in the second stage, which does without a teacher.
    """

    query_ids: list[np.ndarray]
    scorer: lexical.LexicalScorer
    query_vectors: np.ndarray | scipy.sparse.csr_matrix | None = None
    passage_vectors: np.ndarray | scipy.sparse.csr_matrix | None = None

    def similarity(self, query: int, passages: np.ndarray) -> np.ndarray:
        """Of each passage to the query: float32 [passages]."""
        return _dense(self.passage_vectors[passages] @ self.query_vectors[query].T).ravel()


def _dense(product: np.ndarray | scipy.sparse.csr_matrix) -> np.ndarray:
    return product.toarray() if scipy.sparse.issparse(product) else product


@dataclasses.dataclass(frozen=True)
class Mining:
    """Which passages become candidates beside those of the runs and the query's own.

    Real queries whose nearest passage is less similar than `least_similarity` teach nothing but "no":
    they are left out.
    """

    nearest: int  # By the teacher.
    lexical: int  # By BM25.
    least_similarity: float


@dataclasses.dataclass(frozen=True)
class LabelWeights:
    """Logits per unit of each signal, and the value of a signal that adds nothing."""

    similarity: float
    lexical: float
    splade: float
    splade_centre: float
    grade: float  # Share of the way from the other signals to the judgement's logit.
    similarity_centre: float = 0.5
    lexical_centre: float = 0.4


# SPLADE orders the judged training queries at nDCG@10 0.71, BM25 at 0.46.
RUN_SIGNALS = LabelWeights(similarity=0.0, lexical=2.0, splade=10.0, splade_centre=0.55, grade=0.8)

RANDOM_CANDIDATES = 16

# A place in the SPLADE run, even the last, says more than absence.
SPLADE_FLOOR = 0.3
GRADE_LOGITS = np.array([-4.0, -1.0, 2.0, 4.0], dtype=np.float32)


def build(
    text: corpus.TrainingText,
    signals: Signals,
    mining: Mining,
    weights: LabelWeights,
    first_synthetic: int,
    rng: np.random.Generator,
) -> list[Pool]:
    """Pools of all queries; those from `first_synthetic` on are made queries."""
    mined = _mine(signals, mining)
    result = []
    for query in range(len(text.queries)):
        kind = _kind(text, query, first_synthetic)
        found, highest = mined[query]
        if kind == Kind.MINED and highest < mining.least_similarity:
            continue
        candidates = _candidates(text, query, found, rng)
        result.append(_ranked(query, kind, candidates, wanted_logits(text, signals, query, candidates, weights)))
    return result


def build_from_runs(text: corpus.TrainingText, signals: Signals, rng: np.random.Generator) -> list[Pool]:
    """Pools of the queries that have runs, labelled without a teacher."""
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


def _mine(signals: Signals, mining: Mining) -> list[tuple[np.ndarray, float]]:
    """For each query the passages found for it, int [nearest + lexical], and the highest similarity."""
    result = []
    for start in range(0, len(signals.query_ids), 256):
        block = slice(start, start + 256)
        similarities = _dense(signals.query_vectors[block] @ signals.passage_vectors.T)
        found = np.argpartition(-similarities, mining.nearest, axis=1)[:, : mining.nearest]
        if mining.lexical:
            found = np.concatenate([found, signals.scorer.best(signals.query_ids[block], mining.lexical)], axis=1)
        result.extend(zip(found, similarities.max(axis=1).tolist()))
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
    if weights.similarity:
        wanted += weights.similarity * (signals.similarity(query, passages) - weights.similarity_centre)
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
