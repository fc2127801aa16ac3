# Two commands matter: `make tables` and `make test`. Each sets up .venv on first use.
# PYTHON=python3.12   another interpreter (3.11 or newer)
# TORCH_INDEX=URL     a package index with CPU builds of torch, asked in addition to the usual one
PYTHON ?= python3
BIN := .venv/bin
# A machine with an NVIDIA GPU takes the newest torch, any other the one named here.
CONSTRAINTS := $(shell command -v nvidia-smi >/dev/null 2>&1 || echo "-c constraints-cpu.txt")
PIP_INSTALL := $(BIN)/python -m pip install -q --disable-pip-version-check $(CONSTRAINTS) \
	$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

.PHONY: help tables readme figures report studies cache test lint benchmark-cache benchmark-train significance torture fuzz load clusters docs
# Set-up writes into one .venv, and Snakemake holds one lock: never two at a time.
.NOTPARALLEL:

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' Makefile

tables: .venv/.installed ## everything: models, data, training, tables, figures and the report
	@$(BIN)/daam-bench unlock
	$(BIN)/snakemake tables figures report

readme: tables ## the README's table and heatmap, from the default run
	$(BIN)/python benchmarks/readme.py results README.md

figures: .venv/.installed ## the figures alone
	@$(BIN)/daam-bench unlock
	$(BIN)/snakemake figures

report: .venv/.installed ## the report alone
	@$(BIN)/daam-bench unlock
	$(BIN)/snakemake report

studies: .venv/.installed ## every protocol, each switch alone (some on speech and vision), layers ablated
	@$(BIN)/daam-bench unlock
	$(BIN)/snakemake tables figures report --configfile config/studies.yaml
	$(BIN)/python benchmarks/disagreements.py results docs/disagreements.md
	$(BIN)/snakemake all_assets
	$(BIN)/python benchmarks/overlay_switches.py results docs/disagreements.md

cache: .venv/.installed ## the embeddings alone
	@$(BIN)/daam-bench unlock
	$(BIN)/snakemake cache

# One more than there are processors: tests that start programs also wait for disks.
WORKERS := $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
test: .venv/.installed ## fetch all pinned models and data, then run all tests
	@$(BIN)/daam-bench unlock
	$(BIN)/snakemake all_assets
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

benchmark-cache: .venv/.installed ## speed and memory of extraction and reading, as ratios
	@$(BIN)/daam-bench unlock
	$(BIN)/snakemake assets
	$(BIN)/python benchmarks/cache.py

benchmark-train: .venv/.installed ## speed and memory of training, as ratios
	@$(BIN)/daam-bench unlock
	$(BIN)/snakemake assets
	$(BIN)/python benchmarks/train.py

significance: .venv/.installed ## simulated tables: false marks, power, coverage of intervals
	$(BIN)/python -m benchmarks.significance docs/results.md

# TORTURE_SCALE=0.01 is a quick run; TORTURE_OPTIONS='--kinds damages_zarr --seed 7' makes one kind again.
TORTURE_SCALE ?= 1
torture: .venv/.installed ## kills, damages, changes, bad inputs, faults, races; results/benchmarks/torture.json
	$(BIN)/python -m benchmarks.torture --scale $(TORTURE_SCALE) $(TORTURE_OPTIONS)
	$(BIN)/python benchmarks/reliability.py torture docs/reliability.md

fuzz: .venv/.installed ## coverage-guided fuzzing of every parser of our own, a minute each; results/benchmarks/fuzz.json
	@$(PIP_INSTALL) -e '.[fuzz]'
	$(BIN)/python -m benchmarks.torture.fuzz
	$(BIN)/python benchmarks/reliability.py fuzz docs/reliability.md

load: .venv/.installed ## a cache of up to 52 GB through every step in bounded memory (SIZE="--gib 10" for less)
	$(BIN)/python benchmarks/load.py $(SIZE)
	$(BIN)/python benchmarks/reliability.py load docs/reliability.md

clusters: .venv/.installed ## a real Slurm on this machine, and dask on it (root; apt: slurm-wlm munge)
	@$(PIP_INSTALL) -e '.[slurm,distributed]'
	bash .ci/slurm $(BIN)/python

docs: .venv/.installed-dev ## the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

lint: .venv/.installed-dev ## style, types and workflow checks
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/mypy
	bash .ci/lint-workflow $(BIN)/snakemake

# The stamp comes last: a set-up that was interrupted is taken up again.
.venv/.installed: pyproject.toml constraints-cpu.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "daam_bench needs Python 3.11 or newer, found $$($(PYTHON) --version 2>&1)." \
			"Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		rm -rf .venv && $(PYTHON) -m venv .venv; } || { \
		echo "$(PYTHON) cannot make a virtual environment (Debian, Ubuntu: apt install python3-venv)" >&2; \
		exit 1; }
	@echo "Installing daam_bench and its libraries into .venv (2 GB, a few minutes on first use) ..."
	@$(PIP_INSTALL) -e '.[test]'
	@touch $@

.venv/.installed-dev: .venv/.installed
	@echo "Installing the tools of the checks ..."
	@$(PIP_INSTALL) -e '.[dev]'
	@touch $@
