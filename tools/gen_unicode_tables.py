#!/usr/bin/env python3
"""Writes src/tokenizer/unicode_tables.inc by asking PyPI `tokenizers` what it does with every code point.

Hugging Face mixes several Unicode versions (its category crate, its normalisation crate, Rust's own tables),
so its observable behaviour is the only exact source.

    python3 -m venv /tmp/v && /tmp/v/bin/pip install tokenizers==0.23.3
    /tmp/v/bin/python tools/gen_unicode_tables.py src/tokenizer/unicode_tables.inc
"""
import sys
import unicodedata

import tokenizers
from tokenizers import normalizers, pre_tokenizers

BLOCK = 128
KEEP, DROP, SPACE = 0, 1, 2
WORD, GAP, PUNCTUATION = 0, 1, 2
HANGUL = range(0xAC00, 0xD7A4)


def bert(clean=False, chinese=False, strip=False, lower=False):
    return normalizers.BertNormalizer(
        clean_text=clean, handle_chinese_chars=chinese, strip_accents=strip, lowercase=lower).normalize_str


nfd = normalizers.NFD().normalize_str
clean, chinese, strip, lower = bert(clean=True), bert(chinese=True), bert(strip=True), bert(lower=True)
split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str


def combining_markers():
    """One code point for every combining class, in order of class."""
    markers = {}
    for c in map(chr, range(0x300, 0x3100)):
        if unicodedata.combining(c) and nfd(c) == c and moves_before(c, "\u0345"):
            markers.setdefault(unicodedata.combining(c), c)
    return sorted(markers.items())


def moves_before(c, marker):
    return nfd("a" + marker + c) == "a" + c + marker


def combining_class(c, markers):
    """The class of `c` as far as ordering can tell; 0 for a starter."""
    if c == "\u0345":
        return 240
    if nfd(c) != c or not moves_before(c, "\u0345"):
        return 0
    return max(ccc for ccc, marker in markers if c == marker or not moves_before(c, marker))


def hangul_decomposition(code):
    index = code - 0xAC00
    jamo = [0x1100 + index // 588, 0x1161 + index % 588 // 28]
    return jamo + ([0x11A7 + index % 28] if index % 28 else [])


def properties(code, markers, decompositions, lowercases):
    c = chr(code)
    cleaned = clean(c)
    flags = DROP if cleaned == "" else SPACE if cleaned == " " else KEEP
    assert flags != KEEP or cleaned == c
    flags |= (chinese(c) != c) << 2
    decomposed = nfd(c)
    if decomposed == c:
        flags |= (strip(c) == "") << 3
    elif code in HANGUL:
        assert [ord(x) for x in decomposed] == hangul_decomposition(code)
        flags |= 1 << 6
    else:
        decompositions[code] = decomposed
        flags |= 1 << 6
    flags |= {1: WORD, 2: GAP, 3: PUNCTUATION}[len(split("a" + c + "a"))] << 4
    if lower(c) != c:
        lowercases[code] = lower(c)
        flags |= 1 << 7
    return flags | combining_class(c, markers) << 8


def write_mappings(out, name, mappings):
    pool = []
    out.write(f"constexpr Mapping k{name}[] = {{\n")
    for code, text in sorted(mappings.items()):
        out.write(f"{{0x{code:X},{len(pool)},{len(text)}}},\n")
        pool += map(ord, text)
    out.write("};\n")
    write_array(out, f"constexpr char32_t k{name}Pool[]", pool)


def write_array(out, declaration, values):
    out.write(declaration + " = {\n")
    for i in range(0, len(values), 24):
        out.write(",".join(map(str, values[i:i + 24])) + ",\n")
    out.write("};\n")


def main():
    markers, decompositions, lowercases = combining_markers(), {}, {}
    surrogate = DROP | WORD << 4
    records = [surrogate if 0xD800 <= code < 0xE000 else properties(code, markers, decompositions, lowercases)
               for code in range(0x110000)]
    blocks, index = {}, []
    for i in range(0, len(records), BLOCK):
        index.append(blocks.setdefault(tuple(records[i:i + BLOCK]), len(blocks)))
    with open(sys.argv[1], "w") as out:
        out.write(f"// Made by tools/gen_unicode_tables.py from PyPI tokenizers {tokenizers.__version__}. "
                  "Do not edit.\n// clang-format off\n")
        write_array(out, "constexpr uint16_t kBlockOf[]", index)
        write_array(out, "constexpr uint16_t kProperties[]", [r for block in blocks for r in block])
        write_mappings(out, "Decompositions", decompositions)
        write_mappings(out, "Lowercases", lowercases)


if __name__ == "__main__":
    main()
