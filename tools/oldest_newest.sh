#!/usr/bin/env bash
# Run the tests with the oldest supported versions (tools/oldest.txt, on Python 3.11) and with the newest that install.
# usage: tools/oldest_newest.sh [OLDEST_PYTHON] [NEWEST_PYTHON] [pytest arguments ...]
set -euo pipefail
cd "$(dirname "$0")/.."
oldest=${1:-python3.11}; newest=${2:-python3}; shift $(( $# < 2 ? $# : 2 ))
arguments=("$@"); [ ${#arguments[@]} -gt 0 ] || arguments=(-m "not slow")
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1 JAX_PLATFORMS=cpu
try() {  # name, python, further pip arguments
  local name=$1 python=$2; shift 2
  echo "== $name: $("$python" --version)"
  "$python" -m venv "$work/$name"
  "$work/$name/bin/python" -m pip install --quiet --disable-pip-version-check "$@" ".[test]"
  "$work/$name/bin/python" -m pip list --disable-pip-version-check 2>/dev/null | grep -iE '^(jax|jaxlib|equinox|diffrax|optax|numpy|scipy) '
  "$work/$name/bin/python" -m pytest -q -n 2 -p no:cacheprovider "${arguments[@]}"
}
try oldest "$oldest" --constraint tools/oldest.txt
try newest "$newest"
