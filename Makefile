# make run and make test are all that a newcomer needs; both set up what they use.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
HOST ?= 127.0.0.1
PORT ?= 8000
PYTEST := $(BIN)/python -m pytest
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help run test test-board check format bench bench-core bench-board bench-scaling resilience soak conformance extensions applications clean

help:  ## this text
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): pyproject.toml examples/board/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Carboy needs Python 3.11 or later; $(PYTHON) is older. Try: make PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

run: $(READY)  ## set up, and serve the bulletin board on http://127.0.0.1:8000
	cd examples/board && ../../$(BIN)/carboy run --host $(HOST) --port $(PORT)

test: $(READY) test-board  ## set up, and run all tests
	$(PYTEST) -n $(JOBS)

test-board: $(READY)  ## the example application's own tests
	cd examples/board && ../../$(PYTEST) -q

check: $(READY)  ## lint, types, architecture
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(PYTEST) -q tests/test_architecture.py tests/test_face.py tests/test_corridor.py

format: $(READY)  ## sort imports and mend what a machine can mend
	$(BIN)/ruff check --fix .

bench: $(READY)  ## side by side with other frameworks; writes docs/performance.md
	$(BIN)/python bench/run.py

bench-core: $(READY)  ## costs in process, layer by layer, beside Flask's
	$(BIN)/python bench/core.py

bench-board: $(READY)  ## 100,000 requests a minute of the example's front page; writes docs/what-does-it-take.md
	$(BIN)/python bench/front_page.py

bench-scaling: $(READY)  ## 1 and 2 workers, 1, 2 and 4 nodes; writes the same page (Linux, root)
	$(BIN)/python bench/scaling.py

resilience: $(READY)  ## attack the server from outside, the long way; prints what held
	CARBOY_RESILIENCE=full CARBOY_SOAK=60 $(PYTEST) -q -s tests/resilience

soak: $(READY)  ## ten minutes of mixed traffic with kills and reloads, and 50,000 requests
	CARBOY_RESILIENCE=full $(PYTEST) -q -s tests/resilience/test_soak.py

SUITES ?=
conformance: $(READY)  ## the test suites of Flask and its extensions, on Carboy
	$(BIN)/python ../shared/conformance/run.py --target carboy.alias --project . --jobs $(JOBS) $(foreach suite,$(SUITES),--suite $(suite))

extensions: $(READY)  ## a program for each of the most used Flask extensions; writes docs/extensions.md
	$(BIN)/python tests/extensions/runner.py --write-docs

applications: $(READY)  ## whole applications written for Flask, unmodified
	$(BIN)/python tests/applications/runner.py

clean:  ## remove the virtual environment and what tools left behind
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
