.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
CONFIG ?=
GLUE ?=
SNAKEMAKE := $(BIN)/snakemake --cores all $(if $(CONFIG),--configfile "$(CONFIG)")
RESULTS = $(shell $(BIN)/python -m lora_core.config.study $(if $(CONFIG),"$(CONFIG)"))

.PHONY: help setup tables demo doctor paper status report compare bundle verify-bundle test test-slurm test-faults bench check format schema pictures lock audit clean

help:  ## what each target does
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

setup: .venv/installed  ## create .venv from requirements.lock

.venv/installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing into .venv: about 6 GB on Linux (torch with CUDA is most of it), 2 to 5 minutes."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@touch $@

tables: setup  ## run the study and print table 2 (CONFIG=config/paper.yaml for another study)
	@$(if $(CONFIG),,echo "The embedded study: 30 short runs, about 14 minutes on two cores without a GPU; what is there already is not run again.")
	@$(BIN)/python -m lora_core.commands.unlock $(if $(CONFIG),--configfile "$(CONFIG)")
	$(SNAKEMAKE)
	@echo; cat "$(RESULTS)/tables/table2.md"
	@echo; echo "All tables (.md, .csv, .tex) are in $(RESULTS)/tables, one row per run and figure in $(RESULTS)/runs.csv."

demo: setup  ## one task, two methods, one seed: under two minutes
	$(MAKE) --no-print-directory tables CONFIG=config/demo.yaml

doctor:  ## what this machine has, and what it makes possible (needs no setup)
	@$$(test -x $(BIN)/python && echo $(BIN)/python || echo $(PYTHON)) -m lora_core.commands.doctor

paper: setup  ## the paper's study, for a GPU: first an estimate of its time, disk and energy, then the runs
	@$(BIN)/python -m lora_core.commands.estimate config/paper.yaml
	@$(BIN)/python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || { echo; \
		echo "torch sees no GPU here. To run it all the same: make tables CONFIG=config/paper.yaml"; exit 1; }
	@echo; echo "Ctrl-C within 20 seconds to leave it."; sleep 20
	@$(MAKE) --no-print-directory tables CONFIG=config/paper.yaml

status: setup  ## what of the study is done, running, failed and left, and how long that will take
	@$(BIN)/python -m lora_core.commands.status $(if $(CONFIG),"$(CONFIG)")

report: setup  ## the study as one page, report.html (CONFIG for another study)
	$(SNAKEMAKE) "$(RESULTS)/report.html"
	@echo; echo "Open $(RESULTS)/report.html"

compare: setup  ## two studies side by side: make compare A=results/one B=results/other
	@$(BIN)/python -m lora_core.commands.compare "$(A)" "$(B)"

BUNDLE ?= $(subst /,-,$(RESULTS)).zip
bundle: setup  ## the study as one archive without weights, BUNDLE (CONFIG for another study)
	@$(BIN)/python -m lora_core.commands.bundle pack "$(BUNDLE)" $(if $(CONFIG),"$(CONFIG)")

verify-bundle: setup  ## draw every table and figure of a BUNDLE again from its raw records, and compare
	@$(BIN)/python -m lora_core.commands.bundle verify "$(BUNDLE)"

test: setup  ## run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

SLURM ?= ../shared/slurm
test-slurm: setup  ## run the tests that need a Slurm: yours, or one that SLURM=FOLDER's start-slurm.sh starts
	@started=; if ! sinfo >/dev/null 2>&1 && [ -x "$(SLURM)/start-slurm.sh" ]; then "$(SLURM)/start-slurm.sh" && started=1; fi; \
	$(BIN)/python -m pytest -m slurm tests/slurm; status=$$?; \
	[ -z "$$started" ] || "$(SLURM)/stop-slurm.sh"; exit $$status

test-faults: setup  ## run every fault, those that need root too
	$(BIN)/python -m pytest -m "root or not root" tests/faults

bench: setup  ## measure against HF Trainer + PEFT, loralib and PEFT (GLUE=folder for real data; an hour and a half)
	$(BIN)/python -m bench $(if $(GLUE),--glue "$(GLUE)")

check: setup  ## ruff, mypy, snakefmt and snakemake --lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

format: setup  ## format Python and Snakemake files
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

schema: setup  ## write config/schema.json for editors
	$(BIN)/python -c "from lora_core.config.study import json_schema; print(json_schema(), end='')" > config/schema.json

pictures: setup  ## write docs/architecture.md from the code
	$(BIN)/python docs/architecture.py > docs/architecture.md

lock:  ## make requirements.lock anew from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra workflow --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --output-file requirements.lock

audit:  ## look the locked packages up among known vulnerabilities (needs uv and a network)
	uv tool run pip-audit --require-hashes --disable-pip --requirement requirements.lock

clean:  ## remove results; the environment stays
	find results -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +
