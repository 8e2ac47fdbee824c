#!/usr/bin/env bash
# Run the tests with the oldest supported versions (tools/oldest.txt, on Python 3.11) and with the newest that install on
# the newest Python found, on PATH or by pyenv. Both environments are thrown away.
# usage: [OLDEST=python3.11] [NEWEST=python3.13] tools/oldest_newest.sh [pytest arguments ...]   (default: -m "not slow")
set -euo pipefail
cd "$(dirname "$0")/.."
arguments=("$@"); [ ${#arguments[@]} -gt 0 ] || arguments=(-m "not slow")

find_python() {  # the first of these versions that runs: pyenv's shims may be on PATH and not run
  local version candidate
  for version in "$@"; do
    for candidate in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python3; do
      if "$candidate" -c "" 2>/dev/null; then echo "$candidate"; return; fi
    done
  done
  echo "none of Python $* runs here: name one by OLDEST or NEWEST" >&2
  return 1
}
oldest=${OLDEST:-$(find_python 3.11)}
newest=${NEWEST:-$(find_python 3.13 3.12 3.11)}

work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1 JAX_PLATFORMS=cpu
export XLA_FLAGS="--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
try() {  # name, python, further pip arguments
  local name=$1 python=$2; shift 2
  echo "== $name: $("$python" --version)"
  "$python" -m venv "$work/$name"
  "$work/$name/bin/python" -m pip install --quiet --disable-pip-version-check "$@" ".[test]"
  "$work/$name/bin/python" -c "import diffrax, equinox, jax, lineax, optax"
  "$work/$name/bin/python" -m pip list --disable-pip-version-check 2>/dev/null |
    grep -iE '^(jax|jaxlib|equinox|diffrax|lineax|optax|numpy|scipy) '
  "$work/$name/bin/python" -m pytest -q -n 2 -p no:cacheprovider "${arguments[@]}"
}
try oldest "$oldest" --constraint tools/oldest.txt
try newest "$newest"
