# Every target brings what it needs: `make demo` or `make test` is all that a fresh machine has to be told.
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
BIN := .venv/bin
export UV_PROJECT_ENVIRONMENT := .venv
# a machine behind a proxy has its certificate in the system, not in uv
export UV_SYSTEM_CERTS := 1
# without compiled files each of the many processes that the tests start would compile torch anew, for seconds
unexport PYTHONDONTWRITEBYTECODE
ifeq ($(HOME),)
export HOME := $(CURDIR)/.uv/home
endif

.PHONY: help demo test test-all lint science bench app clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*##/  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

.uv/bin/uv:
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check uv

.venv/.installed: pyproject.toml $(filter .uv/bin/uv,$(UV))
	$(UV) sync --quiet --all-extras --no-python-downloads
	@touch $@

demo: .venv/.installed  ## train, attack, evaluate and print the table of the embedded digits
	$(BIN)/carom demo

test: .venv/.installed  ## what a user could break, in minutes
	$(BIN)/pytest -n 2 --dist worksteal -q -m "not slow and not thorough"

test-all: .venv/.installed  ## the whole test suite
	$(BIN)/pytest -n 2 --dist worksteal -q -m "not slow" --durations=25

lint: .venv/.installed  ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

science: .venv/.installed  ## the slow checks and the full grids; resumable; results go to docs/science
	$(BIN)/pytest -m slow -q
	$(BIN)/carom run digits-dumb fashion-dumb
	$(BIN)/carom show digits-dumb | sed 's/ *$$//' > docs/science/digits-dumb.txt
	$(BIN)/carom show fashion-dumb | sed 's/ *$$//' > docs/science/fashion-dumb.txt
	$(BIN)/carom run digits-attacks | sed 's/ *$$//' > docs/science/digits-attacks.txt
	$(BIN)/python benchmarks/attack_table.py
	$(BIN)/python benchmarks/transformed_accuracy.py > docs/science/transformed-accuracy.txt
	CAROM_WRITE_PAGES=1 $(BIN)/pytest -q tests/test_attacks_page.py
	$(BIN)/carom run fashion-surrogates-tuning fashion-surrogates
	$(BIN)/python benchmarks/surrogate_orderings.py
	$(BIN)/carom run fashion-defenses-tuning fashion-defenses fashion-defenses-ablations
	$(BIN)/python benchmarks/defense_orderings.py
	if [ -d "$$CAROM_PUBLISHED_DIR" ]; then $(BIN)/carom run cifar10-resnets imagenet-lite; fi
	$(BIN)/python benchmarks/real_models_page.py
	$(BIN)/python benchmarks/gate_simulation.py
	$(BIN)/python benchmarks/interval_coverage.py
	$(BIN)/python benchmarks/mutants.py
	$(BIN)/python benchmarks/published.py --again

bench: .venv/.installed  ## speed ratios against the libraries, side by side
	$(BIN)/python benchmarks/crafting.py --json benchmarks/results/crafting.json
	$(BIN)/python benchmarks/precision.py --json benchmarks/results/precision.json
	$(BIN)/python benchmarks/overhead.py --json benchmarks/results/overhead.json
	$(BIN)/python benchmarks/training.py --accuracy
	$(BIN)/python benchmarks/sam_cost.py
	$(BIN)/python benchmarks/adversarial_training.py
	$(BIN)/python benchmarks/surrogate_cost.py
	$(BIN)/python benchmarks/matrix.py
	$(BIN)/python benchmarks/scenario.py
	$(BIN)/python benchmarks/real_models.py

app: .venv/.installed  ## the explorer, read-only, on localhost
	$(BIN)/carom app

clean:  ## remove the environment, not the results
	rm -rf .venv .uv
