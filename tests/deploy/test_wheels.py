from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from devices import RASPBERRY_PI, device
from packaging.requirements import Requirement

import edgegolf
from edgegolf.deploy.device import check
from edgegolf.deploy.wheels import (
    edgegolf_wheel,
    fetch_wheels,
    pip_wheel,
    platforms,
    requirements,
)
from edgegolf.errors import EdgegolfError

PYTHONS = ">=3.10,<3.14"


def test_edgegolf_as_a_wheel(tmp_path: Path) -> None:
    """pip itself installs it, and what is installed is what runs here."""
    wheel = edgegolf_wheel()
    assert wheel == edgegolf_wheel()
    path = tmp_path / wheel.name
    path.write_bytes(wheel.source)  # type: ignore[arg-type]
    target = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
         "--target", target, path],
        check=True,
    )  # fmt: skip
    here = Path(edgegolf.__file__).parent
    sources = {file.relative_to(here) for file in here.rglob("*.py")}
    assert {file.relative_to(target / "edgegolf") for file in target.rglob("edgegolf/**/*.py")} == (
        sources
    )
    done = subprocess.run(
        [sys.executable, "-c", "import edgegolf; print(edgegolf.__file__, edgegolf.__version__)"],
        env={"PYTHONPATH": str(target)}, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [str(target / "edgegolf/__init__.py"), edgegolf.__version__]


def test_pip_as_a_wheel_runs_unpacked(tmp_path: Path) -> None:
    wheel = pip_wheel()
    path = tmp_path / wheel.name
    path.write_bytes(wheel.source)  # type: ignore[arg-type]
    command = [sys.executable, "-I", path / "pip", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert wheel.name.split("-")[1] in done.stdout
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


def test_requirements_are_those_of_the_device() -> None:
    names = {item.name for item in requirements(RASPBERRY_PI)}
    assert {"ai-edge-litert", "onnxruntime", "tflite-runtime", "numpy"} <= names
    assert not names & {"tensorflow", "keras", "pytest", "matplotlib"}
    newer = {item.name for item in requirements(device(python="3.13.5"))}
    assert "tflite-runtime" not in newer
    narrow = {item.name for item in requirements(device(bits=32))}
    assert "tflite-runtime" in narrow
    assert not narrow & {"ai-edge-litert", "onnxruntime", "onnx"}
    assert all(item.marker is None for item in requirements(RASPBERRY_PI))


def test_platforms_fit_the_c_library() -> None:
    names = platforms(RASPBERRY_PI)
    assert names[0] == "manylinux_2_36_aarch64"
    assert {"manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"} < {*names}
    assert "manylinux_2_37_aarch64" not in names
    assert platforms(device(bits=32))[-1] == "linux_armv7l"


def test_wheels_in_the_folder_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an index, for another Python than ours, with a marker that differs."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    wheel(tmp_path, "outer", "1.0", 'inner; python_version == "3.13"')
    wheel(tmp_path, "outer", "0.9", "absent")
    wheel(tmp_path, "inner", "2.0", "outer")
    there = device(python="3.13.5")
    names = [item.name for item in fetch_wheels([Requirement("outer")], there, tmp_path)]
    assert names == ["inner-2.0-py3-none-any.whl", "outer-1.0-py3-none-any.whl"]
    names = [item.name for item in fetch_wheels([Requirement("outer")], RASPBERRY_PI, tmp_path)]
    assert names == ["outer-1.0-py3-none-any.whl"]
    assert len(list(tmp_path.iterdir())) == 3
    with pytest.raises(EdgegolfError, match="absent") as error:
        fetch_wheels([Requirement("absent")], RASPBERRY_PI, tmp_path)
    assert "go online once" in error.value.hint


def wheel(folder: Path, name: str, version: str, requires: str) -> None:
    information = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        archive.writestr(f"{information}/METADATA", f"{metadata}Requires-Dist: {requires}\n")
        archive.writestr(
            f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{information}/RECORD", "")


@pytest.mark.parametrize(
    ("changes", "suffix", "words"),
    [
        ({"python": "3.9.2"}, ".tflite", "3.9.2"),
        ({"implementation": "PyPy"}, ".tflite", "PyPy"),
        ({"machine": "armv6l", "bits": 32}, ".tflite", "armv6l"),
        ({"machine": "riscv64"}, ".tflite", "riscv64"),
        ({"bits": 32}, ".onnx", "32-bit userland under a 64-bit kernel"),
        ({"bits": 32, "python": "3.13.5"}, ".tflite", "no runtime"),
    ],
)
def test_devices_that_cannot_run_a_model(
    changes: dict[str, object], suffix: str, words: str
) -> None:
    with pytest.raises(EdgegolfError, match=words) as error:
        check(device(**changes), "pi", PYTHONS, {suffix})
    assert error.value.hint


def test_devices_that_can() -> None:
    check(RASPBERRY_PI, "pi", PYTHONS, {".tflite", ".onnx"})
    check(device(python="3.13.5"), "pi", PYTHONS, {".tflite", ".onnx"})
    check(device(bits=32), "pi", PYTHONS, {".tflite"})
