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

ROOT = Path(__file__).parent.parent

pytestmark = [
    pytest.mark.skipif(
        not os.environ.get("EDGEGOLF_TEST_INSTALL"),
        reason="downloads two environments; set EDGEGOLF_TEST_INSTALL=1",
    ),
    pytest.mark.skipif(
        sys.platform != "linux", reason="paths of the environment are those of Linux"
    ),
]


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


@pytest.fixture(scope="module")
def binaries(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """The commands of an environment with nothing but the wheel and what it needs."""
    return install(tmp_path_factory.mktemp("base") / "environment", str(wheel))


def test_the_base_install_is_as_small_as_the_page_says(binaries: Path) -> None:
    found = packages(binaries)
    assert not found & {"tensorflow", "tensorflow-cpu", "keras", "scikit-learn", "matplotlib"}
    assert {"numpy", "onnxruntime", "ai-edge-litert"} <= found
    assert "tflite-runtime" not in found or platform.machine() != "x86_64"
    (told,) = re.findall(r"less\s+than (\d+) MB", (ROOT / "docs" / "package.md").read_text())
    installed = next(binaries.parent.glob("lib/python*/site-packages"))
    tools = ("pip", "setuptools", "pkg_resources")  # not what edgegolf needs
    sizes = [
        path.stat().st_size
        for path in installed.rglob("*")
        if path.is_file() and path.relative_to(installed).parts[0] not in tools
    ]
    assert sum(sizes) < int(told) * 1_000_000


def test_the_wheel_is_enough_in_an_empty_folder(tmp_path: Path, binaries: Path) -> None:
    edgegolf = binaries / "edgegolf"
    assert "tight_resnet" in run(edgegolf, "zoo", cwd=tmp_path)
    benched = run(
        edgegolf, "bench", "tight_resnet", "--min-time", "0.1", "--energy", "--json", cwd=tmp_path
    )
    results = json.loads(benched)
    assert {Path(each["file"]).name for each in results} == {"int8.onnx", "int8.tflite"}
    assert all(each["latency_us"]["p50"] > 0 for each in results)
    for each in results:
        assert each["energy"] or any("energy not measured" in why for why in each["warnings"])
    drawn = run(edgegolf, "classify", ROOT / "docs" / "seven.png", "--json", cwd=tmp_path)
    guesses = [guess["class"] for guess in json.loads(drawn)[0]["guesses"]]
    small = [
        path for path in (ROOT / "models/mnist").glob("*/int8.tflite") if "cnn-32" not in str(path)
    ]
    assert len(guesses) == len(small) > 8
    assert guesses.count("7") > 5
    demo = subprocess.Popen(
        [edgegolf, "demo", "--port", "0"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    try:
        assert demo.stderr is not None
        said = next(line for line in demo.stderr if "http://" in line)
        with urllib.request.urlopen(said.split(" on ")[1].split()[0], timeout=30) as page:
            assert b"canvas" in page.read()
    finally:
        demo.terminate()
        demo.wait(30)
    assert not [*tmp_path.iterdir()]


def test_a_file_of_ones_own(tmp_path: Path, binaries: Path) -> None:
    """README's first screen, as far as no TensorFlow is needed."""
    edgegolf = binaries / "edgegolf"
    shutil.copy(ROOT / "models/mnist/linear/int8.tflite", tmp_path / "x.tflite")
    shutil.copy(ROOT / "models/mnist/linear/float32.onnx", tmp_path / "x.onnx")
    for file in ("x.tflite", "x.onnx"):
        profiled = run(
            edgegolf, "bench", file, "--profile", "--min-time", "0.1", "--json", cwd=tmp_path
        )
        operators = json.loads(profiled)[0]["operators"]
        assert sum(each["macs"] or 0 for each in operators) == 7840
    assert "FULLY_CONNECTED" in run(edgegolf, "show", "x.tflite", cwd=tmp_path)
    run(edgegolf, "golf", "x.onnx", "-o", "smaller.onnx", cwd=tmp_path)
    assert "total" in run(edgegolf, "anatomy", "x.onnx", "smaller.onnx", cwd=tmp_path)
    run(edgegolf, "c", "x.tflite", "-o", "x.c", cwd=tmp_path)
    run(edgegolf, "circuit", "x.tflite", "-o", "circuit", cwd=tmp_path)
    assert {"x.c", "smaller.onnx", "circuit"} <= {path.name for path in tmp_path.iterdir()}
    script = "from edgegolf import anatomy; print(anatomy('x.tflite').bytes)"
    assert int(run(binaries / "python", "-c", script, cwd=tmp_path)) > 0
    needs_more = subprocess.run(
        [edgegolf, "train", "linear", "--dataset", "digits"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert needs_more.returncode == 2
    assert "edgegolf[train]" in needs_more.stderr


@pytest.mark.skipif(
    os.geteuid() != 0 and shutil.which("qemu-aarch64") is None, reason="needs qemu-user"
)
def test_the_gate_with_its_instructions(tmp_path: Path, binaries: Path) -> None:
    """deploy/ci/gate.sh in a user's repository: the file gets larger, and faster on one board."""
    shutil.copy(ROOT / "models/mnist/linear/int8.tflite", tmp_path / "mine.tflite")
    for words in ("init -q", "add .", "-c user.name=a -c user.email=a@b commit -q -m a"):
        run("git", *words.split(), cwd=tmp_path)
    shutil.copy(ROOT / "models/mnist/linear/float32.tflite", tmp_path / "mine.tflite")
    path = f"{binaries}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        ["bash", ROOT / "deploy" / "ci" / "gate.sh", "mine.tflite", "HEAD"],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    summary = (tmp_path / "summary.md").read_text()
    assert "8,494 → 32,884 bytes" in summary
    assert "(litert, cortex-a72): " in summary
    assert "instructions" in summary
    assert (tmp_path / "junit-arm.xml").exists()


def test_train_install_trains_exports_and_runs(tmp_path: Path, wheel: Path) -> None:
    binaries = install(tmp_path / "train", f"{wheel}[train]")
    assert "keras" in packages(binaries)
    command = ("linear", "--dataset", "digits")
    run(binaries / "edgegolf", "train", *command, "--epochs", "2", cwd=tmp_path)
    run(binaries / "edgegolf", "export", *command, "--max-drop", "100%", cwd=tmp_path)
    assert (tmp_path / "models/digits/linear/int8.tflite").exists()
    rows = run(
        binaries / "edgegolf", "run", "models/digits/linear/model.keras", "--dataset", "digits",
        "--formats", "tflite", "--dtype", "float32,float16", "--min-time", "0.1", cwd=tmp_path,
    )  # fmt: skip
    assert "✓ float16.tflite" in rows
