#!/usr/bin/env python3
"""Makes of a Hugging Face cross-encoder what the peers run: ONNX and OpenVINO models, fp32 and int8.

    bench/peers/prepare.py --model DIR --out build/peers

writes to --out: onnx/fp32.onnx and onnx/fused.onnx (ONNX Runtime's own transformer fusion), onnx/int8.onnx and
onnx/fused_int8.onnx (dynamic int8), openvino/fp32.xml, openvino/int8.xml (static int8 by NNCF, calibrated on --calibration,
pairs as JSONL of query and document). Of each pair of ONNX models the faster one here is what run.py takes (chosen.json).
"""
import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAX_TOKENS = 512


def export_onnx(model, path):
    """fp32 by torch's exporter; every axis of the inputs is free."""
    import torch
    from transformers import AutoModelForSequenceClassification

    network = AutoModelForSequenceClassification.from_pretrained(model, attn_implementation="eager").eval()

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, input_ids, attention_mask, token_type_ids):
            return self.network(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).logits

    names = ["input_ids", "attention_mask", "token_type_ids"]
    example = tuple(torch.ones((2, 16), dtype=torch.int64) for _ in names)
    axes = {name: {0: "pairs", 1: "tokens"} for name in names} | {"logits": {0: "pairs"}}
    torch.onnx.export(Logits(), example, str(path), input_names=names, output_names=["logits"], dynamic_axes=axes,
                      opset_version=17, dynamo=False)  # fmt: skip


def fuse(model, source, path):
    """ONNX Runtime's transformer optimizer: fused attention, skip-layer-norm, bias-gelu."""
    from onnxruntime.transformers import optimizer

    config = json.loads((model / "config.json").read_text())
    optimizer.optimize_model(str(source), model_type="bert", num_heads=config["num_attention_heads"],
                             hidden_size=config["hidden_size"], opt_level=1).save_model_to_file(str(path))  # fmt: skip


def quantize_onnx(source, path):
    """As sentence-transformers' export_dynamic_quantized_onnx_model: unsigned weights without VNNI, signed with it."""
    from onnx import TensorProto
    from onnxruntime.quantization import QuantType, quantize_dynamic

    vnni = "vnni" in pathlib.Path("/proc/cpuinfo").read_text()
    quantize_dynamic(str(source), str(path), weight_type=QuantType.QInt8 if vnni else QuantType.QUInt8,
                     extra_options={"DefaultTensorType": TensorProto.FLOAT})  # types are lost behind fused nodes


def calibration_pairs(path, limit=300):
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines[:: max(1, len(lines) // limit)][:limit]]
    return [(row["query"], row["document"]) for row in rows]


def convert_openvino(onnx, tokenizer_file, calibration, folder):
    """fp32 IR, and int8 by NNCF post-training quantization for transformers."""
    import nncf
    import numpy
    import openvino
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()

    def inputs(pair):
        e = tokenizer.encode(*pair)
        return {"input_ids": numpy.array([e.ids]), "attention_mask": numpy.array([e.attention_mask]),
                "token_type_ids": numpy.array([e.type_ids])}  # fmt: skip

    model = openvino.convert_model(str(onnx))
    openvino.save_model(model, str(folder / "fp32.xml"), compress_to_fp16=False)
    int8 = nncf.quantize(model, nncf.Dataset(calibration_pairs(calibration), inputs), subset_size=300,
                         model_type=nncf.ModelType.TRANSFORMER, preset=nncf.QuantizationPreset.MIXED)  # fmt: skip
    openvino.save_model(int8, str(folder / "int8.xml"), compress_to_fp16=False)


def seconds_of(onnx, calibration, rounds=3):
    """Median time of one pass over 100 pairs in a fresh process."""
    pairs = calibration_pairs(calibration, 100)
    line = json.dumps({"requests": [[query, [document]] for query, document in pairs]}) + "\n"
    done = subprocess.run([sys.executable, pathlib.Path(__file__).with_name("contestant.py"), "onnxruntime", onnx],
                          input=line * rounds, capture_output=True, text=True, check=True)  # fmt: skip
    return statistics.median(json.loads(answer)["seconds"] for answer in done.stdout.splitlines()[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True, help="folder in Hugging Face layout")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--calibration", type=pathlib.Path, default=ROOT / "experiments/data/bundled.jsonl")
    args = parser.parse_args()
    onnx, openvino = args.out / "onnx", args.out / "openvino"
    for folder in (onnx, openvino):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(args.model / "tokenizer.json", folder)

    export_onnx(args.model, onnx / "fp32.onnx")
    fuse(args.model, onnx / "fp32.onnx", onnx / "fused.onnx")
    quantize_onnx(onnx / "fp32.onnx", onnx / "int8.onnx")
    quantize_onnx(onnx / "fused.onnx", onnx / "fused_int8.onnx")
    convert_openvino(onnx / "fp32.onnx", args.model / "tokenizer.json", args.calibration, openvino)

    times = {name: seconds_of(onnx / f"{name}.onnx", args.calibration) for name in ("fp32", "fused", "int8", "fused_int8")}
    chosen = {"onnx_fp32": min(("fp32", "fused"), key=times.get), "onnx_int8": min(("int8", "fused_int8"), key=times.get),
              "seconds_of_100_pairs": times}  # fmt: skip
    (args.out / "chosen.json").write_text(json.dumps(chosen, indent=2) + "\n")
    print(json.dumps(chosen))


if __name__ == "__main__":
    main()
