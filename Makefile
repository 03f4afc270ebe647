# The environments are made from pyproject.toml when they are missing or older than it.
# PYTHON names the Python that makes them: make test PYTHON=python3.12
# OUT names the new folder that the examples' recordings are written to: make examples OUT=$HOME/recorded
# VLLM names the folder of the vLLM that has no GPU: make vllm VLLM=$HOME/vllm-cpu

PYTHON ?= python3
VENV := .venv
DEMO_VENV := .venv-demo
BIN := $(VENV)/bin
EXTRAS := history,parquet,servers,xdist
COMPAT := .venv-compat/oldest/.installed .venv-compat/newest/.installed
VLLM ?= /opt/vllm-cpu
OUT ?= examples-out
# Tests wait a good deal: for deadlines, for nsys, for servers.
TEST_PROCESSES ?= $(shell expr $$(nproc) + 2)

# Those of pure functions: no nsys, no browser, few processes, and not what takes long.
QUICK := $(addprefix tests/,cli controller ground insights kernels measure metrics plan report storage trace verdict \
	windows)
QUICK += $(addprefix --ignore=tests/,report/html/test_in_browser.py storage/recordings trace/test_faults.py \
	insights/bottlenecks/test_properties.py)

# Of all that depends on versions of Python and libraries: for the lowest also ruptures, of which the newest Python has no
# wheel. None is with real nsys, which those of Debian are not with the newest nvtx.
FEW := $(addprefix tests/,plugin/test_smoke.py windows metrics trace/test_load.py)
FEW += tests/plugin/test_distributed.py::test_a_worker_that_dies_loses_the_test_that_it_ran_and_no_other
FEW += -k 'not real_nsys' -n $(TEST_PROCESSES) --hypothesis-profile=quick --timeout=300 -q

# Or Python and pytest compile everything anew in each of the many processes that tests start.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup test quick lint typecheck unit usual compat few pythons format docs site demo examples gpu vllm clean

help:  ## Show this list
	@sed -nE 's/^([a-z-]+):.*  ## (.*)$$/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: $(VENV)/.installed  ## Make the environment, and on Debian 12 install what tests need: real nsys, a browser
	@if grep -qs VERSION_CODENAME=bookworm /etc/os-release; \
	then .ci/install-nsys && .ci/install-browser && .ci/install-python; \
	else echo "setup: this is no Debian 12: the tests with real nsys and with a browser need both from you"; fi

test: setup lint typecheck unit usual few  ## Check everything that needs no GPU: format, rules, types, tests, coverage

quick: lint typecheck  ## Check what a minute is enough for: format, rules, types, and the tests that start nothing
	$(BIN)/python -m pytest $(QUICK) -n $(TEST_PROCESSES) --dist loadgroup --hypothesis-profile=quick -q

lint: $(VENV)/.installed  ## Check rules, format, and which module imports which
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo

typecheck: $(VENV)/.installed  ## Check types
	$(BIN)/mypy

unit: $(VENV)/.installed  ## Run the tests and measure their coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(TEST_PROCESSES) --dist loadgroup --timeout=300 --durations=20
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

usual: $(VENV)/.installed $(COMPAT)  ## Try measured tests beside the most used plugins, on the oldest and newest pytest
	$(BIN)/python -m pytest tests/compat -m usual -n $(TEST_PROCESSES) --timeout=300

compat: $(VENV)/.installed $(COMPAT)  ## Try them beside every plugin of the table, and write down which versions those were
	$(BIN)/python -m pytest tests/compat -n $(TEST_PROCESSES) --timeout=300
	$(BIN)/python -m tests.compat.page --versions >/dev/null

few: .venv-lowest/.installed .venv-newest/.installed  ## Run a few tests with the lowest versions on the oldest Python that is there, and the newest on the newest
	.venv-lowest/bin/python -m pytest $(FEW) tests/storage/history/test_trend.py
	.venv-newest/bin/python -m pytest $(FEW)

pythons: $(VENV)/.installed  ## Install the wheel with each Python that is there, and run the demonstration in it
	$(BIN)/python -m tests.support.pythons wheel

format: $(VENV)/.installed  ## Put the code into its format and mend what Ruff can mend
	$(BIN)/ruff check --fix-only --exit-zero
	$(BIN)/ruff format

docs: $(VENV)/.installed  ## Make the parts of the documentation that the code knows
	$(BIN)/pytest-nsys metrics --format=markdown > docs/metrics.md.new
	mv docs/metrics.md.new docs/metrics.md
	$(BIN)/python -m tests.faults.page > docs/faults.md.new
	mv docs/faults.md.new docs/faults.md
	$(BIN)/python -m tests.support.json_page > docs/json.md.new
	mv docs/json.md.new docs/json.md
	$(BIN)/python -m tests.compat.page > docs/compatibility.md.new
	mv docs/compatibility.md.new docs/compatibility.md
	$(BIN)/python -m tests.support.reference
	$(BIN)/python -m tests.support.doc_outputs

site: $(VENV)/.installed  ## Build the site of the documentation, in build/site
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs build/site
	@echo build/site/index.html

demo: $(DEMO_VENV)/.installed  ## Run the demonstration (no GPU needed)
	$(DEMO_VENV)/bin/python examples/demo.py

examples:  ## Record the suites of examples/ anew, where a GPU is, into OUT, and try that their slips are caught
	$(PYTHON) examples/record.py --out $(OUT)

gpu:  ## Run the tests that need a GPU, with the Python that has what they need
	$(PYTHON) -m pytest tests/gpu

vllm: $(VENV)/.installed  ## Run the tests with a real vLLM on the CPU; scripts/setup-vllm-cpu makes it
	scripts/setup-vllm-cpu --prefix $(VLLM)
	VLLM=$(VLLM) $(BIN)/python -m pytest tests/vllm

clean:  ## Remove the environments and everything that tools have left
	rm -rf $(VENV) $(DEMO_VENV) .venv-compat .venv-lowest .venv-newest dist .coverage .coverage.* .mypy_cache .ruff_cache .import_linter_cache .pytest_cache .hypothesis

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv --upgrade-deps $(VENV)  # pip knows groups from 25.1 on; Debian 12 has 23.0
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS)]' --group dev
	@touch $@

.venv-compat/%/.installed: pyproject.toml tests/compat/table.py $(VENV)/.installed
	$(BIN)/python -m tests.compat.environments $*

.venv-lowest/.installed .venv-newest/.installed: .venv-%/.installed: pyproject.toml $(VENV)/.installed
	$(BIN)/python -m tests.support.pythons $*

$(DEMO_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/python -m pip install --quiet --editable .
	@touch $@
