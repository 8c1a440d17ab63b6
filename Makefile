# make setup | demo | test | test-all | docs | test-docs | evaluate | bench | bench-all |
# lint: each sets itself up, on any machine with bash and Python 3.11 or later. Settings,
# given here or exported:
#
#   PYTHON=python3.13   the Python that .venv is made with
#   VENV=.venv          where the environment lives
#   ARGS="--steps 50"   handed through to demo, test, test-all, test-docs, evaluate, bench
#                       (its training step) and bench-all
#   JAX_PLATFORMS=cpu   what jax computes on; bench measures that
#   SCMULTIMODAL_DATA   folder of real data; tests that need it skip without it
#   TORCH=…             torch for test-all and benches, as a requirement or the path of a
#                       wheel. What pip finds by itself may be the CUDA build, some
#                       gigabytes; the CPU build of the same version is enough
#   CHROMIUM=chromium   the browser that test-docs opens; apt installs it where there is
#                       none and make is run by root
#
# Versions are pinned in .ci/constraints*.txt; pip takes wheels alone (but docrep).

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all docs test-docs chromium evaluate bench bench-all \
	lint clean

VENV ?= .venv
TORCH ?= torch
ARGS ?=

BIN := $(VENV)/bin
PINS := .ci/constraints.txt
PARITY_PINS := .ci/constraints-parity.txt
DOCS_PINS := .ci/constraints-docs.txt
SETUP := $(VENV)/.setup
SETUP_PARITY := $(VENV)/.setup-parity
SETUP_DOCS := $(VENV)/.setup-docs
SITE := build/site
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install \
	--only-binary :all:
# Two workers share the compiling; their libraries then take one thread each.
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

DATA := $(wildcard $(or $(SCMULTIMODAL_DATA),../shared/data))
ifneq ($(DATA),)
override SCMULTIMODAL_DATA := $(abspath $(DATA))
export SCMULTIMODAL_DATA
endif
export JAX_PLATFORMS ?= cpu

help:  ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1 \t\2/p' $(firstword $(MAKEFILE_LIST)) \
		| expand -t 18

setup: $(SETUP)  ## make .venv with pinned packages

demo: $(SETUP)  ## the cell model on a small data set, start to report, in runs/demo
	$(BIN)/scmultimodal demo --out runs/demo $(ARGS)

# Nearly all of its time goes into compiling programs that run for an instant.
test: export XLA_FLAGS = --xla_backend_optimization_level=0 \
	--xla_cpu_use_fusion_emitters=false
test: $(SETUP)  ## the tests that a change must pass
	$(PYTEST) -m "not long and not parity and not docs" $(ARGS)

test-all: $(SETUP_PARITY)  ## every test: the long ones, and parity with torch
	$(PYTEST) -m "not docs" $(ARGS)

# Nothing is fetched while the site is built: no proxy is there. What runs here is met.
docs: $(SETUP_DOCS)  ## the documentation site, its tutorials executed, in build/site
	rm -rf $(SITE)
	no_proxy=127.0.0.1,localhost \
	http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 \
		$(BIN)/python -m sphinx -W --keep-going -q -E -d build/doctrees docs $(SITE)
	@echo "$(SITE)/index.html"

test-docs: chromium docs  ## build the site, open it in Chromium, paste its quick starts
	$(BIN)/python -m pytest -m docs $(ARGS)

evaluate: $(SETUP)  ## judge the cell model: fill experiments/results and the README's tables
	$(BIN)/python -m experiments.evaluation --processes 2 \
		--results experiments/results --readme README.md $(ARGS)

bench: $(SETUP_PARITY)  ## how fast we are against what others run
	$(BIN)/python -m experiments.bench.kmer_tokenizer
	$(BIN)/python -m experiments.bench.preprocessing
	$(BIN)/python -m experiments.bench.loading
	$(BIN)/python -m experiments.bench.training_step $(ARGS)

bench-all: $(SETUP_PARITY)  ## the same against tokens, cells, layers, heads, chunks and devices
	$(BIN)/python -m experiments.bench.sweeps $(ARGS)
	$(BIN)/python -m experiments.bench.contexts
	$(BIN)/python -m experiments.bench.peak_tokens
	$(BIN)/python -m experiments.bench.embedding

lint: $(SETUP)  ## format, style, types, floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-logo --no-cache

clean:  ## remove .venv, builds and caches; runs/ stays
	rm -rf .venv build dist .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# CHROMIUM, or what may be found under its usual names.
chromium:
	@for browser in $(CHROMIUM) chromium chromium-browser google-chrome; do \
		if command -v $$browser >/dev/null; then exit 0; fi; \
	done; \
	if [[ $$(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then \
		echo "make: test-docs needs Chromium; install it, or name one: CHROMIUM=…" >&2; \
		exit 1; \
	fi; \
	echo "Installing Chromium by apt"; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends chromium >/dev/null

# The stamp comes last: a set-up that was cut off starts over.
$(SETUP): pyproject.toml $(PINS)
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		for python in $(or $(PYTHON),python3.11 python3.12 python3.13 python3); do \
			if $$python -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' \
				2>/dev/null; then found=$$python; break; fi; \
		done; \
		if [[ -z $${found-} ]]; then \
			echo "make: no Python >= 3.11 with venv found; name one: make PYTHON=…" >&2; \
			exit 1; \
		fi; \
		echo "Making $(VENV) with $$found"; \
		$$found -m venv --clear $(VENV); }
	$(PIP) --constraint $(PINS) pip hatchling editables
	$(PIP) --constraint $(PINS) --no-build-isolation --editable '.[eval,integration,log,scale,tracks]' \
		--group dev
	@touch $@

# Three things the extra does not say: performer-pytorch imports distutils, which Python
# 3.12 dropped and setuptools brings; scvi-tools does not import beside jax without flax;
# its docrep has no wheel, so that one is built here, with the pinned setuptools.
$(SETUP_PARITY): $(SETUP) $(PARITY_PINS)
	$(PIP) --constraint $(PINS) --constraint $(PARITY_PINS) setuptools six '$(TORCH)'
	$(PIP) --no-binary docrep --constraint $(PINS) --constraint $(PARITY_PINS) \
		--no-build-isolation --editable '.[eval,integration,log,scale,tracks,parity]' flax
	@touch $@

$(SETUP_DOCS): $(SETUP) $(DOCS_PINS)
	$(PIP) --constraint $(PINS) --constraint $(DOCS_PINS) --group docs
	@touch $@
