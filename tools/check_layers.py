#!/usr/bin/env python3
"""Checks that includes fall: a file may include its own folder and lower tiers, nothing else.

    tools/check_layers.py              # checks src/ and apps/, exit code 1 and one line a fault
    tools/check_layers.py --self-test  # proves that every rule can fail

The tiers are those of docs/architecture.md. An exception needs a decision record in docs/adr/ and a line here.
"""

import argparse
import pathlib
import re
import sys
import tempfile

TIERS = {
    "base": 0,
    "core": 1,
    "tokenizer": 2, "weights": 2, "kernels": 2, "hub": 2, "scheduler": 2, "eval": 2, "config": 2,
    "model": 3,
    "backends": 4,
    "engine": 5, "load": 5,
    "serving": 6, "experiment": 6, "perf": 6,
    "apps": 7,
}
ROOTS = {"src": "", "apps": "apps/"}  # folder -> what its files are called here
# Folders whose sub-folders may not see each other; files directly in them see all sub-folders. What lies in a
# sub-folder "testing" is for every *_test.cc of the folder.
DIVIDED = ("backends", "serving")
# Only the composition root names concrete backends.
RESERVED = {"backends": {"engine"}}
# Third-party headers: pattern -> folders that may include them. What is not listed may be used anywhere.
THIRD_PARTY = {
    r"nlohmann/": {"weights", "tokenizer", "config", "serving", "load", "experiment", "eval", "hub", "perf", "apps"},
    r"(grpc|grpcpp|google/protobuf|boost)/": {"serving", "load", "experiment"},
    r"[\w/.-]+\.pb\.h": {"serving", "load", "experiment"},
    r"(yaml-cpp/|ryml)": {"config", "experiment"},
    r"(dnnl|oneapi/)": {"kernels"},
    r"(torch|ATen|c10)/": {"backends/torch"},
    r"onnxruntime": {"backends/onnx"},
    r"openvino/": {"backends/openvino"},
    r"mlx/": {"backends/mlx"},
    r"curl/": {"hub", "serving", "experiment"},
    r"immintrin\.h|arm_neon\.h": {"kernels"},
}
EXCEPTIONS = {}  # (including file, included header): decision record

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
SUFFIXES = (".h", ".cc", ".inc")


def part_of(path):
    """The part a file belongs to: "backends/native" for backends/native/x.h, "base" for base/a.h."""
    folders = path.split("/")[:-1]
    return "/".join(folders[:2] if folders[0] in DIVIDED else folders[:1])


def project_fault(file, header):
    """Why `file` may not include the project's `header` (both relative to src/), or None."""
    here, there = part_of(file), part_of(header)
    folder, target = here.split("/")[0], there.split("/")[0]
    if folder == target:
        siblings = here != there and here != folder and there != folder
        test_help = there.endswith("/testing") and file.endswith("_test.cc")
        return f"{here} and {there} may not see each other" if siblings and not test_help else None
    if TIERS[target] >= TIERS[folder]:
        direction = "up" if TIERS[target] > TIERS[folder] else "sideways"
        return f"{folder} (tier {TIERS[folder]}) may not include {target} (tier {TIERS[target]}): that is {direction}"
    if folder not in RESERVED.get(target, {folder}):
        return f"only {', '.join(RESERVED[target])} may name concrete {target}"
    return None


def third_party_fault(file, header):
    here = part_of(file)
    for pattern, allowed in THIRD_PARTY.items():
        if re.match(pattern, header) and not {here, here.split("/")[0]} & allowed:
            return f"only {', '.join(sorted(allowed))} may include it"
    return None


def fault(path, file, quote, header):
    """Why the file at `path`, called `file`, may not include `header`, or None."""
    if quote == '"' and "/" in header and header.split("/")[0] in TIERS:
        return project_fault(file, header)
    if quote == '"' and "/" not in header and (path.parent / header).exists() and not file.startswith("apps/"):
        return f'write includes from src/: "{path.parent.name}/{header}"'
    return third_party_fault(file, header)


