"""Counts of instructions: right, repeatable, and none higher than those committed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgegolf.cards import read_card, write_card
from edgegolf.cli import cli
from edgegolf.data import DatasetUnavailableError, load_dataset
from edgegolf.emulation.boards import RASPBERRY_PI_2, RASPBERRY_PI_4, Board
from edgegolf.emulation.emulator import run_counted
from edgegolf.emulation.instructions import (
    Instructions,
    count_instructions,
    read_instructions,
)
from edgegolf.errors import EdgegolfError
from edgegolf.records import to_dict
from edgegolf.workspace import MODEL_NAME

pytestmark = pytest.mark.arm

ROOT = Path(__file__).parents[2]
BASELINE = ROOT / "benchmarks" / "arm_instructions.json"
LINEAR = Path("models/mnist/linear/int8.tflite")
TOLERANCE = 0.02

# A function of machine code that counts its argument down to zero: two instructions a turn.
LOOPS = {
    "aarch64": "000400f1 e1ffff54 c0035fd6",  # subs x0, x0, 1; b.ne -4; ret
    "armv7l": "010050e2 fdffff1a 1eff2fe1",  # subs r0, r0, 1; bne -4; bx lr
}
RUN_LOOPS = """
import ctypes, mmap, os
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex("{loop}"))
address = ctypes.addressof(ctypes.c_char.from_buffer(code))
count_down = ctypes.CFUNCTYPE(None, ctypes.c_long)(address)
for turns in [1] * 20 + [1000, 4000]:
    os.getppid()
    count_down(turns)
    os.getppid()
"""


@pytest.fixture(autouse=True)
def _in_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("board", [RASPBERRY_PI_4, RASPBERRY_PI_2], ids=lambda board: board.name)
def test_count_of_a_known_loop(board: Board) -> None:
    _, marks = run_counted(board, exec, RUN_LOOPS.format(loop=LOOPS[board.architecture]))
    counts = [end - start for start, end in zip(marks[::2], marks[1::2], strict=True)]
    assert counts[-1] - counts[-2] == 2 * 3000


def regressions(
    before: Sequence[Instructions], now: Sequence[Instructions], tolerance: float
) -> list[str]:
    """A line for each figure that is missing or by more than `tolerance`, a fraction, too high."""
    known = {each.key: each.instructions for each in before}
    lines = []
    for each in now:
        allowed = known.get(each.key)
        what = f"{each.file} in {each.runtime} on {each.cpu}"
        if each.error is not None and allowed is not None:
            lines.append(f"{what}: {each.error}")
        elif each.key not in known:
            lines.append(f"{what}: no earlier figure")
        elif each.instructions and allowed and each.instructions > allowed * (1 + tolerance):
            lines.append(f"{what}: {each.instructions:,} instructions, {allowed:,} before")
    return lines


def test_no_committed_model_got_worse() -> None:
    files = [
        path for suffix in ("tflite", "onnx") for path in Path("models").glob(f"mnist/*/*.{suffix}")
    ]
    counted = count_instructions(files, "aarch64")
    assert {result.cpu for result in counted} == {"cortex-a72", "cortex-a76"}
    found = regressions(read_instructions(BASELINE), counted, TOLERANCE)
    assert not found, "run python benchmarks/arm_instructions.py if this is meant to be"


def test_counts_repeat_exactly() -> None:
    first, second = (count_instructions([LINEAR], "aarch64", ["litert"]) for _ in range(2))
    assert first == second


def test_regressions_tell_what_got_worse() -> None:
    def result(instructions: int | None, error: str | None = None) -> Instructions:
        return Instructions("a.onnx", "onnxruntime", "1", "Pi", "cpu", "7", instructions, error)

    before = [result(100)]
    assert not regressions(before, [result(102)], TOLERANCE)
    assert "103 instructions, 100 before" in regressions(before, [result(103)], TOLERANCE)[0]
    assert "crash" in regressions(before, [result(None, "crash")], TOLERANCE)[0]
    assert not regressions([result(None, "crash")], [result(None, "crash")], TOLERANCE)
    assert "no earlier figure" in regressions([], [result(1)], TOLERANCE)[0]


def test_file_that_does_not_run_leaves_the_others(tmp_path: Path) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(LINEAR.read_bytes()[:4000])
    good = tmp_path / "näme with, comma.tflite"
    shutil.copy(LINEAR, good)
    results = count_instructions([broken, good], "armv7l")
    assert [result.instructions is None for result in results] == [True, False]
    assert "broken.tflite" in (results[0].error or "")


def test_command_prints_what_was_counted(tmp_path: Path) -> None:
    output = tmp_path / "counts.json"
    command = ["bench", str(LINEAR), "--emulate", "armv7l"]
    done = CliRunner().invoke(cli, [*command, "--output", str(output)], standalone_mode=False)
    assert done.return_value == 0, done.exception
    (result,) = read_instructions(output)
    assert json.loads(output.read_text()) == [to_dict(result)]
    assert result.runtime == "tflite-runtime"
    table = CliRunner().invoke(cli, command, standalone_mode=False).output
    assert f"{result.instructions:,}" in table
    assert "not time" in table


def test_export_notes_in_the_card_what_to_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        load_dataset("mnist")
    except DatasetUnavailableError as error:
        pytest.skip(str(error))
    committed = read_card(LINEAR.parent)
    assert committed is not None
    folder = tmp_path / LINEAR.parent
    folder.mkdir(parents=True)
    for name in (LINEAR.name, "int8-weights.tflite", MODEL_NAME):
        shutil.copy(LINEAR.parent / name, folder)
    write_card(folder, replace(committed, choices=()))
    monkeypatch.chdir(tmp_path)
    command = ["export", "linear", "--dataset", "mnist", "--emulate", "aarch64"]
    done = CliRunner().invoke(
        cli, [*command, "--formats", "tflite", "--dtype", "int8"], catch_exceptions=False
    )
    noted = read_card(folder)
    assert noted is not None
    assert [(each.board, each.runtime, each.file) for each in noted.choices] == [
        (each.board, each.runtime, each.file)
        for each in committed.choices
        if each.file.endswith(".tflite")
    ]
    best = noted.choices[0]
    assert f"{best.board}: take {best.file} with {best.runtime}: {best.instructions:,} " in (
        done.output
    )


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(EdgegolfError, match="no such runtime"):
        count_instructions([Path("models/mnist/linear/int8.onnx")], "armv7l")
    with pytest.raises(EdgegolfError, match="does not exist"):
        count_instructions([Path("missing.tflite")], "aarch64")
    options = [str(LINEAR), "--emulate", "aarch64"]
    for more in (["--threads", "2"], ["--csv"], ["--max-size", "1"]):
        done = CliRunner().invoke(cli, ["bench", *options, *more])
        assert done.exit_code == 2
        assert more[0] in done.output
