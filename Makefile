# Everything happens in .venv, made from the first Python >= 3.11 found; nothing else is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One thread a process: small networks gain nothing from a second one, and the tests run two processes.
ONE := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 JAX_PLATFORMS=cpu \
       XLA_FLAGS="--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
PYTEST := $(ONE) $(BIN)/python -m pytest

.PHONY: tour test test-all lint bench clean

tour: $(VENV)/.all
	$(BIN)/saddlery tour --out tour

test: $(VENV)/.test
	$(PYTEST) -n 2 -m "not slow"

test-all: $(VENV)/.test
	$(PYTEST) -n 2

lint: $(VENV)/.dev
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/pyright

bench: $(VENV)/.all
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(ONE) $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) build dist tour

# A stamp a set of extras: made only when the install succeeded, remade when pyproject.toml changes.
$(VENV)/.all $(VENV)/.test $(VENV)/.dev: $(VENV)/.%: $(VENV)/.made pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	@touch $@

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "saddlery needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1); run make PYTHON=python3.11" >&2; exit 1; }
	@rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	@touch $@
