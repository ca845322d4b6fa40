# Every target makes the virtual environment that it needs; nothing has to be installed before but Python.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test check docs bench campaign clean

help: ## Say what there is to make
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

demo: $(VENV)/.installed-demo ## Simulate a campaign on TYK2 until it is dormant, with a table and a plot
	$(BIN)/alchemiscale-strategist simulate --plot campaign.png

test: $(VENV)/.installed-dev ## Run all the tests
	$(BIN)/python -m pytest --numprocesses 2

check: $(VENV)/.installed-dev ## Format, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed-dev ## Build the documentation with warnings as errors, and run its examples
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet -b html docs docs/_build/html
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet -b doctest docs docs/_build/doctest
	@echo "The documentation is in docs/_build/html/index.html"

bench: $(VENV)/.installed-dev ## Measure how long planning takes, and how late passes are beside Strategies that misbehave
	$(BIN)/python benchmarks/planning.py
	$(BIN)/python benchmarks/isolation.py

campaign: $(VENV)/.installed-dev ## Kill and stop services until it counts: SEED=… repeats a schedule
	$(BIN)/python -m tests.campaign --kills 1000 --stops 50 $(if $(SEED),--seed $(SEED))

clean: ## Remove the virtual environment and everything that was built
	rm -rf $(VENV) docs/_build build dist

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-demo: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[plot]'
	@touch $@

$(VENV)/.installed-dev: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
