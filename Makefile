# Two commands do everything on a fresh machine with Python 3.11 or later and make:
#   make study   set up .venv and run the embedded study; then open runs/digits-*/report.html
#   make test    set up .venv with what developers need, then lint, types and tests
# .venv is made once, and again only when it was left half made; what is in it follows pyproject.toml and
# constraints.txt.

PYTHON ?= python3
BIN := .venv/bin
SHAPES := '--jaxtyping-packages=prudent,beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))'
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: study test test-all lint bench docs clean

study: .venv/run.stamp
	$(BIN)/prudent study --out runs

# shapes and types are checked on every call of the contract tests; everywhere they would double the time
test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" $(SHAPES) tests/contract
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" --ignore tests/contract

test-all: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile $(SHAPES)

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/dev.stamp
	$(BIN)/python -m benchmarks

docs: .venv/dev.stamp
	$(BIN)/python -m prudent.reference docs/reference.md

clean:
	rm -rf .venv runs

.venv/run.stamp: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "prudent needs Python 3.11 or later; this is " + sys.version'
	$(BIN)/python -c 'import pip, sys; assert sys.prefix != sys.base_prefix' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	$(PIP) -e .
	touch $@

.venv/dev.stamp: .venv/run.stamp
	$(PIP) -e '.[dev]'
	touch $@
