#!/usr/bin/env python3
"""Compares the slot numbers of src/backends/onnx/ort_api.h with the field order of OrtApi in the crate ort-sys.

    cargo fetch   # in any crate that depends on ort-sys
    python3 tools/check_ort_slots.py PATH_OF_ORT_SYS/src/lib.rs

For developers who add a function: the build and the tests do not need it.
"""
import pathlib
import re
import sys

HEADER = pathlib.Path(__file__).resolve().parent.parent / "src/backends/onnx/ort_api.h"


def fields(text):
    """Names of OrtApi's fields in order; variants for several targets count once."""
    body = text[text.index("pub struct OrtApi {"):]
    names = re.findall(r"^\tpub (\w+):", body[:body.index("\n}")], re.M)
    return list(dict.fromkeys(names))


def main():
    names = fields(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    used = re.findall(r"^using (\w+) = Entry<(\d+),", HEADER.read_text(encoding="utf-8"), re.M)
    wrong = [f"{name}: slot {slot}, should be {names.index(name)}" for name, slot in used if names[int(slot)] != name]
    print("\n".join(wrong + [f"{len(used)} slots, {len(wrong)} wrong"]))
    sys.exit(1 if wrong or not used else 0)


if __name__ == "__main__":
    main()
