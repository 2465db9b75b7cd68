"""The nets against the articles' parameter formulas."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from edgegolf.errors import EdgegolfError
from edgegolf.export.model import load_model
from edgegolf.zoo import CLASSES, all_recipes, default_names, find_recipe
from edgegolf.zoo.summary import summarize

pytest.importorskip("tensorflow")

PUBLISHED = {
    "linear": 7_850,
    "tight_resnet": 1_930,
    "tight_resnet_unshared": 6_130,
    "mlp:32": 26_506,
    "pooled_mlp:64": 17_418,
    "cnn:2": 4_802,
    "cnn:32": 1_199_882,
    "double_cnn:2": 932,
    "random_cnn": 4_086,
    "tencnn": 2_974_986,
}


def build(name: str):
    recipe = find_recipe(name)
    return recipe.build(recipe.image_shape, CLASSES)


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_parameters_are_those_published(name: str, parameters: int) -> None:
    assert build(name).count_params() == parameters


@pytest.mark.parametrize("recipe", all_recipes(), ids=lambda recipe: recipe.name)
def test_recipe_tells_the_parameters_of_its_net(recipe) -> None:
    model = recipe.build(recipe.image_shape, CLASSES)
    assert model.count_params() == recipe.parameters
    assert model.output_shape == (None, CLASSES)


@pytest.mark.parametrize(
    "name", ["mlp:5", "pooled_mlp:7", "cnn:3", "double_cnn:4", "loop_resnet:8"]
)
def test_families_follow_their_formula_at_any_size(name: str) -> None:
    assert build(name).count_params() == find_recipe(name).parameters


@pytest.mark.parametrize(
    "name",
    [
        "tight_resnet:iterations=2,channels=8",
        "tight_resnet_unshared:iterations=3,channels=8",
        "random_cnn:filters=8",
        "tencnn:kernels=531",
    ],
)
def test_settings_change_the_net_and_its_formula(name: str) -> None:
    recipe = find_recipe(name)
    assert recipe.name == name
    assert build(name).count_params() == recipe.parameters
    assert recipe.parameters != find_recipe(name.partition(":")[0]).parameters


def test_a_net_has_one_name() -> None:
    names = ["tight_resnet:channels=8,iterations=8", "tight_resnet:iterations=8,channels=8"]
    assert {find_recipe(name).name for name in names} == {"tight_resnet:channels=8"}
    assert find_recipe("tight_resnet:iterations=8").name == "tight_resnet"


def test_fewest_parameters_are_at_most_200() -> None:
    assert build("fewest_parameters").count_params() <= 200


def test_tight_resnet_applies_one_separable_convolution_eight_times() -> None:
    layers = {layer.name: layer for layer in summarize(build("tight_resnet"))}
    assert layers["separable"].applications == 8
    # 144 positions x (3*3*20 depthwise + 20*20 pointwise), eight times
    assert layers["separable"].macs == 8 * 144 * (180 + 400)
    assert sum(layer.macs for layer in layers.values()) == 740_960


def test_an_application_at_another_scale_computes_as_much_as_it_has_positions() -> None:
    layers = {layer.name: layer for layer in summarize(build("golf_375"))}
    positions = 28**2 + 2 * (13**2 + 6**2 + 2**2)  # pooled by 3 with a stride of 2
    assert layers["shared_a"].applications == 7
    assert layers["shared_a"].macs == positions * (9 * 15 + 15 * 15)


def test_unshared_twin_computes_the_same_amount() -> None:
    shared, unshared = summarize(build("tight_resnet")), summarize(build("tight_resnet_unshared"))
    assert sum(layer.macs for layer in shared) == sum(layer.macs for layer in unshared)
    assert all(layer.applications == 1 for layer in unshared)


def test_sequential_layers_are_applied_once() -> None:
    assert {layer.applications for layer in summarize(build("double_cnn:2"))} == {1}
    net = load_model(Path(__file__).parents[2] / "models" / "mnist" / "cnn-2" / "model.keras")
    layers = summarize(net)
    assert {layer.applications for layer in layers} == {1}
    convolutions = 26**2 * 9 * 2 + 24**2 * 9 * 2 * 4
    assert sum(layer.macs for layer in layers) == convolutions + 12**2 * 4 * 8 + 8 * 10 == 58_328


def test_random_cnn_trains_its_classifier_only() -> None:
    model = build("random_cnn")
    assert sum(math.prod(weight.shape) for weight in model.trainable_weights) == 3_930


@pytest.mark.parametrize(
    "name",
    [
        "nonsense", "cnn", "cnn:", "cnn:0", "cnn:-2", "cnn:x", "linear:3", "linear:filters=3",
        "random_cnn:filters", "random_cnn:filters=0", "random_cnn:filters=2,filters=3",
        "random_cnn:channels=2", "tight_resnet:", "tight_resnet:iterations=99999",
        "tencnn:kernels=137", "tencnn:kernels=0", "tencnn:dropout=00",
    ],
)  # fmt: skip
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(EdgegolfError, match=r"no net|needs a size|cannot take|has kernels of"):
        find_recipe(name)


def test_tencnn_is_the_articles_to_the_layer() -> None:
    layers = build("tencnn").layers
    kinds = [type(layer).__name__ for layer in layers]
    unit = ["Conv2D", "BatchNormalization", "ReLU"]
    assert kinds == [
        *unit * 3, "MaxPooling2D", "Dropout", *unit * 3, "Dropout", *unit * 3, "Dropout",
        "Flatten", "Dense",
    ]  # fmt: skip
    convolutions = [layer for layer in layers if type(layer).__name__ == "Conv2D"]
    assert [layer.filters for layer in convolutions] == [64] * 3 + [128] * 3 + [256] * 3
    assert [layer.kernel_size for layer in convolutions] == [(1, 1), (3, 3), (5, 5)] * 3
    assert {layer.padding for layer in convolutions} == {"valid"}
    assert {layer.rate for layer in layers if type(layer).__name__ == "Dropout"} == {0.25}


def test_loop_resnet_shares_its_convolutions_and_not_their_normalizations() -> None:
    layers = {layer.name: layer for layer in summarize(build("loop_resnet:16"))}
    twin = summarize(build("loop_resnet_unshared:16"))
    assert [layer.applications for name, layer in layers.items() if "loop" in name] == [2] * 4
    assert all(layer.applications == 1 for layer in twin)
    assert sum(layer.macs for layer in twin) == sum(layer.macs for layer in layers.values())
    normalizations = [layer for layer in layers.values() if layer.kind == "BatchNormalization"]
    assert len(normalizations) == 1 + 2 * (1 + 4)
    assert {layer.applications for layer in normalizations} == {1}
    assert find_recipe("loop_resnet:144").parameters <= 100_000
    assert find_recipe("loop_resnet:264").parameters <= 300_000


def test_the_nets_to_train_by_default_are_those_for_the_images() -> None:
    assert "tight_resnet" in default_names((28, 28, 1))
    assert all(find_recipe(name).parameters < 10_000 for name in default_names((28, 28, 1)))
    assert set(default_names((32, 32, 3))) >= {"tencnn", "loop_resnet:144"}
    assert not set(default_names((28, 28, 1))) & set(default_names((32, 32, 3)))


def test_hyper_parameters_added_later_do_not_change_earlier_recipes() -> None:
    earlier = {
        "epochs", "learning_rate", "optimizer", "batch_size", "warm_up_epochs", "shift",
        "average_share", "clip_norm",
    }  # fmt: skip
    assert set(find_recipe("tight_resnet").training.to_dict()) == earlier
    later = {
        "cutout", "label_smoothing", "weight_decay", "background", "mirror_pairs",
        "validation_images",
    }  # fmt: skip
    assert set(find_recipe("loop_resnet:144").training.to_dict()) == earlier | later
    later |= {"precision", "dropout_share", "cutmix", "cutmix_share"}
    assert set(find_recipe("tencnn").training.to_dict()) == earlier | later
