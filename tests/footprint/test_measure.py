"""Costs against closed formulas, on a net of three blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from edgegolf.bench.quick import latencies_in_turns
from edgegolf.export.samples import Samples
from edgegolf.footprint.heap import heap_bytes
from edgegolf.footprint.holding import build_wide, measure_resting_heap
from edgegolf.footprint.measure import (
    file_costs,
    heap_costs,
    resident_costs,
    weight_data,
)
from edgegolf.footprint.result import (
    FILE,
    MACS,
    PEAK_RESIDENT,
    RESTING_HEAP,
    RESTING_RESIDENT,
    UPDATE,
    Variant,
)
from edgegolf.footprint.variants import (
    EDGEGOLF,
    MadeFile,
    committed_files,
    golfed_files,
    sharing_files,
    stock_files,
)
from edgegolf.runtimes.child import run_in_child

WIDTH, BLOCKS = 64, 3
DEPTHWISE, POINTWISE, BIASES = 9 * WIDTH, WIDTH * WIDTH, WIDTH
SAMPLES = Samples((np.random.default_rng(0).random((4, 4, 4, WIDTH), np.float32),))


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, tuple[MadeFile, ...]]:
    found = {}
    for shared in (True, False):
        folder = tmp_path_factory.mktemp(f"shared-{shared}")
        stock = stock_files(build_wide(shared, BLOCKS, WIDTH), SAMPLES, folder)
        found[shared] = (*stock, *golfed_files(stock, folder))
    return found


def variant(files: tuple[MadeFile, ...], name: str, way: str) -> Variant:
    path = next(file.path for file in files if (file.path.name, file.way) == (name, way))
    return Variant(name, way, tuple(file_costs(path)))


@pytest.mark.parametrize("name", ["float32.tflite", "float32.onnx"])
@pytest.mark.parametrize("way", ["stock", "golfed"])
def test_an_update_carries_distinct_weights_once(
    files: dict[bool, tuple[MadeFile, ...]], name: str, way: str
) -> None:
    block = 4 * (DEPTHWISE + POINTWISE + BIASES)
    zeros = 4 * BIASES  # a converter may add biases of zeros to the depthwise convolutions
    for shared, blocks in ((True, 1), (False, BLOCKS)):
        update = variant(files[shared], name, way).cost(UPDATE)
        assert update in (blocks * block, blocks * block + zeros)


@pytest.mark.parametrize("name", ["float32.tflite", "float32.onnx"])
def test_sharing_saves_bytes_but_no_macs(
    files: dict[bool, tuple[MadeFile, ...]], name: str
) -> None:
    shared, unshared = (variant(files[each], name, "stock") for each in (True, False))
    macs = BLOCKS * 4 * 4 * (DEPTHWISE + POINTWISE)
    assert shared.cost(MACS) == unshared.cost(MACS) == macs
    small, large = shared.cost(FILE), unshared.cost(FILE)
    assert small is not None
    assert large is not None
    assert small < large


def test_golfed_files_are_smaller(files: dict[bool, tuple[MadeFile, ...]]) -> None:
    for name in ("float32.tflite", "int8.tflite", "float32.onnx", "int8.onnx"):
        stock, golfed = (variant(files[True], name, way) for way in ("stock", "golfed"))
        assert (golfed.cost(FILE) or 0) < (stock.cost(FILE) or 0)


@pytest.mark.skipif(heap_bytes() is None, reason="the heap cannot be counted here")
@pytest.mark.parametrize("name", ["float32.tflite", "float32.onnx"])
def test_running_costs_are_plausible(files: dict[bool, tuple[MadeFile, ...]], name: str) -> None:
    path = next(file.path for file in files[True] if file.path.name == name)
    runtime = "litert" if path.suffix == ".tflite" else "onnxruntime"
    pytest.importorskip("ai_edge_litert" if runtime == "litert" else runtime)
    image = np.zeros((1, 4, 4, WIDTH), np.uint8)
    latency = latencies_in_turns([(path, runtime)], image)[path, runtime]
    assert latency > 0
    costs = (*heap_costs(path, runtime), *resident_costs(path, runtime))
    run = Variant(name, "stock", costs)
    assert (run.cost(RESTING_HEAP, runtime) or 0) > 4 * POINTWISE  # holds the weights
    assert (run.cost(PEAK_RESIDENT) or 0) >= (run.cost(RESTING_RESIDENT) or 0)
    assert run.cost(RESTING_HEAP, "another") is None


@pytest.mark.skipif(heap_bytes() is None, reason="the heap cannot be counted here")
def test_without_xnnpack_no_weight_is_copied(files: dict[bool, tuple[MadeFile, ...]]) -> None:
    pytest.importorskip("ai_edge_litert")
    path = next(file.path for file in files[False] if file.path.name == "float32.tflite")
    packed, read_from_file = (
        run_in_child(measure_resting_heap, path, runtime)
        for runtime in ("litert", "litert without XNNPACK")
    )
    assert packed - read_from_file > len(weight_data(path)) / 2


def test_ours_store_a_block_once_however_often_it_runs(tmp_path: Path) -> None:
    from edgegolf.zoo.tight_resnet import build_tight_resnet

    model = build_tight_resnet((28, 28, 1), 10, shared=True, iterations=33)
    images = Samples((np.random.default_rng(0).random((4, 28, 28, 1), np.float32),))
    made = {file.path.name: file for file in sharing_files(model, images, tmp_path)}
    assert {file.way for file in made.values()} == {EDGEGOLF}
    loop, unrolled = made["int8-loop.tflite"].path, made["int8-unrolled.tflite"].path
    assert loop.stat().st_size < unrolled.stat().st_size
    assert len(weight_data(loop)) <= 1_930 + 3 * 110  # 110 biases are stored as int32


def test_committed_files_are_those_that_are_not_known(tmp_path: Path) -> None:
    (tmp_path / "known.tflite").write_bytes(b"known")
    (tmp_path / "same.tflite").write_bytes(b"known")
    (tmp_path / "other.tflite").write_bytes(b"other")
    known = MadeFile(tmp_path / "known.tflite", "stock")
    paths = [tmp_path / "same.tflite", tmp_path / "other.tflite"]
    found = committed_files(paths, [known], tmp_path / "copies")
    assert [(file.path.name, file.way) for file in found] == [("other.tflite", EDGEGOLF)]
