"""What to take on which board, from counts; tests/arm counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgegolf.cards import read_card
from edgegolf.emulation.boards import RASPBERRY_PI_4, RASPBERRY_PI_5, Board, most_similar
from edgegolf.emulation.choice import board_choices, choose, note_choices
from edgegolf.emulation.instructions import Instructions, read_instructions
from edgegolf.report.instruction_tables import choice_lines

ROOT = Path(__file__).parents[2]
MODELS = Path("models/mnist")
NETS = sorted(path.name for path in (ROOT / MODELS).iterdir())


def counted(file: str, runtime: str, board: Board, instructions: int | None) -> Instructions:
    return Instructions(f"net/{file}", runtime, "1", board.model, board.cpu, "7", instructions)


RESULTS = (
    counted("float32.tflite", "litert", RASPBERRY_PI_5, 300),
    counted("float32.tflite", "tflite-runtime", RASPBERRY_PI_5, 200),
    counted("int8.tflite", "litert", RASPBERRY_PI_5, 150),
    counted("int8.tflite", "tflite-runtime", RASPBERRY_PI_5, None),
    counted("int8.onnx", "onnxruntime", RASPBERRY_PI_5, 160),
    counted("float32.tflite", "litert", RASPBERRY_PI_4, 300),
    counted("int8.tflite", "litert", RASPBERRY_PI_4, 310),
)


def test_the_fewest_of_each_runtime_are_chosen_and_told() -> None:
    choices = board_choices(RESULTS)
    assert [(each.board, each.runtime, each.file) for each in choices] == [
        ("Raspberry Pi 4", "litert", "float32.tflite"),
        ("Raspberry Pi 5", "litert", "int8.tflite"),
        ("Raspberry Pi 5", "onnxruntime", "int8.onnx"),
        ("Raspberry Pi 5", "tflite-runtime", "float32.tflite"),
    ]
    assert list(choice_lines(RESULTS)) == [
        "net: Raspberry Pi 4: take float32.tflite with litert: 300 instructions",
        "net: Raspberry Pi 5: take int8.tflite with litert: 150 instructions, "
        "× 0.75 of float32.tflite",
    ]


@pytest.mark.parametrize("net", NETS)
def test_committed_cards_name_what_the_committed_counts_say(
    net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`python benchmarks/arm_instructions.py --cards` mends it."""
    results = read_instructions(ROOT / "benchmarks" / "arm_instructions.json")
    committed = read_card(ROOT / MODELS / net)
    assert committed is not None
    assert committed.choices
    folder = tmp_path / MODELS / net
    folder.mkdir(parents=True)
    (folder / "card.json").write_bytes((ROOT / MODELS / net / "card.json").read_bytes())
    monkeypatch.chdir(tmp_path)
    note_choices(MODELS / net, results)
    assert read_card(folder) == committed
    assert all((ROOT / MODELS / net / each.file).is_file() for each in committed.choices)


@pytest.mark.parametrize(
    ("model", "architecture", "board"),
    [
        ("Raspberry Pi 5 Model B Rev 1.0", "aarch64", RASPBERRY_PI_5),
        ("Raspberry Pi 500 Rev 1.0", "aarch64", RASPBERRY_PI_5),
        ("Raspberry Pi Compute Module 5 Rev 1.0", "aarch64", RASPBERRY_PI_5),
        ("Raspberry Pi 400 Rev 1.0", "aarch64", RASPBERRY_PI_4),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", "aarch64", RASPBERRY_PI_4),
        ("Raspberry Pi Zero 2 W Rev 1.0", "aarch64", RASPBERRY_PI_4),
        ("Raspberry Pi 4 Model B Rev 1.4", "armv7l", None),
        ("Some Other Board", "aarch64", None),
        (None, "x86_64", None),
    ],
)
def test_boards_that_execute_the_same_instructions(
    model: str | None, architecture: str, board: Board | None
) -> None:
    assert most_similar(model, architecture) is board


def test_a_card_is_asked_for_the_runtimes_that_a_board_has() -> None:
    card = read_card(ROOT / MODELS / "linear")
    assert card is not None
    card = replace(card, choices=board_choices(RESULTS))
    best = choose(card, RASPBERRY_PI_5, ("tflite-runtime", "onnxruntime", "litert"))
    assert best is not None
    assert (best.runtime, best.file) == ("litert", "int8.tflite")
    other = choose(card, RASPBERRY_PI_5, ("tflite-runtime", "onnxruntime"))
    assert other is not None
    assert (other.runtime, other.file) == ("onnxruntime", "int8.onnx")
    assert choose(card, RASPBERRY_PI_5, ()) is None
