.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# CONFIG=config/paper.yaml selects another study; the file overlays config.yaml.
CONFIG ?=
OVERLAY := $(if $(CONFIG),--configfile "$(CONFIG)")
SNAKEMAKE := $(BIN)/snakemake --cores all $(OVERLAY)
# Snakemake and others keep a cache in the home folder, and fail where that is missing or cannot be written.
ifeq ($(XDG_CACHE_HOME)$(shell [ -w "$$HOME" ] && echo writable),)
export XDG_CACHE_HOME := $(CURDIR)/.snakemake/cache
endif
# Without what is wrong with the configuration, which the command that follows says.
# Asked once, and only where it is needed.
RESULTS = $(eval RESULTS := $$(shell $(BIN)/lora-core results-dir $(OVERLAY) 2>/dev/null))$(RESULTS)
BUNDLE ?= $(subst /,-,$(RESULTS)).zip
# A folder of real GLUE for the benchmarks, and one with start-slurm.sh and stop-slurm.sh for the Slurm tests.
GLUE ?=
SLURM ?=

.PHONY: help setup slurm tables demo doctor paper status report regimes compare bundle verify-bundle test test-slow test-packaging test-slurm test-faults test-models findings bench check format schema pictures models docs lock audit clean

help:  ## list all targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

setup: .venv/installed  ## create .venv from requirements.lock

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is required; choose one with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing into .venv: about 6 GB on Linux (mostly torch with CUDA), 2 to 5 minutes."
	$(PYTHON) -P -m venv .venv
	$(BIN)/python -P -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -P -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

slurm: setup  ## also install what submits jobs to Slurm
	$(BIN)/python -P -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r envs/slurm.lock

tables: setup  ## run the study and say what LoRA buys (CONFIG=config/paper.yaml for another study)
	@$(if $(CONFIG),,echo "The embedded study: 30 short runs, 14 to 23 minutes on two cores without a GPU; finished runs are not repeated.")
	@$(BIN)/lora-core unlock $(OVERLAY)
	@$(SNAKEMAKE)
	@echo; $(BIN)/lora-core summary $(OVERLAY)

demo: setup  ## run one task with two methods and one seed, in about two minutes
	$(MAKE) --no-print-directory tables CONFIG=config/demo.yaml

doctor:  ## show what this machine has and what it can run (needs no setup)
	@if [ -x $(BIN)/lora-core ]; then $(BIN)/lora-core doctor; else $(PYTHON) -m lora_core.commands.doctor; fi

paper: setup  ## run the paper's study on a GPU, after an estimate of its time, disk space and energy
	@$(BIN)/lora-core estimate --configfile config/paper.yaml
	@$(BIN)/python -P -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || { echo; \
		echo "torch sees no GPU on this machine. To run the study anyway: make tables CONFIG=config/paper.yaml"; exit 1; }
	@echo; echo "Starting in 20 seconds; press Ctrl-C to stop."; sleep 20
	@$(MAKE) --no-print-directory tables CONFIG=config/paper.yaml

status: setup  ## show which runs are done, running, failed and left, and how long the rest will take
	@$(BIN)/lora-core status $(OVERLAY)

report: setup  ## write the study as one page, report.html (CONFIG for another study)
	@$(BIN)/lora-core unlock $(OVERLAY)
	$(SNAKEMAKE) "$(RESULTS)/report.html"
	@echo; echo "Open $(RESULTS)/report.html"

regimes: setup  ## measure what a training step waits for here, and how many epochs LoRA may take before it costs more
	$(SNAKEMAKE) "$(RESULTS)/tables/regimes.md" "$(RESULTS)/tables/regimes-details.md" "$(RESULTS)/figures/regimes.svg"
	@echo; cat "$(RESULTS)/tables/regimes.md"

compare: setup  ## compare two studies: make compare A=results/one B=results/other
	@$(BIN)/lora-core compare "$(A)" "$(B)"

bundle: setup  ## pack the study without weights into one archive, BUNDLE (CONFIG for another study)
	@$(BIN)/lora-core bundle "$(BUNDLE)" $(OVERLAY)

verify-bundle: setup  ## redraw every table and figure of a BUNDLE from its raw records, and compare
	@$(BIN)/lora-core verify-bundle "$(BUNDLE)"

test: setup  ## run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 25 --durations-min 5

test-slurm: slurm  ## run the tests that need Slurm: a running one, or one started by SLURM=FOLDER's start-slurm.sh
	@started=; if ! sinfo >/dev/null 2>&1 && [ -x "$(SLURM)/start-slurm.sh" ]; then "$(SLURM)/start-slurm.sh" && started=1; fi; \
	$(BIN)/python -m pytest -m slurm tests/slurm; status=$$?; \
	[ -z "$$started" ] || "$(SLURM)/stop-slurm.sh"; exit $$status

test-slow: setup  ## run the tests that take minutes: all benchmarks at their smallest size, a study of all kinds of methods
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

test-packaging: setup  ## open results in other people's tools, which are installed for it (downloads packages)
	$(BIN)/python -m pytest -m packaging tests/packaging

test-faults: setup  ## run all tests of faults, run as root also those of file systems
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "faults or not faults" tests/faults

findings:  ## run findings/*.sh one after the other, and report which behavior has changed (downloads packages)
	$(PYTHON) findings/run.py

test-models: setup  ## take every encoder of transformers, with tiny random weights, through every step of a study
	$(BIN)/python -m pytest -m models tests/models

bench: setup  ## benchmark against HF Trainer + PEFT, loralib and PEFT (GLUE=FOLDER for real data; 90 minutes)
	$(BIN)/python -m bench $(if $(GLUE),--glue "$(GLUE)")

check: setup  ## run ruff, mypy, snakefmt and snakemake --lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

format: setup  ## format the Python and Snakemake files
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

schema: setup  ## write config/schema.json, which editors use
	$(BIN)/lora-core schema > config/schema.json

pictures: setup  ## write docs/architecture.md, docs/published.md and results/README.md from the code, and figures and tables of docs/ from records
	$(BIN)/python docs/architecture.py > docs/architecture.md
	$(BIN)/python docs/results_folder.py > results/README.md
	$(BIN)/python docs/published.py > docs/published.md
	$(BIN)/python docs/pictures.py

models: setup  ## write docs/models.md, after trying every encoder of transformers
	$(BIN)/python docs/models.py > docs/models.md.new && mv docs/models.md.new docs/models.md

docs: setup  ## build the documentation as a site, site/index.html
	$(BIN)/python -P -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r envs/docs.lock
	$(BIN)/python docs/build_site.py site
	@echo; echo "Open site/index.html"

lock:  ## update requirements.lock from pyproject.toml, envs/slurm.lock and envs/docs.lock (needs uv)
	uv pip compile pyproject.toml --extra workflow --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --output-file requirements.lock
	uv pip compile envs/slurm.in --no-deps --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --output-file envs/slurm.lock
	uv pip compile envs/docs.in --no-deps --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --constraints requirements.lock --output-file envs/docs.lock

audit:  ## check the locked packages for known vulnerabilities (needs uv and a network)
	uv tool run pip-audit --require-hashes --disable-pip --requirement requirements.lock

clean:  ## remove all results; the environment stays
	@if [ -L results ]; then echo "results is a link to $$(readlink results): what is in that folder is removed, the link stays"; fi
	@if [ -d results ]; then find results/ -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +; \
	else echo "results is not a folder: nothing is removed"; fi
