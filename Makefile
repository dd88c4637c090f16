.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := build/installed
KUBECTL ?= kubectl
OVERLAY ?= base
BUILDAH ?= buildah
ENGINE ?= docker
# A wheel is for one Python: the image has that of .venv.
BASE ?= docker.io/library/python:$(shell $(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')-slim
IMAGE ?= ghcr.io/nebuly-ai/nos:$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
COMMIT = $(shell git log -1 --format=$(1) 2>/dev/null || echo 0)
# When what is built says that it was made: in the time of its commit, whoever builds it.
export SOURCE_DATE_EPOCH := $(call COMMIT,%ct)
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
test: build $(INSTALLED)/.made ## All tests: without the cluster in parallel, of the installed wheel; with it one after another
	$(BIN)/nos testbed build
	NOS_INSTALLED=$(CURDIR)/$(INSTALLED) $(INSTALLED)/bin/python -m pytest -n auto -m 'not cluster' $(PYTEST)
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
	$(BIN)/ruff format --check python release tests benchmarks
	$(BIN)/ruff check python release tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell README.md CONTRIBUTING.md SECURITY.md CHANGELOG.md deploy docs cpp python release tests benchmarks
	$(BIN)/clang-format --dry-run --Werror $(CPP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --preset tidy -DPython_EXECUTABLE="$(CURDIR)/$(BIN)/python" >/dev/null
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --build --preset tidy
	$(BIN)/python -m mypy.stubtest nos._core --allowlist tests/stubtest-allowlist.txt

.PHONY: format
format: build ## Rewrite the sources as lint wants them
	$(BIN)/ruff format python release tests benchmarks
	$(BIN)/ruff check --fix python release tests benchmarks
	$(BIN)/clang-format -i $(CPP)

.PHONY: benchmark
benchmark: build ## Numbers: packing, decisions, bind rate (answers checked)
	$(BIN)/pytest benchmarks $(PYTEST)

# auditwheel says how new a libc it needs; what else it would need, it brings along.
dist/.made: $(VENV)/.installed $(CORE) README.md LICENSE $(shell find -L python -type f -not -path '*/__pycache__/*')
	rm -rf dist/built dist/*.tar.gz dist/*.whl
	$(BIN)/python -m build --no-isolation --outdir dist/built
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/auditwheel repair --wheel-dir dist dist/built/*.whl
	mv dist/built/*.tar.gz dist
	rm -r dist/built
	@touch $@

# An environment that has nos from the wheel, and all else from .venv: a path in a .pth brings no .pth from there, so not
# the editable nos.
$(INSTALLED)/.made: dist/.made
	rm -rf $(INSTALLED)
	$(BIN)/python -m venv --without-pip $(INSTALLED)
	$(BIN)/pip --python $(INSTALLED)/bin/python install --quiet --no-deps dist/*.whl
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > \
		"$$($(INSTALLED)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tools.pth"
	@touch $@

.PHONY: wheel
wheel: dist/.made ## The source distribution and, built from it, the wheel for this Python, in dist/

.PHONY: image
image: wheel ## An image with the wheel, by buildah, IMAGE=ghcr.io/..., on BASE=python:3.11-slim or alike
	rm -rf dist/wheels
	$(BIN)/pip download --quiet --only-binary :all: --dest dist/wheels "$$(ls dist/*.whl)[agent,otel]"
	$(BUILDAH) bud --isolation chroot --timestamp $(call COMMIT,%ct) --build-arg BASE=$(BASE) \
		--build-arg VERSION=$(lastword $(subst :, ,$(IMAGE))) --build-arg REVISION=$(call COMMIT,%H) \
		--tag $(IMAGE) --file deploy/Dockerfile dist

.PHONY: docs
docs: build ## The documentation as a site, in build/site; any warning fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

.PHONY: audit
audit: build ## Whether what users get has known vulnerabilities; asks the OSV database, and fails where it cannot
	$(BIN)/python -m release.audit

# Wheels for all Pythons and machines where ENGINE runs; else the one for this Python.
.PHONY: release
release: build ## Wheels, image, chart, sums, SBOMs, provenance in dist/VERSION, ENGINE=docker; says what a person must push
	$(BIN)/python -m release.ready
	rm -rf dist/.made dist/others # what is in dist/ may be of another commit
	$(MAKE) wheel image
	if $(ENGINE) info >/dev/null 2>&1; then \
		CIBW_CONTAINER_ENGINE=$(ENGINE) $(BIN)/cibuildwheel --platform linux --output-dir dist/others dist/*.tar.gz; fi
	$(BIN)/python -m release --image $(IMAGE) --base $(BASE) --buildah '$(BUILDAH)'

.PHONY: deploy
deploy: ## nos into the cluster of your kubeconfig, by Kustomize, OVERLAY=base (see deploy/kustomize/overlays)
	$(KUBECTL) apply --server-side -k deploy/kustomize/$(OVERLAY)

.PHONY: clean
clean: ## Remove what the build made
	rm -rf build $(VENV) dist .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
