"""A deployment's comparison passes the right model and notices a wrong one."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from all_samples import all_samples

from edgegolf.cards import read_card
from edgegolf.deploy.deploy import _verified
from edgegolf.deploy.host import parse_host
from edgegolf.deploy.models import arrange
from edgegolf.deploy.sample import LARGEST_DIFFERENCE, SAMPLES, Sample, difference
from edgegolf.errors import EdgegolfError
from edgegolf.runtimes import installed_runtimes
from edgegolf.workspace import exported_files

MODELS = Path(__file__).parents[2] / "models" / "mnist"
FILES = [path for folder in sorted(MODELS.iterdir()) for path in exported_files(folder)]
CASES = [(path, runtime) for path in FILES for runtime in installed_runtimes(path)]


@pytest.fixture(scope="module")
def samples() -> dict[tuple[Path, str], Sample]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return dict(zip(CASES, pool.apply(all_samples, (CASES,)), strict=True))


def distance(here: Sample, there: Sample) -> float:
    return difference(here.outputs, [array.tobytes() for array in there.outputs])


def kind(sample: Sample) -> list[Any]:
    return [(array.dtype, array.shape) for array in (*sample.inputs, *sample.outputs)]


def kin(*folders: Path) -> bool:
    """Whether two nets are one, or one was trained on from the weights of the other."""
    cards = [read_card(folder) for folder in folders]
    assert cards[0] is not None
    assert cards[1] is not None
    return cards[0].net == cards[1].net or any(
        one.recipe.get("start") == other.net for one, other in (cards, cards[::-1])
    )


def test_every_file_passes_in_every_runtime(samples: dict[tuple[Path, str], Sample]) -> None:
    found = {
        (str(one[0]), one[1], other[1]): distance(samples[one], samples[other])
        for one, other in permutations(samples, 2)
        if one[0] == other[0]
    }
    assert len(found) > len(FILES)
    assert {name: each for name, each in found.items() if each > 0.8 * LARGEST_DIFFERENCE} == {}


def test_no_net_passes_for_another(samples: dict[tuple[Path, str], Sample]) -> None:
    found = {
        (one, other): distance(samples[one], samples[other])
        for one, other in permutations(samples, 2)
        if not kin(one[0].parent, other[0].parent) and kind(samples[one]) == kind(samples[other])
    }
    assert len(found) > 1000
    assert {names: each for names, each in found.items() if each < 1.2 * LARGEST_DIFFERENCE} == {}


class DeviceThatRuns:
    """A connection to a device whose file is another one than it should be."""

    def __init__(self, path: Path) -> None:
        self.host = parse_host("pi")
        self.path = path

    def ask(self, verb: str, arguments: list[str], input: str, **request: Any) -> dict[str, Any]:
        assert verb == "execute"
        wanted = json.dumps({**json.loads(input), "file": str(self.path)})
        command = [sys.executable, "-m", *arguments]
        done = subprocess.run(command, input=wanted, capture_output=True, text=True, check=True)
        return {"output": done.stdout}


def test_a_file_of_another_net_is_noticed() -> None:
    tree = arrange([MODELS / "tight_resnet" / "int8.tflite"])
    (model,) = tree.models

    def verified(name: str) -> Any:
        device: Any = DeviceThatRuns(MODELS / name / "int8.tflite")
        return _verified(device, "environment", tree, model, None)

    assert verified("tight_resnet").difference == 0
    with pytest.raises(EdgegolfError, match="gives other results on pi than here"):
        verified("tight_resnet_unshared")


def test_samples_are_several_and_differ(samples: dict[tuple[Path, str], Sample]) -> None:
    for sample in samples.values():
        for array in sample.inputs:
            assert len({each.tobytes() for each in array}) == SAMPLES
