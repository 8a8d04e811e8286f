"""Starts a two-layer, 128-wide cross-encoder as a soft lexical matcher.

Two layers learn to match query words to passage words only after very many pairs, so the start is
built by hand and training refines it:

- A token's vector is its word embedding on WORDS principal axes, plus features of its own axes: its
  segment, whether it is [CLS] or [SEP], and how rare it is.
- In layer 0 a token attends to similar tokens of the *other* segment; without one it attends to
  [CLS] and [SEP]. Each head sees another projection of the words and writes the share of its
  attention that went to real tokens, the strength of the match, to an axis of its own.
- In layer 1 [CLS] averages these strengths over the query's tokens, rare ones weighing more, and the
  head of the model reads the sum.

Constants are in units of a normalised vector's components and of attention logits; they were chosen
by looking at the development set, which is why the start is not evidence of quality by itself.
"""

import math

import torch
import transformers

import encoding

HIDDEN, HEADS, LAYERS = 128, 4, 2

_WORDS = 120
_SEGMENT, _SPECIAL, _RARITY, _MATCH = 120, 121, 122, 123  # Head h writes to axis _MATCH + h.
_HEAD = HIDDEN // HEADS
_PROJECTED = _HEAD - 2  # Axes of a head that compare words; the other two carry features.

_SEGMENT_SIZE = 3.0  # Segment feature: minus this in the query, plus this in the passage.
_SPECIAL_SIZE = 9.0
_SAME_WORD_GAIN = 3.0  # Times 30 / sqrt(32): the logit of a token and its like.
_OTHER_SEGMENT_LOGIT = 30.0
_SPECIAL_LOGIT = 43.0
_MATCH_SIZE = 6.0
_QUERY_LOGIT, _NOT_SPECIAL_LOGIT, _RARITY_LOGIT = 3.0, 8.0, 0.5
_NOISE = 0.02  # Standard deviation of what is not set by hand.

# The vocabulary lists its words from the most to the least frequent, beginning here.
_FIRST_WORD = 1996


@torch.no_grad()
def initialise(model: transformers.BertForSequenceClassification, words: torch.Tensor):
    """Sets all weights of `model`; words: the trunk's word embeddings [vocabulary, trunk width]."""
    _set_embeddings(model.bert.embeddings, words)
    first, second = model.bert.encoder.layer
    for head in range(HEADS):
        _set_matching_head(first.attention, head)
        _set_collecting_head(second.attention, head)
    pooler = model.bert.pooler.dense
    pooler.weight[0] = 0.0
    pooler.weight[0, _MATCH : _MATCH + HEADS] = 0.05
    pooler.bias[0] = -0.6
    model.classifier.weight[0, 0] = 8.0


def _set_embeddings(embeddings: torch.nn.Module, words: torch.Tensor):
    table = embeddings.word_embeddings.weight
    table.zero_()
    table[:, :_WORDS] = _principal_axes(words)
    table[:, _RARITY] = _rarity(len(words))
    special = [encoding.CLS, encoding.SEP]
    table[special] = 0.0
    table[special, _SPECIAL] = _SPECIAL_SIZE
    embeddings.position_embeddings.weight.normal_(0.0, _NOISE)
    segments = embeddings.token_type_embeddings.weight
    segments.zero_()
    segments[:, _SEGMENT] = torch.tensor([-_SEGMENT_SIZE, _SEGMENT_SIZE])


def _principal_axes(words: torch.Tensor) -> torch.Tensor:
    """Word embeddings on their _WORDS principal axes, components of unit variance."""
    centred = words - words.mean(0)
    _, axes = torch.linalg.eigh(centred.T @ centred)  # Ascending eigenvalues.
    return torch.nn.functional.normalize(centred @ axes[:, -_WORDS:], dim=1) * math.sqrt(_WORDS)


def _rarity(vocabulary: int) -> torch.Tensor:
    """Logarithm of the place in the vocabulary, about -2.8 to 2.7: [vocabulary]."""
    place = torch.arange(vocabulary).clamp(min=_FIRST_WORD) / _FIRST_WORD
    return 2.0 * (place.log() - 1.4)


def _head_rows(attention: torch.nn.Module, head: int) -> list[torch.Tensor]:
    """Query, key and value weights of one head, each a view [_HEAD, HIDDEN]."""
    rows = slice(head * _HEAD, (head + 1) * _HEAD)
    inner = attention.self
    return [projection.weight[rows] for projection in (inner.query, inner.key, inner.value)]


def _set_matching_head(attention: torch.nn.Module, head: int):
    """Attend to like tokens of the other segment, else to special tokens; write the match strength."""
    query, key, value = _head_rows(attention, head)
    first = head * _HEAD
    logit = math.sqrt(_HEAD)  # Undoes the scaling of attention logits.
    # A projection keeps _PROJECTED of _WORDS components: the gain brings the norm back.
    gain = math.sqrt(_SAME_WORD_GAIN * _WORDS / _PROJECTED)
    projection = torch.linalg.qr(torch.randn(_WORDS, _PROJECTED))[0].T * gain
    for rows in (query, key):
        rows.zero_()
        rows[:_PROJECTED, :_WORDS] = projection
    query[_PROJECTED, _SEGMENT] = 1.0 / _SEGMENT_SIZE
    key[_PROJECTED, _SEGMENT] = -_OTHER_SEGMENT_LOGIT * logit / _SEGMENT_SIZE
    attention.self.query.bias[first + _PROJECTED + 1] = 1.0
    key[_PROJECTED + 1, _SPECIAL] = _SPECIAL_LOGIT * logit / _SPECIAL_SIZE
    value[0] = 0.0
    value[0, _SPECIAL] = -1.0 / _SPECIAL_SIZE
    attention.self.value.bias[first] = 1.0
    _write_first_value(attention, head, _MATCH_SIZE)


def _set_collecting_head(attention: torch.nn.Module, head: int):
    """Attend to the query's tokens by rarity; carry one head's match strength."""
    query, key, value = _head_rows(attention, head)
    logit = math.sqrt(_HEAD)
    query[:2] = 0.0
    attention.self.query.bias[head * _HEAD : head * _HEAD + 2] = 1.0
    key[:2] = 0.0
    key[0, _SEGMENT] = -_QUERY_LOGIT * logit / _SEGMENT_SIZE
    key[1, _SPECIAL] = -_NOT_SPECIAL_LOGIT * logit / _SPECIAL_SIZE
    key[1, _RARITY] = _RARITY_LOGIT * logit
    value[0] = 0.0
    value[0, _MATCH + head] = 1.0
    _write_first_value(attention, head, 2.0)


def _write_first_value(attention: torch.nn.Module, head: int, size: float):
    """The head's first value goes to its match axis, times `size`, and nowhere else."""
    output = attention.output.dense.weight
    output[:, head * _HEAD] = 0.0
    output[_MATCH + head, head * _HEAD] = size
