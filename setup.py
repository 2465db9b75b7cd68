"""Puts the small files of models/mnist/ into the package; all else is in pyproject.toml."""

from pathlib import Path
from typing import Any

from setuptools import setup
from setuptools.command.build_py import build_py

NAMES = ("card.json", "int8.onnx", "int8.tflite")
LARGEST = 200_000  # bytes of a file


class BuildWithModels(build_py):
    """Copies them to where `edgegolf.workspace` looks; a checkout has them already."""

    def run(self) -> None:
        """Build the package, then copy."""
        super().run()
        for card in Path("models/mnist").glob("*/card.json") if not self.editable_mode else ():
            files = [card.with_name(name) for name in NAMES]
            if all(file.stat().st_size < LARGEST for file in files):
                for file in files:
                    target = Path(self.build_lib, "edgegolf", file)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    self.copy_file(str(file), str(target), preserve_mode=False)


commands: dict[str, Any] = {"build_py": BuildWithModels}
setup(cmdclass=commands)
