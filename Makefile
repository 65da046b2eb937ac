# Each target installs what it needs into .venv, again when pyproject.toml has changed, and then does its work.
# Without make: the same pip lines are in README.md and CONTRIBUTING.md.

PYTHON ?= python3
# Two workers of one thread each use two cores better than one worker of two threads.
WORKERS ?= 2
# make test ARGS="tests/estimator -k labels"
ARGS ?=
# make demo DATA=/path/to/ham10000 OUTPUT=folder
DATA ?=
OUTPUT ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test lint type docs bench clean

help:  ## Say what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

demo: $(VENV)/.has-package  ## Cross-validate a classifier and write an HTML page; DATA=folder for real images, OUTPUT=folder
	$(BIN)/skinclf demo $(if $(DATA),--data "$(DATA)") $(if $(OUTPUT),--output "$(OUTPUT)")

test: $(VENV)/.has-test  ## Run the tests and the examples in the docstrings; ARGS= goes to pytest
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) $(ARGS)

lint: $(VENV)/.has-test  ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(VENV)/.has-test  ## Check types
	$(BIN)/mypy

docs: $(VENV)/.has-docs  ## Build docs/_build/html; a warning is an error
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

bench: $(VENV)/.has-test  ## Run every benchmark
	@set -e; for script in $(sort $(wildcard benchmarks/bench_*.py)); do \
		echo "== $$script"; $(BIN)/python "$$script"; \
	done

clean:  ## Remove caches and built pages; .venv and results stay
	rm -rf build dist docs/_build docs/auto_examples docs/api/generated docs/sg_execution_times.rst
	rm -rf .mypy_cache .ruff_cache .pytest_cache *.egg-info
	find skinclf tests examples benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +

# The files .has-* say what was installed, and when.

$(VENV)/.has-python:
	@command -v $(PYTHON) >/dev/null || { \
		echo "There is no command '$(PYTHON)' here. Name a Python of 3.11 or newer: PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else \
		"skinclf needs Python 3.11 or newer; $(PYTHON) is %d.%d. Name another one: PYTHON=..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.has-package: pyproject.toml $(VENV)/.has-python
	@echo "Installing skinclf and what it needs (PyTorch among it) into $(VENV): minutes the first time ..."
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.has-test $(VENV)/.has-docs: $(VENV)/.has-%: pyproject.toml $(VENV)/.has-python
	@echo "Installing skinclf[$*] and what it needs (PyTorch among it) into $(VENV): minutes the first time ..."
	@$(PIP) install --editable ".[$*]"
	@touch $@ $(VENV)/.has-package
