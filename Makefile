# edgegolf: the two commands of a fresh machine are `make train export` and `make test`.
#
# Narrow them with MODELS="tight_resnet cnn:2", DATASET=mnist, EPOCHS=4, SEED=1, SEEDS=3.

# The first that runs; 3.11 has the most runtimes.
PYTHON ?= $(firstword $(foreach version,3.11 3.12 3.13 3.10,$(shell python$(version) -c 'import sys; print(sys.executable)' 2>/dev/null)) python3)
VENV ?= .venv
EDGEGOLF := $(VENV)/bin/edgegolf

COMMA := ,
SELECTION := $(MODELS) $(if $(DATASET),--dataset $(DATASET))
TRAINING := $(if $(EPOCHS),--epochs $(EPOCHS)) $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS))

# What is exported, for the commands that take files.
FOLDERS = $(patsubst %/,%,$(sort $(dir $(wildcard models/$(or $(DATASET),*)/*/*.tflite))))

# How to call what is not on the path.
CALL := To call it: $(EDGEGOLF), or, in every shell: source $(VENV)/bin/activate

# Makes the environment with extras of the package, and tells every two seconds how far it is.
install = ($(PYTHON) -m venv $(VENV) && $(VENV)/bin/python -m pip install --quiet --no-compile \
	  --constraint constraints.txt --editable '.[$(1)]') & job=$$!; started=$$(date +%s); \
	while sleep 2; kill -0 $$job 2>/dev/null; do \
	  echo "  $$(($$(date +%s) - started)) s, $$(du -sm $(VENV) | cut -f1) of about 2,100 MB"; \
	done; wait $$job

# Packages are compiled as they are imported: compiling all of them takes half a minute.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup train export bench demo site test test-install test-browser test-arm test-mcu test-circuit test-cluster test-long lint report docs clean
.DEFAULT_GOAL := help

help: ## Print the targets
	@echo 'usage: make TARGET... [MODELS="tight_resnet cnn:2"] [DATASET=mnist]'
	@echo '                      [EPOCHS=4] [SEED=1] [SEEDS=3]'
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 18
	@echo '$(CALL)'

setup: $(VENV)/.ready ## Make the environment in .venv, about 2.1 GB

$(VENV)/.ready: pyproject.toml constraints.txt
	@echo 'Making the environment in $(VENV), about 2.1 GB, TensorFlow above all.'
	@$(call install,test)
	@touch $@
	@echo '$(CALL)'

train: setup ## Train the tiny nets (or MODELS) into models/DATASET/NAME
	$(EDGEGOLF) train $(SELECTION) $(TRAINING)

export: setup ## Export what is trained as float and int8 TFLite and ONNX files
	$(EDGEGOLF) export $(SELECTION)
	@echo '$(CALL)'

bench: setup ## Bench what is exported
	$(EDGEGOLF) bench $(or $(MODELS),$(FOLDERS)) $(if $(DATASET),--dataset $(DATASET))

demo: setup ## Serve a page on which one draws and the nets guess
	$(EDGEGOLF) demo $(MODELS) $(if $(DATASET),--dataset $(DATASET))

test: setup ## Run the tests
	$(VENV)/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-long: setup ## Run the tests that take long
	$(VENV)/bin/python -m pytest -m long -rs --numprocesses 2 --dist loadfile

test-cluster: $(VENV)/.cluster ## Test sweeps on Ray and PostgreSQL (installed if root)
	@if [ "$$(id -u)" = 0 ] && ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then \
	  apt-get update -qq && \
	  apt-get install -qq -y --no-install-recommends postgresql >/dev/null; \
	fi
	$(VENV)/bin/python -m pytest -m cluster -rs tests/sweep

$(VENV)/.cluster: $(VENV)/.ready
	@$(call install,test$(COMMA)cluster)
	@touch $@

test-install: setup ## Test both installs in clean environments
	EDGEGOLF_TEST_INSTALL=1 $(VENV)/bin/python -m pytest tests/test_install.py

test-browser: setup ## Test the demo and the report in Chromium (installed if root)
	@if [ "$$(id -u)" = 0 ] && ! command -v chromedriver >/dev/null; then \
	  apt-get update -qq && \
	  apt-get install -qq -y --no-install-recommends chromium chromium-driver >/dev/null; \
	fi
	$(VENV)/bin/python -m pytest -m browser -rs tests/demo tests/report

test-circuit: setup ## Simulate and synthesize circuits (installed if root)
	@if [ "$$(id -u)" = 0 ] && ! command -v nextpnr-ice40 >/dev/null; then \
	  apt-get update -qq && apt-get install -qq -y --no-install-recommends \
	    iverilog yosys nextpnr-ice40 fpga-icestorm >/dev/null || \
	    echo "What yosys, nextpnr-ice40 and iverilog are needed for is skipped."; \
	fi
	$(VENV)/bin/python -m pytest -m '' -rs tests/circuit tests/backends/test_verilog_backend.py

test-arm: setup ## Run the tests on emulated Raspberry Pis (installed if root)
	$(VENV)/bin/python -m pytest -m arm -rs --numprocesses 2 --dist loadfile tests/arm

test-mcu: setup ## Run C on emulated microcontrollers (installed if root)
	@if [ "$$(id -u)" = 0 ] && [ ! -d /usr/share/arduino ]; then \
	  apt-get update -qq && \
	  apt-get install -qq -y --no-install-recommends arduino-core-avr libsimavr-dev libelf-dev $$($(VENV)/bin/python -c \
	    'from edgegolf.emulation.cores import PACKAGES; print(PACKAGES)') >/dev/null; \
	fi
	$(VENV)/bin/python -m pytest -m mcu -rs tests/mcu

lint: setup ## Check style and types
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

report: setup ## Write report.html from the committed models
	$(EDGEGOLF) report $(wildcard models/*/*) docs/costs/cifar10.json docs/footprint.json $(wildcard docs/sweeps/*.json)

site: $(VENV)/.docs ## Make the pages a site in build/site; broken links fail
	$(VENV)/bin/python -m sphinx --fail-on-warning --keep-going --nitpicky --quiet -c docs . build/site
	@cp build/site/README.html build/site/index.html
	@echo 'build/site/index.html'

$(VENV)/.docs: $(VENV)/.ready
	@$(call install,test$(COMMA)docs)
	@touch $@

docs: setup ## Write the figures of README and docs anew from the models
	$(VENV)/bin/python benchmarks/update_docs.py

clean: ## Remove the environment and caches; models stay
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache *.egg-info
