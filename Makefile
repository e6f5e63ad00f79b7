# Every target does its own set-up: the first call builds .venv (about a minute with a good line), the next ones install nothing.
PYTHON ?=
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
SPACE ?= search_spaces/layermatch.yaml
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install sweep benchmark test unit lint format bench fuzz chaos ui clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12 | sed 's/^/  make /'

install: $(STAMP) ## build .venv with everything in it (PYTHON=/path/to/python chooses the interpreter)

$(STAMP): pyproject.toml .ci/install
	@PYTHON="$(PYTHON)" .ci/install $(VENV)
	@touch $@

sweep: $(STAMP) ## tune LayerMatch on embedded images (SPACE=file.yaml for another sweep, ARGS="key=value ...")
	$(PY) -m platform.sweep $(SPACE) $(ARGS)

# With ARGS into names of its own, so that a short run neither refuses nor replaces what the whole one measured.
BENCHMARK := $(if $(strip $(ARGS)),trial_benchmark,benchmark)
MEASURED := $(if $(strip $(ARGS)),results/trial_benchmark,results/measured)
TUNED := search_spaces/all_methods_tuned.yaml

benchmark: $(STAMP) ## every method tuned on few and on wrong labels, some hours (ARGS="budget.trials=1": minutes)
	$(PY) -m platform.sweep $(TUNED) name=$(BENCHMARK)_few_labels $(ARGS)
	$(PY) -m platform.sweep $(TUNED) name=$(BENCHMARK)_wrong_labels labels='{noise: symmetric, rate: 0.4}' \
		train.batch_size=64 fixed.uratio=1 $(ARGS)
	$(PY) -m platform.compare results/$(BENCHMARK)_few_labels --out $(MEASURED)/few_labels
	$(PY) -m platform.compare results/$(BENCHMARK)_wrong_labels --out $(MEASURED)/wrong_labels

test: $(STAMP) ## all tests (ARGS="-k name" to select)
	$(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "" $(ARGS)

unit: $(STAMP) ## the fast tests only, under a minute
	$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(STAMP) ## ruff and basedpyright
	@failed=0; for check in "ruff check ." "ruff format --check --output-format concise ." "basedpyright --warnings"; do \
		echo "$$check"; $(VENV)/bin/$$check || failed=1; done; exit $$failed

format: $(STAMP) ## let ruff mend what it can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(STAMP) ## measure this machine (ARGS="name" for one of tests/bench/)
	$(PY) -m tests.bench $(ARGS)

chaos: $(STAMP) ## sweeps under kills, full disks, flipped bits, changed code (ARGS="--minutes 30 --seed 7")
	$(PY) -m tests.chaos $(ARGS)

fuzz: $(STAMP) ## bad sweep files and data sets by the thousand (ARGS="--files 5000 --data 500 --seed 7")
	$(PY) -m tests.fuzz $(ARGS)

ui: $(STAMP) ## MLflow's pages on http://127.0.0.1:5000
	@mkdir -p results
	$(VENV)/bin/mlflow ui --backend-store-uri sqlite:///results/mlflow.db --host 127.0.0.1 --port $(or $(PORT),5000)

clean: ## remove .venv and caches; results stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis *.egg-info build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
