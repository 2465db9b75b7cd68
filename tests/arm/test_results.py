"""What models answer on ARM is what they answer here."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegolf.data import DatasetUnavailableError, load_dataset
from edgegolf.emulation.boards import RASPBERRY_PI_2, RASPBERRY_PI_4, RASPBERRY_PI_5, Board
from edgegolf.emulation.emulator import run_on_board
from edgegolf.emulation.guest import all_scores
from edgegolf.runtimes.child import run_in_child

pytestmark = pytest.mark.arm

MODELS = Path(__file__).parents[2] / "models" / "mnist"
TFLITE = sorted(MODELS.glob("*/*.tflite"))
IN_INT8 = [path for path in TFLITE if path.stem.startswith("int8") and "weights" not in path.stem]
IN_FLOAT = sorted(MODELS.glob("*/int8-weights.tflite"))
ONNX = sorted(MODELS.glob("*/int8.onnx"))
IMAGES = 500
FEW_IMAGES = 20
STEP = 1 / 256  # of the probabilities that an int8 file gives
ROUNDING = 1e-5  # of float32 sums taken in another order

# Where, in which runtime, which files, how many images.
COMPARISONS: dict[str, tuple[Board, str, list[Path], int]] = {
    "reference": (RASPBERRY_PI_4, "litert-reference", IN_INT8, IMAGES),
    "litert": (RASPBERRY_PI_5, "litert", IN_INT8 + IN_FLOAT, IMAGES),
    "onnxruntime": (RASPBERRY_PI_5, "onnxruntime", ONNX, IMAGES),
    "32 bits": (RASPBERRY_PI_2, "tflite-runtime", TFLITE, FEW_IMAGES),
}


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, Path], tuple[Any, Any]]:
    """The scores of each file there and here."""
    try:
        images = load_dataset("mnist").split("validation").images
    except DatasetUnavailableError as error:
        pytest.skip(str(error))

    def run(name: str) -> list[tuple[Any, Any]]:
        board, runtime, files, count = COMPARISONS[name]
        cases = [(path, runtime) for path in files]
        there = run_on_board(board, all_scores, cases, images[:count])
        return list(zip(there, run_in_child(all_scores, cases, images[:count]), strict=True))

    with ThreadPoolExecutor(2) as pool:
        pairs = dict(zip(COMPARISONS, pool.map(run, COMPARISONS), strict=True))
    return {
        (name, path): pair
        for name, (_, _, files, _) in COMPARISONS.items()
        for path, pair in zip(files, pairs[name], strict=True)
    }


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


@pytest.mark.parametrize("path", IN_INT8, ids=name_of)
def test_reference_kernels_give_the_same_bits(path: Path, found: Any) -> None:
    there, here = found["reference", path]
    assert len(there) == IMAGES
    np.testing.assert_array_equal(there, here)


@pytest.mark.parametrize("path", IN_INT8, ids=name_of)
def test_fast_kernels_give_the_same_class_and_nearly_the_same_numbers(
    path: Path, found: Any
) -> None:
    there, here = found["litert", path]
    assert len(there) == IMAGES
    assert np.abs(there - here).max() <= STEP
    np.testing.assert_array_equal(there.argmax(axis=1), here.argmax(axis=1))


@pytest.mark.parametrize("path", IN_FLOAT + ONNX, ids=name_of)
def test_files_with_float_outputs_agree(path: Path, found: Any) -> None:
    there, here = found["onnxruntime" if path.suffix == ".onnx" else "litert", path]
    assert len(there) == IMAGES
    in_int8 = b"QLinear" in path.read_bytes()
    np.testing.assert_allclose(there, here, rtol=0, atol=STEP if in_int8 else ROUNDING)
    np.testing.assert_array_equal(there.argmax(axis=1), here.argmax(axis=1))


@pytest.mark.parametrize("path", TFLITE, ids=name_of)
def test_files_load_and_agree_on_32_bits(path: Path, found: Any) -> None:
    there, here = found["32 bits", path]
    if path not in IN_INT8:  # tflite-runtime's int8 kernels for ARM round each product differently
        assert np.abs(there - here).max() <= ROUNDING
    np.testing.assert_array_equal(there.argmax(axis=1), here.argmax(axis=1))
