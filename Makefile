# Everything is set up by the targets themselves: `make demo` and `make test` need Python >= 3.11 and make, nothing else.
#   PYTHON=python3.12     the Python that .venv is made with
#   PARTS="resume files"  what `make soak` runs; everything by default
#   TORCH="..."           words for pip instead of `torch torchvision`, such as "torch torchvision --index-url URL"

PYTHON ?= python3
TORCH ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
OLD := import sys; sys.exit(sys.version_info < (3, 11))

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo docs examples test test-slow test-wheel test-min test-new licences audit bench soak lint clean

help:
	@echo "make demo        train on long-tailed digits and print one table"
	@echo "make docs        the site, into build/site"
	@echo "make examples    run docs/examples on long-tailed digits"
	@echo "make test        ruff, mypy, pytest (TAILWISE_DATA=DIR adds the tests on real data)"
	@echo "make test-slow   the tests that take minutes"
	@echo "make test-wheel  build the wheel and run it in an empty environment"
	@echo "make test-min    pytest with the lowest versions that pyproject.toml allows, in .venv-min"
	@echo "make test-new    pytest with the newest versions, in .venv-new"
	@echo "make licences    the licence of all that a user installs; fails on one that nobody has looked at"
	@echo "make audit       known vulnerabilities of what is installed, where a list of them can be reached"
	@echo "make bench       speed and memory, into benchmarks/results and its README"
	@echo "make soak        every promise of docs/reliability.md at length: hours"
	@echo "make lint        ruff and mypy alone"
	@echo "make clean       remove .venv*, caches and builds; runs stay"

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

# Of direct dependencies; what they need in turn is the newest that fits.
RESOLUTION_min := lowest-direct
RESOLUTION_new := highest

test-min test-new: test-%:
	@test -x .venv-$*/bin/uv || { $(PYTHON) -m venv --clear .venv-$* && .venv-$*/bin/python -m pip install uv; }
	.venv-$*/bin/uv pip install --python .venv-$*/bin/python --upgrade --resolution $(RESOLUTION_$*) -e '.[dev]'
	OMP_NUM_THREADS=1 .venv-$*/bin/python -m pytest -n 2 --dist loadfile

licences: $(INSTALLED)
	$(BIN)/python -m soak.licences

# pip-audit in an environment of its own, so that what it needs is not audited.
audit: $(INSTALLED)
	@test -x .venv-audit/bin/pip-audit || \
		{ $(PYTHON) -m venv --clear .venv-audit && .venv-audit/bin/python -m pip install -q pip-audit; }
	@$(BIN)/python -m soak.audit

bench: $(VENV)/bench
	$(BIN)/python -m benchmarks.run
	$(BIN)/python -m benchmarks.readme

soak: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m soak $(PARTS)

$(VENV)/bench: $(INSTALLED)
	$(BIN)/python -m pip install -e '.[dev,bench]'
	@touch $@

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .venv-min .venv-new .venv-audit build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