def check_file(path, file):
    if file.split("/")[0] not in TIERS:
        return [f"{file}: the folder has no tier in tools/check_layers.py"]
    text, faults = path.read_text(encoding="utf-8"), []
    for match in INCLUDE.finditer(text):
        quote, header = match.groups()
        reason = None if (file, header) in EXCEPTIONS else fault(path, file, quote, header)
        if reason:
            faults.append(f"{file}:{text.count(chr(10), 0, match.start()) + 1}: includes {header}: {reason}")
    return faults


def check(root):
    """One message for each include that breaks a rule, and the number of files looked at."""
    faults, count = [], 0
    for folder, name in ROOTS.items():
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in SUFFIXES:
                count += 1
                faults += check_file(path, name + path.relative_to(root / folder).as_posix())
    return faults, count


SELF_TEST = [  # file, its include, part of the expected fault (None = allowed)
    ("base/a.cc", '"base/b.h"', None),
    ("base/a.cc", '"core/b.h"', "that is up"),
    ("weights/a.h", '"core/b.h"', None),
    ("weights/a.h", '"tokenizer/b.h"', "that is sideways"),
    ("scheduler/a.cc", '"backends/native/b.h"', "that is up"),
    ("engine/a.cc", '"backends/native/b.h"', None),
    ("backends/fake/a.cc", '"backends/native/b.h"', "may not see each other"),
    ("backends/native/a.cc", '"backends/native/b.h"', None),
    ("serving/grpc/a.cc", '"serving/http/b.h"', "may not see each other"),
    ("serving/server.cc", '"serving/http/b.h"', None),
    ("serving/grpc/a.cc", '"serving/error_map.h"', None),
    ("serving/grpc/a.cc", '"experiment/b.h"', "that is sideways"),
    ("core/a.h", "<nlohmann/json.hpp>", "may include it"),
    ("weights/a.h", "<nlohmann/json.hpp>", None),
    ("weights/a.h", "<grpcpp/grpcpp.h>", "only experiment, load, serving"),
    ("engine/a.cc", '"inference.grpc.pb.h"', "only experiment, load, serving"),
    ("serving/grpc/a.cc", '"inference.grpc.pb.h"', None),
    ("experiment/a.cc", '"load/b.h"', None),
    ("load/a.cc", '"engine/b.h"', "that is sideways"),
    ("config/a.cc", "<boost/asio.hpp>", "only experiment, load, serving"),
    ("backends/native/a.cc", "<torch/torch.h>", "only backends/torch"),
    ("backends/torch/a.cc", "<torch/torch.h>", None),
    ("model/a.cc", "<immintrin.h>", "only kernels"),
    ("kernels/avx2/a.cc", "<immintrin.h>", None),
    ("weights/a.cc", "<vector>", None),
    ("serving/grpc/a_test.cc", '"serving/testing/b.h"', None),
    ("serving/grpc/a.cc", '"serving/testing/b.h"', "may not see each other"),
    ("serving/server.cc", '"backends/native/b.h"', "only engine may name"),
    ("apps/rerankd/a.cc", '"engine/b.h"', None),
    ("apps/rerankd/a.cc", '"backends/native/b.h"', "only engine may name"),
    ("apps/rerankd/a.cc", "<grpcpp/grpcpp.h>", "only experiment, load, serving"),
    ("base/a.cc", '"a.cc"', "write includes from src/"),
    ("novel/a.cc", '"base/b.h"', "has no tier"),
]


def self_test():
    """Runs the checker over one-file trees; returns what went wrong."""
    wrong = []
    for file, include, expected in SELF_TEST:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / ("" if file.startswith("apps/") else "src") / file
            path.parent.mkdir(parents=True)
            path.write_text(f"#pragma once\n  #  include {include}\n")
            faults, _ = check(pathlib.Path(folder))
        fits = not faults if expected is None else len(faults) == 1 and expected in faults[0]
        if not fits:
            wrong.append(f"{file} with {include}: expected {expected}, got {faults}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--self-test", action="store_true")
    if parser.parse_args().self_test:
        faults, count = self_test(), len(SELF_TEST)
    else:
        faults, count = check(pathlib.Path(__file__).resolve().parent.parent)
    print("\n".join(faults + [f"{count} checked, {len(faults)} faults"]))
    sys.exit(1 if faults or count == 0 else 0)


if __name__ == "__main__":
    main()
