"""Exports of real nets through the command line: kept, resumed, replaced as a whole, the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from stale import stale_files

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")

from edgegolf.cards import read_card  # noqa: E402
from edgegolf.errors import EdgegolfError  # noqa: E402
from edgegolf.export import ExportOptions  # noqa: E402
from edgegolf.export.publish import publish_file  # noqa: E402
from edgegolf.files import sha256  # noqa: E402

NAMES = {"float32.onnx", "float32.tflite", "int8.onnx", "int8.tflite"}
QUICK = ExportOptions(quick=True)
TFLITE = ExportOptions(formats=("tflite",), quick=True)
SECONDS = 600  # that anything may take on a slow machine


def edgegolf(*arguments: str, cwd: Path, seed: str = "1") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "edgegolf", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONHASHSEED": seed, "XDG_CACHE_HOME": str(cwd / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background inherits that Ctrl-C is ignored; a user's shell does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(process: subprocess.Popen[str], status: int = 0) -> str:
    output, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == status, errors
    assert "Traceback" not in errors
    return output + errors


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def exports(folder: Path) -> dict[str, str]:
    """The hashes of the exported files in a folder."""
    paths = [path for path in folder.glob("*") if path.suffix in (".onnx", ".tflite")]
    return {path.name: sha256(path) for path in paths}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two nets with other activations."""
    folder = tmp_path_factory.mktemp("models")
    layers = keras.layers
    for name, activation in (("a", "relu"), ("b", "gelu")):
        keras.utils.set_random_seed(len(name) + len(activation))
        convolution = layers.Conv2D(4, 3, activation=activation)
        net = [keras.Input((12, 12, 1)), convolution, layers.Flatten(), layers.Dense(3)]
        keras.Sequential(net).save(folder / f"{name}.keras")
    samples = np.random.default_rng(0).random((50, 12, 12, 1), np.float32)
    np.savez(folder / "s.npz", x=samples)
    return folder


def publish(models: Path, name: str, out: Path | None, options: ExportOptions = TFLITE) -> set[str]:
    """Export and return the names of what was made."""
    published = publish_file(models / f"{name}.keras", out, models / "s.npz", options)
    return {file.name for file in published.made}


def test_what_is_up_to_date_is_kept_and_what_is_missing_made(models: Path, tmp_path: Path) -> None:
    made = publish(models, "a", tmp_path)
    assert made >= {"float32.tflite", "int8.tflite"}
    first = exports(tmp_path)
    assert publish(models, "a", tmp_path) == set()
    (tmp_path / "int8.tflite").unlink()
    int8 = made - {"float32.tflite"}
    assert publish(models, "a", tmp_path) == int8
    other = ExportOptions(formats=("tflite",), calibration_images=20, quick=True)
    assert "float32.tflite" not in publish(models, "a", tmp_path, other)
    assert publish(models, "a", tmp_path) == int8
    assert exports(tmp_path) == first
    assert stale_files(tmp_path) == []


def test_a_refused_export_leaves_no_files_of_another_model(models: Path, tmp_path: Path) -> None:
    assert publish(models, "a", tmp_path, QUICK) >= NAMES
    other = ExportOptions(formats=("onnx",), input_shapes=(("", (5, 5, 1)),))
    with pytest.raises(EdgegolfError, match=r"not \(5, 5, 1\)"):
        publish(models, "b", tmp_path, other)
    assert [path.name for path in tmp_path.glob("*.onnx")] == []
    made = publish(models, "b", tmp_path)
    assert set(exports(tmp_path)) == made >= {"float32.tflite", "int8.tflite"}
    assert stale_files(tmp_path) == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder that nobody can write")
def test_a_folder_that_cannot_be_written_is_told_before_the_work(models: Path) -> None:
    steps: list[str] = []
    with pytest.raises(EdgegolfError, match="cannot be written"):
        publish_file(models / "a.keras", Path("/proc"), models / "s.npz", TFLITE, steps.append)
    assert steps == []


