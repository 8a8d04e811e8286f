#!/usr/bin/env bash
# clang-tidy over every source file of the build folder given; any finding is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1
git ls-files 'src/*.cc' 'apps/*.cc' | grep -v '_test\.cc$' |
  xargs -P "$(nproc)" -n 4 clang-tidy-14 -p "$build" --quiet --extra-arg=-Wno-unknown-warning-option
