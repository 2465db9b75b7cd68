"""What the files of a sweep's nets cost: made once, kept in the store."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("sqlalchemy")

from edgegolf.data import load_dataset
from edgegolf.footprint.sweep_costs import measure_sweep
from edgegolf.sweep import Store, load_sweep, results_of
from edgegolf.sweep.costs import smallest

SWEEP = """\
title = "small"
epochs = 1

[[nets]]
net = "tight_resnet"
settings = { iterations = [4], channels = [4] }

[[nets]]
net = "tight_resnet_unshared"
settings = { iterations = [4], channels = [4] }
"""


def test_files_are_made_and_timed_once(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SWEEP)
    dataset = load_dataset("digits")
    sweep = load_sweep(str(tmp_path / "small.toml"), dataset)
    store = Store(str(tmp_path / "store.sqlite"))
    measure_sweep(sweep, dataset, store, seconds=0.01)
    costs = results_of(sweep, store).costs
    files = {
        net: {cost.file: cost for cost in costs if cost.net == f"{net}:iterations=4,channels=4"}
        for net in ("tight_resnet", "tight_resnet_unshared")
    }
    shared, unshared = files["tight_resnet"], files["tight_resnet_unshared"]
    assert {"float32.tflite", "int8.tflite", "int8-loop.tflite"} <= set(shared)
    assert all(cost.latency_us > 0 for cost in costs)
    # 3 more blocks of 9·4 + 4·4 + 4 float32 weights
    assert unshared["float32.tflite"].size_bytes - shared["float32.tflite"].size_bytes >= 3 * 56 * 4
    found = smallest(shared.values(), "int8")
    assert found is not None
    assert found.size_bytes == min(
        cost.size_bytes for name, cost in shared.items() if name.startswith("int8")
    )
    measure_sweep(sweep, dataset, store, seconds=0.01)
    assert results_of(sweep, store).costs == costs
    store.close()
