# Everything a person needs: `make help` lists it. Works without a network once installed.

VENV ?= .venv
BIN := $(VENV)/bin
PORT ?=
DATA ?=
ARGS ?=
IMAGE ?= callboard:dev
IMAGE_PYTHON ?= 3.13

.DEFAULT_GOAL := help
.PHONY: help install up test test-all check check-k8s manifests fmt proto bench shape image wheels release clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  make up PORT=9000 DATA=~/callboard      other port, other data folder"
	@echo "  make test ARGS='-k sessions -x'         passed on to pytest"

up: $(VENV)/.installed ## Start everything on http://127.0.0.1:8000; Ctrl-C ends it
	@exec $(BIN)/callboard up $(if $(PORT),--port $(PORT)) $(if $(DATA),--data-dir '$(DATA)') $(ARGS)

install: $(VENV)/.installed ## Make .venv and install Callboard into it

# Bytecode is kept whatever the environment says: else each of the processes that tests start compiles all of it again.
test: export PYTHONDONTWRITEBYTECODE =
# Four at a time, on two cores too: tests mostly wait for something.
test: $(VENV)/.installed-dev ## Run the tests, all but the slow ones
	@$(BIN)/python -m pytest -n 4 -m 'not slow' $(ARGS)

test-all: ## Install what tests need (Debian, as root), and run all of them
	@.ci/install
	@$(MAKE) --no-print-directory $(VENV)/.installed-dev
	@VENV=$(VENV) .ci/test $(ARGS)

check: $(VENV)/.installed-dev ## Lint, formatting, types, import contracts, fresh protos
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -q tests/test_protos_are_fresh.py

fmt: $(VENV)/.installed-dev ## Format the code, and mend what the linter can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

proto: $(VENV)/.installed-dev ## Generate the gRPC code of protos/
	@$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. protos/*.proto

bench: $(VENV)/.installed-dev ## Measure deliveries, latency and memory
	@exec $(BIN)/python -P -m ops.bench $(ARGS)

shape: $(VENV)/.installed-dev ## Measure sizes, import circles and floors of the code
	@exec $(BIN)/python -P -m ops.shape $(ARGS)

check-k8s: $(VENV)/.installed-dev ## Build, validate and cross-check the manifests of k8s/
	@$(BIN)/python -m pytest -q tests/k8s/test_manifests.py tests/k8s/test_chart.py $(ARGS)

manifests: $(VENV)/.installed ## Write the dashboards, and the rules as a manifest of k8s/
	@$(BIN)/python -P -m ops.dashboards.write
	@$(BIN)/python -P -m ops.dashboards.manifests

image: ## Build the container image (IMAGE=callboard:dev)
	@docker build --quiet -f ops/Dockerfile -t $(IMAGE) $(ARGS) .

# For the Python of the image and this machine's processor, whatever Python is here.
wheels: $(BIN)/python ## Fetch what the image needs into ops/wheels, for a build without a network
	@rm -f ops/wheels/*.whl
	@$(BIN)/python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb")); \
	  print(*p["project"]["dependencies"], \
	  *p["project"]["optional-dependencies"]["server"], *p["build-system"]["requires"], sep="\n")' | \
	  $(BIN)/python -m pip download --quiet --disable-pip-version-check --dest ops/wheels --only-binary=:all: \
	    --python-version $(IMAGE_PYTHON) --implementation cp \
	    $(foreach tag,manylinux_2_28 manylinux_2_27 manylinux_2_17 manylinux2014,--platform $(tag)_$(shell uname -m)) \
	    -r /dev/stdin

release: $(VENV)/.installed ## Write a version and its section of the changelog (VERSION=1.2.3)
	@$(BIN)/python -P -m ops.release $(VERSION)

clean: ## Remove .venv and all caches; the data folder stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A python that merely has the name may be a shim without a version behind it, too old, or without venv: each is tried.
$(BIN)/python:
	@for python in python3.13 python3.12 python3.11 python3; do \
	  if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    echo "making $(VENV) with $$($$python --version)"; exec $$python -m venv --clear $(VENV); \
	  fi; \
	done; \
	echo "callboard: needs Python 3.11 or newer with venv; on Debian: apt-get install python3 python3-venv" >&2; exit 1

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "installing Callboard into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[server]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@echo "installing Callboard and what its tests need into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(VENV)/.installed $@
