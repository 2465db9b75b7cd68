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
from edgegolf.zoo import find_recipe

SWEEP = """\
title = "small"
epochs = 1

[[nets]]
net = "tight_resnet"
settings = { iterations = [4], channels = [4] }
"""


def test_files_are_made_and_timed_once(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SWEEP)
    dataset = load_dataset("digits")
    sweep = load_sweep(str(tmp_path / "small.toml"), dataset)
    store = Store(str(tmp_path / "store.sqlite"))
    measure_sweep(sweep, dataset, store)
    costs = results_of(sweep, store).costs
    files = {cost.file: cost for cost in costs}
    assert {"float32.tflite", "int8.tflite", "int8-loop.tflite"} <= files.keys()
    assert all(cost.latency_us > 0 for cost in costs)
    weights = find_recipe(sweep.runs[0].net).parameters
    assert files["float32.tflite"].size_bytes > 4 * weights
    assert weights < files["int8-loop.tflite"].size_bytes < files["int8.tflite"].size_bytes
    assert smallest(costs, "int8") == files["int8-loop.tflite"]
    measure_sweep(sweep, dataset, store)
    assert results_of(sweep, store).costs == costs
    store.close()
