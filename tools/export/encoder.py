"""The encoder of a rerankd model folder as a torch module: what src/backends/torch/encoder.cc computes, for export.

Reads config.json and *.safetensors (F32, F16, BF16 or rerankd-int8); needs torch and safetensors only.
"""

import json
import pathlib

import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

ACTIVATIONS = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}


def read_weights(folder):
    """Tensors by Hugging Face name, in float32; int8 matrices widened by the scale of their row."""
    weights = {}
    for file in sorted(folder.glob("*.safetensors")):
        weights.update(safetensors.torch.load_file(file))
    return {name: weight.float() * weights[name + "_scale"][:, None] if weight.dtype == torch.int8 else weight.float()
            for name, weight in weights.items() if not name.endswith("_scale")}  # fmt: skip


class Layer(nn.Module):
    def __init__(self, config, last):
        super().__init__()
        hidden, wide, eps = config["hidden_size"], config["intermediate_size"], config.get("layer_norm_eps", 1e-12)
        self.heads, self.act, self.last = config["num_attention_heads"], config["hidden_act"], last
        self.query, self.key, self.value = (nn.Linear(hidden, hidden) for _ in range(3))
        self.attended, self.wide, self.narrow = nn.Linear(hidden, hidden), nn.Linear(hidden, wide), nn.Linear(wide, hidden)
        self.attention_norm, self.output_norm = nn.LayerNorm(hidden, eps), nn.LayerNorm(hidden, eps)

    def split(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def activate(self, x):
        return functional.relu(x) if self.act == "relu" else functional.gelu(x, approximate=ACTIVATIONS[self.act])

    def forward(self, x, mask):
        asking = x[:, :1] if self.last else x  # the head reads [CLS] only
        q, k, v = self.split(self.query(asking)), self.split(self.key(x)), self.split(self.value(x))
        context = functional.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2)
        normed = self.attention_norm(self.attended(context) + asking)
        return self.output_norm(self.narrow(self.activate(self.wide(normed))) + normed)


class Encoder(nn.Module):
    """forward(input_ids, token_type_ids, attention_mask: int64 [rows, tokens]) -> float32 logits [rows, labels]."""

    NAMES = {"query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value",
             "attended": "attention.output.dense", "wide": "intermediate.dense", "narrow": "output.dense",
             "attention_norm": "attention.output.LayerNorm", "output_norm": "output.LayerNorm"}  # fmt: skip

    def __init__(self, config, labels):
        super().__init__()
        hidden, layers = config["hidden_size"], config["num_hidden_layers"]
        self.words = nn.Embedding(config["vocab_size"], hidden)
        self.places = nn.Embedding(config["max_position_embeddings"], hidden)
        self.types = nn.Embedding(config["type_vocab_size"], hidden)
        self.norm = nn.LayerNorm(hidden, config.get("layer_norm_eps", 1e-12))
        self.layers = nn.ModuleList(Layer(config, last=i == layers - 1) for i in range(layers))
        self.pooler, self.classifier = nn.Linear(hidden, hidden), nn.Linear(hidden, labels)

    def forward(self, input_ids, token_type_ids, attention_mask):
        x = self.words(input_ids) + self.types(token_type_ids) + self.places.weight[: input_ids.shape[1]]
        x = self.norm(x)
        mask = attention_mask.bool()[:, None, None, :]
        for layer in self.layers:
            x = layer(x, mask)
        return self.classifier(torch.tanh(self.pooler(x[:, 0]))).float()

    def hugging_face_name(self, name):
        """The name of one of our parameters in the file, without "bert."."""
        part, _, end = name.rpartition(".")
        fixed = {"words": "embeddings.word_embeddings", "places": "embeddings.position_embeddings",
                 "types": "embeddings.token_type_embeddings", "norm": "embeddings.LayerNorm", "pooler": "pooler.dense",
                 "classifier": "classifier"}  # fmt: skip
        if part in fixed:
            return f"{fixed[part]}.{end}"
        _, index, field = part.split(".")
        return f"encoder.layer.{index}.{self.NAMES[field]}.{end}"


def load(folder):
    """The module with the weights of a model folder, in eval mode."""
    folder = pathlib.Path(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    weights = {name.removeprefix("bert."): weight for name, weight in read_weights(folder).items()}
    encoder = Encoder(config, labels=weights["classifier.bias"].shape[0])
    legacy = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    state = {}
    for name in encoder.state_dict():
        stored = encoder.hugging_face_name(name)
        for new, old in legacy.items():
            if stored not in weights:
                stored = stored.replace(new, old)
        state[name] = weights[stored]
    encoder.load_state_dict(state)
    return encoder.eval(), config
