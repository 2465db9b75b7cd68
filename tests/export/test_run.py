"""`edgegolf run`: files of a model, and what each takes, in one command."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgegolf.cli import cli
from edgegolf.export.export import ExportedFile
from edgegolf.report.file_tables import run_table

NET = Path(__file__).parents[2] / "models" / "mnist" / "pooled_linear"


def test_a_row_for_each_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(NET / "float32.onnx", "mine.onnx")
    np.savez("samples.npz", x=np.random.default_rng(0).random((64, 1, 28, 28), np.float32))
    words = ("run", "mine.onnx", "--calibration-data", "samples.npz", "--formats", "onnx",
             "--dtype", "float32", "--min-time", "0.01")  # fmt: skip
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    assert "✓ float32.onnx" in done.output
    assert [path.name for path in Path("mine.exported").glob("*.onnx")] == ["float32.onnx"]


def test_what_fails_has_a_cross_and_a_reason() -> None:
    made = ExportedFile("int8.onnx", "onnx", "int8", 10, None, None, 0.0, 40.0, 1.0)
    table = run_table((), (made,), {"int8.tflite": "no such operator"})
    assert table.rows[0][0] == "✗ int8.tflite"
    assert table.caption == "int8.tflite: no such operator"
