# The verbs: setup, demo, stop, test, bench, lint, engines, render, constraints, clean.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO_ARGS ?=
EXTRAS := grpc,prometheus,file-configuration
CODE := otel_forge tests grafana examples benchmarks
SAY := @printf '\n== %s\n'

.PHONY: help setup demo stop test bench lint engines render constraints clean

help:
	@echo 'make demo         start the stack, the instrumented demo service and traffic; prints the addresses'
	@echo 'make stop         stop what make demo started'
	@echo 'make test         everything CI runs: lint, types, layers, all tests against the real back ends'
	@echo 'make bench        measure the cost beside stock OpenTelemetry and write benchmarks/results.md'
	@echo 'make lint         the static checks alone'
	@echo 'make render       write dashboards, alerts and docs/settings.md again from their sources'
	@echo 'make constraints  pin the versions that development uses to what is installed now'
	@echo 'make clean        remove the virtual environment (engines stay in the user cache)'

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than 3.11, which a checkout needs: make PYTHON=python3.11 ..."; exit 1; }
	$(SAY) 'installing otel-forge and its development tools into $(VENV) (about a minute)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]' --group dev
	touch $@

demo: setup
	$(SAY) 'starting the back end (the first time, its programs are built: 20 to 40 minutes; afterwards, seconds)'
	@$(BIN)/otel-forge up
	$(SAY) 'starting Asset Forge under opentelemetry-instrument, with traffic'
	@cd examples/asset_forge && ../../$(BIN)/python -m asset_forge.demo start --detach $(DEMO_ARGS)
	$(SAY) 'all is running; make stop ends it'
	@echo 'commands such as otel-forge status need the environment first:  . .venv/bin/activate'

stop: setup
	-@cd examples/asset_forge && ../../$(BIN)/python -m asset_forge.demo stop
	@$(BIN)/otel-forge down

engines: setup
	$(SAY) 'building the native back end (20 to 40 minutes from nothing, seconds from the cache)'
	$(BIN)/python -m otel_forge.stack.engines build

lint: setup
	$(SAY) 'checking format, style, types and layers'
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(BIN)/mypy --package otel_forge --python-version 3.10
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

test: lint engines
	$(SAY) 'running all tests'
	$(BIN)/python -m pytest

bench: setup
	$(SAY) 'measuring what telemetry costs, side by side with stock (about twenty minutes; keep the machine quiet)'
	$(BIN)/python -m benchmarks full --check

render: setup
	$(BIN)/python -m grafana.src.render
	$(BIN)/python -m tests.render_settings

constraints: setup
	$(BIN)/python -m pip freeze --exclude-editable --exclude otel-forge | grep -v ' @ ' > constraints.txt

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
