"""The nets: one file per article; importing this package enters them all."""

from edgegolf.zoo import (
    cifar_resnets,
    fewest_parameters,
    golf_net,
    plain_networks,
    random_features,
    ten_layers,
    tight_resnet,
)
from edgegolf.zoo.own import enter_recipes, named_recipe, usual_dataset
from edgegolf.zoo.recipe import (
    CLASSES,
    Article,
    Recipe,
    Training,
    all_names,
    all_recipes,
    default_names,
    find_recipe,
    with_changes,
    with_epochs,
    with_start,
)

enter_recipes()
