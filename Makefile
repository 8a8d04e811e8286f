# The two commands that matter: `make demo` and `make test`. Everything they need, they install (tools/setup.sh).
BUILD ?= build/release
JOBS ?= $(shell nproc)
RERANKD = $(BUILD)/apps/rerankd/rerankd
SOURCES = $(shell git ls-files '*.cc' '*.h')

.PHONY: help arm64 asan-e2e backends browser demo build test test-heavy unit e2e clients fuzz format check-format tidy asan tsan setup clean

help:
	@echo "make demo        install what is missing, build, serve the bundled model, run a small experiment, show its report"
	@echo "make test        all tests (install, release build, unit, parity, end to end, short fuzzing)"
	@echo "make test-heavy  other people's clients, Prometheus, sanitizers, longer fuzzing, the kernels of aarch64 in an emulator"
	@echo "make arm64       only those kernels: cross-built, their tests under qemu (docs/engine.md)"
	@echo "make backends    get PyTorch, ONNX Runtime, OpenVINO and MLX, build the plugins that run models on them (docs/backends.md)"
	@echo "make build       only build; the binary is $(RERANKD)"

setup:
	@tools/setup.sh build

$(BUILD)/build.ninja: CMakeLists.txt cmake/rerankd.cmake
	@cmake --preset release -B $(BUILD) >/dev/null

build: setup $(BUILD)/build.ninja
	@cmake --build $(BUILD) -j $(JOBS) --target rerankd

# The optional engines and their plugins, beside the binary. What cannot be had is named and left out.
backends:
	@tools/setup.sh build backends
	@JOBS=$(JOBS) tools/backends.sh $(BUILD)

demo: build
	@tools/demo.sh $(RERANKD)

test:
	@tools/setup.sh build test
	@$(MAKE) --no-print-directory check-format unit fuzz e2e

unit: $(BUILD)/build.ninja
	cmake --build $(BUILD) -j $(JOBS)
	ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)
	@grep -oh 'BACKEND SKIPPED: .*' $(BUILD)/Testing/Temporary/LastTest.log | sort -u || true

e2e: $(BUILD)/build.ninja
	RERANKD_BIN=$(abspath $(RERANKD)) build/venv/bin/python -m pytest tests/e2e -q --ignore=tests/e2e/clients

# Other people's clients against this server; their environment is build/venv-heavy.
clients: build
	RERANKD_BIN=$(abspath $(RERANKD)) build/venv-heavy/bin/python -m pytest tests/e2e/clients -q

# The dashboard in Chromium, with values looked at.
browser: build
	RERANKD_BIN=$(abspath $(RERANKD)) build/venv-heavy/bin/python -m pytest tests/e2e/test_dashboard_browser.py tests/e2e/test_report_browser.py -q

# Every libFuzzer target, FUZZ_SECONDS each, from its committed corpus.
FUZZ_SECONDS ?= 10
fuzz:
	@tools/fuzz.sh $(FUZZ_SECONDS)

test-heavy:
	@tools/setup.sh build test heavy
	@$(MAKE) --no-print-directory clients
	@$(MAKE) --no-print-directory asan asan-e2e tsan
	@$(MAKE) --no-print-directory browser arm64
	@FUZZ_SERVING=ON $(MAKE) --no-print-directory fuzz FUZZ_SECONDS=60

# Debian's gRPC is not instrumented: the thread sanitizer does not see its locks and takes every call for a race.
NOT_UNDER_tsan = serving_grpc_test|load_client_test|experiment_runner_test
asan tsan:
	cmake --preset $@ -DRERANKD_SERVING=ON -DRERANKD_ONEDNN=OFF >/dev/null
	cmake --build build/$@ -j $(JOBS)
	LSAN_OPTIONS=suppressions=$(CURDIR)/cmake/lsan.supp:print_suppressions=0 \
	ctest --test-dir build/$@ --output-on-failure -j $(JOBS) $(if $(NOT_UNDER_$@),-E '$(NOT_UNDER_$@)')

# The kernels of aarch64, cross-built; their tests run on three emulated CPUs.
arm64:
	@tools/setup.sh build arm64
	cmake --preset aarch64 >/dev/null
	cmake --build build/aarch64 -j $(JOBS) --target kernels_test
	ctest --test-dir build/aarch64 --output-on-failure -j $(JOBS)

# What clients of every protocol, hostile ones, and faults do to a server built with the address sanitizer. Tests bound
# its memory: what is freed may not wait in quarantine by the hundred megabytes. Left out: a server without descriptors,
# for the sanitizer opens a pipe to look at an object's type, and without one takes every object for a wrong one.
asan-e2e:
	ASAN_OPTIONS=quarantine_size_mb=16 \
	LSAN_OPTIONS=suppressions=$(CURDIR)/cmake/lsan.supp:print_suppressions=0 \
	RERANKD_BIN=$(abspath build/asan/apps/rerankd/rerankd) build/venv/bin/python -m pytest -q \
	  tests/e2e/test_http_protocol.py tests/e2e/test_hostile.py tests/e2e/test_faults.py tests/e2e/test_http_security.py \
	  tests/e2e/test_http_routes.py tests/e2e/test_serve_http.py tests/e2e/test_serve_grpc.py tests/e2e/test_serve_tei_grpc.py \
	  tests/e2e/test_scheduling.py tests/e2e/test_batching.py \
	  --deselect tests/e2e/test_hostile.py::test_no_descriptors_left

# In a build folder of its own: Clang cannot read the headers that GCC has precompiled.
tidy:
	@tools/setup.sh build test heavy
	cmake --preset release -B build/tidy -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON >/dev/null
	cmake --build build/tidy -j $(JOBS) --target rerankd_proto rerankd_commit
	@tools/tidy.sh build/tidy

check-format:
	@clang-format-14 --dry-run -Werror $(SOURCES)

format:
	@clang-format-14 -i $(SOURCES)

clean:
	rm -rf build results
