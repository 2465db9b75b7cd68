from __future__ import annotations

import pytest

from edgegolf.cards import Card, SeedResult
from edgegolf.errors import EdgegolfError
from edgegolf.footprint.nets import accuracy_of, find_family, plain_net


def card(net: str, *accuracies: float, seed: int = 0) -> Card:
    seeds = tuple(
        SeedResult(number, 0.5, accuracy, 1, 1.0) for number, accuracy in enumerate(accuracies)
    )
    return Card(
        net=net,
        dataset="digits",
        dataset_checksum="",
        parameters=1,
        trained_parameters=1,
        macs=1,
        recipe={},
        article_accuracy=None,
        article_epochs=None,
        seeds=seeds,
        seed=seed,
        model_sha256="",
        packages={},
        commit=None,
    )


def test_the_plain_net_is_the_nearest_that_is_no_relative() -> None:
    shared = card("tight_resnet", 0.99)
    others = [card("tight_resnet_unshared", 0.99), card("cnn:2", 0.97), card("cnn:32", 0.992)]
    relatives = ("tight_resnet", "tight_resnet_unshared")
    assert plain_net(shared, relatives, [shared, *others]) == "cnn:32"
    assert plain_net(shared, relatives, [shared]) is None


def test_the_accuracy_is_that_of_the_chosen_seed() -> None:
    assert accuracy_of(card("cnn:2", 0.9, 0.95, 0.92, seed=1)) == 0.95


@pytest.mark.parametrize("name", ["cnn:2", "no_such_net"])
def test_a_net_without_a_repeated_block_is_refused(name: str) -> None:
    with pytest.raises(EdgegolfError, match=name):
        find_family(name)
