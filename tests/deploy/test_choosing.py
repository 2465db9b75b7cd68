"""Which of a net's files goes to which device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from devices import device

from edgegolf.cards import BoardChoice, read_card, write_card
from edgegolf.deploy.choosing import chosen_files
from edgegolf.workspace import exported_files

LINEAR = Path(__file__).parents[2] / "models" / "mnist" / "linear"
PI_4, PI_5 = "Raspberry Pi 4", "Raspberry Pi 5"
CHOICES = (
    BoardChoice(PI_4, "litert", "float32.tflite", 300),
    BoardChoice(PI_5, "tflite-runtime", "float32.tflite", 100),
    BoardChoice(PI_5, "litert", "int8.tflite", 200),
    BoardChoice(PI_5, "onnxruntime", "int8.onnx", 300),
)
ON_PI_5 = {"board": "Raspberry Pi 5 Model B Rev 1.0"}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, ...]:
    card = read_card(LINEAR)
    assert card is not None
    write_card(tmp_path, replace(card, choices=CHOICES))
    for name in ("float32.tflite", "int8.tflite", "int8.onnx"):
        (tmp_path / name).write_bytes((LINEAR / name).read_bytes())
    return exported_files(tmp_path)


@pytest.mark.parametrize(
    ("changes", "runtime", "name", "used"),
    [
        ({}, None, "float32.tflite", "litert"),
        (ON_PI_5, None, "float32.tflite", "tflite-runtime"),
        # For which there is no tflite-runtime.
        ({**ON_PI_5, "python": "3.13.5"}, None, "int8.tflite", "litert"),
        (ON_PI_5, "onnxruntime", "int8.onnx", "onnxruntime"),
    ],
)
def test_what_the_card_names_goes(
    changes: dict[str, str],
    runtime: str | None,
    name: str,
    used: str,
    files: tuple[Path, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    chosen = chosen_files([files], device(**changes), runtime)
    assert chosen == {files[0].parent / name: used}
    assert f"goes {name}, for {used}: the fewest instructions on a" in capsys.readouterr().err


def test_a_file_goes_as_it_is(files: tuple[Path, ...]) -> None:
    assert chosen_files([files[:1]], device(), None) == {files[0]: None}
    assert chosen_files([files[:1]], device(), "litert") == {files[0]: "litert"}


def test_everything_goes_where_nothing_is_named(
    files: tuple[Path, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    everything = dict.fromkeys(files)
    for other in (device(machine="armv7l", bits=32), device(board=None), device(machine="x86_64")):
        assert chosen_files([files], other, None) == everything
    assert chosen_files([files], device(), "litert-reference").keys() == everything.keys()
    (files[0].parent / "float32.tflite").unlink()  # what it names for this board
    rest = exported_files(files[0].parent)
    assert chosen_files([rest], device(), None) == dict.fromkeys(rest)
    (files[0].parent / "card.json").unlink()
    assert chosen_files([rest], device(), None) == dict.fromkeys(rest)
    assert not capsys.readouterr().err
