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
from edgegolf.zoo.recipe import (
    CLASSES,
    Article,
    Recipe,
    Training,
    all_names,
    all_recipes,
    default_names,
    find_recipe,
    named_recipe,
    usual_dataset,
    with_epochs,
)
