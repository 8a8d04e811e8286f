#!/usr/bin/env bash
# Gets the engines of the optional backends through their ordinary packages and builds every plugin that it can:
#   tools/backends.sh BUILD_FOLDER [--engines-only]
# Engines: build/backends-venv (Python packages with C++ libraries inside; torch and what it brings are about 5 GB), a
# second ONNX Runtime in build/backends-ort. An engine that cannot be had is named and left out: its plugin is skipped,
# everything else is built.
set -uo pipefail
cd "$(dirname "$0")/.."
build=${1:?usage: tools/backends.sh BUILD_FOLDER [--engines-only]}
requirements=tools/backends-requirements.txt
second_onnxruntime=1.22.0  # another version of the library behind the same plugin
failed=()

if ! cmp -s "$requirements" build/backends-venv/installed.txt; then
  echo "installing engines into build/backends-venv"
  mkdir -p build && python3 -m venv build/backends-venv
  while read -r package; do
    build/backends-venv/bin/pip install -q --disable-pip-version-check "$package" || failed+=("$package")
  done < <(grep -v '^#' "$requirements")
  if [ ${#failed[@]} -eq 0 ]; then cp "$requirements" build/backends-venv/installed.txt; fi
fi

if ! compgen -G "build/backends-ort/onnxruntime/capi/libonnxruntime.so.$second_onnxruntime" >/dev/null; then
  build/backends-venv/bin/pip install -q --disable-pip-version-check --no-deps --upgrade --target build/backends-ort \
    "onnxruntime==$second_onnxruntime" || failed+=("onnxruntime==$second_onnxruntime")
fi
for package in ${failed[@]+"${failed[@]}"}; do echo "tools/backends.sh: could not get $package: left out" >&2; done
[ "${2:-}" = --engines-only ] && exit 0

if [ -x build/backends-venv/bin/python ] && build/backends-venv/bin/python -c "import torch" 2>/dev/null; then
  tests/backends/compile_models.sh build/backends-venv/bin/python "$build/apps/rerankd/plugins/compiled" ||
    echo "tools/backends.sh: no packages for backend compiled" >&2
fi
set -e
cmake --preset release -B "$build" | grep "backend plugin" || true
cmake --build "$build" -j "${JOBS:-$(nproc)}" --target rerankd rerankd_plugins
"$build/apps/rerankd/rerankd" inspect --model tiny | grep '^backends' || true
