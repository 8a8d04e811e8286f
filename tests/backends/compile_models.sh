#!/usr/bin/env bash
# Copies the models of the conformance suite into a folder and compiles each there: compile_models.sh PYTHON FOLDER
# What is there already stays, if it was made from the same weights, by these programs and engines.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=$1 folder=$2
for model in tests/data/tiny-random tests/data/labels3-f16 models/default; do
  copy="$folder/$(basename "$model")"
  package="$copy/compiled/cpu-fp32-default.pt2"
  if [ "$package" -nt tools/export/compile.py ] && [ "$package" -nt tools/export/encoder.py ] &&
    [ "$package" -nt tools/backends-requirements.txt ] && cmp -s "$model/model.safetensors" "$copy/model.safetensors"; then
    continue
  fi
  echo "compiling $model"
  rm -rf "$copy" && mkdir -p "$copy"
  find "$model" -maxdepth 1 -type f -exec cp {} "$copy/" \;
  "$python" tools/export/compile.py "$copy" || { rm -rf "$copy"; exit 1; }
done
