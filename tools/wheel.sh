#!/usr/bin/env bash
# Build the wheel, install it into an environment of its own, and use it from outside the checkout.
# usage: tools/wheel.sh PYTHON
set -euo pipefail
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
cd "$(dirname "$0")/.."
unset PYTHONPATH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
catalog=$(ls src/saddlery/experiments/catalog/*.toml | xargs -n 1 basename -s .toml)
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work/wheel" .
"$python" -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check "$work"/wheel/*.whl
cd "$work"
"$work/env/bin/saddlery" --help
"$work/env/bin/saddlery" list units
"$work/env/bin/saddlery" list experiments | tee shipped
for name in $catalog; do grep -qw "$name" shipped || { echo "the wheel lacks the experiment $name" >&2; exit 1; }; done
"$work/env/bin/python" -c 'from saddlery.tasks import Digits; assert len(Digits().data(0).inputs) == 1797'
"$work/env/bin/saddlery" train linear --set stop.flow_time=1 --out run > /dev/null
echo "wheel: built, installed and used from outside the checkout"
