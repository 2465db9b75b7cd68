"""The page from PyTorch to an int8 file, with what PyTorch wrote."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "pytorch.md").read_text()
CASES = ROOT / "tests" / "cases" / "torch"
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.strip().splitlines()
]


def test_it_takes_five_lines() -> None:
    python = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(COMMANDS) + sum(len(block.strip().splitlines()) for block in python) == 5


def test_its_commands_do_what_it_says(tmp_path: Path) -> None:
    for module in ("onnxruntime", "ai_edge_litert"):
        pytest.importorskip(module)
    for name in ("cnn.onnx", "samples.npz"):
        shutil.copy(CASES / name, tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    said = ""
    for command in COMMANDS:
        _, *arguments = shlex.split(command)
        done = subprocess.run(
            [sys.executable, "-m", "edgegolf", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        said += done.stdout + done.stderr
    assert "with labels" in said
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes["cnn.int8.tflite"] < 0.4 * sizes["cnn.onnx"]
    assert sizes["cnn.int8.onnx"] < 0.4 * sizes["cnn.onnx"]
