# For people with a clone; users type `pretune`.   make quickstart | make test | make check
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: quickstart test check clean

quickstart: $(VENV)/quickstart.stamp
	$(BIN)/pretune quickstart --out runs/quickstart

test: $(VENV)/test.stamp
	scripts/test

check: $(VENV)/test.stamp
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# torch first and pinned: an open range would resolve to the build with CUDA.
$(VENV)/quickstart.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[quickstart]'
	touch $@

$(VENV)/test.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[test]'
	touch $@

clean:
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache
