# edgegolf: the two commands of a fresh machine are `make train export` and `make test`.
#
# Narrow them with MODELS="tight_resnet cnn:2", DATASET=mnist, EPOCHS=4, SEED=1, SEEDS=3.

# The first that runs; 3.11 has the most runtimes.
PYTHON ?= $(firstword $(foreach version,3.11 3.12 3.13 3.10,$(shell python$(version) -c 'import sys; print(sys.executable)' 2>/dev/null)) python3)
VENV ?= .venv
EDGEGOLF := $(VENV)/bin/edgegolf

SELECTION := $(MODELS) $(if $(DATASET),--dataset $(DATASET))
TRAINING := $(if $(EPOCHS),--epochs $(EPOCHS)) $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS))

.PHONY: help setup train export bench test test-cluster lint docs clean
.DEFAULT_GOAL := help

help: ## Print the targets
	@echo 'usage: make TARGET... [MODELS="tight_resnet cnn:2"] [DATASET=mnist] [EPOCHS=4] [SEED=1] [SEEDS=3]'
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 14

setup: $(VENV)/.ready ## Make the environment in .venv

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

train: setup ## Train the tiny nets (or MODELS) into models/DATASET/NAME
	$(EDGEGOLF) train $(SELECTION) $(TRAINING)

export: setup ## Export what is trained as float and int8 TFLite and ONNX files
	$(EDGEGOLF) export $(SELECTION)

bench: setup ## Bench what is exported
	$(EDGEGOLF) bench $(MODELS) $(if $(DATASET),--accuracy $(DATASET))

test: setup ## Run the tests
	$(VENV)/bin/python -m pytest -m 'not cluster' --numprocesses auto --maxprocesses 4 --dist loadfile

test-cluster: $(VENV)/.cluster ## Run the tests on a real Ray cluster and PostgreSQL server
	$(VENV)/bin/python -m pytest -m cluster -rs tests/sweep

$(VENV)/.cluster: $(VENV)/.ready
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[test,cluster]'
	@touch $@

lint: setup ## Check style and types
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

docs: setup ## Write the figures of README and docs anew from the committed models
	$(VENV)/bin/python benchmarks/update_docs.py

clean: ## Remove the environment and caches; models stay
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache *.egg-info
