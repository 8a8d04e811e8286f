"""The teacher of `tiny`: the SPLADE encoder whose trunk it starts from.

A text becomes one weight for each word piece of the vocabulary, log(1 + relu(the largest logit that the masked language
model gives the piece at any place of the text)); a passage scores the dot product of its weights with the query's.
"""

import concurrent.futures

import numpy as np
import safetensors.torch
import scipy.sparse
import torch
import transformers

import encoding
import students

MAX_LENGTH = 128
_BATCH = 16


def embed(
    queries: list[np.ndarray], passages: list[np.ndarray], threads: int
) -> tuple[scipy.sparse.csr_matrix, scipy.sparse.csr_matrix]:
    """Weights of token id arrays: float32 [queries, pieces], of unit length, and [passages, pieces].

    pieces: those of the vocabulary that any query has, the only ones that can score.
    """
    model = _load()
    of_queries = _weights(model, queries, np.arange(model.config.vocab_size), threads)
    pieces = np.flatnonzero(of_queries.getnnz(axis=0))
    lengths = np.sqrt(np.asarray(of_queries.multiply(of_queries).sum(axis=1))).ravel()
    unit = scipy.sparse.diags((1.0 / np.maximum(lengths, 1e-9)).astype(np.float32)) @ of_queries
    return scipy.sparse.csr_matrix(unit)[:, pieces], _weights(model, passages, pieces, threads)


def _load() -> transformers.BertForMaskedLM:
    directory = students.small_trunk_directory()
    model = transformers.BertForMaskedLM(transformers.BertConfig.from_pretrained(directory))
    stored = students.todays_names(safetensors.torch.load_file(directory / "model.safetensors"))
    missing, unexpected = model.load_state_dict(stored, strict=False)
    if unexpected or any(not name.startswith("cls.predictions.decoder.") for name in missing):
        raise ValueError(f"{directory}: lacks {missing}, has {unexpected} besides; expected a masked language model")
    model.tie_weights()  # The decoder is the table of word embeddings, its bias that of the head.
    return model.eval()


def _weights(
    model: transformers.BertForMaskedLM, texts: list[np.ndarray], pieces: np.ndarray, threads: int
) -> scipy.sparse.csr_matrix:
    """Weights of `pieces` in each text: float32 [texts, pieces]; the same for any number of threads."""
    decoder = model.cls.predictions.decoder
    matrix, bias = decoder.weight.detach()[pieces].T.contiguous(), decoder.bias.detach()[pieces]
    rows = [encoding.single_ids(text, MAX_LENGTH) for text in texts]

    @torch.inference_mode()
    def of_batch(batch: list[int]) -> list[scipy.sparse.csr_matrix]:
        states = model.bert(**encoding.pad_batch([rows[row] for row in batch])).last_hidden_state
        largest = [
            (of_text[: len(rows[row][0])] @ matrix).amax(dim=0) + bias
            for row, of_text in zip(batch, model.cls.predictions.transform(states))
        ]
        return [scipy.sparse.csr_matrix(torch.log1p(torch.relu(logits)).numpy()) for logits in largest]

    result = [None] * len(rows)
    batches = encoding.batches_by_length(rows, _BATCH)
    # Texts are the parallelism: nested threads of so small products would wait for each other.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with concurrent.futures.ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as workers:
        for batch, weights in zip(batches, workers.map(of_batch, batches)):
            for row, of_text in zip(batch, weights):
                result[row] = of_text
    torch.set_num_threads(before)
    return scipy.sparse.vstack(result, format="csr")
