"""Nets that begin with the weights of another, which may apply shared layers more often."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgegolf.errors import EdgegolfError, require
from edgegolf.workspace import MODEL_NAME, model_folder
from edgegolf.zoo import Recipe, named_recipe
from edgegolf.zoo.summary import summarize

if TYPE_CHECKING:
    import keras

# Of a layer: what its output is linear in together.
_LAST = {"kernel", "pointwise_kernel", "bias", "gamma", "beta"}


def start_file(net: str, dataset: str) -> Path:
    """The file with the weights of a trained net.

    Raises:
        EdgegolfError: There is no such net, or it is not trained.
    """
    path = model_folder(dataset, named_recipe(net).name) / MODEL_NAME
    if not path.is_file():
        raise EdgegolfError(f"{net} is not trained: there is no {path}", f"edgegolf train {net}")
    return path


def started(model: keras.Model, recipe: Recipe, dataset: str) -> keras.Model:
    """The net of a recipe with the weights that its training starts from.

    A residual block that is applied half as often does twice as much each time: fewer and longer
    steps of Euler's method through the same equation (He et al. 2015 read as in Haber and Ruthotto
    2017, https://arxiv.org/abs/1705.03341).

    Args:
        model: The untrained net.
        recipe: Its recipe.
        dataset: The name of the data set that the other net was trained on.

    Raises:
        EdgegolfError: The other net is not trained, or its weights have other shapes.
    """
    if not recipe.training.start:
        return model
    path = start_file(recipe.training.start, dataset)
    _, *image_shape = model.input_shape
    other = named_recipe(recipe.training.start)
    source = other.build(tuple(image_shape), model.output_shape[-1])
    source.load_weights(path)
    if [w.shape for w in source.weights] != [w.shape for w in model.weights]:
        raise EdgegolfError(f"{recipe.name} cannot start from {other.name}: other weights")
    before, after = _steps(source), _steps(model)
    factors = [b / a for b, a in zip(before, after, strict=True)]
    model.set_weights([w * f for w, f in zip(source.get_weights(), factors, strict=True)])
    return model


def _steps(model: keras.Model) -> list[int]:
    """Of each weight: how often what it gives is added to something; 1 where it never is."""
    keras = require("keras", extra="train")
    added = {
        id(tensor._keras_history.operation)
        for layer in model.layers
        if isinstance(layer, keras.layers.Add)
        for node in layer._inbound_nodes
        for tensor in node.input_tensors
    }
    counts = {
        id(weight): summary.applications
        for layer, summary in zip(model.layers, summarize(model), strict=True)
        if id(layer) in added
        for weight in layer.weights
        if weight.name in _LAST
    }
    return [counts.get(id(weight), 1) for weight in model.weights]
