#!/usr/bin/env bash
# What the nets take on an NVIDIA GPU, in at most eight minutes there.
#
#   bash benchmarks/gpu.sh prepare    here, with network and edgegolf[train]: files and wheels
#   bash benchmarks/gpu.sh run OUT    there, in a copy of this folder and of build/gpu
#
# OUT gets bench results (JSON, with the system and the provider), the power that the driver reports
# while each runs, and the training's log. Not run on a GPU yet: docs/gpu.md.
set -euo pipefail
cd "$(dirname "$0")/.."

prepared=build/gpu
python=${PYTHON:-python3.12}
nets=(mnist/tight_resnet cifar10/loop_resnet-144 cifar10/tencnn)

prepare() {
  mkdir -p "$prepared"
  for net in "${nets[@]}"; do
    for batch in 1 256; do
      edgegolf export "models/$net/model.keras" --out "$prepared/$(basename "$net")-$batch" \
        --dataset "$(dirname "$net")" --formats onnx --dtype float32 --batch "$batch" --quick
    done
  done
  "$python" -m pip wheel --wheel-dir "$prepared/wheels" ".[train]" onnxruntime-gpu "jax[cuda12]"
  rm -f "$prepared"/wheels/onnxruntime-[0-9]*  # the one for GPUs takes its place
}

# Watts of the GPU, ten times a second, while a command runs.
with_power() {
  local log=$1
  shift
  nvidia-smi --query-gpu=timestamp,power.draw --format=csv,noheader --loop-ms=100 > "$log" &
  local meter=$!
  "$@" || echo "exit code $?: $*" >> "$out/failures.txt"
  kill "$meter"
}

run() {
  out=$1
  mkdir -p "$out"
  "$python" -m venv "$out/environment"
  "$out/environment/bin/pip" install --quiet --no-index --no-deps "$prepared"/wheels/*.whl
  export PATH="$out/environment/bin:$PATH"
  nvidia-smi > "$out/nvidia-smi.txt"
  with_power "$out/idle-power.csv" sleep 5
  for folder in "$prepared"/*-1 "$prepared"/*-256; do
    name=$(basename "$folder")
    for provider in cpu cuda tensorrt; do
      # A model that would silently stay on the CPU, wholly or in part, is an error here.
      with_power "$out/$name-$provider-power.csv" timeout 60 edgegolf bench \
        "$folder/float32.onnx" --provider "$provider" --min-time 2 --json -o "$out/$name-$provider.json"
    done
  done
  KERAS_BACKEND=jax with_power "$out/training-power.csv" timeout 150 edgegolf train tencnn \
    --epochs 2 --out "$out/tencnn"
}

case ${1-} in
prepare) prepare ;;
run) run "${2:?where to write}" ;;
*)
  echo "usage: $0 prepare | run OUT" >&2
  exit 2
  ;;
esac
