from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

Image = pytest.importorskip("PIL.Image")

from edgegolf.cli import cli  # noqa: E402
from edgegolf.errors import EdgegolfError  # noqa: E402
from edgegolf.export import image_folder  # noqa: E402
from edgegolf.export.samples import ModelInput, Samples, read_data  # noqa: E402
from edgegolf.export.verify import run_file  # noqa: E402

NET = Path(__file__).parents[2] / "models" / "mnist" / "pooled_linear" / "float32.onnx"

GREY = (ModelInput("x", (None, 6, 4, 1), "float32"),)
COLOURS = (ModelInput("x", (None, 6, 4, 3), "float32"),)


def save(path, colour, size=(4, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def classes(tmp_path):
    """Three folders; the names' order is not that of numbers."""
    for number, name in enumerate(("10", "9", "cat")):
        for index in range(4):
            save(tmp_path / name / f"{index}.png", (50 * number, index, 7))
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / ".cache").mkdir()
    return tmp_path


def test_a_folder_for_each_class(classes):
    data = read_data(classes, COLOURS, 5)
    assert list(data.validation.labels) == [0] * 4 + [1] * 4 + [2] * 4
    pixels = np.round(data.validation.inputs[0] * 255)
    np.testing.assert_array_equal(pixels[:, 3, 2, 0], 50 * data.validation.labels)
    np.testing.assert_array_equal(pixels[:, 5, 1, 1], [0, 1, 2, 3] * 3)
    assert data.notes[:3] == (
        f"12 of 12 images of {classes}, made 6×4 pixels in colour",
        "classes in the order of their names: 10 is 0, 9 is 1, cat is 2",
        f"{classes}: uint8 pixels were divided by 255",
    )


def test_images_are_made_what_the_input_takes(tmp_path):
    save(tmp_path / "x.png", (255, 0, 0), size=(40, 30))
    grey = read_data(tmp_path, GREY, 1).validation.inputs[0]
    assert grey.shape == (1, 6, 4, 1)
    np.testing.assert_allclose(grey, 0.299, atol=0.002)  # ITU-R 601
    first = read_data(tmp_path, [ModelInput("x", (1, 3, 6, 4), "float32")], 1)
    assert first.validation.inputs[0].shape == (1, 3, 6, 4)
    assert "moved first" in first.notes[1]
    assert (first.validation.inputs[0][0, 0] == 1).all()
    for shape, expected in (((None, None, 3), (30, 40, 3)), ((24,), None), ((25,), (25,))):
        inputs = [ModelInput("x", (None, *shape), "float32")]
        if expected is None:
            with pytest.raises(EdgegolfError, match="which is no image"):
                read_data(tmp_path, inputs, 1)
        else:
            assert read_data(tmp_path, inputs, 1).validation.inputs[0].shape[1:] == expected


def test_a_picture_keeps_its_rows_and_columns(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    data = read_data(tmp_path, [ModelInput("x", (None, 6, 4, 3), "uint8")], 1)
    np.testing.assert_array_equal(data.validation.inputs[0][0], pixels)
    assert data.validation.labels is None


@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        ("a.png,1\nb.png,0\n", [1, 0]),
        ("file,label\na.png,dog\nsub/c.png,cat\r\n", [1, 0]),
        ("\ufeffa.png, 3", [3]),
    ],
)
def test_a_table_of_labels(tmp_path, rows, labels):
    for name in ("a", "b", "sub/c"):
        save(tmp_path / f"{name}.png", "red")
    (tmp_path / "labels.csv").write_text(rows, encoding="utf-8")
    assert list(read_data(tmp_path, GREY, 1).validation.labels) == labels
    (tmp_path / "labels.csv").rename(tmp_path / "other.csv")
    found = read_data(tmp_path, GREY, 1, labels=tmp_path / "other.csv").validation.labels
    assert list(found) == labels


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (b"a.png,1\nmissing.png,2", "the row 'missing.png,2'"),
        (b"a.png,1\n../outside.png,2", "the row '../outside.png,2'"),
        (b"a.png,1\n/etc/passwd,2", "the row"),
        (b"a.png\n", "the row 'a.png'"),
        (b"file,label\n", "has no images"),
        (b"\xff\xfe\x00", "not a CSV file in UTF-8"),
    ],
)
def test_wrong_tables_are_refused(tmp_path, rows, says):
    save(tmp_path / "in" / "a.png", "red")
    save(tmp_path / "outside.png", "red")
    (tmp_path / "in" / "labels.csv").write_bytes(rows)
    with pytest.raises(EdgegolfError, match=says):
        read_data(tmp_path / "in", GREY, 1)


def test_many_images_are_taken_evenly(classes, monkeypatch):
    monkeypatch.setattr(image_folder, "MAXIMUM_IMAGES", 6)
    data = read_data(classes, GREY, 5)
    assert list(data.validation.labels) == [0, 0, 1, 1, 2, 2]
    assert data.notes[0].startswith("6 of 12 images")


def test_what_is_no_folder_of_images_is_refused(tmp_path, classes):
    (tmp_path / "none").mkdir()
    with pytest.raises(EdgegolfError, match="has no images"):
        read_data(tmp_path / "none", GREY, 1)
    with pytest.raises(EdgegolfError, match="the model has 2 inputs"):
        read_data(classes, (*GREY, *COLOURS), 1)
    np.save(tmp_path / "x.npy", np.zeros((3, 6, 4, 1)))
    with pytest.raises(EdgegolfError, match="is no folder of images"):
        read_data(tmp_path / "x.npy", GREY, 1, labels=tmp_path / "labels.csv")
    (classes / "9" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(EdgegolfError, match=r"9/broken.png is no image"):
        read_data(classes, GREY, 1)


def test_labels_of_a_table_are_given_on_the_command_line(tmp_path, monkeypatch):
    """Another table is another export, the same one none."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (12, 28, 28)).astype(np.uint8)
    (tmp_path / "photos").mkdir()
    for index, pixels in enumerate(images):
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{index:02}.png")
    shutil.copy(NET, "mine.onnx")
    scores = run_file(NET, None, Samples((images[..., None] / np.float32(255),)))
    classes = scores[0].argmax(1)
    for name, moved in (("right.csv", 0), ("wrong.csv", 1)):
        rows = (f"{index:02}.png,{(c + moved) % 10}\n" for index, c in enumerate(classes))
        (tmp_path / name).write_text("".join(rows))
    words = ("export", "mine.onnx", "--calibration-data", "photos", "--formats", "onnx",
             "--dtype", "float32")  # fmt: skip
    for table, accuracy, times in (("right.csv", 1, 1), ("right.csv", 1, 0), ("wrong.csv", 0, 1)):
        done = CliRunner().invoke(cli, (*words, "--labels", table))
        assert done.exit_code == 0, done.output
        assert done.output.count("with labels") == times
        assert (f"{100 * accuracy:.2f} %" in done.output) == bool(times)
    refused = CliRunner().invoke(cli, ("export", "mine.onnx", "--labels", "right.csv"))
    assert isinstance(refused.exception, EdgegolfError)
    assert "right.csv has labels of images, but data set" in refused.exception.message
