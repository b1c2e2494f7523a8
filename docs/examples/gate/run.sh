#!/usr/bin/env bash
# A new repository with a model and a gate: calibrated, green, red on a weaker copy, green on an equal training.
# Needs carom and pytest in the environment; about five minutes of training on one core.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$(mktemp -d)}
mkdir -p "$folder" && cd "$folder"
cp "$here/model.py" "$here/test_model.py" .
mkdir -p attacks scenarios app # a repository may have folders of these names
for name in attacks scenarios app; do echo 'raise RuntimeError("not yours")' >$name/__init__.py; done

for seed in 1 2 3 4 5 6; do [ -f seed$seed.pt ] || python model.py $seed seed$seed.pt; done
[ -f weak.pt ] || python model.py 1 weak.pt 0 # the same training, without the noise

say() { echo; echo "$ $*"; "$@" || true; }
say carom suite calibrate digits-standard model:seed1 model:seed2 model:seed3 model:seed4 model:seed5
say cp seed1.pt model.pt
say pytest -q
say pytest -q --robustness-update-new-only
say cp weak.pt model.pt
say pytest -q
say cp seed6.pt model.pt
say pytest -q
