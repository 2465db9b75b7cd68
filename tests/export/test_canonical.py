"""What tf2onnx makes of one model is the same every time."""

from __future__ import annotations

import random
from typing import Any

import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tf2onnx")

from edgegolf.export.canonical import deterministic_tf2onnx  # noqa: E402
from edgegolf.quiet import import_tensorflow, silenced  # noqa: E402


def converted(model: Any) -> list[tuple[str, list[str], list[str]]]:
    tensorflow = import_tensorflow()
    signature = [tensorflow.TensorSpec((1, 28, 28, 1), name="image")]
    function = tensorflow.function(lambda image: model(image), input_signature=signature)
    with silenced(), deterministic_tf2onnx() as tf2onnx:
        made, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=17)
    return [(node.op_type, list(node.input), list(node.output)) for node in made.graph.node]


def test_tf2onnx_does_not_depend_on_memory_addresses() -> None:
    """Without this its names differ in every run, and now and then its operators."""
    layers = keras.layers
    model = keras.Sequential([keras.Input((28, 28, 1))])
    for layer in (layers.MaxPooling2D(), layers.Conv2D(3, 3), layers.MaxPooling2D()):
        model.add(layer)
    model.add(layers.Flatten())
    occupied, found = [], []
    for count in (1, 400, 3000, 20_000):
        occupied.append([bytes(random.randrange(200)) for _ in range(count)])
        found.append(converted(model))
    assert found[2] == found[1] == found[3]  # the first loads what the others find
    assert {"MaxPool", "Conv"} <= {operator for operator, _, _ in found[1]}
