.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CPP := $(wildcard cpp/*/*.h cpp/*/*.cpp)
CORE := $(CPP) cpp/CMakeLists.txt CMakeLists.txt pyproject.toml
# pytest's own exit code is kept; the sanitizers' runtime must be loaded before Python is.
SANITIZED = LD_PRELOAD="$$($${CXX:-c++} -print-file-name=libasan.so) $$($${CXX:-c++} -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1

.PHONY: help
help: ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F '\t' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.made: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || \
		{ echo "nos needs Python 3.11 to 3.14; name one with make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing: apt install python3-venv" >&2; exit 1; }
	@command -v $${CXX:-c++} >/dev/null || { echo "no C++ compiler: apt install g++" >&2; exit 1; }
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet cmake ninja pybind11 scikit-build-core
	@touch $@

$(VENV)/.installed: $(VENV)/.made $(CORE)
	$(BIN)/pip install --quiet --no-build-isolation --editable '.[dev]'
	@touch $@

.PHONY: build
build: $(VENV)/.installed ## Build the core and install nos into .venv

.PHONY: demo
demo: build ## A real control plane, GPU nodes, several hundred Pods, and nos placing them
	@exec $(BIN)/nos demo $(DEMO)

.PHONY: test
test: build ## All tests: without the cluster in parallel, with the real control plane one after another
	$(BIN)/nos testbed build
	$(BIN)/pytest -n auto -m 'not cluster' $(PYTEST)
	$(BIN)/pytest -m cluster --ignore tests/e2e $(PYTEST)
	$(BIN)/pytest -m cluster tests/e2e $(PYTEST)

.PHONY: fuzz
fuzz: build ## nos against kube-scheduler on random clusters, NOS_CASES=10000 NOS_SEED=<now>
	$(BIN)/nos testbed build
	NOS_CASES=$${NOS_CASES:-10000} NOS_SEED=$${NOS_SEED:-$$(date +%s)} \
		$(BIN)/pytest -s tests/e2e/test_same_verdicts.py tests/kube/test_requests_against_kubernetes.py $(PYTEST)

.PHONY: sanitize
sanitize: build ## The core's and the simulated driver's tests again under AddressSanitizer and UndefinedBehaviorSanitizer
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --preset sanitize -DPython_EXECUTABLE="$(CURDIR)/$(BIN)/python" >/dev/null
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --build --preset sanitize
	$(SANITIZED) NOS_CORE="$$(ls $(CURDIR)/build/sanitize/cpp/_core*.so)" \
		NOS_NVML_LIBRARY="$(CURDIR)/build/sanitize/cpp/nvml_sim/libnvidia-ml.so.1" \
		$(BIN)/pytest -n auto -p no:cacheprovider tests/cluster tests/mig tests/nvml_sim tests/scheduling $(PYTEST)

.PHONY: lint
lint: build ## Formatting, types, layers, spelling, clang-tidy
	$(BIN)/ruff format --check python tests benchmarks
	$(BIN)/ruff check python tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell README.md CONTRIBUTING.md docs cpp python tests benchmarks
	$(BIN)/clang-format --dry-run --Werror $(CPP)
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --preset tidy -DPython_EXECUTABLE="$(CURDIR)/$(BIN)/python" >/dev/null
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --build --preset tidy
	$(BIN)/python -m mypy.stubtest nos._core --allowlist tests/stubtest-allowlist.txt

.PHONY: format
format: build ## Rewrite the sources as lint wants them
	$(BIN)/ruff format python tests benchmarks
	$(BIN)/ruff check --fix python tests benchmarks
	$(BIN)/clang-format -i $(CPP)

.PHONY: benchmark
benchmark: build ## Numbers: packing, decisions, bind rate (answers checked)
	$(BIN)/pytest benchmarks $(PYTEST)

.PHONY: clean
clean: ## Remove what the build made
	rm -rf build $(VENV) dist .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
