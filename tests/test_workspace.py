"""Names and paths of model files."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegolf.errors import EdgegolfError
from edgegolf.workspace import (
    BUNDLED,
    bundled_or_own,
    exported_files,
    find_files,
    model_folder,
    net_names,
    trained_folders,
)


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mnist/cnn-2/int8.tflite", "mnist/cnn-2/a.onnx", "digits/cnn-2/int8.tflite"):
        path = Path("models") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (Path("models") / "mnist/cnn-2/.partial-x.tflite").touch()
    (Path("models") / "mnist/cnn-2/model.keras").touch()


def test_a_size_does_not_put_a_colon_into_a_path() -> None:
    assert model_folder("mnist", "cnn:2") == Path("models/mnist/cnn-2")


def test_exported_files_are_the_finished_ones() -> None:
    names = [path.name for path in exported_files(Path("models/mnist/cnn-2"))]
    assert names == ["a.onnx", "int8.tflite"]
    assert trained_folders("mnist") == (Path("models/mnist/cnn-2"),)


def test_a_net_means_its_files_on_every_data_set_or_one() -> None:
    assert len(find_files("cnn:2", None)) == 3
    assert find_files("cnn:2", "digits") == (Path("models/digits/cnn-2/int8.tflite"),)


def test_a_path_means_itself() -> None:
    path = "models/mnist/cnn-2/a.onnx"
    assert find_files(path, None) == (Path(path),)
    assert find_files("models/digits/cnn-2", None) == (Path("models/digits/cnn-2/int8.tflite"),)


def test_a_missing_file_keeps_its_name_for_the_error_to_come() -> None:
    assert find_files("missing.tflite", None) == (Path("missing.tflite"),)


def test_what_is_nowhere_here_comes_with_the_package() -> None:
    folder = BUNDLED / "mnist" / "linear"
    assert {folder / "int8.tflite", folder / "int8.onnx"} <= {*find_files("linear", None)}
    assert len(find_files("cnn:2", "mnist")) == 2  # those of here are taken, as few as they are
    assert len(bundled_or_own("*/*/int8.tflite")) == 2
    assert bundled_or_own("mnist/linear/int8.onnx") == (folder / "int8.onnx",)
    assert {"cnn:2", "linear", "tight_resnet"} <= {*net_names()}


def test_an_unknown_net_is_refused() -> None:
    with pytest.raises(EdgegolfError, match="nonsense"):
        find_files("nonsense", None)
