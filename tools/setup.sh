#!/usr/bin/env bash
# Installs what is missing on a Debian 12 machine, asking for nothing: tools/setup.sh build [backends] [test] [heavy] [arm64]
# Groups: build = compiler and libraries; backends = what the engines of `make backends` need besides themselves;
# test = formatter, fuzzing compiler, a Python environment under build/venv; heavy = clang-tidy, and what the heavy
# tests drive: Prometheus, and other people's clients (build/venv-heavy);
# arm64 = a cross compiler and an emulator for `make arm64`. Why each is needed: docs/dependencies.md.
set -euo pipefail
cd "$(dirname "$0")/.."

build_packages=(cmake ninja-build g++ ccache mold pkg-config
  libabsl-dev libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc
  libboost1.81-dev
  libdnnl-dev libyaml-cpp-dev libcli11-dev libspdlog-dev libfmt-dev nlohmann-json3-dev prometheus-cpp-dev zlib1g-dev
  libcurl4-openssl-dev libssl-dev libgtest-dev libgmock-dev python3)
test_packages=(curl openssl clang-14 clang-format-14 libclang-rt-14-dev libbenchmark-dev libsimde-dev python3-venv git)
backends_packages=(libopenblas-dev python3-venv)
arm64_packages=(g++-aarch64-linux-gnu qemu-user)
heavy_packages=(clang-tidy-14 chromium prometheus python3-venv)

packages=()
for group in "$@"; do
  case "$group" in
    build) packages+=("${build_packages[@]}") ;;
    backends) packages+=("${backends_packages[@]}") ;;
    arm64) packages+=("${arm64_packages[@]}") ;;
    test) packages+=("${test_packages[@]}") ;;
    heavy)
      packages+=("${heavy_packages[@]}")
      command -v npm >/dev/null || packages+=(nodejs npm)  # another Node than Debian's is as good
      ;;
    *) echo "tools/setup.sh: unknown group '$group' (build, backends, test, heavy, arm64)" >&2; exit 2 ;;
  esac
done

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    echo "rerankd needs a Debian 12 machine (apt-get); missing: ${missing[*]}" >&2
    exit 1
  fi
  sudo=""
  [ "$(id -u)" = 0 ] || sudo="sudo"
  echo "installing: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  $sudo apt-get update -qq
  $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# venv FOLDER REQUIREMENTS: made anew when the requirements have changed.
venv() {
  cmp -s "$2" "$1/installed.txt" && return
  echo "installing a Python environment: $1"
  rm -rf "$1" && mkdir -p build
  python3 -m venv "$1"
  "$1/bin/pip" install -q --disable-pip-version-check -r "$2"
  cp "$2" "$1/installed.txt"
}

for group in "$@"; do
  case "$group" in
    test) venv build/venv tests/e2e/requirements.txt ;;
    heavy) venv build/venv-heavy tests/e2e/requirements-heavy.txt ;;
  esac
done
