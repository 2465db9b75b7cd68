"""Count the ARM instructions of every committed model, and of the converters' own int8 files.

    python benchmarks/arm_instructions.py            # after an export
    python benchmarks/arm_instructions.py --cards    # count nothing, write the cards alone

Writes benchmarks/arm_instructions.json, which `make test-arm` compares with and `make docs` makes
the tables of docs/arm.md from; and into each model's card which file to take on which board, as
`edgegolf export --emulate aarch64` does. Needs what `edgegolf bench --emulate` needs.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from edgegolf.data import load_dataset
from edgegolf.emulation.choice import note_choices
from edgegolf.emulation.instructions import (
    Instructions,
    count_instructions,
    read_instructions,
)
from edgegolf.export.keras_source import KerasSource
from edgegolf.export.samples import read_data
from edgegolf.files import write_atomically
from edgegolf.golf.golf import golf_file
from edgegolf.progress import track
from edgegolf.records import to_json
from edgegolf.workspace import MODEL_NAME, MODELS, exported_files, trained_folders

DATASET = "mnist"
CALIBRATION_IMAGES = 500
DESTINATION = Path("benchmarks/arm_instructions.json")


def main() -> None:
    exported_folders = sorted((MODELS / DATASET).iterdir())
    if sys.argv[1:] != ["--cards"]:
        write_atomically(DESTINATION, to_json(count(exported_folders)))
    results = read_instructions(DESTINATION)
    for folder in exported_folders:
        note_choices(folder, results)


def count(exported_folders: list[Path]) -> list[Instructions]:
    folders = trained_folders(DATASET)
    with tempfile.TemporaryDirectory() as temporary:
        for folder in track(folders, "converting"):
            write_stock_files(folder / MODEL_NAME, Path(temporary) / folder)
        stock = [path for folder in folders for path in exported_files(Path(temporary) / folder)]
        # Of nets above 100,000 parameters only the int8 files are committed.
        committed = [path for folder in exported_folders for path in exported_files(folder)]
        results = count_instructions([*committed, *stock], "aarch64")
    named = [
        replace(result, file=os.path.relpath(result.file, temporary))
        if result.file.startswith(temporary)
        else result
        for result in results
    ]
    return sorted(named, key=lambda result: result.key)


def write_stock_files(model_path: Path, folder: Path) -> None:
    """The converters' int8 files, as they are and losslessly rewritten."""
    folder.mkdir(parents=True)
    source = KerasSource(model_path)
    inputs = source.describe().inputs
    calibration = read_data(load_dataset(DATASET), inputs, CALIBRATION_IMAGES).calibration
    shapes = tuple((1, *each.shape[1:]) for each in inputs)
    for suffix in (".tflite", ".onnx"):
        stock = folder / f"stock-int8{suffix}"
        made = source.convert(f"int8{suffix}", shapes, calibration)
        assert made is not None  # both formats have a converter
        stock.write_bytes(made)
        golf_file(stock, folder / f"golfed-int8{suffix}")


if __name__ == "__main__":
    main()
