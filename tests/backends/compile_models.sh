#!/usr/bin/env bash
# Compiles the bundled models and those of the conformance suite for backend `compiled`: compile_models.sh PYTHON FOLDER
# writes FOLDER/<name of the model>/<package>. One that was made from the same weights, by these programs and engines, stays.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=$1 folder=$2
for model in models/default models/tiny tests/data/tiny-random tests/data/labels3-f16; do
  out="$folder/$(basename "$model")"
  package="$out/cpu-fp32-default.pt2"
  if [ "$package" -nt tools/export/compile.py ] && [ "$package" -nt tools/export/encoder.py ] &&
    [ "$package" -nt tools/backends-requirements.txt ] && [ "$package" -nt "$model/model.safetensors" ]; then
    continue
  fi
  echo "compiling $model"
  "$python" tools/export/compile.py "$model" --out "$out" || { rm -rf "$out"; exit 1; }
done
