from __future__ import annotations

import sys

import numpy as np
import pytest

from edgegolf.errors import EdgegolfError
from edgegolf.export.samples import ModelInput, read_data

IMAGES = (ModelInput("image", (None, 4, 4, 1), "float32"),)
TWO = (ModelInput("left", (None, 3), "float32"), ModelInput("right", (None, 2), "float32"))


@pytest.fixture
def written(tmp_path):
    """Writes a function, whose body may use numpy, and names it."""

    def write(*body):
        lines = "".join(f"    {line}\n" for line in body)
        (tmp_path / "my.py").write_text(f"import numpy as np\n\ndef samples():\n{lines}")
        return f"{tmp_path}/my.py:samples"

    return write


@pytest.mark.parametrize(
    "body",
    [
        ["return np.ones((6, 4, 4, 1)), np.arange(6)"],
        ["return {'image': np.ones((6, 4, 4, 1)), 'labels': np.arange(6)}"],
        ["return {'image': np.ones((6, 4, 4, 1))}, np.arange(6)"],
        ["return [(np.ones((4, 4, 1)), i) for i in range(6)]"],
        ["for i in range(6): yield np.ones((4, 4)), i"],  # no axis of channels
        ["for i in range(6): yield {'image': np.ones((4, 4, 1)), 'labels': i}"],
        ["for i in (0, 2, 4): yield np.ones((2, 4, 4, 1)), np.array([i, i + 1])"],  # batches
        ["for i in (0, 3): yield np.ones((3, 4, 4)), np.array([[i], [i + 1], [i + 2]])"],
    ],
)
def test_what_a_function_may_return(written, body):
    data = read_data(written(*body), IMAGES, 3)
    assert data.validation.inputs[0].shape == (6, 4, 4, 1)
    assert list(data.validation.labels) == list(range(6))
    assert len(data.calibration) == 3


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (["return np.ones((5, 3)), np.zeros((5, 2))"], 5),
        (["return (np.ones((5, 3)), np.zeros((5, 2))), np.arange(5)"], 5),
        (["for i in range(5): yield [np.ones((1, 3)), np.zeros((1, 2))]"], 5),  # TFLite's way
        (["for i in range(5): yield np.ones(3), np.zeros(2), i"], 5),
        (["for i in range(5): yield {'right': np.zeros(2), 'left': np.ones(3)}"], 5),
        (["while True: yield np.ones(3), np.zeros(2)"], 8),  # endless
    ],
)
def test_several_inputs(written, body, count):
    found = read_data(written(*body), TWO, 4).validation
    assert [values.shape for values in found.inputs] == [(count, 3), (count, 2)]
    assert [values.mean() for values in found.inputs] == [1, 0]


@pytest.mark.parametrize("row", ["[1.0, 2, i]", "[1.0, 2, i], i", "([1.0, 2, i],)"])
def test_rows_of_numbers(written, row):
    found = read_data(written(f"for i in range(4): yield {row}"), TWO[:1], 4).validation
    np.testing.assert_array_equal(found.inputs[0], [[1, 2, i] for i in range(4)])


def test_pixels_of_a_function_are_divided_and_tensors_are_arrays(written):
    data = read_data(written("return np.full((3, 4, 4, 1), 255, np.uint8)"), IMAGES, 3)
    assert data.validation.inputs[0].max() == 1
    assert "divided by 255" in data.notes[0]
    tensor = "class Tensor:", "    def __array__(self, *_, **__): return np.ones((3, 4, 4, 1))"
    data = read_data(written(*tensor, "return Tensor()"), IMAGES, 3)
    assert len(data.validation) == 3


def test_its_folder_is_imported_from_and_the_path_is_left_as_it_was(tmp_path, written):
    (tmp_path / "a_neighbour_of_samples.py").write_text("COUNT = 7\n")
    before = list(sys.path)
    source = written("import a_neighbour_of_samples as n", "return np.ones((n.COUNT, 4, 4, 1))")
    assert len(read_data(source, IMAGES, 3).validation) == 7
    assert sys.path == before


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (["x = 1", "return 1 / 0"], r"fails in line 5 of .*my\.py: ZeroDivisionError: division"),
        (["yield np.ones((4, 4, 1))", "raise KeyError('dog')"], "line 5 of .*: KeyError: 'dog'"),
        (["return np.load('/nowhere.npy')"], r"line 4 of .*: FileNotFoundError"),
        (["return (1"], r"fails in line \d of .*: SyntaxError"),
        (["import sys", "sys.exit(3)"], "line 5 of .*: SystemExit: 3"),
        (["return 3"], "returns a int"),
        (["return None"], "returns a NoneType"),
        (["return []"], "gives no samples"),
        (["return np.ones((3, 5, 5, 1))"], r"has shape \(5, 5, 1\)"),
        (["yield np.ones((5, 5, 1))"], r"gives an array of shape \(5, 5, 1\)"),
        (["yield 1, 2, 3"], "gives 3 parts for the inputs image"),
        (["yield {'image': [[1, 2], [3]]}"], "gives a list that is no array"),
        (["yield 'text'"], "gives an array of shape"),
        (["return np.array(['x'] * 3)"], "is not an array of numbers"),
    ],
)
def test_errors_of_the_users_code_say_where(written, body, says):
    with pytest.raises(EdgegolfError, match=says):
        read_data(written(*body), IMAGES, 3)


def test_a_function_that_is_not_there(tmp_path, written):
    source = written("return 0")
    with pytest.raises(EdgegolfError, match="has no function 'sample'") as raised:
        read_data(source.replace(":samples", ":sample"), IMAGES, 3)
    assert raised.value.hint == "did you mean 'samples'?"
    with pytest.raises(EdgegolfError, match=r"other\.py does not exist"):
        read_data(f"{tmp_path}/other.py:samples", IMAGES, 3)