def test_models_of_one_folder_have_files_of_their_own(models: Path, tmp_path: Path) -> None:
    float32 = ExportOptions(formats=("tflite",), dtypes=("float32",))
    for name in ("a", "b"):
        (tmp_path / f"{name}.keras").write_bytes((models / f"{name}.keras").read_bytes())
    (tmp_path / "s.npz").write_bytes((models / "s.npz").read_bytes())
    assert publish(tmp_path, "a", None, float32) == {"a.float32.tflite"}
    assert publish(tmp_path, "b", None, float32) == {"b.float32.tflite"}
    assert stale_files(tmp_path) == []
    (tmp_path / "a.keras").write_bytes((models / "b.keras").read_bytes())
    assert stale_files(tmp_path) == [tmp_path / "a.float32.tflite"]
    two = edgegolf("export", "a.keras", "b.keras", "--out", "o", cwd=tmp_path)
    assert "the same names" in finish(two, status=2)


def test_killed_at_any_moment_a_folder_holds_one_export(models: Path, tmp_path: Path) -> None:
    """First model a's or what is left of it, then a part of b's; the next run does the rest."""
    whole = {}
    for name in ("a", "b"):
        publish(models, name, tmp_path / name)
        whole[name] = exports(tmp_path / name)
    folder = tmp_path / "o"
    command = ("export", str(models / "b.keras"), "--calibration-data", str(models / "s.npz"),
               "--quick", "--formats", "tflite", "--out", str(folder))  # fmt: skip
    moments: tuple[Callable[[], object], ...] = (
        lambda: True,
        lambda: exports_or_none(folder) != whole["a"],
        lambda: "int8.tflite" in json.loads((folder / "export.json").read_text())["files"],
    )
    for moment in moments:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / "a", folder)
        process = edgegolf(*command, cwd=tmp_path)
        wait_for(moment)
        process.kill()
        process.communicate()
        found = exports(folder).items()
        assert found <= whole["a"].items() or found <= whole["b"].items()
    (folder / ".partial-left.tflite").touch()
    publish(models, "b", folder)
    assert exports(folder) == whole["b"]
    assert list(folder.glob(".partial-*")) == []


def exports_or_none(folder: Path) -> dict[str, str] | None:
    try:
        return exports(folder)
    except OSError:  # removed meanwhile
        return None


@pytest.mark.long
def test_nets_of_the_zoo_are_kept_resumed_and_the_same_in_every_run(tmp_path: Path) -> None:
    """Ctrl-C when the first file is there, then again, then under another seed of hashes."""
    net = ("pooled_linear", "--dataset", "digits")
    export = ("export", *net, "--formats", "onnx", "--quick")
    finish(edgegolf("train", *net, cwd=tmp_path))
    folder = tmp_path / "models/digits/pooled_linear"
    process = edgegolf(*export, cwd=tmp_path)
    wait_for(lambda: (card := read_card(folder)) is not None and card.files)
    first = {path.name: path.stat().st_mtime_ns for path in folder.glob("float32.onnx")}
    process.send_signal(signal.SIGINT)
    assert "interrupted; run it again to go on" in finish(process, status=130)
    assert first
    finish(edgegolf(*export, cwd=tmp_path))
    card = read_card(folder)
    assert card is not None
    assert set(card.files) == set(exports(folder)) >= {"float32.onnx", "int8.onnx"}
    assert {name: (folder / name).stat().st_mtime_ns for name in first} == first
    assert "was trained before" in finish(edgegolf("train", *net, cwd=tmp_path))
    assert read_card(folder) == card
    before = exports(folder)
    for name in before:
        (folder / name).unlink()
    finish(edgegolf(*export, cwd=tmp_path, seed="2"))
    assert exports(folder) == before
    assert "up to date" in finish(edgegolf(*export, cwd=tmp_path))
