# Everything a machine needs beside git and Python 3.11 is installed into .venv by these targets.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# A file of tests stays in one process, so that the servers and the rows it makes are made once.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

BENCHES := startup storage paiio tables metering feed training pai workers

.PHONY: run test test-full test-gpu lint bench clean

run: $(VENV)/installed
	$(BIN)/python -m pai_train +recipe=iris gpus=2

test: lint $(VENV)/installed-node
	$(PYTEST) -m "not full and not gpu"

test-full: lint $(VENV)/installed-node
	$(PYTEST) -m "not gpu"

# The libraries of CUDA come as wheels, some gigabytes, and only where nvidia-smi finds a GPU. -s shows the figures.
test-gpu: $(VENV)/installed-dev
	if nvidia-smi -L; then $(PIP) --editable ".[dev,gpu]"; fi
	$(BIN)/python -m pytest -p no:xdist -s -m gpu tests/gpu

lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Some hours on a quiet machine; each ends with 1 where a figure misses what is wanted, and `make -k bench` goes on.
bench: $(BENCHES:%=bench-%)

bench-%: $(VENV)/installed-bench
	$(BIN)/python benchmarks/$*.py

$(VENV)/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(VENV)/installed-dev: pyproject.toml $(VENV)/installed
	$(PIP) --editable ".[dev]"
	touch $@

$(VENV)/installed-bench: pyproject.toml $(VENV)/installed-dev
	$(PIP) --editable ".[bench]"
	touch $@

# Azurite, the Azure server of the tests, comes from npm; Node itself is a wheel.
$(VENV)/installed-node: tests/servers/azurite/package.json tests/servers/azurite/package-lock.json $(VENV)/installed-dev
	mkdir -p $(VENV)/node
	cp tests/servers/azurite/package.json tests/servers/azurite/package-lock.json $(VENV)/node
	$(BIN)/npm ci --prefix $(VENV)/node --no-audit --no-fund --ignore-scripts --loglevel=error
	touch $@

clean:
	rm -rf $(VENV) dist build runs data
