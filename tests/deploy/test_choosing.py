"""Which of a net's files goes to which device."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from devices import device

from edgegolf.cards import CARD_NAME
from edgegolf.deploy.choosing import chosen_files
from edgegolf.workspace import exported_files

MODELS = Path(__file__).parents[2] / "models" / "mnist"
RANDOM = exported_files(MODELS / "random_cnn")
TIGHT = exported_files(MODELS / "tight_resnet")
PI_5 = {"board": "Raspberry Pi 5 Model B Rev 1.0"}


@pytest.mark.parametrize(
    ("changes", "runtime", "expected"),
    [
        (PI_5, None, {"int8-fastest.tflite": "litert", "int8-weights.tflite": "tflite-runtime"}),
        (
            {**PI_5, "python": "3.13.5"},  # for which there is no tflite-runtime
            None,
            {"int8-fastest.tflite": "litert", "int8.tflite": "litert"},
        ),
        (PI_5, "onnxruntime", {"int8.onnx": "onnxruntime"}),
    ],
)
def test_what_the_cards_name_goes(
    changes: dict[str, str],
    runtime: str | None,
    expected: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    chosen = chosen_files([TIGHT, RANDOM], device(**changes), runtime)
    assert {path.name: used for path, used in chosen.items()} == expected
    assert {path.parent.name for path in chosen} == {"tight_resnet", "random_cnn"}
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all("the fewest instructions on a Raspberry Pi 5" in line for line in said)


def test_a_file_goes_as_it_is() -> None:
    assert chosen_files([TIGHT[:1]], device(), None) == {TIGHT[0]: None}
    assert chosen_files([TIGHT[:1]], device(), "litert") == {TIGHT[0]: "litert"}


def test_everything_goes_where_nothing_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    everything = dict.fromkeys(TIGHT)
    for other in (device(machine="armv7l", bits=32), device(board=None), device(machine="x86_64")):
        assert chosen_files([TIGHT], other, None) == everything
    assert chosen_files([TIGHT], device(), "litert-reference").keys() == everything.keys()
    for path in TIGHT:
        shutil.copy(path, tmp_path)
    unknown = exported_files(tmp_path)
    assert chosen_files([unknown], device(), None) == dict.fromkeys(unknown)
    shutil.copy(TIGHT[0].parent / CARD_NAME, tmp_path)
    (tmp_path / "int8-fastest.tflite").unlink()
    rest = exported_files(tmp_path)
    assert chosen_files([rest], device(), None) == dict.fromkeys(rest)
    assert not capsys.readouterr().err
