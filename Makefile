# Everything that a developer or a first-time user runs; `make help` lists the targets.

PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo
# The last subject is a test subject; its name has four digits.
DEMO_SUBJECTS ?= 060
DEMO_MINUTES ?= 1
# Fewer sets of contexts than the preset's, which would take longer than the training.
DEMO_CONTEXTS ?= --set=context_sets=100
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install demo test test-fast coverage faults damage lint format clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

# The stamps remember what was installed; a changed setup.py installs again.
$(VENV)/.installed: setup.py
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo 'make: Python 3.10 to 3.13 is needed; try: make PYTHON=python3.12 $(MAKECMDGOALS)' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-tests: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[tests]'
	@touch $@

install: $(VENV)/.installed  ## Make .venv and install the package

demo: $(VENV)/.installed  ## Generate phantoms, train, evaluate, complete one unseen subject
	@test ! -e $(DEMO) || { echo 'make: $(DEMO) exists; remove it, or give another folder: make demo DEMO=OTHER' >&2; exit 1; }
	$(BIN)/python bin/phantom --dataset=fetal --output_dir=$(DEMO)/population --subjects=$(DEMO_SUBJECTS)
	$(BIN)/python bin/train --dataset=fetal --data_dir=$(DEMO)/population --output_dir=$(DEMO)/run \
	  --cache_dir=$(DEMO)/cache --max_minutes=$(DEMO_MINUTES) $(DEMO_CONTEXTS)
	$(BIN)/python bin/evaluate --run_dir=$(DEMO)/run --cache_dir=$(DEMO)/cache --num_samples=6 --score_samples=2
	$(BIN)/python bin/reconstruct --run_dir=$(DEMO)/run --output_dir=$(DEMO)/completed --slices=10,30,50,70 \
	  --stack=$(DEMO)/population/sub-0$(DEMO_SUBJECTS)/anat/sub-0$(DEMO_SUBJECTS)_T2w.nii.gz --num_samples=3

test: $(VENV)/.installed-tests lint  ## Run lint and the whole test suite
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile

test-fast: $(VENV)/.installed-tests lint  ## Run lint and the tests that are not marked slow (3 minutes)
	$(BIN)/python -m pytest -m 'not slow' --numprocesses=2 --dist=loadfile

coverage: $(VENV)/.installed-tests  ## Run the whole test suite and list the lines that it does not run
	$(BIN)/python -m pytest --cov=tfp_bruno --cov-report=term-missing:skip-covered

faults: $(VENV)/.installed  ## Kill 20 trainings at random moments, resume them and compare their weights
	$(BIN)/python benchmarks/killed_trainings.py --kills=20

damage: $(VENV)/.installed  ## Complete volumes from 500 files damaged at random and 204 unusual ones
	$(BIN)/python benchmarks/damaged_files.py --files=500
	$(BIN)/python benchmarks/unusual_files.py --files=204

lint: $(VENV)/.installed-tests  ## Run ruff and mypy, and check the allowed imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

format: $(VENV)/.installed-tests  ## Let ruff correct what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## Remove the virtual environment and the demo's output
	rm -rf $(VENV) $(DEMO) build *.egg-info
