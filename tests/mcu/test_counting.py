"""C on microcontrollers, as `bench --emulate` and `footprint` measure it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgegolf.cli import cli
from edgegolf.emulation.cores import CORES, CoreCount, count_on_core, missing
from edgegolf.errors import EdgegolfError
from edgegolf.footprint.measure import c_costs
from edgegolf.footprint.result import C_COUNT, C_FLASH, C_RAM
from edgegolf.records import from_json

MNIST = Path(__file__).parents[2] / "models" / "mnist"


@pytest.mark.mcu
def test_bench_counts_what_is_committed() -> None:
    if missing(CORES["cortex-m0"]):
        pytest.skip(f"{missing(CORES['cortex-m0'])} is not installed")
    paths = [str(MNIST / "pooled_linear" / name) for name in ("int8.tflite", "float32.tflite")]
    said = CliRunner().invoke(cli, ["bench", *paths, "--emulate", "cortex-m0", "--json"])
    results = [from_json(json.dumps(each), CoreCount) for each in json.loads(said.stdout)]
    small, fast, *floats = results
    assert (small.optimize, fast.optimize, small.arena_bytes) == ("size", "speed", 788)
    assert small.count is not None
    assert fast.count is not None
    assert 5_000 < fast.count <= small.count < 10_000
    assert {each.error for each in floats} == {f"{paths[1]}: C cannot have a tensor of float32"}


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EdgegolfError, match="avr-gcc is not installed") as caught:
        count_on_core([], "atmega328p")
    assert "apt-get install gcc-avr" in caught.value.hint


@pytest.mark.mcu
def test_shared_weights_save_flash() -> None:
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    nets = ("tight_resnet", "tight_resnet_unshared")
    shared, unshared = (
        {cost.name: cost.value for cost in c_costs(MNIST / net / "int8.tflite")} for net in nets
    )
    assert unshared[C_FLASH] - shared[C_FLASH] > 7 * 20 * (9 + 20)
    assert shared[C_RAM] <= unshared[C_RAM]
    counted = {C_COUNT} if shutil.which("qemu-system-arm") else set()
    assert shared.keys() & {C_COUNT} == counted
    assert all(shared[name] <= unshared[name] * 1.3 for name in counted)  # sharing saves no time
    assert not list(c_costs(MNIST / "tight_resnet" / "float32.tflite"))
