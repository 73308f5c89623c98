# Two commands matter: `make demo` and `make test`. Both create what they need in .venv and can be run again.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet
ADAPTERS := -e integrations/langchain -e integrations/llama-index
TESTS := $(BIN)/python -m pytest -n auto --dist worksteal -q
UNMEASURED := tests/arch tests/docs tests/faults
SHIPPED := ums_core integrations/langchain/langchain_ums integrations/langchain/langgraph docs/demo/demo.py docs/demo/sealed.py docs/demo/shared.py

.DEFAULT_GOAL := help
.PHONY: help demo test lint types tests bench oldest clean

help:  ## say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.demo  ## remember a month of conversation and answer questions about it
	@$(BIN)/python docs/demo/demo.py

test: $(VENV)/.dev lint  ## set up and check everything
	@# For most of the time the check of types keeps one process busy, so it goes beside the tests.
	@$(MAKE) --no-print-directory -j2 types tests

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(VENV)/.dev
	$(BIN)/mypy $(SHIPPED)
	cd integrations/llama-index && ../../$(BIN)/mypy --config-file ../../pyproject.toml \
		$$(find llama_index llama_index_ums -name py.typed -printf '-p %h\n' | tr / .)

tests: $(VENV)/.dev
	@# Measuring coverage makes Python up to four times as slow. What looks at sources, runs pages of the documentation and
	@# adapters, or kills processes does without: no line is to be shown by that alone, least of all by chance.
	@scratch=$$(.ci/scratch); trap 'rm -rf "$$scratch"' EXIT; trap 'exit 130' INT TERM; set -ex; \
	export TMPDIR="$$scratch" HF_HUB_OFFLINE=1; \
	$(TESTS) tests $(UNMEASURED:%=--ignore=%) --cov --cov-report=term; \
	$(TESTS) $(UNMEASURED) integrations

bench: $(VENV)/.dev  ## time the store beside raw libraries and Chroma (some minutes)
	$(BIN)/python -m ums_core.bench store

# What langchain-ums declares at least: without the extra "agents", and with it.
OLD_BASE := langchain-core==1.4.0 langgraph-checkpoint==4.3.0 langgraph==1.2.0 langgraph-prebuilt==1.1.0
OLD_AGENTS := langchain==1.4.0 langchain-core==1.6.0 langgraph-checkpoint==4.3.0 langgraph==1.2.11 langgraph-prebuilt==1.1.0
OLD_LLAMA := llama-index-core==0.14.24
OLD := HF_HUB_OFFLINE=1 $(BIN)/python -m pytest --no-cov -q

oldest: $(VENV)/.dev  ## try the adapters with the oldest versions that they declare
	$(PIP) install --no-deps --upgrade --target $(VENV)/oldest $(OLD_BASE)
	PYTHONPATH=$(VENV)/oldest $(OLD) integrations/langchain/tests --ignore integrations/langchain/tests/test_langchain_agent.py \
		--ignore integrations/langchain/tests/test_langchain_readme.py
	$(PIP) install --no-deps --upgrade --target $(VENV)/oldest-agents $(OLD_AGENTS)
	PYTHONPATH=$(VENV)/oldest-agents $(OLD) integrations/langchain/tests/test_langchain_agent.py
	$(PIP) install --no-deps --upgrade --target $(VENV)/oldest-llama $(OLD_LLAMA)
	PYTHONPATH=$(VENV)/oldest-llama $(OLD) integrations/llama-index/tests

clean:  ## remove what the other targets made
	rm -rf $(VENV) .coverage .hypothesis .schemathesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .benchmarks

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "ums-core needs Python 3.11 or newer; name one with PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml integrations/langchain/pyproject.toml integrations/llama-index/pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV) (once) ..."
	@$(PIP) install -c constraints.txt -e '.[api,faiss,http,lite,security]' $(ADAPTERS) rich
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt integrations/langchain/pyproject.toml integrations/llama-index/pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV) (once) ..."
	@$(PIP) install -c constraints.txt -e '.[dev]' $(ADAPTERS)
	@touch $@ $(VENV)/.demo
