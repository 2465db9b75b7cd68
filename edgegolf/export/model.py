"""Any user's `.keras` or `.h5` file as a model that converters understand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegolf.errors import EdgegolfError, require
from edgegolf.export.bounds import check_config, check_model, read_config
from edgegolf.export.keras2 import modernize, with_config
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


_AS_FOLDER = "write a SavedModel with model.export('FOLDER'), and export that folder"


def load_model(path: Path) -> keras.Model:
    """Load a Keras file that may come from a stranger, without running any code in it.

    How it was trained (its loss, its optimizer) is left aside. Files of Keras 2 are read, too. A
    model of mixed precision comes back in float32, which is what its weights are in.

    Raises:
        EdgegolfError: No such file, no `.keras` file, too large when unpacked, with a Lambda
            layer or another layer that Keras does not know, or Keras has another backend.
    """
    config = check_file(path)
    is_old = modernize(config)
    keras = import_keras_on_tensorflow()
    try:
        with with_config(path, config) if is_old else nullcontext(path) as readable:
            check_model(keras, config, path)  # which takes the configuration apart
            loaded = keras.saving.load_model(readable, compile=False, safe_mode=True)
        model = _in_float32(loaded)
    except EdgegolfError:
        raise
    except Exception as error:  # a broken file fails anywhere in Keras, with any type of error
        raise EdgegolfError(
            f"{path} cannot be loaded by Keras: {_reason(error)}",
            hint=f"only layers that come with Keras can be loaded; for others {_AS_FOLDER}",
        ) from None
    if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
        raise EdgegolfError(
            f"{path} has no fixed inputs and outputs",
            hint="build it as a Sequential or functional model that starts with keras.Input, or "
            + _AS_FOLDER,
        )
    return model


def check_file(path: Path) -> Any:
    """What is seen of a Keras file before anything is loaded.

    Returns:
        Its configuration.

    Raises:
        EdgegolfError: As `load_model`.
    """
    config = read_config(path)
    if isinstance(config, dict):
        config.pop("compile_config", None)  # may hold code, and is not used
    _refuse_layers(config, path)
    check_config(config, path)
    return config


def _in_float32(model: Any) -> Any:
    """The same model without layers that compute in a half-sized float."""
    if all(
        layer.compute_dtype in (None, layer.variable_dtype) for layer in model._flatten_layers()
    ):
        return model

    def changed(config: Any) -> Any:
        if isinstance(config, list | tuple):
            return type(config)(map(changed, config))
        if not isinstance(config, dict):
            return config
        if config.get("class_name") == "DTypePolicy":
            return "float32"
        return {
            key: "float32" if value in ("float16", "bfloat16") else changed(value)
            for key, value in config.items()
        }

    plain = type(model).from_config(changed(model.get_config()))
    plain.set_weights([weight.astype("float32") for weight in model.get_weights()])
    return plain


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


def plain_names(names: Sequence[str]) -> list[str]:
    """Names that TensorFlow's scopes can have, each once; good ones as they are."""
    found: list[str] = []
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_.\\/>-]", "_", name)
        plain = plain if re.match(r"[A-Za-z0-9.]", plain) else f"x{plain}"
        found.append(plain if plain not in found else f"{plain}_{len(found)}")
    return found


def for_inference(
    model: keras.Model, shapes: Sequence[Sequence[int | None]] | int | None
) -> keras.Model:
    """The same layers and weights with fixed shapes and without training-only layers.

    Fixed shapes keep shape arithmetic out of the converted files. Names that converters refuse are
    changed.

    Args:
        model: Any model with fixed inputs and outputs.
        shapes: Of its inputs, an open batch as None; or only the batch.

    Raises:
        EdgegolfError: A dimension other than the batch is open, or a layer needs another batch.
    """
    keras = import_keras_on_tensorflow()
    if shapes is None or isinstance(shapes, int):
        shapes = [(shapes, *tensor.shape[1:]) for tensor in model.inputs]
    for tensor, shape in zip(model.inputs, shapes, strict=True):
        if None in shape[1:]:
            raise EdgegolfError(
                f"input {tensor.name!r} has the open shape {tuple(tensor.shape)}",
                hint="give every dimension except the batch a size, with --input-shape",
            )
    inputs = [
        keras.Input(batch_shape=tuple(shape), dtype=tensor.dtype, name=name)
        for tensor, shape, name in zip(
            model.inputs, shapes, plain_names([tensor.name for tensor in model.inputs]), strict=True
        )
    ]
    training_only = tuple(getattr(keras.layers, name) for name in TRAINING_ONLY_LAYERS)
    rename(model)

    def call(layer: Any, *arguments: Any, **named: Any) -> Any:
        if isinstance(layer, training_only):
            return arguments[0]
        return layer(*arguments, **named)

    try:
        return keras.models.clone_model(
            keras.Model(model.inputs, keras.tree.flatten(model.outputs), name=model.name),
            input_tensors=inputs,
            clone_function=lambda layer: layer,
            call_function=call,
        )
    except (ValueError, TypeError) as error:
        raise EdgegolfError(
            f"the model cannot take inputs of {', '.join(map(str, map(tuple, shapes)))}: "
            f"{_reason(error)}"
        ) from None


def rename(model: Any) -> None:
    """Give a model, its layers and their variables names that converters take.

    Normalizations get constants where converters want them.

    Tracing turns NumPy arrays into constants of a graph, but eager tensors into inputs of it.
    """
    layers = [model, *model._flatten_layers(include_self=False)]
    for layer, name in zip(layers, plain_names([each.name for each in layers]), strict=True):
        if re.sub(r"[^A-Za-z0-9_.\\/>-]", "_", layer.name) != layer.name:
            layer.name = name
        if type(layer).__name__ == "Normalization":
            for attribute in ("mean", "variance"):
                setattr(layer, attribute, np.asarray(getattr(layer, attribute)))
    variables = [each.value for each in model.variables]
    names = [each.name.partition(":")[0] for each in variables]
    for variable, before, name in zip(variables, names, plain_names(names), strict=True):
        if plain_names([before]) != [before]:
            variable._handle_name = f"{name}:0"  # it was built under the layer's first name


def _refuse_layers(config: object, path: Path) -> None:
    for layer, is_code in _refused_layers(config):
        if is_code:
            raise EdgegolfError(
                f"{path} has the Lambda layer {layer!r}, which would run Python code from the file",
                hint="replace it by a layer of keras.layers or an operation of keras.ops",
            )
        raise EdgegolfError(
            f"{path} has the layer {layer!r}, which keeps its state from one call to the next "
            "(stateful=True), as no exported file does",
            hint="build it with stateful=False, give it the same weights and whole sequences",
        )


def _refused_layers(config: object) -> Iterator[tuple[str, bool]]:
    """Layers anywhere in a model's config by name, and whether they hold Python code."""
    pending = [config]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            is_code = value.get("class_name") in ("Lambda", "__lambda__")
            inner = value.get("config")
            if is_code or (isinstance(inner, dict) and inner.get("stateful") is True):
                yield str(inner.get("name") if isinstance(inner, dict) else None), is_code
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)


def _reason(error: Exception) -> str:
    """One line; Keras puts what really happened behind a long dump of the config."""
    text = str(error).split("Exception encountered: ")[-1].strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
