#!/usr/bin/env python3
"""Compiles a model folder ahead of time with AOTInductor, for backend `compiled`:

    build/backends-venv/bin/python tools/export/compile.py MODEL_FOLDER --mode max-autotune

writes MODEL_FOLDER/compiled/<device>-<precision>-<mode>.pt2. Needs torch, safetensors and a C++ compiler (for the CPU).
The modes are torch's own (torch._inductor.list_mode_options): `reduce-overhead` asks for CUDA graphs, `max-autotune` for
those and for the fastest of several kernels by timing. Ahead of time torch makes no CUDA graphs: on a CPU
`reduce-overhead` is the same as `default`, for CUDA it is refused. The package runs with the torch that made it, on CPUs
that have the instructions of this one.
"""

import argparse
import pathlib
import zlib

import torch
import torch._inductor
from torch.export import Dim

import encoder

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def weights_checksum(folder):
    """By which rerankd tells whether a package is of the weights beside it."""
    checksum = 0
    for file in sorted(folder.glob("*.safetensors")):
        checksum = zlib.crc32(file.read_bytes(), checksum)
    return checksum


def export(module, positions, device):
    """Any number of rows and tokens, two at least: sizes of 1 are specialised by torch.export."""
    ids = torch.randint(0, 50, (3, min(17, positions)), device=device)
    shape = {0: Dim("rows", min=2, max=4096), 1: Dim("tokens", min=2, max=positions)}
    inputs = (ids, torch.zeros_like(ids), torch.ones_like(ids))
    return torch.export.export(module, inputs, dynamic_shapes=(shape, shape, shape))


def settings(mode, folder):
    options = dict(torch._inductor.list_mode_options(mode, dynamic=True))
    # A worker is a thread of rerankd: compiled code does not start its own.
    options["cpp.threads"] = 1
    options["aot_inductor.metadata"] = {"rerankd_weights": str(weights_checksum(folder)), "rerankd_mode": mode}
    return options


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--mode", choices=("default", "reduce-overhead", "max-autotune"), default="default")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--precision", choices=DTYPES, default="fp32")
    parser.add_argument("--out", type=pathlib.Path, help="folder to write to, if not MODEL_FOLDER/compiled")
    args = parser.parse_args()
    if args.device.startswith("cuda") and args.mode == "reduce-overhead":
        parser.error("--mode reduce-overhead means CUDA graphs, which torch does not make ahead of time; use default or max-autotune")
    torch.set_num_threads(1)
    module, config = encoder.load(args.folder)
    module = module.to(args.device, DTYPES[args.precision])
    out = args.out or args.folder / "compiled"
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{args.device}-{args.precision}-{args.mode}.pt2"
    with torch.inference_mode():
        program = export(module, config["max_position_embeddings"], args.device)
        torch._inductor.aoti_compile_and_package(
            program, package_path=str(path), inductor_configs=settings(args.mode, args.folder))  # fmt: skip
    print(path)


if __name__ == "__main__":
    main()
