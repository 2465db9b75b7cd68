"""The models that the demo's tests ask."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
TIGHT_RESNET = ROOT / "models/mnist/tight_resnet/int8.tflite"
LOOP_RESNET = ROOT / "models/cifar10/loop_resnet-144/int8.tflite"
LINEAR = ROOT / "models/mnist/linear/int8.tflite"
