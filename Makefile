# Everything a developer does here. `make` alone lists it. Needs Python >= 3.11, make and a package index.

PYTHON ?= python3
PORT ?=
ADMIN_PORT ?=
WORKERS ?= auto
MINUTES ?= 30
FUZZ_SECONDS ?= 60

VENV := .venv
BIN := $(VENV)/bin
NEEDED := $(VENV)/.needed
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
RUN := $(BIN)/python $(if $(COVERAGE_FLOOR),-m coverage run) -m
# One worker takes a whole file: what its tests share is started once. tests/conftest.py has their order.
TESTS := pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo test check docs format unit e2e test-browser coverage bench test-keystone test-nova fuzz soak clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

# What the package depends on, which is all that the demo needs: it runs the package from where it lies, which
# spares to install what builds it. Then the package itself, and what tests and checks need beside it.
$(NEEDED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import tomllib; \
		print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' >$@.txt
	$(PIP) -r $@.txt
	@touch $@

# Dependency groups need pip 25.1 or newer; Python 3.11 brings an older one.
$(INSTALLED): $(NEEDED)
	$(PIP) --upgrade "pip>=25.1"
	$(PIP) -e ".[redis,tokens,otel]" --group dev
	@touch $@

demo: $(NEEDED) ## run compute API, identity service and proxy; PORT=8774 ADMIN_PORT=9774 choose the ports
	@exec $(BIN)/python -m metaproxy demo $(if $(PORT),--port $(PORT)) $(if $(ADMIN_PORT),--admin-port $(ADMIN_PORT))

test: $(INSTALLED) ## run the whole suite, real servers and a real Redis included
	rm -f .coverage .coverage.*
	$(RUN) $(TESTS) -m "not (keystone or nova)"
ifdef COVERAGE_FLOOR
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=$(COVERAGE_FLOOR)
endif

check: $(INSTALLED) ## lint, formatting, types, directions of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(INSTALLED) ## write the schema and the table of keys anew from the model
	$(BIN)/python -m metaproxy schema > config/metaproxy.schema.json
	$(BIN)/python -m metaproxy schema --markdown > config/REFERENCE.md

format: $(INSTALLED) ## format the code, and mend what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

unit: $(INSTALLED) ## run the tests that start no processes
	$(RUN) $(TESTS) -m "not (e2e or redis or keystone or nova or browser)"

e2e: $(INSTALLED) ## run the tests that start real servers
	$(RUN) $(TESTS) -m "e2e and not browser"

test-browser: $(INSTALLED) ## drive the operator's page in the Chromium that is on PATH
	$(RUN) pytest -m browser

coverage: ## run the whole suite and show what it leaves out
	@$(MAKE) --no-print-directory test COVERAGE_FLOOR=85

bench: $(INSTALLED) ## measure side by side with nginx; ARGS=--quick for a smoke test
	$(BIN)/python -m tests.bench $(ARGS)

test-keystone: $(INSTALLED) ## run against a real Keystone, installed into a virtual environment of its own
	$(RUN) pytest -m keystone

test-nova: $(INSTALLED) ## run in a real Nova's pipeline, installed into a virtual environment of its own
	$(RUN) pytest -m nova tests/nova

fuzz: $(INSTALLED) ## fuzz what reads foreign bytes for FUZZ_SECONDS each, with atheris
	$(PIP) "atheris>=3"
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

soak: $(INSTALLED) ## random load with faults everywhere and reloads; MINUTES=5 is shorter
	$(BIN)/python -m tests.soak --minutes $(MINUTES)

clean: ## remove the virtual environment, caches and what was built
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -f .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
