"""Any user's `.keras` file as a model that converters understand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegolf.errors import EdgegolfError, require
from edgegolf.export.bounds import check_config, check_model, read_config
from edgegolf.quiet import import_tensorflow

if TYPE_CHECKING:
    import keras

# Layers that do nothing at inference. Their subclasses, such as SpatialDropout2D, too.
TRAINING_ONLY_LAYERS = (
    "Dropout",
    "AlphaDropout",
    "GaussianDropout",
    "GaussianNoise",
    "ActivityRegularization",
)


def load_model(path: Path) -> keras.Model:
    """Load a `.keras` file that may come from a stranger, without running any code in it.

    Raises:
        EdgegolfError: No such file, no `.keras` file, too large when unpacked, with a Lambda
            layer or another layer that Keras does not know, or Keras has another backend.
    """
    config = read_config(path)
    _refuse_code(config, path)
    check_config(config, path)
    keras = import_keras_on_tensorflow()
    try:
        check_model(keras, config, path)
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except EdgegolfError:
        raise
    except Exception as error:  # a broken file fails anywhere in Keras, with any type of error
        raise EdgegolfError(
            f"{path} cannot be loaded by Keras: {_reason(error)}",
            hint="only layers that come with Keras can be loaded; save with model.save('x.keras')",
        ) from None
    if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
        raise EdgegolfError(
            f"{path} has no fixed inputs and outputs",
            hint="build it as a Sequential or functional model that starts with keras.Input",
        )
    return model


def import_keras_on_tensorflow() -> Any:
    """Keras, which must run on TensorFlow: both converters start from its graphs.

    Raises:
        EdgegolfError: It is not installed, or runs on another backend.
    """
    import_tensorflow()
    hint = "run it with KERAS_BACKEND=tensorflow; the .keras file stays the same"
    try:
        keras = require("keras", extra="train")
    except ImportError as error:
        raise EdgegolfError(f"export needs Keras on TensorFlow: {error}", hint) from None
    if keras.config.backend() != "tensorflow":
        raise EdgegolfError(
            f"export needs Keras on TensorFlow, but its backend is {keras.config.backend()}", hint
        )
    return keras


def for_inference(model: keras.Model, batch: int | None) -> keras.Model:
    """The same layers and weights with a fixed batch and without training-only layers.

    A fixed batch keeps shape arithmetic out of the converted files.

    Args:
        model: Any model with fixed inputs and outputs.
        batch: Samples in one inference; None leaves it open.

    Raises:
        EdgegolfError: A dimension other than the batch is open, or a layer needs another batch.
    """
    keras = import_keras_on_tensorflow()
    for tensor in model.inputs:
        if None in tensor.shape[1:]:
            raise EdgegolfError(
                f"input {tensor.name!r} has the open shape {tuple(tensor.shape)}",
                hint="give every dimension except the batch a size",
            )
    inputs = [
        keras.Input(batch_shape=(batch, *tensor.shape[1:]), dtype=tensor.dtype, name=tensor.name)
        for tensor in model.inputs
    ]
    training_only = tuple(getattr(keras.layers, name) for name in TRAINING_ONLY_LAYERS)

    def call(layer: Any, *arguments: Any, **named: Any) -> Any:
        if isinstance(layer, training_only):
            return arguments[0]
        return layer(*arguments, **named)

    try:
        return keras.models.clone_model(
            keras.Model(model.inputs, model.outputs, name=model.name),
            input_tensors=inputs,
            clone_function=lambda layer: layer,
            call_function=call,
        )
    except (ValueError, TypeError) as error:
        raise EdgegolfError(f"the model cannot have a batch of {batch}: {_reason(error)}") from None


def _refuse_code(config: object, path: Path) -> None:
    for layer in _lambda_layers(config):
        raise EdgegolfError(
            f"{path} has the Lambda layer {layer!r}, which would run Python code from the file",
            hint="replace it by a layer of keras.layers or an operation of keras.ops",
        )


def _lambda_layers(config: object) -> Iterator[str]:
    """The names of Lambda layers, and of Python functions, anywhere in a model's config."""
    pending = [config]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if value.get("class_name") in ("Lambda", "__lambda__"):
                inner = value.get("config")
                yield str(inner.get("name") if isinstance(inner, dict) else None)
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)


def _reason(error: Exception) -> str:
    """One line; Keras puts what really happened behind a long dump of the config."""
    text = str(error).split("Exception encountered: ")[-1].strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
