#!/usr/bin/env bash
# What the nets take on an NVIDIA GPU, in at most eight minutes there.
#
#   bash benchmarks/gpu.sh prepare    here, with network and edgegolf[train]: files and wheels
#   bash benchmarks/gpu.sh run OUT    there, in a copy of this folder and of build/gpu, no network
#
# There, $PYTHON (python3) needs pip, PyTorch, whose CUDA onnxruntime takes, and JAX; the wheels are
# for Python $VERSION (3.12). Large ones travel in parts. OUT gets bench results (JSON, with the
# system and the provider), the power that the driver reports while each runs, and the training's
# log; what failed is in OUT/failures.txt. Run without a GPU only: PROVIDERS=cpu, docs/gpu.md.
set -euo pipefail
cd "$(dirname "$0")/.."

prepared=build/gpu
python=${PYTHON:-python3}
nets=(mnist/tight_resnet cifar10/loop_resnet-144 cifar10/tencnn)
missing=(cattrs keras namex onnxruntime-gpu optree platformdirs)  # what such a machine lacks

prepare() {
  mkdir -p "$prepared/wheels" "$prepared/data"
  for net in "${nets[@]}"; do
    name=$(basename "$net")
    # Time does not depend on what the weights are, nor on what the images show.
    "$python" - "$net" "$prepared/$name" <<'PYTHON'
import sys
import numpy as np
from edgegolf.quiet import import_keras
from edgegolf.zoo import CLASSES, named_recipe
import_keras()
recipe = named_recipe(sys.argv[1].split("/")[1].replace("-", ":"))
recipe.build(recipe.image_shape, CLASSES).save(f"{sys.argv[2]}.keras")
images = np.random.default_rng(0).random((300, *recipe.image_shape), np.float32)
np.savez(f"{sys.argv[2]}.npz", x=images)
PYTHON
    for batch in 1 256; do
      "$python" -m edgegolf export "$prepared/$name.keras" --out "$prepared/$name-$batch" \
        --calibration-data "$prepared/$name.npz" --formats onnx --dtype float32 --batch "$batch" --quick
    done
  done
  "$python" -m pip wheel --quiet --no-deps --wheel-dir "$prepared/wheels" .
  "$python" -m pip download --quiet --no-deps --only-binary=:all: --dest "$prepared/wheels" \
    --python-version "${VERSION:-3.12}" --implementation cp --platform manylinux_2_28_x86_64 \
    --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
    "${missing[@]}"
  find "$prepared/wheels" -name '*.whl' -size +30M -exec split -b 30M {} {}.part- \; -delete
  "$python" - "$prepared/data" <<'PYTHON'
import shutil, sys
from pathlib import Path
from edgegolf.data import load_dataset
found = load_dataset(None, usual="cifar10")
for path in found.files:
    target = Path(sys.argv[1], path.parent.name, path.name)
    target.parent.mkdir(exist_ok=True)
    shutil.copy(path, target)
PYTHON
}

# Watts of the GPU, ten times a second, while a command runs.
with_power() {
  local log=$1 meter=
  shift
  if command -v nvidia-smi > /dev/null; then
    nvidia-smi --query-gpu=timestamp,power.draw --format=csv,noheader --loop-ms=100 > "$log" &
    meter=$!
  fi
  "$@" || echo "exit code $?: $*" >> "$out/failures.txt"
  [ -z "$meter" ] || kill "$meter"
}

run() {
  mkdir -p "$1"
  out=$(realpath "$1")
  for part in "$prepared"/wheels/*.part-aa; do
    if [ -f "$part" ]; then cat "${part%aa}"* > "${part%.part-aa}"; fi
  done
  "$python" -m pip install --quiet --no-index --no-deps --upgrade --target "$out/site" "$prepared"/wheels/*.whl
  export PYTHONPATH=$out/site EDGEGOLF_DATA=$PWD/$prepared/data
  nvidia-smi > "$out/nvidia-smi.txt" || true
  with_power "$out/idle-power.csv" sleep 5
  for folder in "$prepared"/*-1 "$prepared"/*-256; do
    name=$(basename "$folder")
    for provider in ${PROVIDERS:-cpu cuda tensorrt}; do
      # A model that would silently stay on the CPU, wholly or in part, is an error here.
      with_power "$out/$name-$provider-power.csv" timeout 60 "$python" -m edgegolf bench \
        "$folder/float32.onnx" --provider "$provider" --min-time 2 --json -o "$out/$name-$provider.json"
    done
  done
  KERAS_BACKEND=jax with_power "$out/training-power.csv" timeout 150 "$python" -m edgegolf train tencnn \
    --epochs 2 --out "$out/tencnn" 2> "$out/training.log"
}

case ${1-} in
prepare) prepare ;;
run) run "${2:?where to write}" ;;
*)
  echo "usage: $0 prepare | run OUT" >&2
  exit 2
  ;;
esac
