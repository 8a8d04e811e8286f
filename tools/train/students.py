"""The two students as freshly initialised Hugging Face models.

`default` continues the pretrained trunk. `tiny` starts as a soft lexical matcher, built by hand from
the trunk's word embeddings (`lexical_start.py`). Both run without dropout: with one pass over the
data it costs more than it gives, and without it a step has no random state.
"""

import pathlib

import safetensors.torch
import torch
import transformers

import lexical_start


def build(name: str, trunk: pathlib.Path, seed: int) -> transformers.BertForSequenceClassification:
    """The untrained student `name` ("default" or "tiny")."""
    torch.manual_seed(seed)
    return {"default": _default, "tiny": _tiny}[name](trunk)


def _config(trunk: pathlib.Path, **changes) -> transformers.BertConfig:
    config = transformers.BertConfig.from_pretrained(trunk)
    values = dict(
        architectures=["BertForSequenceClassification"],
        num_labels=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        use_cache=False,
    )
    config.update(values | changes)
    return config


def _trunk_weights(trunk: pathlib.Path) -> dict[str, torch.Tensor]:
    weights = safetensors.torch.load_file(trunk / "model.safetensors")
    weights.pop("embeddings.position_ids", None)  # A buffer of old library versions.
    return weights


def _default(trunk: pathlib.Path) -> transformers.BertForSequenceClassification:
    model = transformers.BertForSequenceClassification(_config(trunk))
    model.bert.load_state_dict(_trunk_weights(trunk))
    return model


def _tiny(trunk: pathlib.Path) -> transformers.BertForSequenceClassification:
    config = _config(
        trunk,
        hidden_size=lexical_start.HIDDEN,
        intermediate_size=4 * lexical_start.HIDDEN,
        num_attention_heads=lexical_start.HEADS,
        num_hidden_layers=lexical_start.LAYERS,
    )
    model = transformers.BertForSequenceClassification(config)
    lexical_start.initialise(model, _trunk_weights(trunk)["embeddings.word_embeddings.weight"])
    return model
