"""The storage format `rerankd-int8`: int8 matrices with one float32 scale per output row.

In the file every 2-D `X.weight` [out, in] is int8, `X.weight_scale` float32 [out] stands beside it,
and value = int8 * scale[row] exactly. The grid is symmetric: |int8| <= 127. Vectors and the
classifier stay float32.
"""

import json
import pathlib
import shutil

import safetensors.torch
import torch
import transformers

import encoding

SCALE_SUFFIX = "_scale"
KEPT_PREFIX = "classifier."
LEVELS = 127
QUANTIZATION_CONFIG = {
    "quant_method": "rerankd-int8",
    "bits": 8,
    "scheme": "symmetric per output channel",
    "dequantization": "weight[row, column] = int8[row, column] * weight_scale[row]",
    "modules_to_not_convert": ["classifier"],
}
_TOKENIZER_FILES = ("vocab.txt", "special_tokens_map.json", "tokenizer_config.json")


def pack(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """float32 tensors by name -> tensors as stored."""
    stored = {}
    for name, weight in weights.items():
        if weight.dim() != 2 or name.startswith(KEPT_PREFIX):
            stored[name] = weight.float().contiguous()
            continue
        scale = weight.abs().amax(dim=1) / LEVELS
        scale[scale == 0.0] = 1.0  # A row of zeros: any scale is exact.
        stored[name] = torch.round(weight / scale[:, None]).clamp(-LEVELS, LEVELS).to(torch.int8)
        stored[name + SCALE_SUFFIX] = scale
    return stored


def unpack(stored: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors as stored -> float32 tensors by name."""
    return {
        name: tensor.float() * stored[name + SCALE_SUFFIX][:, None] if tensor.dtype == torch.int8 else tensor
        for name, tensor in stored.items()
        if not name.endswith(SCALE_SUFFIX)
    }


def save_packed(model: transformers.BertForSequenceClassification, trunk: pathlib.Path, out: pathlib.Path):
    """Writes weights, config and tokenizer of `model` to the directory `out`, packed."""
    config = _plain_config(model.config) | {"quantization_config": QUANTIZATION_CONFIG}
    _save(pack(model.state_dict()), config, trunk, out)


def save_plain(model: transformers.BertForSequenceClassification, trunk: pathlib.Path, out: pathlib.Path):
    """Writes weights, config and tokenizer of `model` to the directory `out` in float32."""
    _save(model.state_dict(), _plain_config(model.config), trunk, out)


def save_fp32(packed: pathlib.Path, out: pathlib.Path):
    """Writes the dequantised copy of a packed directory as a plain Hugging Face directory."""
    config = json.loads((packed / "config.json").read_text(encoding="utf-8"))
    config.pop("quantization_config", None)
    _save(unpack(safetensors.torch.load_file(packed / "model.safetensors")), config, packed, out)


def load(directory: pathlib.Path) -> transformers.BertForSequenceClassification:
    """The model of a packed or plain directory, in float32 and ready to score."""
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    config.pop("quantization_config", None)
    model = transformers.BertForSequenceClassification(transformers.BertConfig(**config))
    model.load_state_dict(unpack(safetensors.torch.load_file(directory / "model.safetensors")))
    return model.eval()


def _plain_config(config: transformers.BertConfig) -> dict:
    """The config as a dictionary without paths of the machine it was made on."""
    values = config.to_dict()
    values.pop("_name_or_path", None)
    return values | {"architectures": ["BertForSequenceClassification"], "dtype": "float32"}


def _save(weights: dict[str, torch.Tensor], config: dict, tokenizer: pathlib.Path, out: pathlib.Path):
    """Writes a model directory; `tokenizer` is the directory whose tokenizer is copied."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "model.safetensors"
    safetensors.torch.save_file(weights, path, metadata={"format": "pt"})
    path.chmod(0o644)  # The library makes it readable by its owner only.
    (out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for name in _TOKENIZER_FILES:
        shutil.copyfile(tokenizer / name, out / name)
    # The trunk's own file cuts and pads to 128 tokens: the length is the caller's decision.
    encoding.load_tokenizer(tokenizer).save(str(out / "tokenizer.json"), pretty=False)
