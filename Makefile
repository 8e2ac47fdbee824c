# Everything happens in .venv, made from PYTHON (3.11 or newer) by pip alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# One thread a process: small networks gain nothing from a second one, and the tests run two processes. Bytecode is
# kept, whatever the environment says: tests begin many processes, and rewriting their asserts takes seconds.
ONE := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 JAX_PLATFORMS=cpu \
       XLA_FLAGS="--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
# Compiling is most of what tests do: programs are kept for the other process and the next time.
KEPT := JAX_COMPILATION_CACHE_DIR="$(CURDIR)/$(VENV)/programs" JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0.1 \
        JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES=-1
# A file stays in one process: its tests share compiled programs, and tracing them is most of what is left.
PYTEST := $(ONE) $(KEPT) $(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: help tour test test-all lint rooms wheel check versions bench clean
.NOTPARALLEL: # two installs into one environment would spoil it

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

tour: $(VENV)/.all ## the six networks of the paper and one on real data, certified: tour/index.html
	$(BIN)/saddlery tour --out tour

test: $(VENV)/.test ## the default tests
	$(PYTEST) -m "not slow"

test-all: $(VENV)/.test ## with the slow ones, nightly
	$(PYTEST)

lint: $(VENV)/.dev ## style and types
	$(BIN)/ruff check src tests benchmarks tools
	$(BIN)/ruff format --check src tests benchmarks tools
	$(BIN)/pyright

rooms: $(VENV)/.test ## whether imports point down, and picture and tables are those of the code
	$(BIN)/python tools/rooms.py
	$(BIN)/python tools/fields.py
	$(BIN)/python tools/tolerances.py

wheel: $(VENV)/.test ## build it, install it and use it from outside the checkout
	tools/wheel.sh $(BIN)/python

check: test rooms wheel ## what continuous integration runs

versions: ## the tests with the oldest supported versions and with the newest
	tools/oldest_newest.sh

bench: $(VENV)/.all ## the benchmarks, each beside a peer or a plain loop
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(ONE) $(BIN)/python $$script || exit 1; done

clean: ## remove what make made
	rm -rf $(VENV) build dist tour

# A stamp a set of extras: made only when the install succeeded, remade when pyproject.toml changes.
$(VENV)/.all $(VENV)/.test $(VENV)/.dev: $(VENV)/.%: $(VENV)/.made pyproject.toml
	@echo "installing saddlery[$*] into $(VENV): a minute or two the first time"
	@$(PIP) install --editable ".[$*]"
	@touch $@

# .made holds the folder it was made in: environments cannot be moved, and a copied or half-made one is made again.
# One without .made that has a working pip was made by hand, and is used as it is.
MADE := $(shell test "$$(cat $(VENV)/.made 2>/dev/null)" = "$(CURDIR)" && $(BIN)/python -c "" 2>/dev/null && echo yes)
ifneq ($(MADE),yes)
.PHONY: $(VENV)/.made
endif
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
$(VENV)/.made:
	@if ! test -e $@ && $(BIN)/python -c '$(NEW_ENOUGH)' 2>/dev/null && $(PIP) install --no-index pip 2>/dev/null; then :; else \
	  $(PYTHON) -c '$(NEW_ENOUGH)' 2>/dev/null || { \
	    echo "saddlery needs Python 3.11 or newer, and $(PYTHON) is: $$($(PYTHON) --version 2>&1). Run make PYTHON=python3.11" >&2; exit 1; }; \
	  rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); \
	fi
	@echo "$(CURDIR)" > $@
