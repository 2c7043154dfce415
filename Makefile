# Everything happens inside .venv; `make` alone lists the targets.

PYTHON := $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
REQUIREMENTS := setup.cfg pyproject.toml
# Tests trace models most of the time, which takes one core. A file runs in one
# process, so that its fixtures are made once.
PYTEST := $(BIN)/pytest --numprocesses 2 --dist loadfile
# TensorFlow keeps the graphs it has compiled until a process ends. So the tests
# that make most of them get processes of their own: otherwise all memory goes.
TRAIN := tests/models tests/training tests/test_realm_qa.py
COMMANDS := tests/cli

.DEFAULT_GOAL := help
.PHONY: help demo test test-all attack lint docs clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-10s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/demo.stamp ## Answer questions over the bundled corpus
	$(BIN)/realm-tf demo

test: $(VENV)/dev.stamp ## Run the tests
	$(PYTEST) $(TRAIN); train=$$?; \
	$(PYTEST) $(COMMANDS); commands=$$?; \
	$(PYTEST) $(addprefix --ignore=,$(TRAIN) $(COMMANDS)) && \
	exit $$((train + commands))

test-all: test ## Run the tests, the slow ones too
	$(PYTEST) -m "attack or large"

attack: $(VENV)/dev.stamp ## Attack files, writers and the service
	$(PYTEST) -m attack tests/attack

lint: $(VENV)/dev.stamp ## Check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/docs.stamp ## Build the documentation site in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

clean: ## Delete the environment and what tests leave
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: $(REQUIREMENTS) | $(BIN)/python
	$(BIN)/pip install --quiet --editable ".[scann]"
	@touch $@

$(VENV)/dev.stamp: $(REQUIREMENTS) | $(BIN)/python
	$(BIN)/pip install --quiet --editable ".[scann,serve,dev]"
	@touch $@ $(VENV)/demo.stamp

$(VENV)/docs.stamp: $(REQUIREMENTS) | $(BIN)/python
	$(BIN)/pip install --quiet --editable ".[docs]"
	@touch $@
