"""Token ids of texts, pairs and padded batches."""

import pathlib

import numpy as np
import tokenizers
import torch

CLS, SEP, PAD = 101, 102, 0
# A query longer than this is cut: the passage is what carries the evidence.
MAX_QUERY_TOKENS = 32


def load_tokenizer(directory: pathlib.Path) -> tokenizers.Tokenizer:
    """The directory's tokenizer without its own truncation and padding."""
    tokenizer = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def encode_texts(tokenizer: tokenizers.Tokenizer, texts: list[str]) -> list[np.ndarray]:
    """Ids of each text without special tokens, int32 [length]."""
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    return [np.asarray(e.ids, dtype=np.int32) for e in encodings]


def pair_ids(query: np.ndarray, passage: np.ndarray, max_length: int) -> tuple[np.ndarray, np.ndarray]:
    """`[CLS] query [SEP] passage [SEP]` cut to `max_length`: (ids, token types), each [length]."""
    query = query[:MAX_QUERY_TOKENS]
    passage = passage[: max_length - len(query) - 3]
    ids = np.concatenate([[CLS], query, [SEP], passage, [SEP]]).astype(np.int64)
    types = np.zeros(len(ids), dtype=np.int64)
    types[len(query) + 2 :] = 1
    return ids, types


def single_ids(text: np.ndarray, max_length: int) -> tuple[np.ndarray, np.ndarray]:
    """`[CLS] text [SEP]` cut to `max_length`: (ids, token types), each [length]."""
    ids = np.concatenate([[CLS], text[: max_length - 2], [SEP]]).astype(np.int64)
    return ids, np.zeros(len(ids), dtype=np.int64)


def pad_batch(rows: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, torch.Tensor]:
    """Pads (ids, types) rows to the longest: model inputs, each int64 [rows, longest]."""
    longest = max(len(ids) for ids, _ in rows)
    batch = {
        name: torch.full((len(rows), longest), PAD, dtype=torch.int64)
        for name in ("input_ids", "token_type_ids", "attention_mask")
    }
    for row, (ids, types) in enumerate(rows):
        batch["input_ids"][row, : len(ids)] = torch.from_numpy(ids)
        batch["token_type_ids"][row, : len(ids)] = torch.from_numpy(types)
        batch["attention_mask"][row, : len(ids)] = 1
    return batch


def batches_by_length(rows: list[tuple[np.ndarray, np.ndarray]], batch_size: int) -> list[list[int]]:
    """Row numbers in batches of similar length, so that little is padded."""
    order = sorted(range(len(rows)), key=lambda row: len(rows[row][0]))
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
