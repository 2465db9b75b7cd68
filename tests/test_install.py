"""Both installs in clean environments, from the package index."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(
    not os.environ.get("EDGEGOLF_TEST_INSTALL"),
    reason="downloads two environments; set EDGEGOLF_TEST_INSTALL=1",
)


def run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def install(folder: Path, requirement: str) -> Path:
    run(sys.executable, "-m", "venv", folder, cwd=ROOT)
    constraints = ROOT / "constraints.txt"
    pip = (
        folder / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-compile",
        "--constraint",
    )
    run(*pip, constraints, requirement, cwd=ROOT)
    return folder / "bin"


def packages(binaries: Path) -> set[str]:
    listed = run(binaries / "python", "-m", "pip", "list", "--format", "json", cwd=ROOT)
    return {package["name"].lower() for package in json.loads(listed)}


@pytest.mark.skipif(sys.platform != "linux", reason="paths of the environment are those of Linux")
def test_base_install_benches_without_tensorflow(tmp_path: Path) -> None:
    binaries = install(tmp_path / "base", str(ROOT))
    found = packages(binaries)
    assert not found & {"tensorflow", "tensorflow-cpu", "keras", "scikit-learn", "matplotlib"}
    assert {"numpy", "onnxruntime", "ai-edge-litert"} <= found
    if sys.version_info < (3, 12):
        assert "tflite-runtime" in found
    model = next((ROOT / "models").glob("mnist/tight_resnet/int8.tflite"))
    benched = run(
        binaries / "edgegolf", "bench", model, "--min-time", "0.1", "--json", cwd=tmp_path
    )
    assert json.loads(benched)[0]["size_bytes"] == model.stat().st_size
    Image.new("L", (28, 28)).save(tmp_path / "black.png")
    run(binaries / "edgegolf", "classify", "black.png", "--model", model, cwd=tmp_path)
    page = "import importlib.resources as r; print(r.files('edgegolf.demo') / 'page/page.html')"
    assert Path(run(binaries / "python", "-c", page, cwd=tmp_path).strip()).exists()
    needs_more = subprocess.run(
        [binaries / "edgegolf", "train", "linear", "--dataset", "digits"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert needs_more.returncode == 2
    assert "edgegolf[train]" in needs_more.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="paths of the environment are those of Linux")
def test_train_install_trains_and_exports(tmp_path: Path) -> None:
    binaries = install(tmp_path / "train", f"{ROOT}[train]")
    assert "keras" in packages(binaries)
    command = ("linear", "--dataset", "digits")
    run(binaries / "edgegolf", "train", *command, "--epochs", "2", cwd=tmp_path)
    run(binaries / "edgegolf", "export", *command, "--max-drop", "100%", cwd=tmp_path)
    assert (tmp_path / "models/digits/linear/int8.tflite").exists()
