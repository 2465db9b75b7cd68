from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import small_models

from edgegolf.deploy.models import arrange
from edgegolf.errors import EdgegolfError


def test_files_of_one_folder_stay_together(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    paths = []
    for folder in ("a/net", "b/net"):
        (tmp_path / folder).mkdir(parents=True)
        paths.append(small_models.onnx_dense(tmp_path / folder / "one.onnx", np.eye(2)))
    external = small_models.onnx_external(tmp_path / "a/net/two.onnx")
    tree = arrange([*paths, external, paths[0]])
    assert [model.name for model in tree.models] == [
        "net/one.onnx",
        "net-2/one.onnx",
        "net/two.onnx",
    ]
    assert set(tree.files) == {*(model.name for model in tree.models), "net/weights.bin"}
    assert tree.identifier == arrange([*paths, external]).identifier
    assert tree.identifier != arrange(paths).identifier


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    for name in ("missing.tflite", "notes.txt"):
        with pytest.raises(EdgegolfError, match=name):
            arrange([tmp_path / name])
