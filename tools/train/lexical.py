"""BM25 over word-piece ids, scaled to [0, 1]: the lexical part of the teacher."""

import numpy as np
import scipy.sparse

_K1 = 0.9
_B = 0.4


class LexicalScorer:
    """Scores passages of one collection; the index is immutable once built."""

    def __init__(self, passages: list[np.ndarray], vocabulary: int):
        """passages: token ids of each, int [length]."""
        lengths = np.array([len(p) for p in passages], dtype=np.float32)
        rows = np.repeat(np.arange(len(passages)), lengths.astype(np.int64))
        counts = scipy.sparse.csr_matrix(
            (np.ones(len(rows), dtype=np.float32), (rows, np.concatenate(passages))),
            shape=(len(passages), vocabulary),
        )
        frequency = np.bincount(counts.indices, minlength=vocabulary)
        self._idf = np.log1p((len(passages) - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
        norm = _K1 * (1 - _B + _B * lengths / lengths.mean())
        counts.data = counts.data * (_K1 + 1) / (counts.data + np.repeat(norm, np.diff(counts.indptr)))
        self._weights = counts

    def score(self, query: np.ndarray, passages: np.ndarray) -> np.ndarray:
        """BM25 of each passage divided by the query's upper bound: float32 [passages]."""
        terms = np.unique(query)
        idf = self._idf[terms]
        bound = float(idf.sum()) * (_K1 + 1)
        if bound == 0.0:
            return np.zeros(len(passages), dtype=np.float32)
        return self._weights[passages][:, terms] @ idf / bound

    def best(self, queries: list[np.ndarray], count: int) -> np.ndarray:
        """The `count` passages of the highest BM25 for each query, in no order: int [queries, count]."""
        terms = [np.unique(query) for query in queries]
        rows, columns = np.repeat(np.arange(len(terms)), [len(t) for t in terms]), np.concatenate(terms)
        of_queries = scipy.sparse.csr_matrix(
            (self._idf[columns], (rows, columns)), shape=(len(terms), self._weights.shape[1])
        )
        scores = (of_queries @ self._weights.T).toarray()
        return np.argpartition(-scores, count - 1, axis=1)[:, :count]
