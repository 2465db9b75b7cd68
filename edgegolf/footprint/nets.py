"""The nets that a footprint compares, and their weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgegolf.cards import Card, read_card
from edgegolf.errors import EdgegolfError
from edgegolf.export.model import import_keras_on_tensorflow, load_model
from edgegolf.workspace import MODEL_NAME, MODELS, model_folder
from edgegolf.zoo import find_recipe
from edgegolf.zoo.tight_resnet import ITERATIONS, build_tight_resnet

if TYPE_CHECKING:
    import keras

    from edgegolf.data import Dataset

RANDOM_WEIGHT = 0.1  # standard deviation; keeps the activations of deep nets finite


@dataclass(frozen=True)
class Family:
    """A net that applies one block again and again."""

    twin: str  # the net whose iterations have weights of their own
    iterations: int  # how often the net of the zoo applies its block
    # Makes either from image shape, classes, whether shared, and iterations.
    build: Callable[[tuple[int, int, int], int, bool, int], keras.Model]


FAMILIES = {"tight_resnet": Family("tight_resnet_unshared", ITERATIONS, build_tight_resnet)}


@dataclass(frozen=True)
class Net:
    """A net whose files are to be measured."""

    name: str  # the zoo's name of it
    role: str  # as in `NetFootprint`
    iterations: int | None  # as in `NetFootprint`
    model: keras.Model  # it
    is_trained: bool = False  # whether its weights are trained ones; else they are random
    # Of the trained net, which may be known although its weights are not here.
    card: Card | None = None


def find_family(name: str) -> Family:
    """The family of a net. Raises EdgegolfError if the net has no block that repeats."""
    find_recipe(name)
    if name not in FAMILIES:
        raise EdgegolfError(
            f"the net {name!r} shares no weights that its twin could have apart",
            hint=f"footprint knows {', '.join(FAMILIES)}; docs/footprint.md tells how to add one",
        )
    return FAMILIES[name]


def compared_nets(name: str, dataset: Dataset) -> tuple[Net, ...]:
    """The net, its twin, and the plain net of the nearest accuracy where one is trained.

    Raises:
        EdgegolfError: The net has no family, or a trained model is damaged.
    """
    family = find_family(name)
    nets = [
        _from_zoo(name, "shared", family.iterations, dataset),
        _from_zoo(family.twin, "unshared", family.iterations, dataset),
    ]
    card = nets[0].card
    if card is not None:
        plain = plain_net(card, (name, family.twin), _cards(dataset.name))
        if plain is not None:
            nets.append(_from_zoo(plain, "plain", None, dataset))
    return tuple(nets)


def plain_net(card: Card, relatives: tuple[str, ...], cards: Iterable[Card]) -> str | None:
    """The trained net, none of the relatives, whose test accuracy is nearest to the card's."""
    others = [other for other in cards if other.net not in relatives]
    found = min(others, key=lambda other: abs(accuracy_of(other) - accuracy_of(card)), default=None)
    return None if found is None else found.net


def accuracy_of(card: Card) -> float:
    """Of the model in the card's folder, on the test images."""
    return next(run.test_accuracy for run in card.seeds if run.seed == card.seed)


def random_net(name: str, shared: bool, iterations: int, dataset: Dataset) -> Net:
    """A net of the family, or a twin, with random weights."""
    family = find_family(name)
    model = family.build(dataset.image_shape, dataset.classes, shared, iterations)
    net, role = (name, "shared") if shared else (family.twin, "unshared")
    return Net(net, role, iterations, with_random_weights(model))


def with_random_weights(model: keras.Model) -> keras.Model:
    """The model with all weights and biases random, so that no two are equal."""
    generator = np.random.default_rng(0)
    model.set_weights(
        [generator.normal(0, RANDOM_WEIGHT, weight.shape) for weight in model.weights]
    )
    return model


def _from_zoo(name: str, role: str, iterations: int | None, dataset: Dataset) -> Net:
    folder = model_folder(dataset.name, name)
    path = folder / MODEL_NAME
    card = read_card(folder)
    if card is not None and path.is_file():
        return Net(name, role, iterations, load_model(path), True, card)
    import_keras_on_tensorflow()
    model = find_recipe(name).build(dataset.image_shape, dataset.classes)
    return Net(name, role, iterations, with_random_weights(model), False, card)


def _cards(dataset: str) -> list[Card]:
    folders = sorted((MODELS / dataset).glob("*"))
    return [card for folder in folders if (card := read_card(folder)) is not None]
