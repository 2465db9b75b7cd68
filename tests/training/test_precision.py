"""Which arithmetic this machine takes, against what the benches say of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgegolf.bench.system import describe_system
from edgegolf.training.precision import for_this_machine
from edgegolf.zoo import find_recipe
from edgegolf.zoo.recipe import FLOAT32, MIXED_BFLOAT16

pytest.importorskip("tensorflow")


def test_bfloat16_is_for_machines_that_are_fast_at_it() -> None:
    system = describe_system()
    enough = {"amx_bf16", "bf16"} if "Intel" in system.cpu else {"avx512_bf16", "bf16"}
    fast_at_it = enough & set(system.vector_features)
    recipe = find_recipe("tencnn")
    assert recipe.training.precision == MIXED_BFLOAT16
    here = for_this_machine(recipe)
    assert here.training.precision == (MIXED_BFLOAT16 if fast_at_it else FLOAT32)
    assert replace(here.training, precision=MIXED_BFLOAT16) == recipe.training


def test_float32_stays_what_it_is() -> None:
    recipe = find_recipe("tight_resnet")
    assert for_this_machine(recipe) is recipe
