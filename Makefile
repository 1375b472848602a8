# The commands of this project. VENV=/path shares one environment between checkouts.
VENV ?= .venv
PYTHON ?= python3.11
BIN := $(VENV)/bin
RUN := HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1 GRADIO_ANALYTICS_ENABLED=False
LIBRARY ?= library
HOST ?= 127.0.0.1
PORT ?= 7860
# How many processes run the tests.
WORKERS ?= 2

.PHONY: help setup setup-dev demo test check torture bench clean

help:
	@echo "make demo     ingest samples/ with two encoders and open the page on http://$(HOST):$(PORT)"
	@echo "make test     install what tests need and run them in two processes (WORKERS=n; browser tests need a Chromium)"
	@echo "make check    lint, format, types, architecture"
	@echo "make torture  kill ingests at random moments and compare (minutes)"
	@echo "make bench    evaluate the sample set, time the encoders: the numbers in README.md"
	@echo "make setup    only make the environment in $(VENV)"
	@echo "make clean    remove the environment, the demo's library, runs and caches"

# An environment without pip is one that could not be finished, and is made again. Stamps carry the contents of the
# requirement files, so that an unchanged environment is not asked again, and one whose installation failed is.
setup:
	@if ! "$(BIN)/python" -m pip --version >/dev/null 2>&1; then \
	  command -v "$(PYTHON)" >/dev/null || { echo "$(PYTHON) is missing: install Python 3.11, or name one with PYTHON=..."; exit 1; }; \
	  "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11: name another with PYTHON=..."; exit 1; }; \
	  "$(PYTHON)" -m venv "$(VENV)" || { echo "$(PYTHON) cannot make an environment: install its venv module (Debian: python3.11-venv)"; exit 1; }; fi
	@sum=$$(cat requirements.txt | sha256sum | cut -c1-16); if [ ! -f "$(VENV)/.base-$$sum" ]; then \
	  echo "installing requirements.txt into $(VENV) (some minutes and 7 GB the first time)"; \
	  "$(BIN)/python" -m pip install --disable-pip-version-check --quiet -r requirements.txt && rm -f "$(VENV)"/.base-* && touch "$(VENV)/.base-$$sum"; fi

setup-dev: setup
	@sum=$$(cat requirements.txt requirements-dev.txt | sha256sum | cut -c1-16); if [ ! -f "$(VENV)/.dev-$$sum" ]; then \
	  "$(BIN)/python" -m pip install --disable-pip-version-check --quiet -r requirements-dev.txt && rm -f "$(VENV)"/.dev-* && touch "$(VENV)/.dev-$$sum"; fi

demo: setup
	$(RUN) "$(BIN)/python" -m ingest add samples --library "$(LIBRARY)" --encoder lite --encoder lite-joint
	$(RUN) "$(BIN)/python" app.py --library "$(LIBRARY)" --dataset samples/evaluation --host $(HOST) --port $(PORT)

test: setup-dev
	$(RUN) "$(BIN)/python" -m pytest -m "not torture" --numprocesses $(WORKERS) --dist loadfile

check: setup-dev
	"$(BIN)/python" -m ruff check .
	"$(BIN)/python" -m ruff format --check .
	"$(BIN)/python" -m mypy
	$(RUN) "$(BIN)/python" -m pytest -q tests/test_architecture.py

torture: setup-dev
	$(RUN) "$(BIN)/python" -m pytest -m torture

BENCH := "$(BIN)/python" -m eval run --dataset samples/evaluation
bench: setup
	$(RUN) $(BENCH) --recipe lite@visual --recipe lite-conse@visual --recipe lite-joint@visual --recipe lite-0@visual \
	  --recipe hashing@visual --recipe lite@visual,center --recipe lite@visual+lite-0@visual \
	  --recipe lite --recipe lite,gapshift --recipe lite,gram --recipe lite,span
	$(RUN) $(BENCH) --queries composed --recipe lite@visual --recipe lite-joint@visual --recipe lite-joint@visual,sum
	$(RUN) $(BENCH) --queries composed --recipe lite@visual --recipe lite-joint@visual --parts text
	$(RUN) $(BENCH) --queries composed --recipe lite@visual --recipe lite-joint@visual --parts image
	$(RUN) "$(BIN)/python" -m eval bench late-interaction
	$(RUN) "$(BIN)/python" -m eval bench diagnostics
	$(RUN) "$(BIN)/python" -m models bench lite "clip-b32;weights=random"

clean:
	rm -rf $(if $(filter .venv,$(VENV)),.venv) library runs .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
