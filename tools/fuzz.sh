#!/usr/bin/env bash
# Builds every libFuzzer target with clang and runs each for the given seconds; a crash is saved under build/fuzz/.
# FUZZ_SEED (default 1, so that a run can be repeated; 0 = a new one each time) seeds the mutations.
# FUZZ_SERVING=ON adds the targets of the HTTP routes (three more minutes to build).
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-10}
cmake -S . -B build/fuzz -G Ninja -DCMAKE_C_COMPILER=clang-14 -DCMAKE_CXX_COMPILER=clang++-14 -DCMAKE_BUILD_TYPE=Release \
  -DRERANKD_FUZZ=ON -DRERANKD_TESTS=OFF -DRERANKD_SERVING="${FUZZ_SERVING:-OFF}" -DRERANKD_ONEDNN=OFF \
  -DRERANKD_SANITIZE=address,undefined >/dev/null
cmake --build build/fuzz -j "$(nproc)" --target fuzzers

# One target; as many run at a time as there are cores.
run() {
  name=$(basename "$1")
  corpus=build/fuzz/corpus/$name
  mkdir -p "$corpus"
  seeds=fuzz/corpus/$name
  [ -d "$seeds" ] || seeds=""
  echo "fuzzing $name for ${seconds}s"
  "$1" -seed="${FUZZ_SEED:-1}" -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=2048 -verbosity=0 -print_final_stats=0 \
    -artifact_prefix=build/fuzz/ "$corpus" $seeds
}
export -f run
export seconds
printf '%s\0' build/fuzz/fuzz/*_fuzz | xargs -0 -n 1 -P "$(nproc)" bash -euo pipefail -c 'run "$0"'
