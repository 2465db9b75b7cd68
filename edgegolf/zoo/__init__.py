"""The nets: one file per article; importing this package enters them all."""

from edgegolf.zoo import fewest_parameters, plain_networks, random_features, tight_resnet
from edgegolf.zoo.recipe import (
    Article,
    Recipe,
    Training,
    all_names,
    all_recipes,
    find_recipe,
    tiny_names,
    with_epochs,
)

__all__ = [
    "Article",
    "Recipe",
    "Training",
    "all_names",
    "all_recipes",
    "fewest_parameters",
    "find_recipe",
    "plain_networks",
    "random_features",
    "tight_resnet",
    "tiny_names",
    "with_epochs",
]
