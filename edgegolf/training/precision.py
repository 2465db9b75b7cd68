"""The arithmetic of a training: bfloat16 where the processor has instructions for it.

With factors of 8 significant bits, and float32 for sums, weights and the optimizer, products of
matrices take half the time, and large nets learn as well (Kalamkar et al. 2019,
https://arxiv.org/abs/1905.12322). Without such instructions they take longer, and so they do
with those of AVX-512 on Intel's: a step of `tencnn` 1.5 times as long, on a Xeon (model 207), as
`benchmarks/precision_speed.py` measures it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgegolf.quiet import import_keras
from edgegolf.zoo import Recipe
from edgegolf.zoo.recipe import FLOAT32

# Words of /proc/cpuinfo, each set enough: of AMD's processors, of Intel's, and of ARM's.
FAST = ({"AuthenticAMD", "avx512_bf16"}, {"amx_bf16"}, {"bf16"})


def for_this_machine(recipe: Recipe) -> Recipe:
    """The recipe with the arithmetic that it has on this machine."""
    if recipe.training.precision == FLOAT32 or _has_bfloat16():
        return recipe
    return replace(recipe, training=replace(recipe.training, precision=FLOAT32))


def _has_bfloat16() -> bool:
    """Whether products of bfloat16 are fast, in TensorFlow on this processor."""
    try:
        words = set(Path("/proc/cpuinfo").read_text("utf-8", errors="replace").split())
    except OSError:
        return False
    fast = any(enough <= words for enough in FAST)
    return fast and import_keras().backend.backend() == "tensorflow"
