"""Installs in clean environments, from the package index."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an index would serve: both distributions are checked, the wheel is built from the other.

    The index's page shows no pictures and follows no links to files.
    """
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "venv", folder / "tools", cwd=ROOT)
    python = folder / "tools" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "build", "twine", cwd=ROOT)
    run(python, "-m", "build", "--outdir", folder / "made", ROOT, cwd=folder)
    made = sorted((folder / "made").iterdir())
    run(python, "-m", "twine", "check", "--strict", *made, cwd=folder)
    source, wheel = made if made[1].suffix == ".whl" else made[::-1]
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = (
        "tests/test_install.py",
        "docs/bench.md",
        "models/mnist/linear/model.keras",
        "Makefile",
    )
    assert names >= {*wanted}
    with zipfile.ZipFile(wheel) as archive:
        assert wheel.stat().st_size < 2_000_000
        assert "edgegolf/py.typed" in archive.namelist()
        assert not any("cnn-32" in name or ".keras" in name for name in archive.namelist())
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        text = archive.read(metadata).decode()
    assert not re.search(r"\]\((?!https://)", text)
    return wheel


@pytest.mark.skipif(sys.platform != "linux", reason="paths of the environment are those of Linux")
def test_the_wheel_is_enough_in_an_empty_folder(tmp_path: Path, wheel: Path) -> None:
    binaries = install(tmp_path / "base", str(wheel))
    (told,) = re.findall(r"less\s+than (\d+) MB", (ROOT / "docs" / "package.md").read_text())
    installed = next(binaries.parent.glob("lib/python*/site-packages"))
    tools = ("pip", "setuptools", "pkg_resources")  # not what edgegolf needs
    sizes = [
        path.stat().st_size
        for path in installed.rglob("*")
        if path.is_file() and path.relative_to(installed).parts[0] not in tools
    ]
    assert sum(sizes) < int(told) * 1_000_000
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "tight_resnet" in run(binaries / "edgegolf", "zoo", cwd=empty)
    benched = run(
        binaries / "edgegolf", "bench", "tight_resnet", "--min-time", "0.1", "--json", cwd=empty
    )
    results = json.loads(benched)
    assert {Path(each["file"]).name for each in results} == {"int8.onnx", "int8.tflite"}
    assert all(each["latency_us"]["p50"] > 0 for each in results)
    drawn = run(binaries / "edgegolf", "classify", ROOT / "docs" / "seven.png", "--json", cwd=empty)
    guesses = [guess["class"] for guess in json.loads(drawn)[0]["guesses"]]
    small = [
        path for path in (ROOT / "models/mnist").glob("*/int8.tflite") if "cnn-32" not in str(path)
    ]
    assert len(guesses) == len(small) > 8
    assert guesses.count("7") > 5
    demo = subprocess.Popen(
        [binaries / "edgegolf", "demo", "--port", "0"], cwd=empty, stderr=subprocess.PIPE, text=True
    )
    try:
        assert demo.stderr is not None
        said = next(line for line in demo.stderr if "http://" in line)
        with urllib.request.urlopen(said.split(" on ")[1].split()[0], timeout=30) as page:
            assert b"canvas" in page.read()
    finally:
        demo.terminate()
        demo.wait(30)
    script = "from edgegolf import anatomy; print(anatomy('x.tflite').bytes)"
    shutil.copy(ROOT / "models/mnist/linear/int8.tflite", empty / "x.tflite")
    assert int(run(binaries / "python", "-c", script, cwd=empty)) > 0
    assert not [path for path in empty.iterdir() if path.name != "x.tflite"]


@pytest.mark.skipif(sys.platform != "linux", reason="paths of the environment are those of Linux")
def test_base_install_benches_without_tensorflow(tmp_path: Path) -> None:
    binaries = install(tmp_path / "base", str(ROOT))
    found = packages(binaries)
    assert not found & {"tensorflow", "tensorflow-cpu", "keras", "scikit-learn", "matplotlib"}
    assert {"numpy", "onnxruntime", "ai-edge-litert"} <= found
    assert "tflite-runtime" not in found or platform.machine() != "x86_64"
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
