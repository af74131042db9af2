# One command each, from an empty clone. `make help` lists them.

PYTHON  ?= python3
LOWEST  := 3.10
PYTHONS := 3.10 3.11 3.12 3.13
READY   := .venv/.ready
BIN     := .venv/bin
INSTALL  = -m pip install --quiet --disable-pip-version-check --editable '.[dev]'

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check lowest test-all bench test-gpu bench-gpu format clean ffmpeg

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

demo: $(READY)  ## swap a portrait into a short clip: demo/out.mp4 and demo/contact-sheet.png
	@$(BIN)/python -m tools.demo

test: check  ## the whole gate, from an empty clone

check: $(READY) ffmpeg  ## the same, under the name of what it is: format, lint, types, sizes, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m tools.sizes
	@$(MAKE) --no-print-directory lowest
	$(BIN)/python -m pytest

# The tests on the lowest supported Python: always in CI, elsewhere where there is one.
lowest: $(READY)
	@if $(BIN)/python -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "$(LOWEST)")'; then \
	    echo "tests: only on Python $(LOWEST), which is the default here"; \
	elif $(BIN)/python tools/pythons.py $(LOWEST) >/dev/null || [ "$(CI)" = true ]; then \
	    echo "tests: on Python $(LOWEST), then on the default"; \
	    $(MAKE) --no-print-directory test-$(LOWEST); \
	else \
	    echo "tests: only on the default Python, not on $(LOWEST)"; \
	fi

test-all: $(PYTHONS:%=test-%)  ## the tests on every supported Python

test-3.%: .venv-3.%/.ready
	.venv-3.$*/bin/python -m pytest

# The referee of tests/fidelity, from Debian's packages where they may be installed.
ffmpeg:  ## install FFmpeg's program for the tests, if this may be done here
	@command -v ffprobe >/dev/null || { \
	    command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && \
	    { apt-get install -qq -y --no-install-recommends ffmpeg >/dev/null 2>&1 || \
	      { apt-get update -qq && apt-get install -qq -y --no-install-recommends ffmpeg >/dev/null; }; }; } || \
	    echo "no ffmpeg program here: the tests of what is kept of a file are skipped"

bench: $(READY)  ## speed against its ceilings, and peak memory
	@$(BIN)/python -m benchmarks.bench_pipeline $(ARGS)

# The GPU's own interpreter may be another, with TensorRT: GPU_PYTHON=python3.10.
GPU_PYTHON ?= $(BIN)/python

test-gpu:  ## the tests that need an NVIDIA GPU; without one they fail
	PYTHONPATH=src FFSWAP_REQUIRE_GPU=1 $(GPU_PYTHON) -m pytest -n 0 -m gpu

bench-gpu:  ## speed of engines' nets and of the whole pipeline on an NVIDIA GPU
	PYTHONPATH=src $(GPU_PYTHON) -m benchmarks.bench_gpu $(ARGS)

format: $(READY)  ## format, and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove everything that a target made
	rm -rf .venv .venv-3.* .cache demo build dist .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python $(INSTALL)
	@touch $@

.venv-3.%/.ready: pyproject.toml
	@python=$$($(PYTHON) tools/pythons.py 3.$*) && echo "$$python -m venv .venv-3.$*" && "$$python" -m venv .venv-3.$*
	.venv-3.$*/bin/python $(INSTALL)
	@touch $@
.PRECIOUS: .venv-3.%/.ready
