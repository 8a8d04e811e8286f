"""Writes the plain float32 Hugging Face copy of a packed model directory.

    python tools/train/export_fp32.py models/default build/default-fp32
"""

import argparse
import pathlib

import quantization


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", type=pathlib.Path, help="directory in the rerankd-int8 format")
    parser.add_argument("out", type=pathlib.Path, help="directory to write")
    arguments = parser.parse_args()
    quantization.save_fp32(arguments.packed, arguments.out)


if __name__ == "__main__":
    main()
