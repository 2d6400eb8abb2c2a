# Everything a checkout needs, from `make run` to `make audit`. Tools are called as `.venv/bin/python -m TOOL`, never by
# their scripts: a script's first line names its interpreter, and that breaks where the path is long or holds a blank.

SHELL := /bin/sh
VENV := .venv
PYTHON := $(VENV)/bin/python
PYTHONS ?= python3 python3.11 python3.12 python3.13 python3.14
CONFIG ?= config/freshet.toml
KILLS ?= 2000
RELOADS ?= 500
SOAK ?= 600

.DEFAULT_GOAL := help
.PHONY: help run check test lint types unit docs crash reloads soak zoo bench fmt audit lock env env-dev clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

run: env ## start the daemon here, with config/freshet.toml (or CONFIG=...)
	@mkdir -p inbox
	@exec $(PYTHON) -m freshet run --config "$(CONFIG)"

check: env ## load the configuration and all plugins, and say what is wrong with them
	@$(PYTHON) -m freshet check --config "$(CONFIG)"

test: lint types unit ## all that a change must pass: lint, types, unit

lint: env-dev ## rules and formatting (ruff)
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types: env-dev ## types, by two checkers (mypy, basedpyright), both strict
	$(PYTHON) -m mypy
	$(PYTHON) -m basedpyright

unit: env-dev ## the tests, without those marked slow (ARGS=... goes to pytest)
	$(PYTHON) -m pytest $(ARGS)

docs: env-dev ## write docs/reference anew, from the code
	$(PYTHON) -m tests.docs

crash: env-dev ## the crash proofs at full length: the daemon killed KILLS times (2000)
	FRESHET_CRASH_KILLS=$(KILLS) $(PYTHON) -m pytest tests/crash -m "slow or not slow" $(ARGS)

reloads: env-dev ## plugins edited RELOADS times (500): memory and descriptors stay as they were
	FRESHET_RELOADS=$(RELOADS) $(PYTHON) -m pytest tests/reload/test_lasting.py -s $(ARGS)

soak: env-dev ## a daemon under load, with reloads and failures, for SOAK seconds (600): memory and descriptors stay flat
	FRESHET_SOAK=$(SOAK) $(PYTHON) -m pytest tests/soak -s $(ARGS)

zoo: env-dev ## bad steps in every executor, each kind 20 times, with healthy ones beside them
	FRESHET_ZOO=20 $(PYTHON) -m pytest tests/executors/test_zoo.py -m slow $(ARGS)

bench: env-dev ## the benchmarks
	$(PYTHON) -m tests.bench $(ARGS)

fmt: env-dev ## format the code and mend what can be mended safely
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

audit: env-dev ## known vulnerabilities in what the daemon installs (asks the advisory service over the network)
	$(PYTHON) -m pip_audit --strict --require-hashes --disable-pip --progress-spinner off -r requirements.lock

# The dev lock is solved first, the other one within it: both name the same versions, so that one .venv serves both.
UV_COMPILE = $(PYTHON) -m uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) pyproject.toml

lock: env-dev ## solve the dependencies anew into the two lock files (UPGRADE=1: to the newest)
	$(UV_COMPILE) --all-extras --group dev -o requirements-dev.lock
	$(UV_COMPILE) --group build -c requirements-dev.lock -o requirements.lock

env: ## make .venv with what the daemon needs, if it is not there yet
	@$(call ensure,requirements.lock requirements-dev.lock)

env-dev: ## make .venv with what development needs too, if it is not there yet
	@$(call ensure,requirements-dev.lock)

clean: ## remove .venv, caches and what was built; state/ and inbox/ stay
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find daemon sensors plugins tests -type d -name __pycache__ -prune -exec rm -rf {} +

# $(call ensure,LOCK [LOCK THAT WILL DO INSTEAD]): beside each filled .venv lies a stamp for its lock: the checksum of that
# lock, pyproject.toml, the interpreter and the folder (which the editable install names). While one is current, nothing is
# done; else the first lock is installed. The lock on this file is for two makes at once, where the system has flock.
define ensure
	set -eu; unset PYTHONHOME PYTHONPATH; \
	stamp() { { pwd; $(PYTHON) -V; cat "$$1" pyproject.toml; } 2>&1 | cksum; }; \
	current() { for lock in $(1); do \
		[ "$$(cat "$(VENV)/.stamp-$$lock" 2>/dev/null)" != "$$(stamp "$$lock")" ] || return 0; done; return 1; }; \
	! current || exit 0; \
	exec 9<Makefile; ! command -v flock >/dev/null || flock 9; \
	! current || exit 0; \
	if ! $(PYTHON) -m pip --version >/dev/null 2>&1; then \
		for python in $(PYTHONS) ""; do \
			! "$$python" -c "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))" 2>/dev/null || break; done; \
		if [ -z "$$python" ]; then \
			echo "error: no Python 3.11 or newer with its venv module among: $(PYTHONS)" >&2; \
			echo "hint: install one (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python)," >&2; \
			echo "      or name the one to take: make PYTHONS=/path/to/python3.12 ..." >&2; exit 1; fi; \
		echo "making $(VENV) with $$("$$python" -V)"; "$$python" -m venv --clear $(VENV); fi; \
	echo "installing $(firstword $(1)) into $(VENV) (a minute or two the first time)"; \
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r $(firstword $(1)); \
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation -e .; \
	$(PYTHON) -m compileall -q daemon sensors; \
	stamp $(firstword $(1)) > "$(VENV)/.stamp-$(firstword $(1))"
endef
