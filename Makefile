# Everything is set up by the targets themselves: `make demo` and `make test` need Python >= 3.11 and make, nothing else.
#   PYTHON=python3.12     the Python that .venv is made with
#   TORCH="..."           words for pip instead of `torch torchvision`, such as "torch torchvision --index-url URL"

PYTHON ?= python3
TORCH ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
OLD := import sys; sys.exit(sys.version_info < (3, 11))

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo docs examples test test-slow test-wheel bench lint clean

help:
	@echo "make demo        train on long-tailed digits and print one table"
	@echo "make docs        the site, into build/site"
	@echo "make examples    run docs/examples on long-tailed digits"
	@echo "make test        ruff, mypy, pytest (TAILWISE_DATA=DIR adds the tests on real data)"
	@echo "make test-slow   the tests that take minutes"
	@echo "make test-wheel  build the wheel and run it in an empty environment"
	@echo "make bench       speed and memory, into benchmarks/results and its README"
	@echo "make lint        ruff and mypy alone"
	@echo "make clean       remove .venv, caches and builds; runs stay"

# Torch comes first, so that a chosen build is there before the package asks for any.
$(INSTALLED): pyproject.toml
	@test -x $(BIN)/pip || $(PYTHON) -c '$(OLD)' 2>/dev/null || \
		{ echo "tailwise needs Python 3.11 or newer as $(PYTHON); name one: make PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install $(or $(TORCH),torch torchvision)
	$(BIN)/python -m pip install -e '.[dev]'
	@touch $@

demo: $(INSTALLED)
	$(BIN)/python examples/demo.py runs/demo

docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

examples: $(INSTALLED)
	for name in plain lightning_module huggingface_trainer timm_train accelerate_loop; do \
		echo "== $$name"; $(BIN)/python docs/examples/$$name.py || exit 1; done

# Two processes of one thread each: torch's own threads would fight over the cores.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

test-wheel: $(INSTALLED)
	TORCH="$(TORCH)" bash tests/wheel.sh $(BIN)/python

bench: $(VENV)/bench
	$(BIN)/python -m benchmarks.run
	$(BIN)/python -m benchmarks.readme

$(VENV)/bench: $(INSTALLED)
	$(BIN)/python -m pip install -e '.[dev,bench]'
	@touch $@

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
