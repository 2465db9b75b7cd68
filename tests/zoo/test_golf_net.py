"""The family of nets as data: counted without being built, and earlier nets are points of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgegolf.errors import EdgegolfError
from edgegolf.zoo import CLASSES, all_names, find_recipe
from edgegolf.zoo.golf_net import CHOICES, POOLS

# A net of the zoo, and the point of the family that computes the same.
POINTS = {
    "fewest_parameters": "stem=edges,body=a-aa-aa,widths=10,activation=leaky,pools=max2-max3,"
    "head=votes",
    "tight_resnet": "head=centre",
    "tight_resnet_unshared:iterations=3": "body=abc,head=centre",
    "uno_resnet": "stem_stride=3,head=centre",
    "double_cnn:2": "stem=none,body=ab-cd-,widths=2-2-4-4,convolution=plain,padding=valid,"
    "residual=0,head=flatten",
    "pooled_linear": "stem=none,body=--,widths=1,head=flatten",
}


@pytest.mark.parametrize(("net", "point"), POINTS.items())
def test_earlier_nets_are_points(net: str, point: str) -> None:
    pytest.importorskip("tensorflow")
    one, other = find_recipe(net), find_recipe(f"golf_net:{point}")
    assert one.parameters == other.parameters
    models = [each.build((28, 28, 1), CLASSES) for each in (one, other)]
    models[1].set_weights(models[0].get_weights())
    images = np.random.default_rng(0).random((4, 28, 28, 1)).astype(np.float32)
    np.testing.assert_allclose(*(model(images) for model in models), atol=1e-6)


def numbers(low: int, high: int) -> st.SearchStrategy[str]:
    return st.lists(st.integers(low, high), min_size=1, max_size=3).map(
        lambda found: "-".join(map(str, found))
    )


NAMES = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.sampled_from(values) for name, values in CHOICES.items()},
        "stem_kernel": st.integers(1, 5),
        "stem_stride": st.integers(1, 3),
        "body": st.text("ab-", min_size=1, max_size=5) | st.text("a-", min_size=1, max_size=5),
        "widths": numbers(1, 10) | st.just("10"),
        "kernels": numbers(1, 5),
        "pools": st.lists(st.sampled_from([*POOLS]), min_size=1, max_size=2).map("-".join),
        "residual": st.sampled_from([0, 1]),
        "biases": st.sampled_from([0, 1]),
        "head_biases": st.sampled_from([0, 1]),
    },
).map(lambda found: "golf_net:" + ",".join(f"{key}={value}" for key, value in found.items()))


@settings(max_examples=25)
@given(NAMES)
def test_parameters_are_counted_without_building(name: str) -> None:
    pytest.importorskip("tensorflow")
    try:
        recipe = find_recipe(name)
    except EdgegolfError:
        assume(False)
    assert find_recipe(recipe.name).name == recipe.name
    model = recipe.build((28, 28, 1), CLASSES)
    assert model.count_params() == recipe.parameters
    assert model.output_shape == (None, CLASSES)
    assert np.isfinite(model(np.ones((1, 28, 28, 1), np.float32))).all()


def test_the_cosine_transform_is_one() -> None:
    pytest.importorskip("tensorflow")
    import keras

    model = find_recipe("golf_net:stem=dct,stem_stride=1,widths=4,body=a").build((28, 28, 1), 10)
    features = keras.Model(model.input, next(
        layer.output for layer in model.layers if layer.name.startswith("concatenate")
    ))  # fmt: skip
    image = np.random.default_rng(0).random((1, 28, 28, 1)).astype(np.float32)
    cosines = np.array([[1, 1], [1, -1]])
    for row in (0, 7, 26):
        square = image[0, row : row + 2, 3:5, 0]
        expected = (cosines @ square @ cosines.T).ravel()
        found = np.array(features(image))[0, row, 3]
        np.testing.assert_allclose(sorted(found), sorted(expected), atol=1e-6)


def test_it_is_no_net_of_the_list() -> None:
    assert not any(name.startswith("golf_net") for name in all_names())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("stem=wavelet", "no golf_net with stem 'wavelet'"),
        ("body=ac", "no golf_net with body"),
        ("body=" + "a" * 65, "no golf_net with body"),
        ("widths=8-10,body=aba", "'a' of 8 and of 10 channels"),
        ("widths=0", "widths '0'"),
        ("widths=8--8", "widths '8--8'"),
        ("residual=2", "residual 2"),
        ("head=classes,widths=9", "9 channels that are 10 classes"),
        ("body=a-----a", "images so small"),
        ("head=votes,widths=10", "votes after a stem"),
        ("pools=min2", "pools 'min2'"),
        ("stem_kernel=0", "cannot take the setting 'stem_kernel=0'"),
        ("body=A", "cannot take the setting 'body=A'"),
    ],
)
def test_what_does_not_go_together_is_refused(settings: str, told: str) -> None:
    with pytest.raises(EdgegolfError, match=told):
        find_recipe(f"golf_net:{settings}")
