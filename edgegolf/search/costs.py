"""What a net costs as a file, before it is trained to the end."""

from __future__ import annotations

import numpy as np

from edgegolf.data import Dataset
from edgegolf.export.model import import_keras_on_tensorflow
from edgegolf.footprint.nets import with_random_weights
from edgegolf.footprint.variants import int8_onnx
from edgegolf.zoo import find_recipe

CALIBRATION_IMAGES = 16  # they decide over scales, hardly over bytes


def file_bytes(net: str, dataset: Dataset) -> int:
    """How many bytes `int8.onnx` of a net has, as export makes it, with random weights.

    Raises:
        EdgegolfError: The net cannot be exported.
    """
    import_keras_on_tensorflow()
    model = with_random_weights(find_recipe(net).build(dataset.image_shape, dataset.classes))
    images = dataset.split("train").images[:CALIBRATION_IMAGES]
    return len(int8_onnx(model, [images.astype(np.float32) / 255]))
