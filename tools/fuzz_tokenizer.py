#!/usr/bin/env python3
"""Compares rerankd's tokenizer with PyPI `tokenizers` on random strings over nasty alphabets.

    python3 -m venv /tmp/v && /tmp/v/bin/pip install tokenizers==0.23.2
    /tmp/v/bin/python tools/fuzz_tokenizer.py --tool build/release/bench/tokenizer_bench --directory MODEL_DIR

Ids, type ids and offsets must be equal: single texts and pairs, truncation on both sides, literal special
tokens with and without escaping, all settings of the normalizer.
"""
import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile

import tokenizers

SPECIAL = ["[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]", "[sep]", "[SEP", "SEP]", "[[SEP]]", "##", "##ing"]
WORDS = ["the", "Running", "unaffable", "CAFÉ", "naïve", "Ångström", "İstanbul", "ΣΊΣΥΦΟΣ", "straße", "Москва",
         "日本語", "한국어", "नमस्ते", "שָׁלוֹם", "مَرْحَبًا", "ไทย", "tiếng", "Việt", "don't", "e.g.", "$3.50", "C++", "x²"]
RANGES = [(0x20, 0x7F), (0, 0x20), (0x7F, 0x250), (0x2B0, 0x400), (0x400, 0x530), (0x590, 0x700), (0x900, 0xE00),
          (0x1D00, 0x2100), (0x2000, 0x2C00), (0x3000, 0x3400), (0x4E00, 0x4F00), (0x1100, 0x1200),
          (0xAC00, 0xD7A4), (0xF900, 0xFB00), (0xFB00, 0x10000), (0x1D100, 0x1D200), (0x1F000, 0x1FB00),
          (0x20000, 0x20100), (0x2F800, 0x2FA20), (0xE0000, 0xE0200), (0x10FF00, 0x110000)]
# Marks that reorder, some of which stay (Mc), and starters that vanish (Mn of class 0).
MARKS = [0x300, 0x301, 0x308, 0x323, 0x327, 0x338, 0x345, 0x34F, 0x344, 0x1D165, 0x1D166, 0x1D16D, 0x1D172, 0x302E,
         0x302F, 0x16FF0, 0x1BAA, 0x1BF2, 0xA953, 0x5B0, 0x5BC, 0x64B, 0x651, 0x93C, 0x94D, 0xE38, 0x200D, 0xFE0F,
         0x20D0, 0xFB1D, 0x1D15F, 0x958, 0x2126, 0x212B, 0x1E9E, 0x130, 0x3A3, 0x390]


def random_char(rng, ranges):
    code = rng.randrange(*rng.choice(ranges))
    return "?" if 0xD800 <= code < 0xE000 else chr(code)


def random_text(rng):
    ranges = rng.sample(RANGES, rng.randint(1, 3))
    out = []
    for _ in range(rng.choice([0, 1, 2, 5, 12, 30])):
        kind = rng.random()
        if kind < 0.45:
            out += [random_char(rng, ranges) for _ in range(rng.randint(1, 4))]
        elif kind < 0.6:
            out += [chr(rng.choice(MARKS)) for _ in range(rng.randint(1, 5))]
        elif kind < 0.7:
            out.append(rng.choice(SPECIAL))
        elif kind < 0.9:
            out.append(rng.choice(WORDS))
        elif kind < 0.91:
            out.append(rng.choice(["a", "é", "中", "ab", "\u0301"]) * rng.randint(90, 110))
        if rng.random() < 0.4:
            out.append(rng.choice(" \t\n\r\u00a0\u3000\u2028\x00\x85"))
    return "".join(out)


def random_case(rng):
    case = {"text": random_text(rng), "max_length": rng.choice([3, 4, 5, 8, 9, 16, 33, 512]),
            "left": rng.random() < 0.5, "escape": rng.random() < 0.3}
    if rng.random() < 0.6:
        case["pair"] = random_text(rng)
    return case


def expected(tokenizer, case):
    tokenizer.enable_truncation(case["max_length"], direction="left" if case["left"] else "right")
    tokenizer.encode_special_tokens = case["escape"]
    encoding = tokenizer.encode(case["text"], case.get("pair"))
    return [[i, t, *o] for i, t, o in zip(encoding.ids, encoding.type_ids, encoding.offsets)]


def variants(directory):
    """tokenizer.json with every combination of the normalizer's switches, the usual one first."""
    with open(os.path.join(directory, "tokenizer.json")) as f:
        root = json.load(f)
    for clean, chinese, strip, lower in itertools.product([True, False], [True, False], [None, True, False],
                                                          [True, False]):
        root["normalizer"].update(clean_text=clean, handle_chinese_chars=chinese, strip_accents=strip,
                                  lowercase=lower)
        yield root


def compare(tool, root, cases, folder):
    with open(os.path.join(folder, "tokenizer.json"), "w") as f:
        json.dump(root, f)
    path = os.path.join(folder, "cases.jsonl")
    with open(path, "w") as f:
        f.writelines(json.dumps(case) + "\n" for case in cases)
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(root))
    run = subprocess.run([tool, "encode", folder, path], capture_output=True, text=True)
    found = [json.loads(line) for line in run.stdout.splitlines()]
    if run.returncode != 0 or len(found) != len(cases):
        sys.exit(f"{tool} failed: {run.stderr[:2000]}")
    different = 0
    for case, got in zip(cases, found):
        want = expected(tokenizer, case)
        if got != want:
            different += 1
            if different <= 3:
                print(json.dumps({"normalizer": root["normalizer"], "case": case, "expected": want, "found": got}))
    return different


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", required=True, help="the program bench/tokenizer_bench")
    parser.add_argument("--directory", required=True, help="a folder with tokenizer.json")
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    roots = [json.loads(json.dumps(root)) for root in variants(arguments.directory)]
    # Half of the strings on the usual settings, the others over the rest.
    counts = [arguments.count // 2] + [arguments.count // 2 // (len(roots) - 1)] * (len(roots) - 1)
    different = 0
    with tempfile.TemporaryDirectory() as folder:
        for n, (root, count) in enumerate(zip(roots, counts)):
            rng = random.Random(f"{arguments.seed}/{n}")
            for done in range(0, count, 10_000):
                cases = [random_case(rng) for _ in range(min(10_000, count - done))]
                different += compare(arguments.tool, root, cases, folder)
    print(f"tokenizers {tokenizers.__version__}, seed {arguments.seed}: {sum(counts)} cases, {different} differ")
    sys.exit(different != 0)


if __name__ == "__main__":
    main()
