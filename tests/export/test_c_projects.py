"""Projects around C: what is committed is what is written, and images arrive as they were sent."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from drawings import SEVEN, as_input

from edgegolf.errors import EdgegolfError
from edgegolf.export.c_files import write_c

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "deploy" / "microcontroller"
MODEL = ROOT / "models" / "mnist" / "double_cnn-2" / "int8-smallest.tflite"
KINDS = ("arduino", "platformio", "pico", "zephyr")

# Reads an image as a project does, and writes what the net would see.
MAIN = """\
#include <stdio.h>
#include "digits.h"
#include "drawing.h"
static int8_t pixels[DIGITS_INPUT_SIZE];
int8_t *digits_input(void) { return pixels; }
int main(void) {
  for (int k = 0; k < 2; k++) {
    read_image(getchar);
    fwrite(pixels, 1, sizeof pixels, stdout);
  }
  return 0;
}
"""


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_committed_is_what_is_written(kind: str, tmp_path: Path) -> None:
    result = write_c(MODEL, tmp_path / "digits", project=kind)
    made = {str(path.relative_to(tmp_path / "digits")): path.read_text()
            for path in map(Path, result.files)}  # fmt: skip
    folder = COMMITTED / kind / "digits"
    committed = {str(path.relative_to(folder)): path.read_text()
                 for path in folder.rglob("*") if path.is_file()}  # fmt: skip
    assert made == committed


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_an_image_arrives_as_it_was_drawn_or_sent(ending: str, tmp_path: Path) -> None:
    folder = COMMITTED / "arduino" / "digits"
    (tmp_path / "main.c").write_text(MAIN)
    command = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror",
               "-fsanitize=address,undefined", f"-I{folder}", "main.c",
               str(folder / "drawing.c"), "-o", "main"]  # fmt: skip
    subprocess.run(command, cwd=tmp_path, check=True)
    numbers = np.random.default_rng(0).integers(0, 256, 784, np.uint8)
    sent = SEVEN.replace("\n", ending).encode() + b"!" + numbers.tobytes()
    said = subprocess.run([tmp_path / "main"], input=sent, stdout=subprocess.PIPE, check=True)
    seen = np.frombuffer(said.stdout, np.int8)
    np.testing.assert_array_equal(seen[:784], as_input(SEVEN).ravel())
    np.testing.assert_array_equal(seen[784:], numbers.astype(int) - 128)


def test_a_folder_needs_a_folders_name(tmp_path: Path) -> None:
    with pytest.raises(EdgegolfError, match="is no folder's name"):
        write_c(MODEL, tmp_path / "digits.c", project="pico")
    assert not list(tmp_path.iterdir())
