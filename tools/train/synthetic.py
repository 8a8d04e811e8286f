"""Queries made from passages: they ask about the same topics as the hard candidates at hand.

Only 129 real queries come with candidates of their own, so most passages would otherwise serve as
easy negatives only. A made query turns the neighbours of its passage into hard candidates.
"""

import collections
import math
import re

import numpy as np

_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_DEFINITION = re.compile(r"^(?:an?\s+|the\s+)?([a-z][a-z0-9' -]{2,40}?)\s+(is|are|was|were)\s+(?:an?|the|one)\b", re.I)
_MAX_QUESTION_WORDS = 14
_MAX_TITLE_WORDS = 8
_KEYWORDS = (3, 5)  # Fewest and most words of a key phrase query.
_STOPWORD_SHARE = 0.02  # A word in a larger share of the passages says too little.


def make_queries(passages: list[str], count: int, rng: np.random.Generator) -> tuple[list[str], list[int]]:
    """Up to `count` distinct queries and the passage index each was made from."""
    idf = _inverse_document_frequency(passages)
    queries: list[str] = []
    sources: list[int] = []
    seen: set[str] = set()
    for passage in rng.permutation(len(passages)):
        if len(queries) == count:
            break
        query = _query_of(passages[passage], idf, rng)
        if query and query not in seen:
            seen.add(query)
            queries.append(query)
            sources.append(int(passage))
    return queries, sources


def _inverse_document_frequency(passages: list[str]) -> dict[str, float]:
    """log(passages / passages with the word); 0 for words too common to ask for."""
    counts: collections.Counter[str] = collections.Counter()
    for passage in passages:
        counts.update(set(_words(passage)))
    most = _STOPWORD_SHARE * len(passages)
    return {w: math.log(len(passages) / n) if n <= most else 0.0 for w, n in counts.items()}


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


def _query_of(passage: str, idf: dict[str, float], rng: np.random.Generator) -> str | None:
    """A question in the passage, the term it defines, its title or a key phrase of a sentence."""
    sentences = [s for s in _SENTENCE.split(passage) if s]
    for sentence in sentences:
        if sentence.endswith("?") and 4 <= len(sentence.split()) <= _MAX_QUESTION_WORDS:
            return sentence.lower()
    definition = _DEFINITION.match(sentences[0])
    if definition:
        return f"what {definition[2].lower()} {definition[1].lower()}"
    if 2 <= len(sentences[0].split()) <= _MAX_TITLE_WORDS:
        return sentences[0].rstrip(".!").lower()
    return _key_phrase(sentences[rng.integers(len(sentences))], idf, rng)


def _key_phrase(sentence: str, idf: dict[str, float], rng: np.random.Generator) -> str | None:
    """The most telling words of a sentence, in their order."""
    words = list(dict.fromkeys(w for w in _words(sentence) if idf.get(w, 0.0) > 0.0))
    if len(words) < _KEYWORDS[0]:
        return None
    size = int(rng.integers(_KEYWORDS[0], _KEYWORDS[1] + 1))
    best = set(sorted(words, key=lambda w: -idf[w])[:size])
    return " ".join(w for w in words if w in best)
