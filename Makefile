# Everything a newcomer needs is `make demo` and `make test`; both need only Python 3.11+, git and make.
.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV ?= .venv
BIN := $(VENV)/bin
# The first interpreter that really runs and is new enough; PYTHON=... overrides it.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3.14 python3 python; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
DEMO ?= scratch/demo
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export DAGSTER_DISABLE_TELEMETRY := 1

.PHONY: help demo test test-slow lint format bench docs ui lock wheel clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Headwater needs Python 3.11 or newer; install it or run make PYTHON=/path/to/python" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# An interrupted install leaves no stamp, so the next make starts it again.
$(VENV)/.runtime: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing Headwater from requirements.lock (about a minute, once) ..."
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@echo "Installing the test tools from requirements-dev.lock ..."
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	@touch $@

demo: $(VENV)/.runtime ## Install, build the example workspace in a scratch folder, show what depends on what
	$(BIN)/headwater demo examples $(DEMO)

test: $(VENV)/.dev ## Install and run the tests
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow" $(ARGS)

test-slow: $(VENV)/.dev ## The kill, fault, scale and browser suites
	$(BIN)/python -m pytest -n 2 -m "slow" tests/faults $(ARGS)
	$(BIN)/python -m pytest -m "slow" --ignore=tests/faults $(ARGS)

lint: $(VENV)/.dev ## Lint, format check, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## Every benchmark beside its peer
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

docs: $(VENV)/.dev ## Build the documentation site into docs/_build
	$(BIN)/python -m sphinx -q -W -b html docs docs/_build

ui: $(VENV)/.runtime ## The Dagster UI on the demo workspace
	@test -d $(DEMO) || $(MAKE) demo
	$(BIN)/headwater --root $(DEMO) ui

wheel: $(VENV)/.dev ## Build the wheel into dist/
	$(BIN)/python -m hatchling build -t wheel -d dist

lock: ## Resolve the locks again (needs uv)
	uv pip compile -q --universal --no-strip-extras --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra build pyproject.toml -o requirements.lock $(ARGS)
	uv pip compile -q --universal --no-strip-extras --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra build --extra postgres --extra test --extra lint --extra docs --extra bench -c requirements.lock pyproject.toml -o requirements-dev.lock $(ARGS)

clean: ## Remove the virtual environment, the demo and every cache of the tools
	rm -rf $(VENV) scratch dist docs/_build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
