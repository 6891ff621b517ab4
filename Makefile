# The two commands of the README, and the checks behind them. Needs python3 (3.11 or newer) and
# nothing else; everything is installed into .venv. PIP_* variables are honoured by pip itself.
#
#   make demo                      make PYTHON=python3.12 test
#   make test PYTEST_ARGS="-x -k hgraph"

SHELL := bash

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_ARGS ?=
PYTEST_ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help demo test check style types doctests examples slow clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo  ## create .venv, install, run the demo
	@$(BIN)/causal-diffusers demo $(DEMO_ARGS)

test: $(VENV)/.test  ## create .venv, install, run the tests
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

check: style types doctests examples slow  ## everything that CI runs after the tests

style: $(VENV)/.dev  ## ruff: lint and format
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: $(VENV)/.dev  ## pyright
	@$(BIN)/pyright --pythonpath $(BIN)/python

doctests: $(VENV)/.test  ## the examples in the docstrings
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --quiet --doctest-modules causal_diffusers

examples: $(VENV)/.test  ## every examples/*.py on small data
	@for example in $(sort $(wildcard examples/*.py)); do \
	  echo "$$example --smoke"; OMP_NUM_THREADS=1 $(BIN)/python "$$example" --smoke || exit 1; \
	done

slow: $(VENV)/.dev  ## the tests that take more than a few seconds
	@$(BIN)/python -m pytest -m "slow and not gpu and not hub" $(PYTEST_ARGS)

clean:  ## remove .venv and what was built
	@rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis

# One stamp per extra: a second run installs nothing unless the requirements have changed.
$(VENV)/.demo $(VENV)/.test $(VENV)/.dev: $(VENV)/.%: pyproject.toml constraints.txt | $(VENV)/.created
	@echo "Installing causal_diffusers[$*] into $(VENV) (a minute or two the first time)"
	@set -o pipefail; $(BIN)/python -m pip install --editable ".[$*]" --constraint constraints.txt \
	  | awk '/^ *(Collecting|Downloading)/ {printf "."; fflush()} END {print ""}'
	@touch $@

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "causal_diffusers needs python 3.11 or newer: $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	    "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@
